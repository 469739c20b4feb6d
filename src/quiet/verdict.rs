//! What the gate says of a sync, what ends a parked one, and what an answer of Synapse's was.

use std::sync::Arc;
use std::time::Duration;

use super::kept::KeptAnswer;
use super::waiting::Parked;
use crate::replication::Stream;

/// What is to be done with a sync.
#[derive(Debug)]
pub enum Verdict {
    /// Forward it to Synapse, and let the answer be looked at.
    Forward(Reason),
    /// Give the kept answer at once: the client does not wait.
    Replay(Arc<KeptAnswer>),
    /// Hold it until [`Parked::ended`] says what to do.
    Park(Parked),
}

/// Why a sync is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The replication stream is not followed, or Synapse's database cannot be asked.
    NotLive,
    /// The stream is followed, but too slowly at the moment.
    Lagging,
    /// A message was late, so that nothing is parked any more.
    Latched,
    /// No empty answer is kept for such a request.
    NothingKept,
    /// The request begins elsewhere than the kept answer ends.
    OtherSince,
    /// The kept answer is so old that Synapse is to be asked again.
    Renewal,
    /// The rooms of the user are not known yet.
    MembersUnknown,
    /// Something may have happened for the user since the kept answer.
    Touched,
    /// The kept answer knows more than the stream has told so far.
    Ahead,
    /// The client waits longer than anybody is parked.
    LongTimeout,
    /// As many are parked as may be, in all or of this user.
    Full,
}

/// What ends a parked sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its time is over: give the kept answer.
    Replay,
    /// Forward it with its own `since`, and with this timeout ([`WakeReason::timeout`]).
    Wake(WakeReason, Duration),
}

/// What is left of the timeout of a sync that is woken, at least: so a process that has not heard yet of what woke the
/// sync can still wait for it, and no answer that Synapse remembers for the same timeout is given.
pub const REMAINING_MIN: Duration = Duration::from_secs(1);
/// The timeout of a sync whose session may have ended: enough for every process of Synapse's to hear of it.
pub const SESSION_ENDING: Duration = Duration::from_millis(250);

/// Why a parked sync is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WakeReason {
    /// A change in this stream may concern the user.
    Stream(Stream),
    /// Something may have been missed in this stream, or was not understood.
    Doubt(Stream),
    /// The access token has ended.
    Token,
    /// The device was changed or removed.
    Device,
    /// The account was changed.
    Account,
    /// The device's one-time keys are others than the kept answer counts.
    Keys,
    /// The replication stream is no longer followed, or Synapse's database no longer asked.
    NotLive,
    /// Somebody has switched parking off.
    Switched,
    /// A message was late, so that nothing is parked any more.
    Latched,
}

/// What Synapse answered to a sync that was forwarded.
#[derive(Debug)]
pub enum Seen {
    /// Nothing, with status 200: the answer may be kept.
    Empty(KeptAnswer),
    /// Something. The sections that were not empty, by their names in the answer, for whoever looks into a late message.
    NotEmpty {
        /// The sections.
        sections: Vec<&'static str>,
    },
    /// An error, an answer of another shape, or none.
    Other,
}

// === impl Reason ===

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 11] = [
        Reason::NotLive,
        Reason::Lagging,
        Reason::Latched,
        Reason::NothingKept,
        Reason::OtherSince,
        Reason::Renewal,
        Reason::MembersUnknown,
        Reason::Touched,
        Reason::Ahead,
        Reason::LongTimeout,
        Reason::Full,
    ];

    /// The name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::NotLive => "not_live",
            Reason::Lagging => "lagging",
            Reason::Latched => "latched",
            Reason::NothingKept => "nothing_kept",
            Reason::OtherSince => "other_since",
            Reason::Renewal => "renewal",
            Reason::MembersUnknown => "members_unknown",
            Reason::Touched => "touched",
            Reason::Ahead => "ahead",
            Reason::LongTimeout => "long_timeout",
            Reason::Full => "full",
        }
    }
}

// === impl WakeReason ===

impl WakeReason {
    /// The timeout with which a sync is forwarded that has so much left.
    ///
    /// Where its session may have ended, it is a short one: a process of Synapse's that has not heard of the end yet takes
    /// the token, and nothing would wake that poll again.
    pub fn timeout(self, left: Duration) -> Duration {
        match self {
            WakeReason::Token | WakeReason::Device | WakeReason::Account => SESSION_ENDING,
            _ => left.max(REMAINING_MIN),
        }
    }

    /// The name in metrics and logs: the stream's, or what else it was.
    pub fn name(self) -> &'static str {
        match self {
            WakeReason::Stream(stream) => stream.name(),
            WakeReason::Doubt(_) => "doubt",
            WakeReason::Token => "token",
            WakeReason::Device => "device",
            WakeReason::Account => "account",
            WakeReason::Keys => "keys",
            WakeReason::NotLive => "not_live",
            WakeReason::Switched => "switched",
            WakeReason::Latched => "latched",
        }
    }
}
