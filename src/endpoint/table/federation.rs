//! What other servers ask: `/_matrix/federation`, without its media, and `/_matrix/key`.

use super::{GET, GET_POST, POST, PUT, Row, row};
use crate::endpoint::Class::{FederationJoin, FederationKeys, FederationRead, FederationTransaction, Main, WellKnown};

const ONLY: &[&str] = &[];

/// The rows. Some paths may end with a slash, which Synapse allows for old servers.
#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    row(PUT, ONLY, "/_matrix/federation/v1/send/{txnId}", FederationTransaction),
    row(PUT, ONLY, "/_matrix/federation/v1/send/{txnId}/", FederationTransaction),

    row(GET, ONLY, "/_matrix/federation/v1/version", FederationRead),
    row(GET, ONLY, "/_matrix/federation/v1/event/{eventId}", FederationRead),
    row(GET, ONLY, "/_matrix/federation/v1/event/{eventId}/", FederationRead),
    row(GET, ONLY, "/_matrix/federation/v1/state/{roomId}", FederationRead),
    row(GET, ONLY, "/_matrix/federation/v1/state/{roomId}/", FederationRead),
    row(GET, ONLY, "/_matrix/federation/v1/state_ids/{roomId}", FederationRead),
    row(GET, ONLY, "/_matrix/federation/v1/state_ids/{roomId}/", FederationRead),
    row(GET, ONLY, "/_matrix/federation/v1/backfill/{roomId}", FederationRead),
    row(GET, ONLY, "/_matrix/federation/v1/backfill/{roomId}/", FederationRead),
    row(GET, ONLY, "/_matrix/federation/v1/timestamp_to_event/{roomId}", FederationRead),
    row(GET, ONLY, "/_matrix/federation/v1/timestamp_to_event/{roomId}/", FederationRead),
    row(GET, ONLY, "/_matrix/federation/v1/event_auth/{roomId}/{eventId}", FederationRead),
    row(POST, ONLY, "/_matrix/federation/v1/get_missing_events/{roomId}", FederationRead),
    row(GET, ONLY, "/_matrix/federation/v1/hierarchy/{roomId}", FederationRead),
    row(GET, ONLY, "/_matrix/federation/v1/query/{queryType}", FederationRead),
    row(GET_POST, ONLY, "/_matrix/federation/v1/publicRooms", FederationRead),
    row(GET, ONLY, "/_matrix/federation/v1/user/devices/{userId}", FederationRead),

    row(GET, ONLY, "/_matrix/federation/v1/make_join/{roomId}/{userId}", FederationJoin),
    row(GET, ONLY, "/_matrix/federation/v1/make_leave/{roomId}/{userId}", FederationJoin),
    row(GET, ONLY, "/_matrix/federation/v1/make_knock/{roomId}/{userId}", FederationJoin),
    row(PUT, ONLY, "/_matrix/federation/v1/send_join/{roomId}/{eventId}", FederationJoin),
    row(PUT, ONLY, "/_matrix/federation/v2/send_join/{roomId}/{eventId}", FederationJoin),
    row(PUT, ONLY, "/_matrix/federation/v1/send_leave/{roomId}/{eventId}", FederationJoin),
    row(PUT, ONLY, "/_matrix/federation/v2/send_leave/{roomId}/{eventId}", FederationJoin),
    row(PUT, ONLY, "/_matrix/federation/v1/send_knock/{roomId}/{eventId}", FederationJoin),
    row(PUT, ONLY, "/_matrix/federation/v1/invite/{roomId}/{eventId}", FederationJoin),
    row(PUT, ONLY, "/_matrix/federation/v2/invite/{roomId}/{eventId}", FederationJoin),
    row(PUT, ONLY, "/_matrix/federation/v1/exchange_third_party_invite/{roomId}", FederationJoin),

    row(POST, ONLY, "/_matrix/key/v2/query", FederationKeys),
    row(GET, ONLY, "/_matrix/key/v2/query/{serverName}", FederationKeys),
    row(GET, ONLY, "/_matrix/key/v2/query/{serverName}/{keyId}", FederationKeys),
    row(GET, ONLY, "/_matrix/key/v2/server", WellKnown),
    row(GET, ONLY, "/_matrix/key/v2/server/{keyId}", WellKnown),

    // Workers serve these too, but no documentation says so.
    row(POST, ONLY, "/_matrix/federation/v1/user/keys/query", Main),
    row(POST, ONLY, "/_matrix/federation/v1/user/keys/claim", Main),
    row(POST, ONLY, "/_matrix/federation/unstable/user/keys/claim", Main),
    row(POST, ONLY, "/_matrix/federation/v1/3pid/onbind", Main),
    row(GET, ONLY, "/_matrix/federation/v1/openid/userinfo", Main),
    row(GET, ONLY, "/_matrix/federation/unstable/rooms/{roomId}/complexity", Main),
    row(GET, ONLY, "/_matrix/federation/unstable/org.matrix.msc4370/extremities/{roomId}", Main),
    row(POST, ONLY, "/_matrix/federation/unstable/org.matrix.msc3720/query/account_status", Main),
];
