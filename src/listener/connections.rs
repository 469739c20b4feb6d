//! Counts the connections of a listener's clients.

use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::apps::ServerApp;
use pingora_core::protocols::Stream;
use pingora_core::server::ShutdownWatch;
use prometheus::{IntCounter, IntGauge};

/// An application whose connections are counted while they are served.
pub struct Counted<A> {
    application: Arc<A>,
    open: IntGauge,
    accepted: IntCounter,
}

impl<A> Counted<A> {
    /// Counts the connections of an application.
    pub fn new(application: A, open: IntGauge, accepted: IntCounter) -> Self {
        Counted { application: Arc::new(application), open, accepted }
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for Counted<A> {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let _open = Open::enter(&self.open);
        self.accepted.inc();
        let mut stream = Some(stream);
        // A stream that comes back wants to be served again, for the next request of a connection that is kept alive.
        while let Some(served) = stream {
            stream = self.application.process_new(served, shutdown).await;
        }
        None
    }

    async fn cleanup(&self) {
        self.application.cleanup().await;
    }
}

/// One open connection; dropped with it, however it ends.
struct Open<'gauge>(&'gauge IntGauge);

impl<'gauge> Open<'gauge> {
    fn enter(gauge: &'gauge IntGauge) -> Self {
        gauge.inc();
        Open(gauge)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
