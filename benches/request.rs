//! What dendron itself does for a request, step by step: classify, choose the key, find the way, tell the story, make an
//! error. What Pingora does is in the load suite (`./dev bench`).
//!
//! Good is: all of it together under two microseconds, so that a forwarded request costs what its bytes cost.
//!
//! `cargo bench --bench request`

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use criterion::{Criterion, criterion_group, criterion_main};
use dendron::endpoint::{Endpoint, Endpoints};
use dendron::exchange::{AnsweredBy, Exchange, RequestId};
use dendron::observe::access_log::Target;
use dendron::observe::logging::Format;
use dendron::observe::{AccessLog, Metrics};
use dendron::reply::Failure;
use dendron::route::rules::pool_names;
use dendron::route::{Routes, key};
use http::Method;

/// Paths of several depths, one of them with escapes.
const PATHS: [(&str, &str, Option<&str>); 5] = [
    ("sync", "/_matrix/client/v3/sync", Some("since=s72594_4483_1934&timeout=30000")),
    ("members", "/_matrix/client/v3/rooms/!roomabcdefgh:example.org/members", None),
    ("escaped", "/_matrix/client/v3/rooms/%21roomabcdefgh%3Aexample.org/context/%24event", None),
    ("state_ids", "/_matrix/federation/v1/state_ids/!roomabcdefgh:example.org", Some("event_id=$event")),
    ("unknown", "/_matrix/client/unstable/org.example.nothing/of/the/kind", None),
];

fn classify(criterion: &mut Criterion) {
    let endpoints = Endpoints::new();
    let mut group = criterion.benchmark_group("classify");
    for (name, path, query) in PATHS {
        group.bench_function(name, |bencher| {
            bencher.iter(|| endpoints.classify(black_box(&Method::GET), black_box(path), black_box(query)));
        });
    }
    group.finish();
}

fn route(criterion: &mut Criterion) {
    let endpoints = Endpoints::new();
    let Ok(routes) = Routes::new(&pool_names(), &BTreeMap::new(), &BTreeSet::new()) else { return };
    let authorization = b"Bearer syt_YWxpY2U_abcdefghijklmnopqrst_0aBcDe";
    let mut group = criterion.benchmark_group("route");
    for (name, path, query) in PATHS {
        let endpoint = endpoints.classify(&Method::GET, path, query);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let route = routes.of(black_box(endpoint.class));
                key::key_of(route.key, &endpoint, black_box(path), query, Some(authorization), |_| None)
            });
        });
    }
    group.finish();
}

/// A story that has everything.
fn exchange(endpoint: Endpoint) -> Exchange {
    let name = RequestId::Made { process: 0x1234_5678, number: 77_777 };
    let mut exchange = Exchange::new(Instant::now(), name, endpoint, Some([192, 0, 2, 1].into()));
    exchange.pool = Some("room_read".into());
    exchange.backend = Some("worker1".into());
    exchange.waited = Some(Duration::from_micros(12));
    exchange.connected = Some(Duration::from_micros(40));
    exchange.first_byte = Some(Duration::from_micros(1_700));
    exchange.status = 200;
    exchange.bytes_out = 6_000;
    exchange.answered_by = AnsweredBy::Synapse;
    exchange
}

fn record(criterion: &mut Criterion) {
    let (_, path, query) = PATHS[1];
    let exchange = exchange(Endpoints::new().classify(&Method::GET, path, query));
    let Ok(metrics) = Metrics::new(0) else { return };
    let total = Duration::from_millis(2);
    let mut group = criterion.benchmark_group("record");
    group.bench_function("metrics", |bencher| {
        bencher.iter(|| metrics.count(black_box(&exchange), "GET", total));
    });
    for (name, format) in [("text line", Format::Text), ("JSON line", Format::Json)] {
        let target = Target::File(PathBuf::from("/dev/null"));
        let Ok(log) = AccessLog::open(&target, format, metrics.access_log_dropped.clone()) else { return };
        group.bench_function(name, |bencher| {
            bencher.iter(|| log.write(black_box(&exchange), "GET", total, SystemTime::UNIX_EPOCH));
        });
    }
    group.finish();
}

fn reply(criterion: &mut Criterion) {
    criterion.bench_function("reply", |bencher| bencher.iter(|| black_box(Failure::Unreachable).reply()));
}

criterion_group!(benches, classify, route, record, reply);
criterion_main!(benches);
