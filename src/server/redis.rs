//! Synapse's Redis, as homeserver.yaml has it → a client of it. Nothing is connected here.

use redis::{Client, ConnectionInfo};

use crate::config::{Homeserver, SecretSource};
use crate::replication::connection::{self, ConnectionError};
use crate::replication::settings::{Password, Settings, Tls};

/// A client of the homeserver's Redis, in the database that Synapse uses; `None` if it has no Redis.
pub(super) fn client(homeserver: &Homeserver) -> Option<Result<Client, ConnectionError>> {
    let settings = settings(homeserver)?;
    let database = homeserver.redis.as_ref()?.database;
    Some(connection::client(&settings).and_then(|client| {
        let Some(database) = database else { return Ok(client) };
        let info: ConnectionInfo = client.get_connection_info().clone();
        let login = info.redis_settings().clone().set_db(database.into());
        Ok(Client::open(info.set_redis_settings(login))?)
    }))
}

/// How Redis is reached. What only a follower of the replication stream needs is left empty.
pub(super) fn settings(homeserver: &Homeserver) -> Option<Settings> {
    let redis = homeserver.redis.as_ref()?;
    let password = redis.password.clone().map(|password| match password {
        SecretSource::Inline(secret) => Password::Inline(secret),
        SecretSource::File(path) => Password::File(path),
    });
    let tls = redis.tls.clone().map(|tls| Tls {
        certificate: tls.certificate,
        private_key: tls.private_key,
        ca_file: tls.ca_file,
        ca_path: tls.ca_path,
    });
    Some(Settings {
        address: redis.address.clone(),
        username: redis.username.clone(),
        password,
        tls,
        server_name: homeserver.server_name.clone(),
        expected_instances: Vec::new(),
        may_publish: false,
    })
}
