//! `connections:` and one of `listeners:` in dendron.yaml, as an administrator writes them, and what becomes of them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

use super::{CertificateFiles, Listener};
use crate::answer::Offer;
use crate::upstream::Address;

/// How many clients may be connected.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionSettings {
    /// The most connections of clients at once, where that is fewer than the limit of open files allows.
    pub max: Option<NonZeroU32>,
    /// The most requests of an HTTP/1 connection. It ends with the answer to the last of them.
    pub requests: NonZeroU32,
}

/// One listener of dendron's.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct ListenerSettings {
    /// Where it listens.
    #[serde(deserialize_with = "address")]
    pub address: Address,
    /// Its certificates; several are told apart by the server name that the client asks for. None means plain HTTP.
    #[serde(default)]
    pub tls: TlsSettings,
    /// Whether every connection begins with a PROXY header, version 1 or 2, which names its client.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// What is opened here that is closed by default.
    #[serde(default)]
    pub serve: Vec<Private>,
    /// Who may connect to the unix socket.
    #[serde(default)]
    pub mode: SocketMode,
}

/// No, one or several certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings(pub Vec<CertificateFiles>);

/// A part of Synapse's API that strangers must not reach, and that a listener opens only if it says so.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Private {
    /// `/_synapse/admin`.
    Admin,
    /// `/_synapse/mas`, which the Matrix Authentication Service calls.
    Mas,
}

/// A unix socket's permission bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketMode(pub u32);

impl ListenerSettings {
    /// A listener about which nothing but its address is said.
    pub fn at(address: Address) -> Self {
        ListenerSettings {
            address,
            tls: TlsSettings::default(),
            proxy_protocol: false,
            serve: Vec::new(),
            mode: SocketMode::default(),
        }
    }
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        ConnectionSettings { max: None, requests: const { NonZeroU32::new(10_000).unwrap() } }
    }
}

impl Default for SocketMode {
    fn default() -> Self {
        SocketMode(0o660)
    }
}

impl From<&ListenerSettings> for Listener {
    fn from(settings: &ListenerSettings) -> Self {
        let serves = |part| settings.serve.contains(&part);
        Listener {
            address: settings.address.clone(),
            certificates: settings.tls.0.clone(),
            proxy_protocol: settings.proxy_protocol,
            offer: Offer { admin: serves(Private::Admin), mas: serves(Private::Mas) },
            mode: settings.mode.0,
        }
    }
}

/// Reads where dendron listens: `HOST:PORT` with an IP address or `localhost`, or `unix:/PATH`. Unlike a process that
/// is only sent requests, a listener has no use for a host name: what it binds would change with the name.
///
/// # Errors
///
/// When the value is no such text.
pub fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Address, D::Error> {
    parse_address(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn parse_address(text: &str) -> Result<Address, String> {
    let expected = "expected an IP address and a port, such as 127.0.0.1:8080 or [::]:443, or unix:/PATH";
    if text.contains("://") && !text.starts_with("unix:") {
        return Err(format!("{expected}, without a scheme"));
    }
    match text.parse() {
        Ok(Address::Tcp { host, port }) => match host.parse::<IpAddr>() {
            Ok(ip) => Ok(Address::Tcp { host: ip.to_string(), port }),
            Err(_) if host == "localhost" => Ok(Address::Tcp { host: Ipv4Addr::LOCALHOST.to_string(), port }),
            Err(_) => Err(format!("{expected}, found the host name {host}")),
        },
        Ok(socket) => Ok(socket),
        Err(_) => Err(expected.to_owned()),
    }
}

impl<'de> Deserialize<'de> for SocketMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ModeVisitor)
    }
}

impl<'de> Deserialize<'de> for TlsSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TlsVisitor)
    }
}

struct ModeVisitor;

impl Visitor<'_> for ModeVisitor {
    type Value = SocketMode;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an octal number in quotes, such as \"0660\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<SocketMode, E> {
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
        mode.map(SocketMode).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

struct TlsVisitor;

impl<'de> Visitor<'de> for TlsVisitor {
    type Value = TlsSettings;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("{certificate: FILE, key: FILE}, or a list of such")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TlsSettings, A::Error> {
        let files = CertificateFiles::deserialize(MapAccessDeserializer::new(map))?;
        Ok(TlsSettings(vec![files]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<TlsSettings, A::Error> {
        let mut certificates = Vec::new();
        while let Some(files) = list.next_element()? {
            certificates.push(files);
        }
        Ok(TlsSettings(certificates))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_at_an_ip_address_or_a_socket() {
        let table = [
            ("127.0.0.1:8080", Ok("127.0.0.1:8080")),
            ("localhost:8080", Ok("127.0.0.1:8080")),
            ("[::]:443", Ok("[::]:443")),
            ("[0:0:0:0:0:0:0:1]:443", Ok("[::1]:443")),
            ("unix:/run/dendron.sock", Ok("unix:/run/dendron.sock")),
            ("unix:///run/dendron.sock", Ok("unix:/run/dendron.sock")),
            ("http://127.0.0.1:8080", Err(", without a scheme")),
            ("example.org:443", Err(", found the host name example.org")),
            ("unix:dendron.sock", Err("or unix:/PATH")),
            ("127.0.0.1", Err("or unix:/PATH")),
            ("127.0.0.1:0", Err("or unix:/PATH")),
        ];
        for (text, expected) in table {
            match (parse_address(text), expected) {
                (Ok(address), Ok(expected)) => assert_eq!(address.to_string(), expected, "{text}"),
                (Err(message), Err(end)) => assert!(message.ends_with(end), "{text}: {message}"),
                (outcome, _) => panic!("{text}: {outcome:?}"),
            }
        }
    }

    #[test]
    fn a_listener_opens_what_its_settings_say() {
        let nothing = Listener::from(&ListenerSettings::at("127.0.0.1:80".parse().unwrap()));
        assert_eq!((nothing.offer, nothing.mode, nothing.certificates.len()), (Offer::default(), 0o660, 0));
        let yaml =
            "{address: 'unix:/s', serve: [mas], mode: '0600', proxy_protocol: true, tls: {certificate: /c, key: /k}}";
        let listener = Listener::from(&serde_yaml::from_str::<ListenerSettings>(yaml).unwrap());
        let certificates = vec![CertificateFiles { certificate: "/c".into(), key: "/k".into() }];
        let offer = Offer { admin: false, mas: true };
        let address = "unix:/s".parse().unwrap();
        let expected = Listener { address, certificates, proxy_protocol: true, offer, mode: 0o600 };
        assert_eq!(listener, expected);
    }
}
