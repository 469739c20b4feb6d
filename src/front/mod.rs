//! What stands before Pingora's proxy on every connection of a client: it reads the head of each request, answers or
//! holds what the head alone decides, refuses what must not go on, asks plain questions of their process, and hands
//! everything else to the proxy, byte for byte.
//!
//! - [`Front`]: the application that a listener serves.
//! - `connection`: the life of an HTTP/1 connection, one request after the other, and how one waits.
//! - `http2`: the life of an HTTP/2 connection, and of each request on it.
//! - `decision`: what becomes of a request; pure.
//! - `head`: a request's head, cut into lines; pure.
//! - `fence`: where a request's body ends; pure.
//! - `transport`: the connection as Pingora's session gets it.
//! - `socket`: below it, what is sent and when.
//! - [`desk`]: whom it asks for answers, and tells what became of requests.
//! - `asking`: a question that is asked of its process, up to the head of the answer.
//! - `relay`: the same with all of the answer, over HTTP/1.
//! - `answer`: the head of such an answer; pure.
//! - `outbox`: answers that are on their way.
//! - `refusal`: how a client is told that its request is refused.
//! - `wire`: an answer as it is sent; pure.
//! - [`agreement`]: whether Pingora reads what passes in the same way; for tests.
//!
//! Pingora waits for each single read of a head and never for the whole, keeps tens of kilobytes for an idle connection,
//! and answers what it cannot parse before any hook is asked. Here a head has one deadline, an idle connection costs no
//! buffer, and every refusal is a Matrix error with its line in the access log.
//!
//! Not here: any rule about a request (the crate's `answer`, which the filters ask as well), and HTTP/2's own rules, which
//! are the h2 crate's and Pingora's.

pub mod agreement;
mod answer;
mod asking;
mod connection;
mod decision;
pub mod desk;
mod fence;
mod head;
mod http2;
mod outbox;
mod refusal;
mod relay;
mod socket;
#[cfg(test)]
mod tests;
mod transport;
mod wire;

use std::num::NonZeroU32;
use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, ServerApp};
use pingora_core::protocols::{ALPN, Stream};
use pingora_core::server::ShutdownWatch;

use tokio::sync::Semaphore;

use connection::Connection;
use transport::Transport;

use crate::listener::ClientTimes;

pub use desk::Desk;

/// How many requests that have waited may begin with the proxy at once. In a storm of wakes the others wait here, where
/// each costs a tenth of what it costs there.
const WOKEN_MAX: usize = 1024;

/// The application of a listener: a proxy with the front before it.
pub struct Front<A, D> {
    proxy: Arc<A>,
    desk: D,
    times: ClientTimes,
    /// The most requests of a connection.
    requests: NonZeroU32,
    /// How many requests that have waited may begin with the proxy at once.
    woken: Arc<Semaphore>,
}

impl<A, D> Front<A, D> {
    /// Puts the front before a proxy. A connection ends with the last of so many requests.
    pub fn new(proxy: A, desk: D, times: ClientTimes, requests: NonZeroU32) -> Self {
        Front { proxy: Arc::new(proxy), desk, times, requests, woken: Arc::new(Semaphore::new(WOKEN_MAX)) }
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static, D: Desk> ServerApp for Front<A, D> {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let (front, shutdown) = (Arc::clone(self), shutdown.clone());
        // A task of its own: this one keeps the room that its handshake needed for as long as it lives.
        if stream.selected_alpn_proto() == Some(ALPN::H2) {
            tokio::spawn(http2::serve(front, stream, shutdown));
        } else {
            let transport = Transport::new(stream, self.times.silence);
            tokio::spawn(Connection::new(front, transport, shutdown).serve());
        }
        None
    }

    async fn cleanup(&self) {
        // The proxy learns from nobody else that the server stops.
        ServerApp::cleanup(&*self.proxy).await;
    }
}
