//! Many streams of few clients, each of which needs a connection to Synapse, under a low limit of open files.

use std::time::Duration;

use libtest_mimic::Failed;

use super::edge::Edge;
use crate::harness::eventually::{SOON, eventually};
use crate::harness::http::Client;
use crate::harness::http2::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Http2, Next, RST_STREAM, frame, head, status,
};
use crate::harness::metrics::Metrics;
use crate::harness::{ensure, ensure_eq};

/// How many files dendron may have open.
const DESCRIPTORS: u32 = 512;
/// How many clients there are, and how many requests each makes at once.
const CLIENTS: usize = 6;
const STREAMS: u32 = 100;
/// How long an answer may take: several times that of one, because they wait for each other.
const PATIENCE: Duration = Duration::from_secs(20);
const OPEN: &str = "dendron_upstream_connections";
const LIMIT: &str = "dendron_upstream_connections_limit";
const QUEUED: &str = "dendron_upstream_connections_queued";

/// Far more requests than descriptors: as many as may be are at the stubs, over both together, the rest waits, and all
/// are answered.
pub fn many_streams_wait_for_descriptors() -> Result<(), Failed> {
    let edge = Edge::start(Some(DESCRIPTORS))?;
    let metrics = || Metrics::scrape(edge.dendron.admin());
    let limit = metrics()?.sum(LIMIT, &[]);
    ensure!((100.0..250.0).contains(&limit), "a bound of {limit} for {DESCRIPTORS} descriptors");

    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = Http2::connect(&edge.authority, edge.tls_port)?;
        let requests = (0..STREAMS)
            .flat_map(|number| frame(HEADERS, END_STREAM | END_HEADERS, number * 2 + 1, &head("GET", "/hold", &[])));
        client.send(&[super::play::opening(), requests.collect()].concat());
        clients.push(client);
    }
    // One class leaves an eighth to the others.
    let share = limit - (limit / 8.0).ceil();
    eventually(SOON, || {
        let now = metrics()?;
        ensure_eq!(now.sum(OPEN, &[]), share, "{OPEN}");
        ensure!(now.sum(QUEUED, &[]) > 100.0, "{QUEUED}: {}", now.sum(QUEUED, &[]));
        let open = now.sum("dendron_open_descriptors", &[]);
        ensure!(open > limit && open < f64::from(DESCRIPTORS), "{open} descriptors are open");
        Ok(())
    })?;
    let login = Client::new(&format!("http://127.0.0.1:{}", edge.port)).get("/_matrix/client/v3/login")?;
    let waiting = metrics()?.sum(QUEUED, &[]);
    ensure!(login.status == 200 && waiting > 0.0, "{} for another class, {waiting} wait", login.status);
    for (number, client) in clients.iter_mut().enumerate() {
        let answered = answers(client).map_err(|reason| format!("client {number}: {reason}"))?;
        ensure_eq!(answered, STREAMS, "answers for client {number}");
    }
    drop(clients);
    eventually(SOON, || {
        ensure_eq!((metrics()?.sum(OPEN, &[]), metrics()?.sum(QUEUED, &[])), (0.0, 0.0), "in the end");
        Ok(())
    })?;
    let said = edge.dendron.stop()?;
    ensure!(!said.contains("Too many open files"), "{said}");
    Ok(())
}

/// Reads until every stream was answered with 200; returns how many were.
fn answers(client: &mut Http2) -> Result<u32, String> {
    let mut answered = 0;
    let mut ended = 0;
    while ended < STREAMS {
        let frame = match client.next(PATIENCE) {
            Next::Frame(frame) => frame,
            next => return Err(format!("{next:?} after {ended} answers")),
        };
        match frame.kind {
            HEADERS if status(&frame.payload) == Some(200) => answered += 1,
            HEADERS | RST_STREAM | GOAWAY => return Err(format!("{frame:?} after {ended} answers")),
            _ => {}
        }
        ended += u32::from(matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0);
    }
    Ok(answered)
}
