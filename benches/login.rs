//! What a login costs besides its password check: reading the body, and asking the limits.
//!
//! `cargo bench --bench login`

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dendron::answer::login::limits::{Count, Key, Limits, Rules};
use dendron::answer::login::request;

const SERVER_NAME: &str = "example.org";
/// What Element sends.
const USUAL: &str = r#"{"type":"m.login.password","identifier":{"type":"m.id.user","user":"alice"},
    "password":"correct horse battery staple","initial_device_display_name":"Element Desktop","refresh_token":true}"#;

fn bodies(criterion: &mut Criterion) {
    let nested = format!(r#"{{"type":"m.login.password","x":[{}]}}"#, vec!["[[[[]]]]"; 7000].join(","));
    let doubtful = format!(r#"{{"x":"\ud800","y":"{}"}}"#, "y".repeat(65_000));
    let mut group = criterion.benchmark_group("login_body");
    for (name, body) in [("usual", USUAL), ("nested", &nested), ("doubtful", &doubtful)] {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| request::read(black_box(body.as_bytes()), SERVER_NAME));
        });
    }
    group.finish();
}

fn limits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("login_limits");
    let address = |number: u32| Key::Address(Some(IpAddr::V4(Ipv4Addr::from(number))));
    let limits = Limits::new(Rules::default());
    group.bench_function("an_address_that_is_limited", |bencher| {
        bencher.iter(|| limits.ask(black_box(address(0)), Count::Yes, 100.0));
    });
    // More addresses than are kept, so that the emptiest must go.
    let mut number = 1_u32;
    let mut flood = || {
        number = number.wrapping_add(1);
        limits.ask(black_box(address(number)), Count::Yes, 100.0)
    };
    for _ in 0..2_000_000 {
        let _ = flood();
    }
    group.bench_function("a_flood_of_addresses", |bencher| bencher.iter(&mut flood));
    group.bench_function("a_user_who_never_failed", |bencher| {
        bencher.iter(|| limits.ask(black_box(Key::FailedUser("@alice:example.org")), Count::No, 100.0));
    });
    group.finish();
}

criterion_group!(login, bodies, limits);
criterion_main!(login);
