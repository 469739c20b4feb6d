//! Whether Pingora reads what the front hands on as the front has read it. For tests and for the fuzz target: nothing that
//! serves calls this.

use std::time::Duration;

use pingora_core::protocols::Stream;
use pingora_core::protocols::http::ServerSession;
use tokio::io::{AsyncWriteExt, duplex};

use super::decision::{Decision, decide};
use super::desk::Verdict;
use super::transport::Transport;

/// What became of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The front did not pass them.
    Kept,
    /// Pingora closed behind them.
    Closed,
    /// The connection could carry another request, which begins with these bytes.
    Next(Vec<u8>),
}

/// How the two can disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disagreement {
    /// Pingora does not take a head that has passed.
    #[error("Pingora does not take the head")]
    NotTaken,
    /// Pingora finds another head.
    #[error("Pingora finds another head")]
    OtherHead,
    /// Pingora has got bytes behind the request.
    #[error("Pingora got more than the request")]
    TooMuch,
    /// There is no room for so many bytes.
    #[error("the bytes cannot be played")]
    Unplayed,
}

/// Gives the bytes of a connection to the front, and to Pingora what passes as its first request.
///
/// # Errors
///
/// [`Disagreement`] where the two read them in different ways.
pub async fn play(bytes: &[u8]) -> Result<Outcome, Disagreement> {
    let (server, mut client) = duplex(bytes.len() + 4096);
    client.write_all(bytes).await.map_err(|_| Disagreement::Unplayed)?;
    drop(client);
    let mut transport = Transport::new(Box::new(server), Duration::ZERO);
    while transport.fill().await.is_ok_and(|count| count > 0) {}
    let Decision::Pass(passage, _) = decide::<()>(transport.received(), |_, _| Verdict::Pass(None)) else {
        return Ok(Outcome::Kept);
    };
    let head = transport.begin(passage.head_bytes, passage.fence, passage.may_switch);
    let raw = head.clone();
    let mut session = ServerSession::new_http1(Box::new(transport) as Stream);
    session.set_pipelined_prefix(head);
    if !matches!(session.read_request().await, Ok(true)) {
        return Err(Disagreement::NotTaken);
    }
    if session.as_http1().is_none_or(|session| session.get_headers_raw_bytes() != raw) {
        return Err(Disagreement::OtherHead);
    }
    session.set_keepalive(Some(60));
    while let Ok(Some(_)) = session.read_request_body().await {}
    let Ok(Some(reusable)) = session.finish().await else { return Ok(Outcome::Closed) };
    let (stream, prefix) = reusable.into_parts();
    if prefix.is_some() {
        return Err(Disagreement::TooMuch);
    }
    let transport = stream.into_any().downcast::<Transport>().map_err(|_| Disagreement::Unplayed)?;
    let is_reusable = transport.is_at_the_fence();
    Ok(if is_reusable { Outcome::Next(transport.received().to_vec()) } else { Outcome::Closed })
}
