//! A listener of a Synapse process: where it is, and what it serves.
//!
//! Source: `parse_listener_def` in Synapse's `config/server.py`, with its defaults: a TCP listener does not believe
//! `X-Forwarded-For` unless told so, a unix socket does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_yaml::Value;

use super::key_path::KeyPath;
use super::nearest::hint;
use super::problem::{Place, Places, Problems};
use super::read::read;
use super::synapse_file::Under;
use crate::upstream::Address;

/// One listener of a Synapse process.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// What it binds.
    pub bind: Bind,
    /// What it speaks.
    pub kind: ListenerKind,
    /// Whether it speaks TLS itself, which dendron does not speak to Synapse.
    pub tls: bool,
    /// Whether it believes `X-Forwarded-For`.
    pub x_forwarded: bool,
    /// What it serves.
    pub resources: BTreeSet<Resource>,
    /// Paths that modules serve on it.
    pub additional_resources: Vec<String>,
    /// The header from which it takes its request ids.
    pub request_id_header: Option<String>,
    /// Where it is configured.
    pub place: Place,
}

/// What a listener binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    /// A port on some of the machine's addresses.
    Tcp {
        /// The addresses, as configured or by default.
        addresses: Vec<String>,
        /// The port.
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    /// HTTP with resources.
    Http,
    /// Prometheus' metrics.
    Metrics,
    /// A Python shell: never for others.
    Manhole,
}

/// A resource of an HTTP listener (`KNOWN_RESOURCES` in Synapse's `config/server.py`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// The client API; with it `/_synapse/client`, `/_synapse/admin`, `/_synapse/mas` and `/.well-known`.
    Client,
    /// Consent pages.
    Consent,
    /// The federation API and the server's keys.
    Federation,
    /// `/health`, which every HTTP listener serves anyway.
    Health,
    /// The server's keys.
    Keys,
    /// The media repository, where it is enabled.
    Media,
    /// Metrics on an HTTP listener.
    Metrics,
    /// The federation API's OpenID part.
    Openid,
    /// What Synapse's processes tell each other: never for others.
    Replication,
    /// The static page.
    Static,
}

impl Resource {
    const NAMES: [(&'static str, Resource); 10] = [
        ("client", Resource::Client),
        ("consent", Resource::Consent),
        ("federation", Resource::Federation),
        ("health", Resource::Health),
        ("keys", Resource::Keys),
        ("media", Resource::Media),
        ("metrics", Resource::Metrics),
        ("openid", Resource::Openid),
        ("replication", Resource::Replication),
        ("static", Resource::Static),
    ];
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawListener {
    r#type: Option<String>,
    port: Option<u16>,
    path: Option<PathBuf>,
    bind_address: Option<String>,
    bind_addresses: Vec<String>,
    tls: bool,
    x_forwarded: Option<bool>,
    resources: Vec<RawResource>,
    additional_resources: BTreeMap<String, IgnoredAny>,
    request_id_header: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawResource {
    names: Vec<String>,
}

/// Reads `listeners` or `worker_listeners` out of a file.
pub(super) fn listeners(root: &Value, key: &str, places: &dyn Places, problems: &mut Problems) -> Vec<Listener> {
    let above = KeyPath::root().key(key);
    let items = match root.get(key) {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Sequence(items)) => items,
        Some(_) => {
            problems.error(places.place(&above), "expected a list");
            return Vec::new();
        }
    };
    let listener = |(number, item): (usize, &Value)| {
        let under = Under { places, above: above.index(number) };
        let raw: RawListener = read(item, &under, problems)?;
        raw.check(item, &under, problems)
    };
    items.iter().enumerate().filter_map(listener).collect()
}

// === impl RawListener ===

impl RawListener {
    /// `None` for a listener that Synapse itself would refuse. A key of a wrong type is told already, so that only
    /// what is truly absent in `item` is told here.
    fn check(self, item: &Value, places: &Under<'_>, problems: &mut Problems) -> Option<Listener> {
        let root = KeyPath::root();
        let kind = self.kind(item, places, problems)?;
        let bind = match (self.port, self.path) {
            (Some(_), Some(_)) => {
                problems.error(places.place(&root), "expected either port or path, found both");
                return None;
            }
            (Some(port), None) => {
                let mut addresses = self.bind_addresses;
                addresses.extend(self.bind_address.filter(|address| !address.is_empty()));
                if addresses.is_empty() && kind == ListenerKind::Metrics {
                    addresses.push("0.0.0.0".to_owned());
                } else if addresses.is_empty() {
                    addresses.extend(["::".to_owned(), "0.0.0.0".to_owned()]);
                }
                Bind::Tcp { addresses, port }
            }
            (None, Some(path)) if path.is_absolute() => Bind::Unix(path),
            (None, Some(_)) => {
                let message = "expected an absolute path: a relative one depends on where Synapse was started";
                problems.error(places.place(&root.key("path")), message);
                return None;
            }
            (None, None) => {
                if item.get("port").is_none() && item.get("path").is_none() {
                    problems.error(places.place(&root), "expected a port or a path");
                }
                return None;
            }
        };
        let unix = matches!(bind, Bind::Unix(_));
        Some(Listener {
            kind,
            tls: self.tls && !unix,
            x_forwarded: self.x_forwarded.unwrap_or(unix),
            resources: resources(&self.resources, places, problems),
            additional_resources: self.additional_resources.into_keys().collect(),
            request_id_header: self.request_id_header,
            place: places.place(&root),
            bind,
        })
    }

    fn kind(&self, item: &Value, places: &Under<'_>, problems: &mut Problems) -> Option<ListenerKind> {
        match self.r#type.as_deref() {
            Some("http") => Some(ListenerKind::Http),
            Some("metrics") => Some(ListenerKind::Metrics),
            Some("manhole") => Some(ListenerKind::Manhole),
            Some(_) => {
                problems.error(places.place(&KeyPath::root().key("type")), "expected http, metrics or manhole");
                None
            }
            None => {
                if item.get("type").is_none() {
                    problems.error(places.place(&KeyPath::root().key("type")), "missing");
                }
                None
            }
        }
    }
}

fn resources(raw: &[RawResource], places: &Under<'_>, problems: &mut Problems) -> BTreeSet<Resource> {
    let mut resources = BTreeSet::new();
    for (group, raw) in raw.iter().enumerate() {
        for (number, name) in raw.names.iter().enumerate() {
            match Resource::NAMES.iter().find(|(known, _)| known == name) {
                Some((_, resource)) => {
                    resources.insert(*resource);
                }
                None => {
                    let key = KeyPath::root().key("resources").index(group).key("names").index(number);
                    let hint = hint(name, Resource::NAMES.iter().map(|(known, _)| *known));
                    problems.error(places.place(&key), format!("unknown resource {name}; {hint}"));
                }
            }
        }
    }
    resources
}

// === impl Listener ===

impl Listener {
    /// Whether dendron can speak to it at all: HTTP without TLS.
    pub fn speaks_http(&self) -> bool {
        self.kind == ListenerKind::Http && !self.tls
    }

