//! The services that clients connect to: the proxy, the front before it, and the places of connections.

use std::collections::BTreeMap;
use std::sync::Arc;

use pingora_core::apps::{HttpServerOptions, ServerApp};
use pingora_core::listeners::ListenerConfig;
use pingora_core::server::configuration::ServerConf;
use pingora_core::services::ServiceWithDependents;
use pingora_core::services::listening::Service;
use pingora_proxy::http_proxy;

use super::{CertificatesByAddress, Dendron, StartError};
use crate::answer::Offer;
use crate::config::Config;
use crate::front::Front;
use crate::listener::{Budget, ConnectionMetrics, Counted, Door, Encrypted, Listener, ListenerError, Places};
use crate::observe::Metrics;

/// What the listeners of one service have in common: their offer, and whether a PROXY header comes first.
pub(super) type Kind = (Offer, bool);

pub(super) fn kind(listener: &Listener) -> Kind {
    (listener.offer, listener.proxy_protocol)
}

/// One service for all listeners of a kind: a service has threads of its own, so there should be few.
pub(super) fn services(
    dendron: &Dendron,
    config: &Config,
    certificates: &CertificatesByAddress,
    budget: Budget,
    conf: &Arc<ServerConf>,
) -> Result<Vec<Box<dyn ServiceWithDependents>>, StartError> {
    let mut by_kind: BTreeMap<Kind, Vec<&Listener>> = BTreeMap::new();
    for listener in &config.listeners {
        by_kind.entry(kind(listener)).or_default().push(listener);
    }
    let places = places(dendron.metrics(), budget);
    let services = by_kind.into_iter().map(|((offer, proxy_protocol), listeners)| {
        let edge = dendron.edge(offer);
        let desk = edge.clone();
        let mut proxy = http_proxy(conf, if config.front { edge.fronted() } else { edge });
        proxy.server_options = Some(server_options(config));
        let door = Door::new(Arc::clone(&places), proxy_protocol);
        let encrypted = encrypted(dendron, config, &listeners, certificates)?;
        let endpoints = listeners.into_iter().map(|listener| listener.endpoint(!config.front)).collect();
        let runtimes = dendron.runtimes.clone();
        if config.front {
            let front = Front::new(proxy, desk, config.client_times, config.connection_requests);
            Ok(edge_service(Counted::new(front, door, encrypted, runtimes), &places, endpoints))
        } else {
            Ok(edge_service(Counted::new(proxy, door, encrypted, runtimes), &places, endpoints))
        }
    });
    services.collect()
}

/// How Pingora serves connections.
fn server_options(config: &Config) -> HttpServerOptions {
    let mut options = HttpServerOptions::default();
    options.h2_idle_timeout = Some(config.client_times.idle);
    // The front tells which connections these are. Pingora itself would wait for the end of a shorter request.
    options.h2c = config.front;
    // Pingora counts how often a connection is used again.
    options.keepalive_request_limit = Some(config.connection_requests.get() - 1);
    // Pingora would refuse tunnels with a bare status; so they come to the filter, which refuses them in Matrix's words.
    options.allow_connect_method_proxying = true;
    options
}

/// Those of some listeners that have certificates.
fn encrypted(
    dendron: &Dendron,
    config: &Config,
    listeners: &[&Listener],
    certificates: &CertificatesByAddress,
) -> Result<Encrypted, ListenerError> {
    let mut encrypted = Encrypted::default();
    for (address, own) in certificates {
        if listeners.iter().any(|listener| listener.address == *address) {
            encrypted.add(address, own, config.client_times.head, dendron.metrics().handshakes_failed.clone())?;
        }
    }
    Ok(encrypted)
}

/// The service of an application whose connections have a place each.
fn edge_service(
    application: Counted<impl ServerApp + Send + Sync + 'static>,
    places: &Arc<Places>,
    endpoints: Vec<ListenerConfig>,
) -> Box<dyn ServiceWithDependents> {
    let mut service = Service::new("edge".to_owned(), application);
    service.set_connection_filter(Arc::clone(places) as Arc<_>);
    for endpoint in endpoints {
        service.add_listener(endpoint);
    }
    Box::new(service)
}

/// The places of all clients.
fn places(metrics: &Metrics, budget: Budget) -> Arc<Places> {
    metrics.connections_limit.set(i64::try_from(budget.connections).unwrap_or(i64::MAX));
    let counts = ConnectionMetrics {
        open: metrics.connections.clone(),
        accepted: metrics.connections_accepted.clone(),
        refused: metrics.connections_refused.clone(),
    };
    Arc::new(Places::new(budget.connections, budget.waiting, counts))
}
