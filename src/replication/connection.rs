//! Connections to Redis: one to listen on, and one to speak on, because a connection that listens may not publish.
//!
//! RESP2 is spoken, which every Redis knows. Certificates are checked, and the name in them; Synapse itself does not
//! (`ClientContextFactory` in `replication/tcp/context.py` sets no verification).

use std::io;
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{MultiplexedConnection, PubSubSink, PubSubStream};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    RedisConnectionInfo, RedisError, TlsCertificates,
};
use tokio::time::timeout;

use super::settings::{Settings, Tls};
use crate::upstream::Address;

/// How long a connection may take until it is subscribed, and a publication until it is taken.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A connection that listens on the homeserver's channel.
pub struct Subscriber {
    sink: PubSubSink,
    messages: PubSubStream,
}

/// A connection that publishes on it.
pub struct Publisher {
    connection: MultiplexedConnection,
    channel: String,
}

/// Why there is no connection, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// A file of the settings cannot be read.
    #[error("{0} cannot be read: {1}")]
    File(&'static str, io::Error),
    /// The settings contradict each other.
    #[error("{0}")]
    Settings(&'static str),
    /// Redis said no, or was not there.
    #[error("{}", describe(.0))]
    Redis(#[from] RedisError),
    /// Redis did not answer in time.
    #[error("it did not answer in time")]
    Silent,
}

/// A client of the settings' Redis. Nothing is connected yet.
///
/// # Errors
///
/// Files that cannot be read, and certificates that are none.
pub fn client(settings: &Settings) -> Result<Client, ConnectionError> {
    let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(password) = &settings.password {
        let password = password.read().map_err(|error| ConnectionError::File("Redis's password", error))?;
        login = login.set_password(password.expose());
        if let Some(username) = &settings.username {
            login = login.set_username(username);
        }
    }
    let address = match &settings.address {
        Address::Unix(_) if settings.tls.is_some() => {
            return Err(ConnectionError::Settings("TLS is not spoken over a unix socket"));
        }
        Address::Unix(path) => ConnectionAddr::Unix(path.clone()),
        Address::Tcp { host, port } if settings.tls.is_none() => ConnectionAddr::Tcp(host.clone(), *port),
        Address::Tcp { host, port } => {
            ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None }
        }
    };
    let info: ConnectionInfo = address.into_connection_info()?.set_redis_settings(login);
    match &settings.tls {
        Some(tls) => Ok(Client::build_with_tls(info, certificates(tls)?)?),
        None => Ok(Client::open(info)?),
    }
}

fn certificates(tls: &Tls) -> Result<TlsCertificates, ConnectionError> {
    let root_cert = tls.authorities().map_err(|error| ConnectionError::File("Redis's authorities", error))?;
    let client_tls = match (&tls.certificate, &tls.private_key) {
        (Some(certificate), Some(key)) => Some(ClientTlsConfig {
            client_cert: std::fs::read(certificate)
                .map_err(|error| ConnectionError::File("the certificate for Redis", error))?,
            client_key: std::fs::read(key)
                .map_err(|error| ConnectionError::File("the certificate's key for Redis", error))?,
        }),
        (None, None) => None,
        _ => return Err(ConnectionError::Settings("a certificate for Redis needs its key, and a key its certificate")),
    };
    Ok(TlsCertificates { client_tls, root_cert })
}

// === impl Subscriber ===

impl Subscriber {
    /// Connects and subscribes. When this returns, nothing that is published is missed any more.
    ///
    /// # Errors
    ///
    /// [`ConnectionError`]; what it shows holds no secret.
    pub async fn connect(client: &Client, channel: &str) -> Result<Self, ConnectionError> {
        let connect = async {
            let (mut sink, messages) = client.get_async_pubsub().await?.split();
            sink.subscribe(channel).await?;
            Ok(Subscriber { sink, messages })
        };
        timeout(PATIENCE, connect).await.map_err(|_| ConnectionError::Silent)?
    }

    /// The next message's bytes; `None` when the connection has ended.
    pub async fn next(&mut self) -> Option<redis::Msg> {
        self.messages.next().await
    }

    /// Asks Redis whether it is there.
    ///
    /// # Errors
    ///
    /// It is not.
    pub async fn ping(&mut self) -> Result<(), ConnectionError> {
        let answer = timeout(PATIENCE, self.sink.ping::<redis::Value>()).await;
        answer.map_err(|_| ConnectionError::Silent)?.map(drop).map_err(ConnectionError::from)
    }
}

// === impl Publisher ===

impl Publisher {
    /// Connects.
    ///
    /// # Errors
    ///
    /// [`ConnectionError`]; what it shows holds no secret.
    pub async fn connect(client: &Client, channel: &str) -> Result<Self, ConnectionError> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Publisher { connection, channel: channel.to_owned() })
    }

    /// Publishes a line.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::is_refusal`] tells whether it is pointless to try again.
    pub async fn publish(&mut self, line: &str) -> Result<(), ConnectionError> {
        let mut command = redis::cmd("PUBLISH");
        command.arg(&self.channel).arg(line);
        command.exec_async(&mut self.connection).await.map_err(ConnectionError::from)
    }
}

