//! Plain questions, which go to their process without a session.

use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use libtest_mimic::Failed;

use super::{Edge, read_answer};
use crate::harness::eventually::{SOON, eventually};
use crate::harness::stub::{EMPTY, Stub, read_body};
use crate::harness::{ensure, ensure_eq};

/// After so many requests the process closes a connection without a word.
const CLOSES_AFTER: usize = 3;
const KEPT: &str = "dendron_process_kept_connections";
const QUESTION: &[u8] =
    b"GET /_matrix/client/v3/joined_rooms?a=%20b HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive\r\n\
    Authorization: Bearer x\r\nX-Forwarded-For: 6.6.6.6\r\nX-Own: yes\r\n\r\n";
/// A request with a body, which may be repeated as well: it names its transaction.
const SEND: &[u8] = b"PUT /_matrix/client/v3/rooms/!a:a.example/send/m.x/1 HTTP/1.1\r\nHost: a.example\r\n\
    Authorization: Bearer x\r\nContent-Length: 2\r\n\r\n{}";

/// They go over connections that are kept for them, with the same head as by way of the proxy, and none is lost when the
/// process closes one.
pub fn they_need_no_session() -> Result<(), Failed> {
    let mut heads_by_way = Vec::new();
    for (settings, kept) in [("front: on\n", 1.0), ("front: off\n", 0.0)] {
        let heads = Arc::new(Mutex::new(Vec::new()));
        let edge = Edge::start(forgetful(Arc::clone(&heads))?, settings)?;
        let mut stream = edge.connect()?;
        for (index, request) in [QUESTION, SEND].repeat(2 * CLOSES_AFTER).into_iter().enumerate() {
            stream.write_all(request)?;
            let answer = read_answer(&mut stream)?;
            ensure_eq!((answer.status, answer.body.as_str()), (200, "{}"), "{settings}: answer {index}");
        }
        eventually(SOON, || {
            let metrics = edge.metrics()?;
            ensure_eq!(metrics.sum(KEPT, &[]), kept, "{settings}: {KEPT}");
            ensure_eq!(metrics.sum("dendron_in_flight_requests", &[]), 0.0, "{settings}: requests in flight");
            let lines = edge.lines()?;
            let are_told = lines.iter().all(|line| line["answered_by"] == "synapse" && line["bytes_out"] == 2);
            let bodies = lines.iter().filter(|line| line["bytes_in"] == 2).count();
            ensure!(lines.len() == 4 * CLOSES_AFTER && are_told, "{settings}: {lines:?}");
            ensure_eq!(bodies, 2 * CLOSES_AFTER, "{settings}: requests with a body");
            Ok(())
        })?;
        let heads = heads.lock().map_err(|_| "a stub has panicked")?;
        let of = |method: &str| heads.iter().filter(|head| head.starts_with(method)).collect::<Vec<_>>();
        for method in ["GET", "PUT"] {
            ensure_eq!(of(method).len(), 2 * CLOSES_AFTER, "{settings}: requests with {method} that came");
        }
        heads_by_way.push(["GET", "PUT"].map(|method| of(method).first().map(|head| sorted(head))));
    }
    ensure_eq!(heads_by_way[0], heads_by_way[1], "the heads, with the front and without");
    Ok(())
}

/// Keeps the heads, and closes a connection after some requests.
fn forgetful(heads: Arc<Mutex<Vec<String>>>) -> Result<Stub, Failed> {
    let count = AtomicUsize::new(0);
    Stub::start(move |head, stream| {
        read_body(head, stream)?;
        heads.lock().map_err(|_| ErrorKind::Other)?.push(head.to_owned());
        stream.write_all(EMPTY)?;
        let is_enough = (count.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(CLOSES_AFTER);
        if is_enough { Err(ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    })
}

/// A head's lines in an order that says nothing, without the request's name, which is another each time.
fn sorted(head: &str) -> Vec<String> {
    let mut lines: Vec<String> = head.lines().map(str::to_ascii_lowercase).collect();
    lines.retain(|line| !line.starts_with("x-request-id: "));
    lines.sort();
    lines
}
