//! The Matrix Authentication Service: where it is, and whether that fits what Synapse's files say.
//!
//! Synapse names an address for its own way to the service (`matrix_authentication_service.endpoint`, in its
//! `config/mas.py`). That is also dendron's, if it is plain HTTP and nothing but a host and a port; else
//! `pools.authentication` in dendron.yaml has to say it.

use std::net::{IpAddr, Ipv4Addr};

use http::Uri;

use super::check::{own_addresses, socket};
use super::homeserver::DelegatedAuth;
use super::key_path::KeyPath;
use super::listener::overlap;
use super::problem::{Places, Problems};
use super::settings::Settings;
use super::{Config, Homeserver};
use crate::route::rules::AUTHENTICATION;
use crate::upstream::{Address, BackendSettings};

/// The service as a backend, if homeserver.yaml has an address that dendron can send to.
pub(super) fn backend(delegated: &DelegatedAuth) -> Option<BackendSettings> {
    let address = address(delegated.endpoint.as_deref()?)?;
    Some(BackendSettings { name: address.to_string(), address })
}

/// A path in front would have to be put in front of every request's own, which is forwarded as it is.
fn address(endpoint: &str) -> Option<Address> {
    let uri: Uri = endpoint.parse().ok()?;
    let has_more = uri.path() != "/" || uri.query().is_some() || uri.authority()?.as_str().contains('@');
    if has_more || uri.scheme_str() != Some("http") {
        return None;
    }
    format!("{}:{}", uri.host()?, uri.port_u16().unwrap_or(80)).parse().ok()
}

/// Checks the service against everything else; `homeserver` tells where homeserver.yaml's keys stand.
pub(super) fn check(
    config: &Config,
    settings: &Settings,
    dendron: &dyn Places,
    homeserver: Option<&dyn Places>,
    problems: &mut Problems,
) {
    let key = KeyPath::root().key("pools").key(AUTHENTICATION);
    if let Some(own) = loops(config) {
        problems
            .error(dendron.place(&key), format!("dendron itself listens at {own}: name the service's address here"));
    }
    let (Some(facts), Some(places)) = (&config.homeserver, homeserver) else { return };
    match (&facts.delegated_auth, config.pool(AUTHENTICATION)) {
        (Some(delegated), None) if !settings.pools.contains_key(AUTHENTICATION) => {
            let message = "dendron has no address of the Matrix Authentication Service, so login, logout and refresh go \
                           to Synapse, which knows nothing of them: write pools.authentication in dendron.yaml (an \
                           empty list, if they never come to dendron)";
            problems.warning(places.place(&switch(delegated)), message);
        }
        (None, Some(_)) => {
            let message = "login, logout and refresh would go there, but Synapse would not know the tokens: \
                           homeserver.yaml has no matrix_authentication_service that is enabled";
            problems.error(dendron.place(&key), message);
        }
        _ => {}
    }
}

/// The key that gives logins away.
fn switch(delegated: &DelegatedAuth) -> KeyPath {
    match delegated.endpoint {
        Some(_) => KeyPath::root().key("matrix_authentication_service"),
        None => KeyPath::root().key("experimental_features").key("msc3861"),
    }
}

/// The address of dendron's own that is taken for the service's: requests would go round for ever. It is easily so,
/// because the service's default port is also dendron's.
fn loops(config: &Config) -> Option<Address> {
    let backends = &config.pool(AUTHENTICATION)?.backends;
    let is_one = |own: &Address| backends.iter().any(|backend| is_at(&backend.address, own));
    own_addresses(config).into_iter().map(|(own, _)| own).find(is_one)
}

fn is_at(backend: &Address, own: &Address) -> bool {
    match (backend, socket(own)) {
        (Address::Tcp { host, port }, Some(own)) => {
            let ip = if host == "localhost" { Some(IpAddr::V4(Ipv4Addr::LOCALHOST)) } else { host.parse().ok() };
            *port == own.port() && ip.is_some_and(|ip| overlap(ip, own.ip()))
        }
        _ => backend == own,
    }
}

/// Whether an address that is written for the service's is one of Synapse's.
pub(super) fn is_synapses(address: &Address, homeserver: Option<&Homeserver>) -> bool {
    homeserver.is_some_and(|homeserver| homeserver.at(address).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_address_if_requests_can_go_there_as_they_are() {
        for (endpoint, expected) in [
            ("http://localhost:8080/", Some("localhost:8080")),
            ("http://localhost:8080", Some("localhost:8080")),
            ("HTTP://mas.example", Some("mas.example:80")),
            ("http://[::1]:8080/", Some("[::1]:8080")),
            ("http://192.0.2.1/", Some("192.0.2.1:80")),
            ("https://auth.example.org/", None),
            ("http://auth.example.org/mas/", None),
            ("http://auth.example.org/?x", None),
            ("http://user:hunter2@auth.example.org/", None),
            ("unix:/run/mas.sock", None),
            ("localhost:8080", None),
            ("/", None),
            ("", None),
        ] {
            let backend = backend(&DelegatedAuth { endpoint: Some(endpoint.to_owned()) });
            assert_eq!(backend.map(|backend| backend.address.to_string()).as_deref(), expected, "{endpoint}");
        }
        assert_eq!(backend(&DelegatedAuth { endpoint: None }), None);
    }
}
