//! The address of a process: `http://host:port` or `unix:/path`, as written in the configuration.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a Synapse process (or dendron itself) listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// A host name or IP address, and a port.
    Tcp {
        /// The name or IP address, an IPv6 address without its brackets.
        host: String,
        /// The port, never 0.
        port: u16,
    },
    /// A unix socket's path.
    Unix(PathBuf),
}

/// Why a text is no address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AddressError {
    /// It looks like neither form.
    #[error("expected http://HOST:PORT, HOST:PORT or unix:/PATH")]
    Form,
    /// Synapse's listeners speak plain HTTP to a reverse proxy.
    #[error("https:// is not spoken to Synapse: expected http://HOST:PORT or unix:/PATH")]
    Https,
    /// A relative path would depend on where dendron was started.
    #[error("the unix socket's path must be absolute: expected unix:/PATH")]
    RelativePath,
    /// The port is missing, zero or no number.
    #[error("expected a port from 1 to 65535")]
    Port,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.strip_prefix("//").filter(|rest| rest.starts_with('/')).unwrap_or(path) {
                path if path.starts_with('/') && path.len() > 1 => Ok(Address::Unix(PathBuf::from(path))),
                _ => Err(AddressError::RelativePath),
            };
        }
        if text.starts_with("https://") {
            return Err(AddressError::Https);
        }
        let authority = text.strip_prefix("http://").unwrap_or(text);
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = authority.rsplit_once(':').ok_or(AddressError::Form)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || host.contains(['/', '@', ' ', '[', ']']) {
            return Err(AddressError::Form);
        }
        match port.parse() {
            Ok(port) if port > 0 => Ok(Address::Tcp { host: host.to_owned(), port }),
            _ => Err(AddressError::Port),
        }
    }
}

impl fmt::Display for Address {
    /// Writes a TCP address as `host:port` (an IPv6 host in brackets) and a socket as `unix:/path`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } if host.contains(':') => write!(formatter, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(formatter, "{host}:{port}"),
            Address::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

impl<'de> serde::Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| serde::de::Error::custom(format!("{error}, found \"{text}\"")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let tcp = |host: &str, port| Ok(Address::Tcp { host: host.to_owned(), port });
        let unix = |path: &str| Ok(Address::Unix(PathBuf::from(path)));
        let table = [
            ("http://127.0.0.1:8008", tcp("127.0.0.1", 8008)),
            ("http://synapse.example:8008/", tcp("synapse.example", 8008)),
            ("127.0.0.1:8008", tcp("127.0.0.1", 8008)),
            ("[::1]:8008", tcp("::1", 8008)),
            ("unix:/run/synapse/main.sock", unix("/run/synapse/main.sock")),
            ("unix:///run/synapse/main.sock", unix("/run/synapse/main.sock")),
            ("unix:main.sock", Err(AddressError::RelativePath)),
            ("https://127.0.0.1:8008", Err(AddressError::Https)),
            ("http://127.0.0.1", Err(AddressError::Form)),
            ("127.0.0.1", Err(AddressError::Form)),
            ("http://127.0.0.1:0", Err(AddressError::Port)),
            ("http://127.0.0.1:8008/path", Err(AddressError::Port)),
            ("http://user@host:8008", Err(AddressError::Form)),
            ("", Err(AddressError::Form)),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse(), expected, "{text}");
        }
    }

    #[test]
    fn a_written_address_reads_back() {
        for text in ["127.0.0.1:8008", "[::1]:8008", "unix:/run/a.sock"] {
            let address: Address = text.parse().expect(text);
            assert_eq!(address.to_string(), text);
        }
    }
}
