//! How Synapse's database is reached: the arguments that homeserver.yaml gives to psycopg2, as libpq understands them.
//!
//! What dendron does not do as libpq does it makes the database unusable, and says so: to connect in another way than
//! Synapse would be to read another database, or to trust another server. Sources: PostgreSQL's manual, "Parameter Key
//! Words" and "Environment Variables"; psycopg2's `make_dsn`.

mod hosts;
#[cfg(test)]
mod tests;

pub use hosts::{Host, Place};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::dsn::{self, DsnError};
use crate::secret::Secret;

/// What homeserver.yaml says about the database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// The arguments of the driver, without its pool's (`cp_…`).
    pub named: BTreeMap<String, String>,
    /// The password.
    pub password: Option<Secret>,
    /// A connection string; the named arguments win over what is in it.
    pub dsn: Option<Secret>,
}

/// How the database is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where it may be, in the order in which they are tried.
    pub hosts: Vec<Host>,
    /// The role; `None` is the name of the system's user.
    pub user: Option<String>,
    /// The role's password.
    pub password: Option<Secret>,
    /// The database; `None` is the role's name.
    pub dbname: Option<String>,
    /// Options for the server's command line.
    pub options: Option<String>,
    /// How long one attempt to connect may take.
    pub connect_timeout: Duration,
    /// Whether and how TLS is spoken.
    pub tls: Tls,
    /// Whether the password has to be bound to the TLS connection.
    pub channel_binding: ChannelBinding,
}

/// TLS with the database. Unix sockets have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Whether it is spoken, and what is checked.
    pub mode: SslMode,
    /// The authorities.
    pub roots: Roots,
    /// The client's certificate and its key, used if the certificate is there.
    pub client: Option<(PathBuf, PathBuf)>,
    /// Whether the server is told the name that it is reached by.
    pub sends_name: bool,
}

/// libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS if the server refuses to do without.
    Allow,
    /// TLS if the server has it.
    Prefer,
    /// TLS.
    Require,
    /// TLS, with a certificate by one of the authorities.
    VerifyCa,
    /// TLS, with a certificate by one of the authorities for the host.
    VerifyFull,
}

/// Who may sign the server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// Those in this file. If it is there, the certificate is checked in every mode; it has to be there for the modes
    /// that verify.
    File(PathBuf),
    /// Those that the system trusts.
    System,
    /// Nobody is known.
    Nobody,
}

/// libpq's `channel_binding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// If it can be.
    Prefer,
    /// Always.
    Require,
}

