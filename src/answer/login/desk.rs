//! Where logins come: answered by the parts that the configuration allows, or all forwarded.

use std::sync::Arc;

use serde::Serialize;

use super::Logins;
use super::limits::shared::Shared;
use super::neighbours::Writer;
use super::reasons::Reason;
use super::turns::InTurns;
use crate::database::{Database, State};
use crate::synapse::Devices;
use crate::synapse::devices::Listener;

/// The logins of a real homeserver.
pub type RealLogins = Logins<Arc<Database>, InTurns<Writer>>;

/// What becomes of logins on this edge.
pub enum Desk {
    /// They are answered where nothing speaks against it.
    Open(Box<Open>),
    /// All are forwarded, for these reasons, of which there is at least one.
    Closed(Vec<Reason>),
}

/// The parts by which logins are answered.
pub struct Open {
    logins: RealLogins,
    database: Arc<Database>,
    /// The listener that makes devices; `None` where signed tokens do.
    devices: Option<Arc<Devices>>,
}

/// The desk as `/status` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeskStatus {
    /// Whether logins are answered here, as far as the configuration goes.
    pub answered: bool,
    /// Whether they are answered now: all that they need is there.
    pub ready: bool,
    /// Why they are all forwarded.
    pub forwarded_because: Vec<&'static str>,
    /// What is known of the database.
    pub database: Option<String>,
    /// What is known of the listener that makes devices.
    pub writer: Option<String>,
    /// Where the limits are kept at the moment.
    pub limits: Option<&'static str>,
}

// === impl Desk ===

impl Desk {
    /// A desk at which logins are answered.
    pub fn open(logins: RealLogins, database: Arc<Database>, devices: Option<Arc<Devices>>) -> Self {
        Desk::Open(Box::new(Open { logins, database, devices }))
    }

    /// The logins, or the first reason why all are forwarded.
    pub fn logins(&self) -> Result<&RealLogins, Reason> {
        match self {
            Desk::Open(open) => Ok(&open.logins),
            Desk::Closed(reasons) => Err(reasons.first().copied().unwrap_or(Reason::SwitchedOff)),
        }
    }

    /// Keeps the connections up that logins need. Dropping the future ends them.
    pub async fn run(&self) {
        let Desk::Open(open) = self else { return std::future::pending().await };
        let watch = async {
            match &open.devices {
                Some(devices) => devices.watch().await,
                None => std::future::pending().await,
            }
        };
        let share = async {
            match open.logins.limits().shared() {
                Some(shared) => shared.run().await,
                None => std::future::pending().await,
            }
        };
        tokio::join!(Arc::clone(&open.database).run(), watch, share);
    }

    /// Whether the database answers.
    pub fn has_database(&self) -> bool {
        matches!(self, Desk::Open(open) if matches!(*open.database.state(), State::Ready { .. }))
    }

    /// The limits that are shared with other edges, if they are to be.
    pub fn shared_limits(&self) -> Option<&Shared> {
        let Desk::Open(open) = self else { return None };
        open.logins.limits().shared().map(AsRef::as_ref)
    }

    /// What an administrator can see of it.
    pub fn status(&self) -> DeskStatus {
        match self {
            Desk::Closed(reasons) => DeskStatus {
                forwarded_because: reasons.iter().map(|reason| reason.name()).collect(),
                ..DeskStatus::default()
            },
            Desk::Open(open) => DeskStatus {
                answered: true,
                ready: open.is_ready(),
                forwarded_because: Vec::new(),
                database: Some(match &*open.database.state() {
                    State::Connecting => "connecting".to_owned(),
                    State::Ready { schema_version } => format!("ready, schema {schema_version}"),
                    State::Unavailable(reason) => reason.to_string(),
                }),
                writer: Some(match open.devices.as_ref().map(|devices| devices.listener()).as_deref() {
                    None => "signed tokens".to_owned(),
                    Some(Listener::Unchecked) => "not checked yet".to_owned(),
                    Some(Listener::Ready { protected: true }) => "ready".to_owned(),
                    Some(Listener::Ready { protected: false }) => {
                        "ready, but open to anybody who reaches it".to_owned()
                    }
                    Some(Listener::Unready(reason)) => reason.to_string(),
                }),
                limits: Some(match self.shared_limits().map(Shared::is_connected) {
                    None => "in memory",
                    Some(true) => "shared",
                    Some(false) => "in memory, while Redis is away",
                }),
            },
        }
    }
}

// === impl Open ===

impl Open {
    fn is_ready(&self) -> bool {
        let database = matches!(*self.database.state(), State::Ready { .. });
        let writer = self.devices.as_ref().is_none_or(|devices| devices.listener().is_ready());
        database && writer && self.logins.knows_well_known()
    }
}
