//! Logins with a password, answered here: everything but the write, which Synapse's main process does.
//!
//! [`Logins::answer`] has the steps in Synapse's order (`rest/client/login.py` and `handlers/auth.py`); each is a module:
//!
//! - [`request`]: the body, with [`identifier`](mod@identifier): who logs in;
//! - [`limits`]: Synapse's three limits, of this edge or of several;
//! - [`neighbours`]: the users' database, and the write, which is done in [`turns`];
//! - [`password`] and [`hashing`]: the comparison, and the threads that do it;
//! - [`reply`]: the answers, in Synapse's bytes;
//! - [`desk`]: all of it together, as the server has it;
//! - [`reasons`]: why a login is forwarded instead, for a deployment or for one request;
//! - [`settings`]: `login` in dendron.yaml.
//!
//! Not here: sockets, the database, and logins of other types, which are forwarded.
//!
//! In one thing this is better than Synapse: whoever is unknown takes as long to refuse as a wrong password, so that
//! the time does not tell who exists.

pub mod desk;
pub mod hashing;
pub mod identifier;
pub mod limits;
pub mod neighbours;
mod new_characters;
pub mod password;
pub mod reasons;
pub mod reply;
pub mod request;
pub mod settings;
pub mod turns;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use http::header::SERVER;

use crate::database::{Unavailable, User};
use crate::reply::Reply;
use crate::secret::Secret;
use crate::synapse::{DeviceRequest, RegisterError, Version};
use hashing::{Hashing, Unchecked};
use identifier::Identifier;
use limits::shared::Shared;
use limits::{Count, Key, Limited, Limits};
use neighbours::{Devices, Neighbours, Registered, ServerHeader, Users, WellKnown};
use password::{Prepared, StoredHash};
use reasons::{Policy, Reason};
use reply::{LIMITED_PAUSE, Refusal, Success};
use request::{Attempt, Outcome};

/// What becomes of a login.
#[derive(Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is answered.
    Reply(Reply),
    /// It is forwarded unchanged. It has been counted; nothing else is to be asked about it here.
    Forward(Reason),
}

/// The logins of a homeserver.
pub struct Logins<U, D> {
    policy: Policy,
    limits: Limits,
    hashing: Hashing,
    users: U,
    devices: D,
    well_known: WellKnown,
    server: ServerHeader,
    decoy: StoredHash,
    clock: Clock,
}

/// Tells the time.
pub type Clock = Box<dyn Fn() -> Now + Send + Sync>;

/// A moment.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// On a clock that never goes back.
    pub instant: Instant,
    /// The same in seconds since some other moment, for the limits.
    pub seconds: f64,
    /// Unix time in milliseconds, as Synapse's clock has it.
    pub unix_ms: i64,
}

/// Why a login goes no further.
#[derive(Debug)]
enum Stop {
    Refuse(Refusal),
    Limited(Duration),
    Relay(Reply),
    Forward(Reason),
}

/// The longest device id, in characters (`_complete_login`).
const DEVICE_ID_CHARACTERS_MAX: usize = 512;
/// The first Synapse that lets no locked user log in. An earlier one has the same column in its database, and lets them.
const REFUSES_LOCKED: Version = Version { major: 1, minor: 134 };

// === impl Logins ===

impl<U: Users, D: Devices> Logins<U, D> {
    /// Logins under this policy, with what they need of others.
    pub fn new(policy: Policy, hashing: Hashing, neighbours: Neighbours<U, D>, clock: Clock) -> Self {
        let Neighbours { users, devices, well_known, server } = neighbours;
        let (limits, decoy) = (Limits::new(policy.limits), StoredHash::decoy(policy.bcrypt_rounds));
        Logins { policy, limits, hashing, users, devices, well_known, server, decoy, clock }
    }

    /// The same, limited together with other edges.
    pub fn sharing(self, shared: Arc<Shared>) -> Self {
        Logins { limits: self.limits.sharing(shared), ..self }
    }

    /// Answers a login whose body was read, from a client at this address.
    pub async fn answer(&self, body: &[u8], client: Option<IpAddr>) -> Answer {
        let reply = match self.log_in(body, client).await {
            Ok(reply) | Err(Stop::Relay(reply)) => reply,
            Err(Stop::Refuse(refusal)) => refusal.reply(),
            Err(Stop::Limited(wait)) => limited_after_pause(wait).await,
            Err(Stop::Forward(reason)) => return Answer::Forward(reason),
        };
        Answer::Reply(self.signed(reply))
    }

