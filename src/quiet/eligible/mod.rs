//! Which syncs could be parked at all, by what they ask for: a request → what it asks, or the reason to forward it.
//!
//! Pure, and the same for the front and for the filters; a sliding sync has a body, which only the filters read. The rules
//! are Synapse's own (`rest/client/sync.py`, `http/servlet.py`, `api/auth/base.py`): whatever it would refuse, read in
//! another way, or do something for besides waiting, is forwarded.
//!
//! - [`body`]: the body of a sliding sync, in one form.
//!
//! Not here: who is behind the token, and whether anything has happened (`book`).

pub mod body;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use http::Method;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, EXPECT, TRANSFER_ENCODING, UPGRADE, USER_AGENT};

use crate::answer::Asked;
use crate::credentials::AccessToken;
use crate::endpoint::{Class, Endpoint};
use crate::query::{query_pairs, query_value, stands_for};
use crate::quiet::poll::PollKind;

/// The label of a sync, whatever its version.
const SYNC: &str = "/_matrix/client/v3/sync";
/// The label of a sliding sync.
const SLIDING: &str = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync";

/// The longest wait that is taken over. A longer one would be nobody's to check for longer than [`crate::quiet`] promises.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(120);
/// The longest position that is looked at; Synapse's have some hundred bytes.
const SINCE_BYTES_MAX: usize = 1024;
/// The longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 4096;

/// The two kinds of sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `GET /sync`.
    Sync,
    /// Simplified sliding sync (MSC4186).
    Sliding,
}

/// What the client wants to be seen as while it syncs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetPresence {
    /// `set_presence=online`, and what is meant where nothing is said.
    Online,
    /// `set_presence=unavailable`.
    Unavailable,
    /// `set_presence=offline`: the sync says nothing of where the user is. A sliding sync never does.
    Offline,
}

/// What a sync asks for that could be parked.
pub struct Ask<'request> {
    /// The access token.
    pub token: AccessToken<'request>,
    /// The position that it comes from: `since`, or `pos`.
    pub since: Box<str>,
    /// How long it wants to wait.
    pub timeout: Duration,
    /// Which of the two it is.
    pub protocol: Protocol,
    /// For a sliding sync: the position of its to-device messages, which is not part of `likeness`.
    pub to_device_since: Option<Box<str>>,
    /// What makes two requests the same besides token, position and timeout.
    pub likeness: Likeness,
    /// What the client wants to be seen as.
    pub set_presence: SetPresence,
}

/// Why a sync could not be parked, whatever is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unfit {
    /// It comes from nowhere: a first sync.
    Initial,
    /// It asks for everything.
    FullState,
    /// It does not say how long it wants to wait: a client that still loads.
    NoTimeout,
    /// It wants to wait longer than anybody is parked.
    LongTimeout,
    /// Its method is another one.
    OtherMethod,
    /// It is, or may be, for somebody else than its token's user.
    Masquerade,
    /// It has no token, several, or none that Synapse reads.
    OddToken,
    /// A parameter is given twice, or in a form that is not known to mean what it seems to.
    OddQuery,
    /// It has a body that it should not have, or one that is not read.
    OddBody,
}

/// What makes two requests ask for the same, in one row of bytes, to be hashed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Likeness(Vec<u8>);

impl Protocol {
    /// The kind of sync that an endpoint is; `None` for everything else, which is most requests.
    pub fn of(endpoint: Endpoint) -> Option<Protocol> {
        match endpoint.class {
            Class::Sync | Class::InitialSync if endpoint.label == SYNC => Some(Protocol::Sync),
            Class::SlidingSync if endpoint.label == SLIDING => Some(Protocol::Sliding),
            _ => None,
        }
    }

    /// The kind of sync that a poll is of.
    pub const fn of_poll(kind: &PollKind) -> Protocol {
        match kind {
            PollKind::Sync => Protocol::Sync,
            PollKind::Sliding { .. } => Protocol::Sliding,
        }
    }

    /// The name of the parameter that has the position.
    const fn position(self) -> &'static str {
        match self {
            Protocol::Sync => "since",
            Protocol::Sliding => "pos",
        }
    }
}

