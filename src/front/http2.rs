//! The life of an HTTP/2 connection: its requests are accepted one after the other, and served side by side.
//!
//! - `stream`: the life of one request.
//! - `question`: what is plain about it.
//!
//! The protocol is spoken by the h2 crate, and Pingora refuses what must not pass, before a request comes here.

mod question;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::http::v2::server::{H2Accept, HttpSession, handshake};
use pingora_core::protocols::{Digest, Stream};
use pingora_core::server::ShutdownWatch;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::Front;
use super::connection::stopped;
use super::desk::Desk;
use crate::proxy::relay::Peer;
use stream::Request;

/// The most requests of a connection that are being served, those included whose client has given them up and which have
/// not ended yet. The h2 crate has a bound for the others.
const STREAMS_MAX: u32 = 1024;
/// With so many requests that break HTTP/2's rules a connection ends.
const REJECTED_MAX: usize = 32;

/// Serves a connection to its end.
pub(super) async fn serve<A, D>(front: Arc<Front<A, D>>, stream: Stream, mut shutdown: ShutdownWatch)
where
    A: HttpServerApp + Send + Sync + 'static,
    D: Desk,
{
    let digest = Arc::new(digest(&stream));
    let begun = Box::pin(timeout(front.times.silence, handshake(stream, front.proxy.h2_options()))).await;
    let Ok(Ok(mut connection)) = begun else { return };
    let serving = Arc::new(Semaphore::new(STREAMS_MAX as usize));
    let (mut rejected, mut is_ending) = (0, false);
    while rejected < REJECTED_MAX {
        // Whatever it waits for, this is what moves the connection on.
        let accepted = tokio::select! {
            biased;
            () = stopped(&mut shutdown), if !is_ending => {
                connection.graceful_shutdown();
                is_ending = true;
                continue;
            }
            accepted = HttpSession::from_h2_conn(&mut connection, Arc::clone(&digest)) => accepted,
            () = idle(&serving, front.times.idle), if !is_ending => return,
        };
        match accepted {
            Ok(Some(H2Accept::Session(session))) => {
                let mut request = Request::new(Arc::clone(&front), session, peer(&digest), shutdown.clone());
                match Arc::clone(&serving).try_acquire_owned() {
                    Ok(place) => drop(tokio::spawn(request.serve(place))),
                    Err(_) => request.reject(),
                }
            }
            Ok(Some(H2Accept::Rejected)) => rejected += 1,
            Ok(None) | Err(_) => return,
        }
    }
}

/// What is known of the connection itself.
fn digest(stream: &Stream) -> Digest {
    Digest {
        ssl_digest: stream.get_ssl_digest(),
        timing_digest: stream.get_timing_digest(),
        proxy_digest: stream.get_proxy_digest(),
        socket_digest: stream.get_socket_digest(),
    }
}

fn peer(digest: &Digest) -> Peer {
    let socket = digest.socket_digest.as_ref();
    let address = socket.and_then(|socket| Some(socket.peer_addr()?.as_inet()?.ip()));
    Peer { address, is_encrypted: digest.ssl_digest.is_some() }
}

/// Waits until the connection has had no request for so long.
async fn idle(serving: &Semaphore, time: Duration) {
    let _all = serving.acquire_many(STREAMS_MAX).await;
    sleep(time).await;
}
