//! One connection, made as libpq would make it: the hosts in their order, each with TLS as the mode wants it, until one
//! is a primary whose schema is known.

use std::error::Error as _;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::{ChannelBinding as PgChannelBinding, SslMode as PgSslMode};
use tokio_postgres::{Client, Config};

use super::connections::Unavailable;
use super::schema::{self, SchemaError};
use super::settings::{ChannelBinding, Host, Place, Roots, Settings, SslMode, Tls};
use super::tls;
use super::users::Statements;

/// What a fresh connection is told: how long a question may take, and that nothing is to be written.
const SESSION: &str = "SET statement_timeout = 2000; SET default_transaction_read_only = on";
/// How soon a server that has gone silently is missed.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How long sent bytes may go unacknowledged.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// The task that drives a connection; it ends with this.
pub(super) struct Driver(JoinHandle<Result<(), tokio_postgres::Error>>);

impl Driver {
    /// Waits for the connection's end; returns its reason.
    pub(super) async fn ended(&mut self) -> String {
        match (&mut self.0).await {
            Ok(Err(error)) => describe(&error),
            Ok(Ok(())) | Err(_) => "the connection was closed".to_owned(),
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A connection that may be read from, with its prepared questions and the schema's version.
pub(super) type Connected = (Client, Statements, Driver, i32);

/// Makes a connection.
pub(super) async fn connect(settings: &Settings) -> Result<Connected, Unavailable> {
    let mut standby = None;
    let mut reason = Unavailable::NotConnected("there is no host".to_owned());
    for host in &settings.hosts {
        for mode in modes(host, settings.tls.mode) {
            let attempt = timeout(settings.connect_timeout, connect_once(settings, host, *mode)).await;
            match attempt.unwrap_or_else(|_| Err(Unavailable::NotConnected("it did not answer in time".to_owned()))) {
                Ok(connected) => return Ok(connected),
                // The primary may be the next one.
                Err(Unavailable::Schema(SchemaError::Standby)) => {
                    standby = Some(Unavailable::Schema(SchemaError::Standby));
                    break;
                }
                Err(Unavailable::Schema(error)) => return Err(Unavailable::Schema(error)),
                Err(other) => reason = other,
            }
        }
    }
    Err(standby.unwrap_or(reason))
}

/// The ways in which a host is tried. A unix socket has no TLS, whatever the mode says; and where the mode leaves the
/// choice, the other way is tried when the first has failed.
fn modes(host: &Host, mode: SslMode) -> &'static [PgSslMode] {
    match (&host.place, mode) {
        (Place::Unix(_), _) | (_, SslMode::Disable) => &[PgSslMode::Disable],
        (_, SslMode::Allow) => &[PgSslMode::Disable, PgSslMode::Require],
        (_, SslMode::Prefer) => &[PgSslMode::Prefer, PgSslMode::Disable],
        (_, SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull) => &[PgSslMode::Require],
    }
}

async fn connect_once(settings: &Settings, host: &Host, mode: PgSslMode) -> Result<Connected, Unavailable> {
    let without = Tls { mode: SslMode::Disable, roots: Roots::Nobody, client: None, sends_name: false };
    let tls = if mode == PgSslMode::Disable { &without } else { &settings.tls };
    let connector = tls::connector(tls).map_err(|error| Unavailable::NotConnected(error.to_string()))?;
    let connected = config(settings, host, mode).connect(connector).await;
    let (client, connection) = connected.map_err(|error| Unavailable::NotConnected(explain(&error, settings)))?;
    let driver = Driver(tokio::spawn(connection));
    let failed = |error: tokio_postgres::Error| Unavailable::Failed(describe(&error));
    client.batch_execute(SESSION).await.map_err(failed)?;
    let version = schema::probe(&client).await.map_err(failed)??;
    let statements = Statements::prepare(&client).await.map_err(failed)?;
    Ok((client, statements, driver, version))
}

fn config(settings: &Settings, host: &Host, mode: PgSslMode) -> Config {
    let mut config = Config::new();
    match &host.place {
        Place::Unix(folder) => config.host_path(folder),
        Place::Tcp { name, address } => {
            if let Some(address) = address {
                config.hostaddr(*address);
            }
            config.host(name)
        }
    };
    config
        .port(host.port)
        .ssl_mode(mode)
        .application_name("dendron")
        .connect_timeout(settings.connect_timeout)
        .keepalives_idle(KEEPALIVE)
        .tcp_user_timeout(UNACKNOWLEDGED)
        .channel_binding(match settings.channel_binding {
            ChannelBinding::Disable => PgChannelBinding::Disable,
            ChannelBinding::Prefer => PgChannelBinding::Prefer,
            ChannelBinding::Require => PgChannelBinding::Require,
        });
    if let Some(user) = &settings.user {
        config.user(user);
    }
    if let Some(password) = &settings.password {
        config.password(password.expose());
    }
    if let Some(dbname) = &settings.dbname {
        config.dbname(dbname);
    }
    if let Some(options) = &settings.options {
        config.options(options);
    }
    config
}

fn explain(error: &tokio_postgres::Error, settings: &Settings) -> String {
    let text = describe(error);
    match settings.password.is_none() && text.contains("password missing") {
        true => "it asks for a password, and homeserver.yaml has none (a password file is not read)".to_owned(),
        false => text,
    }
}

/// What went wrong, in the server's words if it said any.
pub(super) fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        return error.message().to_owned();
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(reason) = source {
        let more = reason.to_string();
        // Some errors say their source's words themselves.
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = reason.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn tls_is_tried_as_the_mode_wants_it() {
        let tcp = || Place::Tcp { name: "a".to_owned(), address: None };
        let unix = || Place::Unix(PathBuf::from("/run"));
        let table: [(Place, SslMode, &[PgSslMode]); 7] = [
            (tcp(), SslMode::Disable, &[PgSslMode::Disable]),
            (tcp(), SslMode::Allow, &[PgSslMode::Disable, PgSslMode::Require]),
            (tcp(), SslMode::Prefer, &[PgSslMode::Prefer, PgSslMode::Disable]),
            (tcp(), SslMode::Require, &[PgSslMode::Require]),
            (tcp(), SslMode::VerifyCa, &[PgSslMode::Require]),
            (tcp(), SslMode::VerifyFull, &[PgSslMode::Require]),
            (unix(), SslMode::VerifyFull, &[PgSslMode::Disable]),
        ];
        for (place, mode, expected) in table {
            let host = Host { place, port: 5432 };
            assert_eq!(modes(&host, mode), expected, "{host:?} {mode:?}");
        }
    }
}
