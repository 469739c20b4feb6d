//! Quiet syncs on this edge: parked by the parts that the configuration allows, or all forwarded.

use std::sync::Arc;

use serde::Serialize;

use super::declined::Against;
use super::parking::Parking;
use crate::database::{Database, State as DatabaseState};

/// What becomes of quiet syncs on this edge.
pub enum Desk {
    /// They are parked where nothing speaks against it.
    Open(Box<Open>),
    /// All are forwarded, for these reasons, of which there is at least one.
    Closed(Vec<Against>),
}

/// The parts by which syncs are parked.
pub struct Open {
    parking: Parking,
    database: Arc<Database>,
}

/// The desk as `/status` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeskStatus {
    /// What is done with quiet syncs: on, shadow or off.
    pub mode: &'static str,
    /// Why they are all forwarded, as far as the configuration goes.
    pub forwarded_because: Vec<&'static str>,
    /// Whether a process of Synapse's runs a version that was not tested, so that nobody is parked.
    pub untested_synapse: bool,
    /// How the gate is doing.
    pub gate: Option<&'static str>,
    /// How many syncs are parked.
    pub parked: usize,
    /// What is known of the database.
    pub database: Option<String>,
    /// Whether Synapse is told who syncs here: told, untold, or that there is no presence.
    pub presence: Option<&'static str>,
}

// === impl Desk ===

impl Desk {
    /// A desk at which syncs are parked.
    pub fn open(parking: Parking, database: Arc<Database>) -> Self {
        Desk::Open(Box::new(Open { parking, database }))
    }

    /// Where syncs come, if not all are forwarded.
    pub fn parking(&self) -> Option<&Parking> {
        match self {
            Desk::Open(open) => Some(&open.parking),
            Desk::Closed(_) => None,
        }
    }

    /// Keeps up what parking needs. Dropping the future ends it.
    pub async fn run(&self) {
        let Desk::Open(open) = self else { return std::future::pending().await };
        let gate = Arc::clone(open.parking.gate()).run(Arc::clone(&open.database));
        tokio::join!(Arc::clone(&open.database).run(), gate, open.parking.online().run());
    }

    /// What an administrator can see of it.
    pub fn status(&self) -> DeskStatus {
        let open = match self {
            Desk::Open(open) => open,
            Desk::Closed(reasons) => {
                let forwarded_because = reasons.iter().map(|reason| reason.name()).collect();
                return DeskStatus { mode: "off", forwarded_because, ..DeskStatus::default() };
            }
        };
        let Open { parking, database } = &**open;
        let online = parking.online();
        DeskStatus {
            mode: parking.switch().mode().name(),
            forwarded_because: Vec::new(),
            untested_synapse: parking.switch().is_untested(),
            gate: Some(parking.gate().state().name()),
            parked: parking.gate().sizes().parked,
            database: Some(match &*database.state() {
                DatabaseState::Connecting => "connecting".to_owned(),
                DatabaseState::Ready { schema_version } => format!("ready, schema {schema_version}"),
                DatabaseState::Unavailable(reason) => reason.to_string(),
            }),
            presence: Some(match (online.is_untracked(), online.can_be_told()) {
                (true, _) => "none",
                (false, true) => "told",
                (false, false) => "untold",
            }),
        }
    }
}
