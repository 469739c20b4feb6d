//! Where the database may be: `host`, `hostaddr` and `port`, each a list.

use std::net::IpAddr;
use std::path::PathBuf;

use super::Unusable;

/// A place where the database may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Where.
    pub place: Place,
    /// The port, which is a part of a unix socket's name, too.
    pub port: u16,
}

/// A server, or a folder of sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The folder of a unix socket.
    Unix(PathBuf),
    /// A server on the network.
    Tcp {
        /// Its name, which its certificate is checked for.
        name: String,
        /// Its address, if it is not to be looked up.
        address: Option<IpAddr>,
    },
}

/// The port of PostgreSQL.
const PORT: u16 = 5432;
/// Where Debian's libpq, and the one that comes with psycopg2, look for a socket. The folder of an unpatched libpq is
/// open to everybody, so that anybody could pose as the database there.
const SOCKETS: &str = "/var/run/postgresql";

/// Reads the three lists.
pub(super) fn read(
    host: Option<String>,
    hostaddr: Option<String>,
    port: Option<String>,
) -> Result<Vec<Host>, Unusable> {
    let names = list(host.as_deref());
    let addresses = list(hostaddr.as_deref());
    let count = names.len().max(addresses.len()).max(1);
    if !addresses.is_empty() && !names.is_empty() && addresses.len() != names.len() {
        return Err(Unusable::Count("hostaddr"));
    }
    let ports = ports(port.as_deref(), count)?;
    let entry = |list: &[&str], index: usize| list.get(index).copied().unwrap_or_default().to_owned();
    let hosts = ports.into_iter().enumerate();
    hosts
        .map(|(index, port)| Ok(Host { place: place(entry(&names, index), &entry(&addresses, index))?, port }))
        .collect()
}

fn place(name: String, address: &str) -> Result<Place, Unusable> {
    if !address.is_empty() {
        let parsed = address.parse().map_err(|_| Unusable::Value("hostaddr"))?;
        let name = if name.is_empty() { address.to_owned() } else { name };
        return Ok(Place::Tcp { name, address: Some(parsed) });
    }
    if name.starts_with('@') {
        // A socket in the abstract namespace.
        return Err(Unusable::Value("host"));
    }
    Ok(match name.as_str() {
        "" => Place::Unix(PathBuf::from(SOCKETS)),
        path if path.starts_with('/') => Place::Unix(PathBuf::from(path)),
        _ => Place::Tcp { name, address: None },
    })
}

/// One port for each host: as many as there are hosts, or one for all.
fn ports(text: Option<&str>, count: usize) -> Result<Vec<u16>, Unusable> {
    let one = |text: &str| match text.trim() {
        "" => Ok(PORT),
        text => text.parse().ok().filter(|port| *port > 0).ok_or(Unusable::Value("port")),
    };
    let found = list(text).into_iter().map(one).collect::<Result<Vec<u16>, Unusable>>()?;
    match found.as_slice() {
        [] => Ok(vec![PORT; count]),
        [port] => Ok(vec![*port; count]),
        ports if ports.len() == count => Ok(found),
        _ => Err(Unusable::Count("port")),
    }
}

fn list(text: Option<&str>) -> Vec<&str> {
    text.into_iter().flat_map(|text| text.split(',')).collect()
}