/// What a request asks for, by its head and, for a sliding sync, its whole body.
///
/// # Errors
///
/// The reason to forward it.
pub fn ask<'request>(protocol: Protocol, asked: &Asked<'request>, body: Option<&[u8]>) -> Result<Ask<'request>, Unfit> {
    head_is_plain(protocol, asked)?;
    let Query { since, timeout, set_presence, has_token } = read_query(protocol, asked.query.unwrap_or_default())?;
    let token = token(asked, has_token)?;
    let mut likeness = Likeness::default();
    likeness.add(asked.path.as_bytes());
    for (name, value) in query_pairs(asked.query.unwrap_or_default()) {
        // Neither is the token, which is compared by itself.
        let is_compared = ["timeout", "access_token", protocol.position()].iter().any(|known| stands_for(name, known));
        if !is_compared {
            likeness.add(name.as_bytes());
            likeness.add(value.as_bytes());
        }
    }
    let to_device_since = match protocol {
        Protocol::Sync => None,
        Protocol::Sliding => {
            let body = body::read(body.unwrap_or_default())?;
            likeness.add(&body.canonical);
            body.to_device_since
        }
    };
    Ok(Ask { token, since, timeout, protocol, to_device_since, likeness, set_presence })
}

/// Whether the body of a sliding sync is worth reading, because its head says nothing against parking it; and how many
/// bytes it has.
///
/// # Errors
///
/// The reason to forward it.
pub fn is_worth_reading(asked: &Asked<'_>) -> Result<usize, Unfit> {
    head_is_plain(Protocol::Sliding, asked)?;
    let query = read_query(Protocol::Sliding, asked.query.unwrap_or_default())?;
    token(asked, query.has_token)?;
    asked.body_bytes().and_then(|bytes| usize::try_from(bytes).ok()).ok_or(Unfit::OddBody)
}

fn head_is_plain(protocol: Protocol, asked: &Asked<'_>) -> Result<(), Unfit> {
    let method = match protocol {
        Protocol::Sync => Method::GET,
        Protocol::Sliding => Method::POST,
    };
    if asked.method != method {
        return Err(Unfit::OtherMethod);
    }
    // A body behind a `GET`, a client that waits to be asked for its body, and other protocols: Synapse's to judge.
    let body = asked.body_bytes();
    let is_odd = [&EXPECT, &UPGRADE, &TRANSFER_ENCODING].iter().any(|name| asked.headers.first(name).is_some());
    let has_right_body = match protocol {
        Protocol::Sync => body == Some(0),
        // Over HTTP/2 a body needs no length; what is read without one could be too much to be sent on.
        Protocol::Sliding => body.is_some_and(|bytes| (1..=body::BYTES_MAX as u64).contains(&bytes)),
    };
    if is_odd || !has_right_body { Err(Unfit::OddBody) } else { Ok(()) }
}

/// What the query says.
struct Query {
    since: Box<str>,
    timeout: Duration,
    set_presence: SetPresence,
    has_token: bool,
}

fn read_query(protocol: Protocol, query: &str) -> Result<Query, Unfit> {
    let (mut since, mut timeout, mut set_presence) = (None, None, None);
    let mut has_token = false;
    for (name, _) in query_pairs(query) {
        let Some(known) = KNOWN.iter().find(|known| stands_for(name, known)) else { continue };
        // The first of several counts, so that it is what is found here.
        let value = query_value(query, known).unwrap_or_default();
        match *known {
            "timeout" => set_once(&mut timeout, read_timeout(&value)?)?,
            "access_token" if has_token => return Err(Unfit::OddQuery),
            "access_token" => has_token = true,
            "since" | "pos" if *known == protocol.position() => set_once(&mut since, read_since(&value)?)?,
            "set_presence" if protocol == Protocol::Sync => set_once(&mut set_presence, read_set_presence(&value)?)?,
            "full_state" if value != "false" => return Err(Unfit::FullState),
            "from" => return Err(Unfit::OddQuery),
            "user_id" | "device_id" | "org.matrix.msc3202.device_id" => return Err(Unfit::Masquerade),
            _ => {}
        }
    }
    let default_presence = match protocol {
        Protocol::Sync => SetPresence::Online,
        Protocol::Sliding => SetPresence::Offline,
    };
    let since = since.ok_or(Unfit::Initial)?;
    let timeout = timeout.ok_or(Unfit::NoTimeout)?;
    Ok(Query { since, timeout, set_presence: set_presence.unwrap_or(default_presence), has_token })
}

/// The parameters that are looked at by themselves.
const KNOWN: [&str; 10] = [
    "timeout",
    "since",
    "pos",
    "set_presence",
    "full_state",
    "access_token",
    "from",
    "user_id",
    "device_id",
    "org.matrix.msc3202.device_id",
];

