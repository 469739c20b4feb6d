//! More requests than a process is given: who waits, who is refused, and who is not even delayed.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use serde_json::json;

use crate::Test;
use crate::harness::alone::Edge;
use crate::harness::eventually::{SOON, eventually};
use crate::harness::http::Client;
use crate::harness::stub::{EMPTY, Stub, read_body};
use crate::harness::{ensure, ensure_eq};

pub const TESTS: &[Test] = &[("queues::a_flood_of_one_class_is_its_own_trouble", |_| flood_of_one_class())];

/// A first sync: no `since`.
const FIRST_SYNC: &str = "/_matrix/client/v3/sync";
const SEND: &str = "/_matrix/client/v3/rooms/!a:b/send/m.room.message/t1";
const QUEUED: &str = "dendron_class_queued_requests";

/// A process that is given eight at once has seven first syncs, which all hang; two more wait, the tenth is told to come
/// again, and a send is answered as if nobody else were there.
fn flood_of_one_class() -> Result<(), Failed> {
    let is_released = Arc::new(AtomicBool::new(false));
    let released = Arc::clone(&is_released);
    let stub = Stub::start(move |head, stream| {
        read_body(head, stream)?;
        while head.starts_with("GET ") && !released.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(20));
        }
        stream.write_all(EMPTY)
    })?;
    let settings = format!("pools: {{main: ['{}']}}\nbackends: {{in_flight: 8, queued: 2, wait: 20s}}\n", stub.url());
    let edge = Edge::start(&settings)?;
    let sync = |client: Client| thread::spawn(move || client.get(FIRST_SYNC).map(|answer| answer.status));
    let syncs: Vec<_> = (0..9).map(|_| sync(edge.client.clone())).collect();
    eventually(SOON, || {
        ensure_eq!(edge.metric("dendron_in_flight_requests", &[])?, 7.0, "in flight");
        ensure_eq!(edge.metric(QUEUED, &[("class", "initial_sync")])?, 2.0, "waiting first syncs");
        ensure_eq!(edge.metric(QUEUED, &[])?, 2.0, "waiting");
        Ok(())
    })?;

    let begun = Instant::now();
    ensure_eq!(edge.client.send("PUT", SEND, &[], b"{}")?.status, 200, "a send");
    let refused = edge.client.get(FIRST_SYNC)?;
    ensure!(begun.elapsed() < Duration::from_secs(2), "a send and a refusal took {:?}", begun.elapsed());
    ensure_eq!((refused.status, refused.json()["errcode"].clone()), (503, json!("M_UNKNOWN")), "the tenth");
    ensure!(!refused.header("retry-after").is_empty(), "no Retry-After");

    is_released.store(true, Ordering::Relaxed);
    for sync in syncs {
        let status = sync.join().map_err(|_| "a client panicked")??;
        ensure_eq!(status, 200, "a first sync that had or waited for its place");
    }
    eventually(SOON, || {
        ensure_eq!(edge.metric("dendron_in_flight_requests", &[])?, 0.0, "in flight");
        ensure_eq!(edge.metric(QUEUED, &[])?, 0.0, "waiting");
        Ok(())
    })?;
    edge.dendron.stop().map(drop)
}