// === impl ConnectionError ===

impl ConnectionError {
    /// Whether Redis has refused because of who is asking.
    pub fn is_refusal(&self) -> bool {
        let ConnectionError::Redis(error) = self else { return false };
        error.kind() == ErrorKind::AuthenticationFailed
            || matches!(error.code(), Some("NOPERM" | "NOAUTH" | "WRONGPASS"))
    }
}

/// What may be said of an error. Redis repeats a command that it does not know with its arguments, and AUTH's argument is
/// the password; so of what Redis says only the code is shown.
fn describe(error: &RedisError) -> String {
    match error.kind() {
        ErrorKind::Io => format!("{error}"),
        kind => match error.code() {
            Some(code) => format!("Redis says {code}"),
            None => format!("{kind:?}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::replication::settings::Password;
    use crate::secret::Secret;

    fn settings(address: &str) -> Settings {
        Settings {
            address: address.parse().unwrap(),
            username: Some("dendron".to_owned()),
            password: Some(Password::Inline(Secret::new("hunter2"))),
            tls: None,
            server_name: "a.example".to_owned(),
            expected_instances: Vec::new(),
            may_publish: true,
        }
    }

    #[test]
    fn settings_become_a_client() {
        let tcp = client(&settings("localhost:6379")).unwrap();
        let info = tcp.get_connection_info();
        assert_eq!(info.addr(), &ConnectionAddr::Tcp("localhost".to_owned(), 6379));
        assert_eq!(info.redis_settings().username(), Some("dendron"));
        assert_eq!(info.redis_settings().password(), Some("hunter2"));
        let unix = client(&settings("unix:/run/redis.sock")).unwrap();
        assert_eq!(unix.get_connection_info().addr(), &ConnectionAddr::Unix(PathBuf::from("/run/redis.sock")));
    }

    #[test]
    fn settings_that_cannot_be_are_refused() {
        let missing = PathBuf::from("/nowhere/at/all");
        let tls = |tls: Tls| Settings { tls: Some(tls), ..settings("localhost:6379") };
        let table = [
            (
                Settings { password: Some(Password::File(missing.clone())), ..settings("localhost:6379") },
                "Redis's password cannot be read",
            ),
            (Settings { tls: Some(Tls::default()), ..settings("unix:/run/redis.sock") }, "TLS is not spoken"),
            (tls(Tls { ca_file: Some(missing.clone()), ..Tls::default() }), "Redis's authorities cannot be read"),
            (
                tls(Tls { certificate: Some(missing.clone()), ..Tls::default() }),
                "a certificate for Redis needs its key",
            ),
            (
                tls(Tls { certificate: Some(missing.clone()), private_key: Some(missing), ..Tls::default() }),
                "the certificate for Redis cannot be read",
            ),
        ];
        for (settings, expected) in table {
            let error = client(&settings).map(drop).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn what_redis_says_is_not_repeated() {
        let said = "unknown command 'AUTH', with args beginning with: 'hunter2'";
        let error = RedisError::from((ErrorKind::AuthenticationFailed, "AUTH failed", said.to_owned()));
        let error = ConnectionError::from(error);
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
