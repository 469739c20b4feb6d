//! One request's story: what it is, who asked, who answered, how long each part took, and why it ended.
//!
//! The phases of `proxy` write it, `observe` reads it. Nothing secret is ever put in: no query, body or token.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::endpoint::Endpoint;

/// A request's name in dendron's log and in Synapse's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestId {
    /// Made here: a number of this process and a running number.
    Made {
        /// Drawn once at start, so that the ids of two edges or two runs differ.
        process: u32,
        /// Counts the requests since start.
        number: u64,
    },
    /// Given by a trusted proxy in front of dendron.
    Given(Box<str>),
}

impl RequestId {
    /// The most characters that a given id may have.
    pub const GIVEN_MAX: usize = 128;

    /// An id that a proxy gave, if it is short and made of harmless characters: it goes into logs and headers.
    pub fn given(text: &str) -> Option<Self> {
        let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:=+/".contains(&byte);
        let fits = !text.is_empty() && text.len() <= Self::GIVEN_MAX && text.bytes().all(harmless);
        fits.then(|| RequestId::Given(text.into()))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestId::Made { process, number } => write!(formatter, "{process:08x}-{number:x}"),
            RequestId::Given(text) => formatter.write_str(text),
        }
    }
}

/// Why a request ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ended {
    /// It was answered in full.
    #[default]
    Complete,
    /// The client went away before its answer was whole.
    ClientGone,
    /// The request was malformed.
    BadRequest,
    /// The path is not offered on this listener.
    NotOffered,
    /// No process could be connected to.
    Unreachable,
    /// The process broke the connection.
    BrokenOff,
    /// The process took too long.
    TimedOut,
    /// A fault of dendron's own.
    Internal,
}

impl Ended {
    /// The reason's name in the access log.
    pub const fn name(self) -> &'static str {
        match self {
            Ended::Complete => "complete",
            Ended::ClientGone => "client_gone",
            Ended::BadRequest => "bad_request",
            Ended::NotOffered => "not_offered",
            Ended::Unreachable => "unreachable",
            Ended::BrokenOff => "broken_off",
            Ended::TimedOut => "timed_out",
            Ended::Internal => "internal",
        }
    }
}

/// Who gave the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnsweredBy {
    /// Nobody: the client went away, or the answer could not be sent.
    #[default]
    Nobody,
    /// A process of Synapse.
    Synapse,
    /// Dendron itself.
    Edge,
}

impl AnsweredBy {
    /// The name in the access log.
    pub const fn name(self) -> &'static str {
        match self {
            AnsweredBy::Nobody => "nobody",
            AnsweredBy::Synapse => "synapse",
            AnsweredBy::Edge => "edge",
        }
    }
}

/// The story of one request.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// When the request's head was read.
    pub started: Instant,
    /// The request's name.
    pub request_id: RequestId,
    /// What the request is.
    pub endpoint: Endpoint,
    /// Who asked, as far as trusted proxies tell; `None` over a unix socket whose peer does not say.
    pub client: Option<IpAddr>,
    /// The pool that it was sent to.
    pub pool: Option<Arc<str>>,
    /// The process that it was sent to.
    pub backend: Option<Arc<str>>,
    /// How long it was parked, if it was.
    pub parked: Option<Duration>,
    /// From the start until a process was chosen.
    pub waited: Option<Duration>,
    /// From the start until a connection to the process stood.
    pub connected: Option<Duration>,
    /// From the start until the answer's head came.
    pub first_byte: Option<Duration>,
    /// How often the request was sent on again after a failure.
    pub retries: u32,
    /// The status code sent to the client, 0 if none was.
    pub status: u16,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// Who answered.
    pub answered_by: AnsweredBy,
    /// Why it ended.
    pub ended: Ended,
    /// Why dendron forwarded what it answers elsewhere, in a word.
    pub declined: Option<&'static str>,
}

impl Exchange {
    /// The beginning of a story.
    pub fn new(started: Instant, request_id: RequestId, endpoint: Endpoint, client: Option<IpAddr>) -> Self {
        Exchange {
            started,
            request_id,
            endpoint,
            client,
            pool: None,
            backend: None,
            parked: None,
            waited: None,
            connected: None,
            first_byte: None,
            retries: 0,
            status: 0,
            bytes_in: 0,
            bytes_out: 0,
            answered_by: AnsweredBy::default(),
            ended: Ended::default(),
            declined: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_taken_over_only_if_it_is_harmless() {
        for good in ["a", "0af7651916cd43dd8448eb211c80319c", "req-1.2:3/4+5=_"] {
            assert_eq!(RequestId::given(good).map(|id| id.to_string()).as_deref(), Some(good));
        }
        let long = "a".repeat(RequestId::GIVEN_MAX + 1);
        for bad in ["", "a b", "a\"b", "a\nb", "ä", long.as_str()] {
            assert_eq!(RequestId::given(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_made_id_is_short_and_telling() {
        assert_eq!(RequestId::Made { process: 0xab, number: 0x10 }.to_string(), "000000ab-10");
    }
}
