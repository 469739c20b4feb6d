//! Whether a request that may have reached Synapse is sent again, and to whom.
//!
//! Only where the Matrix specification makes it safe: a request that reads changes nothing, and a request with a
//! transaction id is done once however often it comes (client-server API, "Transaction identifiers"; server-server API,
//! "Transactions"). Synapse remembers the answers to transactions in each process (`rest/client/transactions.py`), so
//! such a request goes to the same process or to none.
//!
//! Not here: a connection that could not be made. Nothing was sent then, so anybody may be next (`attempt`).

use http::Method;

/// The endpoints whose `PUT` carries a transaction id that makes it safe to repeat, by their labels.
const TRANSACTIONS: [&str; 5] = [
    "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}",
    "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}",
    "/_matrix/client/v3/sendToDevice/{eventType}/{txnId}",
    "/_matrix/federation/v1/send/{txnId}",
    "/_matrix/federation/v1/send/{txnId}/",
];

/// The endpoints whose `POST` only asks, with a body because the question is long, by their labels.
const QUESTIONS: [&str; 8] = [
    "/_matrix/client/v3/keys/query",
    "/_matrix/client/v3/publicRooms",
    "/_matrix/client/v3/search",
    "/_matrix/client/v3/user_directory/search",
    "/_matrix/federation/v1/get_missing_events/{roomId}",
    "/_matrix/federation/v1/publicRooms",
    "/_matrix/federation/v1/user/keys/query",
    "/_matrix/key/v2/query",
];

/// How often a request is repeated after a fresh connection broke. Once: the request itself may be what breaks
/// processes, and must not go round the pool.
const REPEATS_MAX: u32 = 1;
/// How often after a kept connection broke, which was most likely closed for having been idle.
const REPEATS_OF_REUSED_MAX: u32 = 2;

/// Where a request is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// To the process that it was at.
    Same,
    /// To another process of the pool, if there is one.
    Other,
}

/// A request whose connection to Synapse broke.
#[derive(Clone, Copy, Debug)]
pub(super) struct Broken<'request> {
    /// Its method.
    pub(super) method: &'request Method,
    /// Its endpoint's label.
    pub(super) label: &'static str,
    /// Whether the connection had served requests before.
    pub(super) reused: bool,
    /// Whether the head of an answer has come.
    pub(super) begun: bool,
    /// Whether all that was read of the body is still there to be sent again.
    pub(super) replayable: bool,
    /// How often the request was repeated already.
    pub(super) repeats: u32,
}

impl Broken<'_> {
    /// Whether the request is sent again. `None` for no.
    pub(super) fn retry(&self) -> Option<Retry> {
        let most = if self.reused { REPEATS_OF_REUSED_MAX } else { REPEATS_MAX };
        if self.begun || !self.replayable || self.repeats >= most {
            return None;
        }
        match *self.method {
            Method::GET | Method::HEAD | Method::OPTIONS => Some(Retry::Other),
            Method::POST if QUESTIONS.contains(&self.label) => Some(Retry::Other),
            Method::PUT if TRANSACTIONS.contains(&self.label) => Some(Retry::Same),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{Endpoints, table};

    const SYNC: &str = "/_matrix/client/v3/sync";
    const STATE: &str = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}";

    fn broken(method: &'static Method, label: &'static str) -> Broken<'static> {
        Broken { method, label, reused: false, begun: false, replayable: true, repeats: 0 }
    }

    #[test]
    fn only_what_matrix_makes_safe_is_repeated() {
        let mut table = vec![
            (&Method::GET, SYNC, Some(Retry::Other)),
            (&Method::HEAD, SYNC, Some(Retry::Other)),
            (&Method::OPTIONS, SYNC, Some(Retry::Other)),
            (&Method::PUT, STATE, None),
            (&Method::POST, SYNC, None),
            (&Method::DELETE, SYNC, None),
            (&Method::PATCH, SYNC, None),
        ];
        for label in TRANSACTIONS {
            table.extend([(&Method::PUT, label, Some(Retry::Same)), (&Method::POST, label, None)]);
        }
        for label in QUESTIONS {
            table.extend([(&Method::POST, label, Some(Retry::Other)), (&Method::PUT, label, None)]);
        }
        for (method, label, expected) in table {
            let fresh = broken(method, label);
            assert_eq!(fresh.retry(), expected, "{method} {label}");
            // That the connection was kept makes no method safer: the process may have read the request and then died.
            assert_eq!(Broken { reused: true, ..fresh }.retry(), expected, "{method} {label}, reused");
            assert_eq!(Broken { begun: true, ..fresh }.retry(), None, "{method} {label}, begun");
            assert_eq!(Broken { replayable: false, ..fresh }.retry(), None, "{method} {label}, not replayable");
        }
    }

    #[test]
    fn repeats_are_bounded() {
        let table = [(false, 0, true), (false, 1, false), (true, 0, true), (true, 1, true), (true, 2, false)];
        for (reused, repeats, expected) in table {
            for (method, label) in [(&Method::GET, SYNC), (&Method::PUT, TRANSACTIONS[0])] {
                let request = Broken { reused, repeats, ..broken(method, label) };
                assert_eq!(request.retry().is_some(), expected, "{request:?}");
            }
        }
    }

    #[test]
    fn the_transactions_and_the_questions_are_labels_of_the_table() {
        for label in TRANSACTIONS.into_iter().chain(QUESTIONS) {
            assert!(table::rows().any(|row| row.template == label), "{label}");
        }
        let target = "/_matrix/client/r0/rooms/!a:b/send/m.room.message/t1";
        assert_eq!(Endpoints::new().classify(&Method::PUT, target, None).label, TRANSACTIONS[0]);
    }
}