fn set_once<T>(place: &mut Option<T>, value: T) -> Result<(), Unfit> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Unfit::OddQuery),
    }
}

/// A plain number of milliseconds. Synapse reads more forms as numbers; they are forwarded.
fn read_timeout(text: &str) -> Result<Duration, Unfit> {
    if text.is_empty() || text.len() > 9 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Unfit::OddQuery);
    }
    let milliseconds = text.parse().map_err(|_| Unfit::OddQuery)?;
    let timeout = Duration::from_millis(milliseconds);
    if timeout > TIMEOUT_MAX { Err(Unfit::LongTimeout) } else { Ok(timeout) }
}

fn read_since(text: &str) -> Result<Box<str>, Unfit> {
    match text.len() {
        0 => Err(Unfit::Initial),
        1..=SINCE_BYTES_MAX if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(text.into()),
        _ => Err(Unfit::OddQuery),
    }
}

fn read_set_presence(text: &str) -> Result<SetPresence, Unfit> {
    match text {
        "online" => Ok(SetPresence::Online),
        "unavailable" => Ok(SetPresence::Unavailable),
        "offline" => Ok(SetPresence::Offline),
        _ => Err(Unfit::OddQuery),
    }
}

/// The access token of a request that shows one, in the one way that Synapse reads.
///
/// # Errors
///
/// [`Unfit::OddToken`] where there is none, several, or something else.
fn token<'request>(asked: &Asked<'request>, is_in_query: bool) -> Result<AccessToken<'request>, Unfit> {
    let in_header = asked.headers.only(&AUTHORIZATION).map_err(|_| Unfit::OddToken)?;
    let token = match (in_header, is_in_query) {
        (Some(value), false) => {
            let value = std::str::from_utf8(value).map_err(|_| Unfit::OddToken)?;
            Cow::Borrowed(value.strip_prefix("Bearer ").ok_or(Unfit::OddToken)?)
        }
        (None, true) => asked.query.and_then(|query| query_value(query, "access_token")).ok_or(Unfit::OddToken)?,
        _ => return Err(Unfit::OddToken),
    };
    let is_plain = (1..=TOKEN_BYTES_MAX).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
    if is_plain { Ok(AccessToken::new(token)) } else { Err(Unfit::OddToken) }
}

/// From where, and as what, a client syncs. Synapse writes down where a device was last seen (`insert_client_ip`, with
/// address and `User-Agent`), so that a request that changes any of it must reach it.
pub fn guise(asked: &Asked<'_>, client: Option<std::net::IpAddr>, set_presence: SetPresence) -> Likeness {
    let mut likeness = Likeness::default();
    likeness.add(client.map(|client| client.to_string()).unwrap_or_default().as_bytes());
    likeness.add(&[set_presence as u8]);
    // Whether the client takes a compressed answer decides what the answer is.
    for name in [&USER_AGENT, &ACCEPT_ENCODING] {
        asked.headers.all(name).for_each(|value| likeness.add(value));
        likeness.add(b"");
    }
    likeness
}

// === impl Unfit ===

impl Unfit {
    /// Every reason.
    pub const ALL: [Unfit; 9] = [
        Unfit::Initial,
        Unfit::FullState,
        Unfit::NoTimeout,
        Unfit::LongTimeout,
        Unfit::OtherMethod,
        Unfit::Masquerade,
        Unfit::OddToken,
        Unfit::OddQuery,
        Unfit::OddBody,
    ];

    /// The name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Unfit::Initial => "initial",
            Unfit::FullState => "full_state",
            Unfit::NoTimeout => "no_timeout",
            Unfit::LongTimeout => "long_timeout",
            Unfit::OtherMethod => "other_method",
            Unfit::Masquerade => "masquerade",
            Unfit::OddToken => "odd_token",
            Unfit::OddQuery => "odd_query",
            Unfit::OddBody => "odd_body",
        }
    }
}

// === impl Likeness ===

impl Likeness {
    /// Adds a part, with its length before it, so that no two rows of parts are the same row of bytes.
    pub fn add(&mut self, part: &[u8]) {
        self.0.extend_from_slice(&(part.len() as u64).to_le_bytes());
        self.0.extend_from_slice(part);
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

// === impl Ask ===

impl fmt::Debug for Ask<'_> {
    /// Without the token, and without the query, which may hold it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ask { since, timeout, protocol, set_presence, .. } = self;
        write!(formatter, "Ask({protocol:?} since {since} for {timeout:?}, {set_presence:?})")
    }
}

#[cfg(test)]
mod tests;