    /// Counts a login that is forwarded without being read, because it is too large or its size is not known; `Some` if
    /// the address has reached its limit. One that carries an access token is not counted: it may be an application
    /// service's, of which Synapse does not limit all, and Synapse's own address limit holds for every other.
    pub async fn limit_forwarded(&self, client: Option<IpAddr>, has_access_token: bool) -> Option<Reply> {
        if has_access_token {
            return None;
        }
        match self.ask(Key::Address(client), Count::Yes).await {
            Ok(()) => None,
            Err(Limited(wait)) => Some(self.signed(limited_after_pause(wait).await)),
        }
    }

    /// Whether all is known that a success says.
    pub fn knows_well_known(&self) -> bool {
        self.well_known().is_ok()
    }

    /// The threads that check passwords, for metrics.
    pub fn hashing(&self) -> &Hashing {
        &self.hashing
    }

    /// The write half, for metrics.
    pub fn devices(&self) -> &D {
        &self.devices
    }

    /// The limits, for metrics.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The steps of a login, in Synapse's order.
    async fn log_in(&self, body: &[u8], client: Option<IpAddr>) -> Result<Reply, Stop> {
        let reading = request::read(body, &self.policy.server_name);
        if reading.counted {
            self.ask(Key::Address(client), Count::Yes).await?;
        }
        let attempt = match reading.outcome {
            Outcome::Attempt(attempt) => attempt,
            Outcome::Refuse(refusal) => return Err(Stop::Refuse(refusal)),
            Outcome::Decline(reason) => return Err(Stop::Forward(reason)),
        };
        let well_known = self.well_known()?;
        let password = attempt.password.prepare(&self.policy.pepper).ok_or(Stop::Forward(Reason::NewCharacters))?;
        let (user_id, password) = self.user_id(&attempt.identifier, password).await?;
        self.ask(Key::FailedUser(&user_id), Count::No).await?;
        let user = self.authenticate(&user_id, password).await?;
        self.ask(Key::Account(&user.id), Count::Yes).await?;
        self.admit(&user, &attempt)?;
        self.register(&user, &attempt, client, well_known.as_deref()).await
    }

    /// What a success says of the server's addresses. It is asked before anything is written.
    fn well_known(&self) -> Result<Option<String>, Stop> {
        if !self.policy.gives_well_known {
            return Ok(None);
        }
        let learned = (self.well_known)().and_then(|body| String::from_utf8(body.into()).ok());
        learned.map(Some).ok_or(Stop::Forward(Reason::WellKnownUnknown))
    }

    /// The user id that the identifier means. Whoever has an e-mail address that nobody has fails here, and as slowly.
    async fn user_id(&self, identifier: &Identifier, password: Prepared) -> Result<(String, Prepared), Stop> {
        let address = match identifier {
            Identifier::User(user_id) => return Ok((user_id.clone(), password)),
            Identifier::Email(address) => address,
        };
        self.ask(Key::FailedEmail(address), Count::No).await?;
        if let Some(user_id) = self.users.threepid_owner("email", address).await? {
            return Ok((user_id, password));
        }
        self.check(password, self.decoy.clone()).await?;
        Err(self.fail(Key::FailedEmail(address)).await)
    }

    /// The user whose id and password these are.
    async fn authenticate(&self, user_id: &str, password: Prepared) -> Result<User, Stop> {
        let user = self.users.user(user_id).await?;
        let hash = match user.as_ref().and_then(|user| user.password_hash.as_ref()).map(Secret::expose) {
            None | Some("") => None,
            Some(hash) => Some(StoredHash::parse(hash).ok_or(Stop::Forward(Reason::ForeignHash))?),
        };
        let known = hash.is_some();
        let right = self.check(password, hash.unwrap_or_else(|| self.decoy.clone())).await?;
        match user {
            Some(user) if known && right => Ok(user),
            _ => Err(self.fail(Key::FailedUser(user_id)).await),
        }
    }

    /// Whether a user whose password was right may log in with this device, as far as Synapse asks before it makes one.
    fn admit(&self, user: &User, attempt: &Attempt) -> Result<(), Stop> {
        if user.deactivated {
            return Err(Stop::Refuse(Refusal::Deactivated));
        }
        if user.locked {
            let refuses = self.version().is_some_and(|version| version >= REFUSES_LOCKED);
            return Err(if refuses { Stop::Refuse(Refusal::Locked) } else { Stop::Forward(Reason::Locked) });
        }
        let characters = attempt.device_id.as_deref().map_or(0, |device_id| device_id.chars().count());
        if characters > DEVICE_ID_CHARACTERS_MAX {
            return Err(Stop::Refuse(Refusal::LongDeviceId));
        }
        if !user.approved {
            return Err(Stop::Forward(Reason::NotApproved));
        }
        Ok(())
    }

