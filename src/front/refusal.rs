//! How a client is told that its request is refused, so that it hears it, and what is written down of it.

use std::time::Duration;

use http::Method;
use http::request::Parts as RequestHead;
use pingora_core::protocols::Shutdown;
use pingora_core::protocols::http::date::get_cached_date;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

use super::decision::Refusal;
use super::desk::{Desk, Refused};
use super::transport::Transport;
use super::wire::{self, Manner};
use crate::proxy::linger::{SILENCE_MAX, SIZE_MAX, TIME_MAX};

/// Tells the client, which has some time to take the answer, and stays until it has heard.
pub(super) async fn refuse(
    transport: &mut Transport,
    desk: &impl Desk,
    time: Duration,
    begun: Instant,
    refusal: Refusal,
) {
    let Refusal { failure, head } = refusal;
    let head: Option<&RequestHead> = head.as_deref().map(|head| &**head);
    let reply = failure.reply();
    let is_bodiless = head.is_some_and(|head| head.method == Method::HEAD);
    let bytes = if is_bodiless { 0 } else { reply.body.len() };
    let manner = Manner { is_bodiless, is_last: true, date: get_cached_date() };
    transport.put(|bytes| wire::write(bytes, &reply, &manner));
    let sent = timeout(time, transport.flush()).await;
    let sent = matches!(sent, Ok(Ok(()))).then_some(bytes);
    desk.refused(Refused { begun: begun.into_std(), peer: transport.peer().address, head, failure, sent });
    if sent.is_some() {
        until_heard(transport).await;
    }
}

/// Stays until the client has heard the last answer, which is on its way.
pub(super) async fn until_heard(transport: &mut Transport) {
    // Whichever bound it was, or the client's end: there is nothing left to do but close.
    let _ = timeout(TIME_MAX, discard(transport)).await;
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
