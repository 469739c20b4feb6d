//! How a client is told that its request is refused, so that it hears it, and what is written down of it.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use http::request::Parts as Head;
use http::{HeaderName, Method};
use pingora_core::protocols::Shutdown;
use pingora_core::protocols::http::date::get_cached_date;
use tokio::io::{AsyncWriteExt, Result};
use tokio::time::{Instant, timeout};

use super::decision::Refusal;
use super::transport::Transport;
use crate::exchange::{AnsweredBy, Ended};
use crate::proxy::linger::{SILENCE_MAX, SIZE_MAX, TIME_MAX};
use crate::proxy::{self, Parts};
use crate::reply::{Failure, Reply};

/// Where it is written down that requests were refused.
pub trait Journal: Send + Sync {
    /// Writes one down.
    fn refused(&self, refused: Refused<'_>);
}

/// A request that was refused before the proxy saw it.
#[derive(Debug)]
pub struct Refused<'request> {
    /// When its first byte came.
    pub begun: std::time::Instant,
    /// The other end of its connection; `None` over a unix socket.
    pub peer: Option<IpAddr>,
    /// Its head, where it could be read.
    pub head: Option<&'request Head>,
    /// Why it was refused.
    pub failure: Failure,
    /// The bytes of the answer's body; `None` where the answer could not be sent.
    pub sent: Option<usize>,
}

impl Journal for Parts {
    fn refused(&self, refused: Refused<'_>) {
        let mut exchange = self.unread(refused.begun);
        match refused.head {
            Some(head) => self.describe(&mut exchange, refused.peer, head),
            None => exchange.client = refused.peer.map(|peer| peer.to_canonical()),
        }
        match refused.sent {
            Some(bytes) => {
                exchange.status = refused.failure.status().as_u16();
                exchange.bytes_out = bytes as u64;
                exchange.answered_by = AnsweredBy::Edge;
                exchange.ended = proxy::ended(Some(refused.failure));
            }
            None => exchange.ended = Ended::ClientGone,
        }
        self.record(&exchange, refused.head.map_or("-", |head| head.method.as_str()));
    }
}

/// Tells the client, which has some time to take the answer, and stays until it has heard.
pub(super) async fn refuse(
    transport: &mut Transport,
    journal: &dyn Journal,
    time: Duration,
    begun: Instant,
    refusal: Refusal,
) {
    let Refusal { failure, head } = refusal;
    let head: Option<&Head> = head.as_deref().map(|head| &**head);
    let reply = failure.reply();
    let is_bodiless = head.is_some_and(|head| head.method == Method::HEAD);
    let bytes = if is_bodiless { 0 } else { reply.body.len() };
    let sent = timeout(time, send(transport, &wire(&reply, is_bodiless))).await;
    let sent = matches!(sent, Ok(Ok(()))).then_some(bytes);
    journal.refused(Refused { begun: begun.into_std(), peer: transport.peer(), head, failure, sent });
    if sent.is_some() {
        // Whichever bound it was, or the client's end: there is nothing left to do but close.
        let _ = timeout(TIME_MAX, discard(transport)).await;
    }
}

async fn send(transport: &mut Transport, bytes: &[u8]) -> Result<()> {
    transport.write_all(bytes).await?;
    transport.flush().await
}

/// An answer as it is sent, the last one of its connection.
fn wire(reply: &Reply, is_bodiless: bool) -> Vec<u8> {
    let reason = reply.status.canonical_reason().unwrap_or_default();
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", reply.status.as_str());
    let mut line = |name: &HeaderName, value: &str| {
        // Writing into a text cannot fail.
        let _ = write!(head, "{}: {value}\r\n", titled(name));
    };
    for (name, value) in &reply.headers {
        line(name, value.to_str().unwrap_or_default());
    }
    line(&http::header::CONTENT_LENGTH, &reply.body.len().to_string());
    line(&http::header::DATE, get_cached_date().to_str().unwrap_or_default());
    line(&http::header::CONNECTION, "close");
    head.push_str("\r\n");
    let body: &[u8] = if is_bodiless { b"" } else { &reply.body };
    [head.as_bytes(), body].concat()
}

/// A header's name as Pingora writes it, with capitals.
fn titled(name: &HeaderName) -> String {
    let parts = name.as_str().split('-').map(|part| {
        let (first, rest) = part.split_at(part.len().min(1));
        first.to_ascii_uppercase() + rest
    });
    parts.collect::<Vec<_>>().join("-")
}

/// Ends the own side, and throws away what still comes until the client ends as well. To close at once could lose the
/// answer (see `proxy/linger.rs`).
async fn discard(transport: &mut Transport) {
    Shutdown::shutdown(transport).await;
    let mut discarded = transport.forget();
    while discarded < SIZE_MAX {
        match timeout(SILENCE_MAX, transport.fill()).await {
            Ok(Ok(1..)) => discarded += transport.forget(),
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_on_the_wire() {
        for (is_bodiless, ends_with) in [(false, "}"), (true, "\r\n\r\n")] {
            let text = String::from_utf8(wire(&Failure::NoTunnel.reply(), is_bodiless)).unwrap();
            assert!(text.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{text}");
            assert!(text.ends_with(ends_with), "{text}");
            let length = Failure::NoTunnel.reply().body.len();
            for line in [
                "Access-Control-Allow-Origin: *",
                "Content-Type: application/json",
                "Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS",
                &format!("Content-Length: {length}"),
                "Connection: close",
            ] {
                assert!(text.contains(&format!("\r\n{line}\r\n")), "{line} is not in {text}");
            }
        }
    }
}