/// Why dendron cannot use the database.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unusable {
    /// The connection string cannot be read.
    #[error(transparent)]
    Dsn(#[from] DsnError),
    /// The argument is one that dendron does not do as libpq does.
    #[error("the database's argument {0} is not supported")]
    Unsupported(String),
    /// The argument's value is not one that it can have.
    #[error("the database's argument {0} has a value that is not supported")]
    Value(&'static str),
    /// libpq has no such argument.
    #[error("the database's argument {0} is unknown")]
    Unknown(String),
    /// There are not as many of these as there are hosts.
    #[error("the database's argument {0} does not match the number of hosts")]
    Count(&'static str),
}

/// How long an attempt to connect takes at most where nothing is said; libpq would wait for ever.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The least that libpq allows.
const CONNECT_TIMEOUT_MIN: Duration = Duration::from_secs(2);

/// The arguments that are read, with the variables that stand in for them.
const READ: &[(&str, &str)] = &[
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("dbname", "PGDATABASE"),
    ("options", "PGOPTIONS"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("sslsni", "PGSSLSNI"),
    ("channel_binding", "PGCHANNELBINDING"),
];

/// The arguments that have to have one of these values, if they are given: each is what happens anyway.
const FIXED: &[(&str, &str, &[&str])] = &[
    ("passfile", "PGPASSFILE", &[]),
    ("service", "PGSERVICE", &[]),
    ("servicefile", "PGSERVICEFILE", &[]),
    ("requirepeer", "PGREQUIREPEER", &[]),
    ("require_auth", "PGREQUIREAUTH", &[]),
    ("requiressl", "PGREQUIRESSL", &["0"]),
    ("gssencmode", "PGGSSENCMODE", &["disable", "prefer"]),
    ("sslnegotiation", "PGSSLNEGOTIATION", &["postgres"]),
    ("sslcertmode", "PGSSLCERTMODE", &["allow"]),
    ("sslcrl", "PGSSLCRL", &[]),
    ("sslcrldir", "PGSSLCRLDIR", &[]),
    ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION", &["TLSv1", "TLSv1.1", "TLSv1.2"]),
    ("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", &["TLSv1.3"]),
    ("replication", "", &["false", "off", "no", "0"]),
];

/// The arguments that change nothing for dendron. It insists on the primary, whatever `target_session_attrs` says.
const IGNORED: &[&str] = &[
    "application_name",
    "fallback_application_name",
    "client_encoding",
    "gssdelegation",
    "gsslib",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "sslcompression",
    "target_session_attrs",
    "tcp_user_timeout",
];

// === impl Settings ===

impl Settings {
    /// Reads the arguments. `variable` gives the variables of the environment: libpq's own (`PG…`), and `HOME`.
    ///
    /// # Errors
    ///
    /// [`Unusable`], with the reason for whoever reads homeserver.yaml. No value is in it.
    pub fn read(arguments: &Arguments, variable: impl Fn(&str) -> Option<String>) -> Result<Settings, Unusable> {
        let given = merged(arguments)?;
        for key in given.keys() {
            let is_known = READ.iter().any(|(known, _)| known == key)
                || FIXED.iter().any(|(known, ..)| known == key)
                || IGNORED.contains(&key.as_str());
            if !is_known {
                return Err(Unusable::Unknown(key.clone()));
            }
        }
        let value = |key: &str, name: &str| match given.get(key) {
            Some(value) => Some(value.clone()).filter(|value| !value.is_empty()),
            None if name.is_empty() => None,
            None => variable(name).filter(|value| !value.is_empty()),
        };
        let get = |key: &str| READ.iter().find(|(known, _)| *known == key).and_then(|(_, name)| value(key, name));
        // A password file matters only where no password is given.
        let has_password = get("password").is_some();
        for (key, name, allowed) in FIXED {
            let is_moot = *key == "passfile" && has_password;
            if value(key, name).is_some_and(|found| !is_moot && !allowed.contains(&found.as_str())) {
                return Err(Unusable::Unsupported((*key).to_owned()));
            }
        }
        let home = variable("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        Ok(Settings {
            hosts: hosts::read(get("host"), get("hostaddr"), get("port"))?,
            user: get("user"),
            password: get("password").map(Secret::new),
            dbname: get("dbname"),
            options: get("options"),
            connect_timeout: connect_timeout(get("connect_timeout"))?,
            channel_binding: channel_binding(get("channel_binding"))?,
            tls: tls(get, home)?,
        })
    }
}

/// All arguments by name. As in psycopg2, `database` is another name of `dbname`, and a named argument wins over the
/// same in the connection string.
fn merged(arguments: &Arguments) -> Result<BTreeMap<String, String>, Unusable> {
    let mut merged = BTreeMap::new();
    if let Some(dsn) = &arguments.dsn {
        merged.extend(dsn::parse(dsn.expose())?);
    }
    if arguments.named.contains_key("database") && arguments.named.contains_key("dbname") {
        return Err(Unusable::Value("dbname"));
    }
    for (key, value) in &arguments.named {
        let key = if key == "database" { "dbname" } else { key };
        merged.insert(key.to_owned(), value.clone());
    }
    if let Some(password) = &arguments.password {
        merged.insert("password".to_owned(), password.expose().to_owned());
    }
    Ok(merged)
}

fn connect_timeout(text: Option<String>) -> Result<Duration, Unusable> {
    let Some(text) = text else { return Ok(CONNECT_TIMEOUT) };
    let seconds: i32 = text.trim().parse().map_err(|_| Unusable::Value("connect_timeout"))?;
    match u64::try_from(seconds) {
        Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds).max(CONNECT_TIMEOUT_MIN)),
        _ => Ok(CONNECT_TIMEOUT),
    }
}

fn tls(get: impl Fn(&str) -> Option<String>, home: Option<PathBuf>) -> Result<Tls, Unusable> {
    let given = get("sslmode");
    let uses_system = get("sslrootcert").is_some_and(|root| root == "system");
    let mode = match given.as_deref() {
        None if uses_system => SslMode::VerifyFull,
        None | Some("prefer") => SslMode::Prefer,
        Some("disable") => SslMode::Disable,
        Some("allow") => SslMode::Allow,
        Some("require") => SslMode::Require,
        Some("verify-ca") => SslMode::VerifyCa,
        Some("verify-full") => SslMode::VerifyFull,
        Some(_) => return Err(Unusable::Value("sslmode")),
    };
    // libpq refuses a mode that would let anybody in whom the system trusts for any name.
    if uses_system && mode != SslMode::VerifyFull {
        return Err(Unusable::Value("sslmode"));
    }
    let in_home = |name: &str| home.as_ref().map(|home| home.join(".postgresql").join(name));
    let path = |key: &str, name: &str| get(key).map(PathBuf::from).or_else(|| in_home(name));
    Ok(Tls {
        mode,
        roots: match path("sslrootcert", "root.crt") {
            Some(_) if uses_system => Roots::System,
            Some(path) => Roots::File(path),
            None => Roots::Nobody,
        },
        client: path("sslcert", "postgresql.crt").zip(path("sslkey", "postgresql.key")),
        sends_name: get("sslsni").is_none_or(|sends| sends != "0"),
    })
}

fn channel_binding(text: Option<String>) -> Result<ChannelBinding, Unusable> {
    match text.as_deref() {
        None | Some("prefer") => Ok(ChannelBinding::Prefer),
        Some("disable") => Ok(ChannelBinding::Disable),
        Some("require") => Ok(ChannelBinding::Require),
        Some(_) => Err(Unusable::Value("channel_binding")),
    }
}