    /// Whether it serves `resource` in a way that dendron can use.
    pub fn serves(&self, resource: Resource) -> bool {
        self.speaks_http() && self.resources.contains(&resource)
    }

    /// Whether it is a unix socket.
    pub fn is_unix(&self) -> bool {
        matches!(self.bind, Bind::Unix(_))
    }

    /// The address under which it is reached from the same machine.
    pub fn address(&self) -> Address {
        let (addresses, port) = match &self.bind {
            Bind::Unix(path) => return Address::Unix(path.clone()),
            Bind::Tcp { addresses, port } => (addresses, *port),
        };
        let has = |candidates: [&str; 3]| addresses.iter().any(|address| candidates.contains(&address.as_str()));
        let host = if has(["0.0.0.0", "127.0.0.1", "localhost"]) {
            "127.0.0.1".to_owned()
        } else if has(["::", "::1", "0:0:0:0:0:0:0:0"]) {
            "::1".to_owned()
        } else {
            addresses.first().cloned().unwrap_or_default()
        };
        Address::Tcp { host, port }
    }

    /// Whether somebody on another machine could reach it.
    pub fn is_exposed(&self) -> bool {
        match &self.bind {
            Bind::Unix(_) => false,
            Bind::Tcp { addresses, .. } => addresses.iter().any(|address| {
                address != "localhost" && !address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }),
        }
    }

    /// Whether it takes the TCP socket `host`:`port`, or a wildcard among them takes it.
    pub(super) fn takes(&self, host: IpAddr, port: u16) -> bool {
        match &self.bind {
            Bind::Tcp { addresses, port: own } if *own == port => {
                addresses.iter().any(|address| overlap(bound_address(address), host))
            }
            _ => false,
        }
    }
}

fn bound_address(address: &str) -> IpAddr {
    match address {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        address => address.parse().unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    }
}

/// Whether two sockets on these addresses and one port are in each other's way. A wildcard of IPv6 is taken to be one
/// of IPv4, too, as Linux has it by default.
pub(super) fn overlap(left: IpAddr, right: IpAddr) -> bool {
    let wildcard = |wildcard: IpAddr, other: IpAddr| match wildcard {
        IpAddr::V4(_) => wildcard.is_unspecified() && other.is_ipv4(),
        IpAddr::V6(_) => wildcard.is_unspecified(),
    };
    left == right || wildcard(left, right) || wildcard(right, left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(addresses: &[&str]) -> Listener {
        Listener {
            bind: Bind::Tcp { addresses: addresses.iter().map(ToString::to_string).collect(), port: 8008 },
            kind: ListenerKind::Http,
            tls: false,
            x_forwarded: true,
            resources: BTreeSet::new(),
            additional_resources: Vec::new(),
            request_id_header: None,
            place: Place::file("f".as_ref()),
        }
    }

    #[test]
    fn a_listener_is_reached_at_an_address_that_it_binds() {
        let table: [(&[&str], &str, bool); 7] = [
            (&["::", "0.0.0.0"], "127.0.0.1:8008", true),
            (&["::1", "127.0.0.1"], "127.0.0.1:8008", false),
            (&["localhost"], "127.0.0.1:8008", false),
            (&["::"], "[::1]:8008", true),
            (&["::1"], "[::1]:8008", false),
            (&["10.0.0.5"], "10.0.0.5:8008", true),
            (&["10.0.0.5", "127.0.0.1"], "127.0.0.1:8008", true),
        ];
        for (addresses, reached, exposed) in table {
            let listener = listener(addresses);
            assert_eq!(listener.address().to_string(), reached, "{addresses:?}");
            assert_eq!(listener.is_exposed(), exposed, "{addresses:?}");
        }
    }

    #[test]
    fn a_wildcard_takes_every_address_of_its_port() {
        let table = [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("127.0.0.1", "0.0.0.0", true),
            ("0.0.0.0", "127.0.0.1", true),
            ("0.0.0.0", "::1", false),
            ("::", "127.0.0.1", true),
            ("::1", "127.0.0.1", false),
        ];
        for (bound, other, taken) in table {
            let other: IpAddr = other.parse().expect("an address");
            assert_eq!(listener(&[bound]).takes(other, 8008), taken, "{bound} {other}");
            assert!(!listener(&[bound]).takes(other, 8009), "{bound} {other}");
        }
    }
}
