//! The end of a connection whose client still sends a body that nobody will read.
//!
//! To close it at once would be to lose the answer: the system meets bytes that come for a closed connection with a
//! reset, and a client that is told of a reset while it writes seldom reads what came before. So dendron first ends its
//! own side, which says that the answer is whole, and then throws away what comes, within bounds, until the client has
//! heard. That order helps even at a bound: Linux tells a writer whose peer had ended first of a broken pipe, and lets it
//! read what came before.
//!
//! An HTTP/2 stream has no such trouble with the system: a reset without an error may follow a whole answer (RFC 9113,
//! section 8.1). But there are clients (curl 7.88) that forget an answer when the reset comes with it, so they are given
//! the same time.

use std::time::Duration;

use pingora_proxy::Session;
use tokio::time::timeout;

/// How long a client may take to notice its answer, all in all.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(30);
/// How long it may be silent meanwhile. A client that waits for `100 Continue` sends nothing, and should close.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(5);
/// How much is thrown away. It costs no memory, and no more than an upload that is taken. It is for clients that look for
/// an answer only when they have sent everything, as Python's do; curl looks while it sends, and stops at once.
pub(crate) const SIZE_MAX: usize = 256 << 20;

/// Waits until the client has heard the answer that was just sent, or a bound is reached. Afterwards an HTTP/1
/// connection is of no more use.
pub(super) async fn until_heard(session: &mut Session) {
    if session.is_body_done() || session.finish_body().await.is_err() {
        return;
    }
    if !session.is_http2() {
        session.shutdown().await;
    }
    // Whichever bound it was, or the client's end: there is nothing left to do but close.
    let _ = timeout(TIME_MAX, discard(session)).await;
}

async fn discard(session: &mut Session) {
    let begun_at = session.body_bytes_read();
    while session.body_bytes_read() - begun_at < SIZE_MAX {
        // Pingora has no time limit of its own for this on HTTP/2.
        let read = timeout(SILENCE_MAX, session.downstream_session.read_request_body()).await;
        let Ok(Ok(Some(_))) = read else { return };
    }
}
