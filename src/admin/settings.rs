//! `admin:` in dendron.yaml.

use std::net::Ipv4Addr;

use serde::Deserialize;

use crate::listener::settings::address;
use crate::upstream::Address;

/// The admin listener.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct AdminSettings {
    /// Where it listens: by default, where only this machine reaches it.
    #[serde(deserialize_with = "address")]
    pub address: Address,
}

impl Default for AdminSettings {
    fn default() -> Self {
        AdminSettings { address: Address::Tcp { host: Ipv4Addr::LOCALHOST.to_string(), port: 9180 } }
    }
}
