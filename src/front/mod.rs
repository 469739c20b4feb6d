//! What stands before Pingora's proxy on every connection of a client: it reads the head of each request, refuses what
//! must not go on, and hands everything else to the proxy, byte for byte.
//!
//! - [`Front`]: the application that a listener serves; HTTP/2 goes to the proxy as it is.
//! - `connection`: the life of an HTTP/1 connection, one request after the other.
//! - `decision`: what becomes of a request; pure.
//! - `head`: a request's head, cut into lines; pure.
//! - `fence`: where a request's body ends; pure.
//! - `transport`: the connection as Pingora's session gets it.
//! - `refusal`: how a client is told, and what is written down.
//!
//! Pingora waits for each single read of a head and never for the whole, keeps tens of kilobytes for an idle connection,
//! and answers what it cannot parse before any hook is asked. Here a head has one deadline, an idle connection costs no
//! buffer, and every refusal is a Matrix error with its line in the access log.
//!
//! Not here: any rule about a request (`answer`), and HTTP/2.

mod connection;
mod decision;
mod fence;
mod head;
mod refusal;
#[cfg(test)]
mod tests;
mod transport;

use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, ServerApp};
use pingora_core::protocols::{ALPN, Stream};
use pingora_core::server::ShutdownWatch;

use connection::Connection;
use transport::Transport;

use crate::listener::ClientTimes;

pub use refusal::{Journal, Refused};

/// The application of a listener: a proxy with the front before it.
pub struct Front<A> {
    proxy: Arc<A>,
    journal: Arc<dyn Journal>,
    times: ClientTimes,
}

impl<A> Front<A> {
    /// Puts the front before a proxy. What it refuses is written into the journal.
    pub fn new(proxy: A, journal: Arc<dyn Journal>, times: ClientTimes) -> Self {
        Front { proxy: Arc::new(proxy), journal, times }
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> ServerApp for Front<A> {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        if stream.selected_alpn_proto() == Some(ALPN::H2) {
            return ServerApp::process_new(&self.proxy, stream, shutdown).await;
        }
        let connection = Connection::new(Arc::clone(self), Transport::new(stream), shutdown.clone());
        // A task of its own: this one keeps the room that its handshake needed for as long as it lives.
        tokio::spawn(connection.serve());
        None
    }

    async fn cleanup(&self) {
        // The proxy learns from nobody else that the server stops.
        ServerApp::cleanup(&*self.proxy).await;
    }
}
