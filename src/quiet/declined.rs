//! Why a sync is forwarded that could be parked elsewhere, and why all are.

use super::eligible::Unfit;
use super::verdict::Reason;

/// Why one sync is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declined {
    /// Parking is switched off.
    SwitchedOff,
    /// It is only counted how parking would go.
    Shadow,
    /// Dendron stops.
    Stopping,
    /// It could not be parked, whatever is known.
    Unfit(Unfit),
    /// It is not known who asks.
    UnknownCaller,
    /// A guest asks, whose token ends untold.
    Guest,
    /// Who asks has no device: an application service, or an administrator in a user's place.
    NoDevice,
    /// The user is not among those whose syncs are parked.
    OutsideShare,
    /// It comes from another address or program than the last one, or wants to be seen as something else.
    OtherGuise,
    /// Synapse would take the user for gone.
    Presence,
    /// The gate says so.
    Gate(Reason),
}

/// Why all syncs are forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// Synapse's files are not known.
    SynapseUnknown,
    /// Synapse's processes do not tell each other over Redis what changes.
    NoRedis,
    /// The rooms of users cannot be read.
    NoPostgres,
    /// A module decides who sees whose presence.
    PresenceRouter,
}

// === impl Declined ===

impl Declined {
    /// The name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Declined::SwitchedOff => "switched_off",
            Declined::Shadow => "shadow",
            Declined::Stopping => "stopping",
            Declined::Unfit(unfit) => unfit.name(),
            Declined::UnknownCaller => "unknown_caller",
            Declined::Guest => "guest",
            Declined::NoDevice => "no_device",
            Declined::OutsideShare => "outside_share",
            Declined::OtherGuise => "other_guise",
            Declined::Presence => "presence",
            Declined::Gate(reason) => reason.name(),
        }
    }
}

impl From<Unfit> for Declined {
    fn from(unfit: Unfit) -> Self {
        Declined::Unfit(unfit)
    }
}

// === impl Against ===

impl Against {
    /// Every reason.
    pub const ALL: [Against; 4] =
        [Against::SynapseUnknown, Against::NoRedis, Against::NoPostgres, Against::PresenceRouter];

    /// The name on the status page.
    pub const fn name(self) -> &'static str {
        match self {
            Against::SynapseUnknown => "synapse_unknown",
            Against::NoRedis => "no_redis",
            Against::NoPostgres => "no_postgres",
            Against::PresenceRouter => "presence_router",
        }
    }

    /// What an administrator is told of it.
    pub const fn explanation(self) -> &'static str {
        match self {
            Against::SynapseUnknown => "Synapse's files are not read (synapse.config)",
            Against::NoRedis => "redis.enabled is off",
            Against::NoPostgres => "the database is not PostgreSQL",
            Against::PresenceRouter => "a module decides who sees whose presence (presence.presence_router)",
        }
    }
}
