//! Dendron inside somebody else's Pingora server: `embed DENDRON.YAML EDGE-HOST:PORT METRICS-HOST:PORT`.
//!
//! The server below is yours: it has a service of its own, and any others that you add. Dendron brings two things to it:
//! its `ProxyHttp`, which Pingora serves like every other, and the background services that the proxy needs (the health
//! checks of Synapse's processes). Pools, timeouts, trusted proxies and the access log are read from the configuration;
//! its `listeners:`, `admin:` and `supervise:` are not used here, because whoever owns the server opens its ports.

use std::error::Error;
use std::path::PathBuf;

use async_trait::async_trait;
use dendron::answer::Offer;
use dendron::config::{self, Source};
use dendron::server::Dendron;
use http::Response;
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::Server;
use pingora_core::services::listening::Service;

/// Something of the server's own, beside dendron.
struct Metrics(Dendron);

#[async_trait]
impl ServeHttp for Metrics {
    async fn response(&self, _session: &mut ServerSession) -> Response<Vec<u8>> {
        // Dendron's metrics can be shown wherever the server shows its own.
        Response::new(self.0.metrics().text().unwrap_or_default())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, edge_address, own_address] = arguments.as_slice() else {
        return Err("usage: embed DENDRON.YAML EDGE-HOST:PORT METRICS-HOST:PORT".into());
    };
    let (config, warnings) = config::load(&Source::File(PathBuf::from(file)))?;
    eprint!("{warnings}");
    let dendron = Dendron::build(&config)?;

    let mut server = Server::new(None)?;
    server.bootstrap();
    // `Offer::default()` is the public API: Synapse's admin API is answered as if it did not exist.
    let mut edge = pingora_proxy::http_proxy_service(&server.configuration, dendron.edge(Offer::default()));
    edge.add_tcp(edge_address);
    server.add_service(edge);
    server.add_services(dendron.background_services());

    let mut own = Service::new("metrics".to_owned(), Metrics(dendron));
    own.add_tcp(own_address);
    server.add_service(own);
    server.run_forever()
}
