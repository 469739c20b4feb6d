//! Logins: the facts of Synapse's files → whether they are answered here, and with what.
//!
//! Not here: the logins themselves (`answer::login`), and the reading of secrets from files, which only a start needs.

use std::fmt;

use super::homeserver::{Engine, Homeserver, LoginLimits, MAIN, RateLimit};
use super::key_path::KeyPath;
use super::listener::Resource;
use super::problem::{Places, Problems};
use super::{Config, SecretSource};
use crate::answer::login::limits::{Rule, Rules, Store};
use crate::answer::login::password::Pepper;
use crate::answer::login::reasons::{Facts, Policy, Reason};
use crate::answer::login::settings::{DatabaseRole, QUEUE_MAX, THREADS_MAX};
use crate::database;
use crate::synapse::{JwtSettings, Transport};
use crate::upstream::Address;

/// What answering logins takes.
#[derive(Debug)]
pub struct LoginPlan {
    /// The rules.
    pub policy: Policy,
    /// Where the users are.
    pub database: database::Settings,
    /// Who makes devices and tokens.
    pub writer: Writer,
}

/// Who makes devices and tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Writer {
    /// The main process, on the listener by which the processes speak to each other.
    Replication {
        /// Where it is.
        address: Address,
        /// What is spoken there.
        transport: Transport,
        /// What the processes show each other.
        secret: Option<SecretSource>,
    },
    /// `POST /login` with a token that dendron signs.
    Jwt(JwtSettings),
}

/// Why no login is answered here. It prints as `dendron check` tells it.
#[derive(Debug)]
pub struct Forwarded {
    /// All the reasons, at least one.
    pub reasons: Vec<Reason>,
    /// Why the database cannot be read, where that is among them.
    database: Option<String>,
}

/// Decides it. `variable` reads the environment, in which libpq looks for what the database's arguments leave open.
///
/// # Errors
///
/// [`Forwarded`], with everything that speaks against it.
pub fn login(config: &Config, variable: impl Fn(&str) -> Option<String>) -> Result<LoginPlan, Forwarded> {
    let Some(homeserver) = &config.homeserver else {
        return Err(Forwarded { reasons: vec![Reason::SynapseUnknown], database: None });
    };
    let (database, unusable) = readable(config, homeserver, variable);
    let writer = writer(homeserver);
    let facts = facts(config.login.enabled, homeserver, database.is_some(), writer.is_some());
    match (Policy::from_facts(facts), database, writer) {
        (Ok(policy), Some(database), Some(writer)) => Ok(LoginPlan { policy, database, writer }),
        (Err(reasons), ..) => Err(Forwarded { reasons, database: unusable }),
        // The facts say already that one of the two is missing.
        (Ok(_), ..) => Err(Forwarded { reasons: vec![Reason::NoWriter], database: unusable }),
    }
}

/// How Synapse's database is read, if it is PostgreSQL; or why it cannot be.
pub(super) fn readable(
    config: &Config,
    homeserver: &Homeserver,
    variable: impl Fn(&str) -> Option<String>,
) -> (Option<database::Settings>, Option<String>) {
    let database = homeserver.database.as_ref().filter(|database| database.engine == Engine::Postgres);
    let role = config.login.database_role.as_ref();
    match database.map(|database| read_as(role, database.arguments(), variable)) {
        Some(Ok(settings)) => (Some(settings), None),
        Some(Err(unusable)) => (None, Some(unusable)),
        None => (None, None),
    }
}

/// How the database is reached by this role, by default as Synapse reaches it.
fn read_as(
    role: Option<&DatabaseRole>,
    mut arguments: database::Arguments,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<database::Settings, String> {
    if let Some(DatabaseRole { user, password_path }) = role {
        arguments.named.insert("user".to_owned(), user.clone());
        arguments.password = match password_path {
            None => None,
            Some(path) => {
                let password = SecretSource::File(path.clone()).read();
                Some(password.map_err(|error| format!("{} cannot be read: {error}", path.display()))?)
            }
        };
    }
    database::Settings::read(&arguments, variable).map_err(|unusable| unusable.to_string())
}

/// More threads or places than any machine could use, and limits that are to be shared where there is nothing to share
/// them through.
pub(super) fn check(config: &Config, places: &dyn Places, problems: &mut Problems) {
    let place = |key: &str| places.place(&KeyPath::root().key("login").key(key));
    let threads = config.login.threads.map(|threads| ("threads", threads.get(), THREADS_MAX));
    for (key, value, most) in threads.into_iter().chain([("queue", config.login.queue.get(), QUEUE_MAX)]) {
        if value > most {
            problems.error(place(key), format!("expected at most {most}"));
        }
    }
    let has_redis = config.homeserver.as_ref().is_some_and(|homeserver| homeserver.redis.is_some());
    if config.login.limits == Store::Redis && !has_redis {
        problems.error(place("limits"), "expected memory: Synapse's files have no Redis (redis.enabled)");
    }
}

fn facts(switched_on: bool, homeserver: &Homeserver, postgres: bool, writer: bool) -> Facts {
    Facts {
        switched_on,
        server_name: homeserver.server_name.clone(),
        delegated_auth: homeserver.delegated_auth.is_some(),
        password_login: homeserver.password.login_enabled,
        local_database: homeserver.password.localdb_enabled,
        modules: homeserver.has_modules,
        approval_required: homeserver.approval_required,
        postgres,
        writer,
        refresh_tokens: homeserver.refresh_tokens,
        pepper: Pepper::new(homeserver.password.pepper.expose()),
        bcrypt_rounds: homeserver.password.bcrypt_rounds,
        limits: rules(&homeserver.login_limits),
        gives_well_known: homeserver.public_baseurl_given,
    }
}

fn rules(limits: &LoginLimits) -> Rules {
    let rule = |limit: RateLimit| Rule { per_second: limit.per_second, burst_count: limit.burst_count };
    Rules {
        address: rule(limits.address),
        account: rule(limits.account),
        failed_attempts: rule(limits.failed_attempts),
    }
}

/// Who can make devices: the way of Synapse's own workers if it is open, else signed tokens if Synapse takes them.
fn writer(homeserver: &Homeserver) -> Option<Writer> {
    let secret = homeserver.replication_secret.clone();
    let transport = |tls| if tls { Transport::Tls } else { Transport::Plain };
    // Where the workers look for it, which may be another machine; else the listener itself.
    let known = homeserver.instance_map.get(MAIN).and_then(|main| Some((main.address.clone()?, transport(main.tls))));
    let own = || {
        let listener = homeserver.main.listener(Resource::Replication)?;
        Some((listener.address(), transport(listener.tls)))
    };
    match known.or_else(own) {
        Some((address, transport)) => Some(Writer::Replication { address, transport, secret }),
        None => homeserver.jwt.clone().map(Writer::Jwt),
    }
}

// === impl Writer ===

impl fmt::Display for Writer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Writer::Replication { address, .. } => write!(formatter, "the main process at {address}"),
            Writer::Jwt(_) => formatter.write_str("signed tokens (jwt_config)"),
        }
    }
}

// === impl Forwarded ===

impl fmt::Display for Forwarded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, reason) in self.reasons.iter().enumerate() {
            formatter.write_str(if number == 0 { "" } else { "; " })?;
            match (reason, &self.database) {
                (Reason::NoPostgres, Some(unusable)) => write!(formatter, "{unusable}")?,
                _ => formatter.write_str(reason.explanation())?,
            }
        }
        Ok(())
    }
}
