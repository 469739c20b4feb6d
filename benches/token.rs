//! What it costs to know whose token a request carries: hashing it and looking it up, among a million others.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use dendron::token::{Caller, CallerKind, TokenHasher, Tokens};

const TOKENS: usize = 1_000_000;
const LIFETIME: Duration = Duration::from_secs(3_600);

fn token(number: usize) -> String {
    format!("syt_c29tZWJvZHk_abcdefghij{number:010}_0aaaaa")
}

fn benchmark(criterion: &mut Criterion) {
    let Ok(hasher) = TokenHasher::new() else { return };
    let now = Instant::now();
    let tokens = Tokens::new(TOKENS, LIFETIME, now);
    let caller = Caller::new("@somebody:matrix.example.org", Some("ABCDEFGHIJ"), CallerKind::User);
    for number in 0..TOKENS {
        tokens.learn(hasher.hash(&token(number)), caller.clone(), now, None);
    }
    let texts: Vec<String> = (0..TOKENS).step_by(997).map(token).collect();

    let mut turn = texts.iter().cycle();
    criterion.bench_function("hash a token", |bencher| {
        bencher.iter(|| turn.next().map(|text| hasher.hash(black_box(text))));
    });
    let mut turn = texts.iter().cycle();
    criterion.bench_function("hash and look up a known token", |bencher| {
        bencher.iter(|| turn.next().and_then(|text| tokens.get(hasher.hash(black_box(text)), now)));
    });
    criterion.bench_function("look up an unknown token", |bencher| {
        let hash = hasher.hash("unknown");
        bencher.iter(|| tokens.get(black_box(hash), now));
    });
    let mut number = TOKENS;
    criterion.bench_function("learn a token when the store is full", |bencher| {
        bencher.iter(|| {
            number += 1;
            tokens.learn(hasher.hash(&token(number)), caller.clone(), now, None);
        });
    });
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