    /// Device and tokens, made by Synapse.
    async fn register(
        &self,
        user: &User,
        attempt: &Attempt,
        client: Option<IpAddr>,
        well_known: Option<&str>,
    ) -> Result<Reply, Stop> {
        let request = DeviceRequest {
            user_id: &user.id,
            device_id: attempt.device_id.as_deref(),
            initial_display_name: attempt.display_name.as_deref(),
            should_issue_refresh_token: attempt.refresh_token && self.policy.refresh_tokens,
        };
        let device = match self.devices.register(request, client).await? {
            Registered::Device(device) => device,
            Registered::Answer(body) => return Ok(reply::relayed(StatusCode::OK, body)),
        };
        let now = (self.clock)().unix_ms;
        let until = device.valid_until_ms.map(|until| i64::try_from(until).unwrap_or(i64::MAX));
        let success = Success {
            user_id: &user.id,
            access_token: device.access_token.expose(),
            home_server: &self.policy.server_name,
            device_id: &device.device_id,
            expires_in_ms: until.map(|until| until.saturating_sub(now)),
            refresh_token: device.refresh_token.as_ref().map(Secret::expose),
            well_known,
        };
        Ok(success.reply())
    }

    async fn check(&self, password: Prepared, hash: StoredHash) -> Result<bool, Stop> {
        let now = (self.clock)().instant;
        self.hashing.check(password, hash, now).await.map_err(|unchecked| match unchecked {
            Unchecked::Busy(wait) => Stop::Limited(wait),
            Unchecked::Stopped => Stop::Forward(Reason::HashingStopped),
        })
    }

    /// Counts a failure. That the limit may be reached by now is not what the client is told.
    async fn fail(&self, key: Key<'_>) -> Stop {
        let _ = self.ask(key, Count::Yes).await;
        Stop::Refuse(Refusal::WrongUserOrPassword)
    }

    async fn ask(&self, key: Key<'_>, count: Count) -> Result<(), Limited> {
        self.limits.ask_shared(key, count, (self.clock)().seconds).await
    }

    /// Synapse's version, if it is known.
    fn version(&self) -> Option<Version> {
        (self.server)().and_then(|server| Version::of_server(server.to_str().ok()?))
    }

    /// An answer in Synapse's name, where that is known.
    fn signed(&self, mut reply: Reply) -> Reply {
        if let Some(server) = (self.server)() {
            reply.add(SERVER, server);
        }
        reply
    }
}

/// Synapse holds a limited client for half a second, and so do we; it costs a timer, and slows down whoever tries again
/// at once. Whoever waits here has a connection, and those are bounded.
async fn limited_after_pause(wait: Duration) -> Reply {
    tokio::time::sleep(LIMITED_PAUSE).await;
    reply::limited(wait)
}

// === impl Now ===

impl Now {
    /// The clock of the machine, its seconds counted from this call.
    pub fn clock() -> Clock {
        let start = Instant::now();
        Box::new(move || {
            let instant = Instant::now();
            let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
            let unix_ms = i64::try_from(unix).unwrap_or(i64::MAX);
            Now { instant, seconds: instant.duration_since(start).as_secs_f64(), unix_ms }
        })
    }
}

// === impl Stop ===

impl From<Limited> for Stop {
    fn from(Limited(wait): Limited) -> Stop {
        Stop::Limited(wait)
    }
}

impl From<Unavailable> for Stop {
    fn from(_: Unavailable) -> Stop {
        Stop::Forward(Reason::DatabaseUnavailable)
    }
}

impl From<RegisterError> for Stop {
    /// What was not understood is forwarded, too: at worst there is a device that nobody uses, and a login that Synapse
    /// grants does not fail. When there was no answer at all, Synapse would not give one to a second login either.
    fn from(error: RegisterError) -> Stop {
        match error {
            RegisterError::NotReached(_) => Stop::Forward(Reason::WriterNotReached),
            RegisterError::Unusable { .. } => Stop::Forward(Reason::WriterUnusable),
            RegisterError::Lost(_) => Stop::Relay(reply::lost()),
            RegisterError::Refused { status, body } => Stop::Relay(reply::relayed(status, body)),
        }
    }
}

#[cfg(test)]
mod tests;
