//! `/_matrix/client`, without its media.

use super::{DELETE, GET, GET_POST, GET_PUT, GET_PUT_DELETE, OPTIONS, POST, PUT, PUT_DELETE, Row, row};
use crate::endpoint::Class::{
    AccountData, ClientRead, DeviceLists, Encryption, EventSend, InitialSync, Login, Main, MainSlow, Presence, Profile,
    PushRules, Receipts, RoomCreate, RoomJoin, RoomMessages, RoomRead, SlidingSync, Sso, Sync, ThreadSubscriptions,
    ToDevice, Typing, UserDirectory,
};

/// The versions of what was there before r0.
const EVERY: &[&str] = &["v3", "r0", "unstable", "api/v1"];
/// The versions of what came with r0: Synapse's default (`client_patterns` in `synapse/rest/client/_base.py`).
const LATER: &[&str] = &["v3", "r0", "unstable"];
const STABLE: &[&str] = &["v3", "r0"];
const V3_UNSTABLE: &[&str] = &["v3", "unstable"];
const V1_UNSTABLE: &[&str] = &["v1", "unstable"];
/// Under one version only.
const ONLY: &[&str] = &[];

/// The rows, in the order of the classes.
#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    // Syncs. `tree` makes an initial sync of those whose query asks for one.
    row(GET, LATER, "/_matrix/client/v3/sync", Sync),
    row(GET, EVERY, "/_matrix/client/v3/events", Sync),
    row(POST, ONLY, "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync", SlidingSync),
    row(GET, EVERY, "/_matrix/client/v3/initialSync", InitialSync),
    row(GET, EVERY, "/_matrix/client/v3/rooms/{roomId}/initialSync", InitialSync),

    // Reads of one room.
    row(GET, EVERY, "/_matrix/client/v3/rooms/{roomId}/messages", RoomMessages),
    row(GET, EVERY, "/_matrix/client/v3/rooms/{roomId}/members", RoomRead),
    row(GET, EVERY, "/_matrix/client/v3/rooms/{roomId}/joined_members", RoomRead),
    row(GET, EVERY, "/_matrix/client/v3/rooms/{roomId}/state", RoomRead),
    row(GET, EVERY, "/_matrix/client/v3/rooms/{roomId}/context/{eventId}", RoomRead),
    row(GET, EVERY, "/_matrix/client/v3/rooms/{roomId}/event/{eventId}", RoomRead),
    row(GET, STABLE, "/_matrix/client/v3/rooms/{roomId}/aliases", RoomRead),
    row(GET, ONLY, "/_matrix/client/unstable/org.matrix.msc2432/rooms/{roomId}/aliases", RoomRead),
    row(GET, ONLY, "/_matrix/client/v1/rooms/{roomId}/hierarchy", RoomRead),
    row(GET, ONLY, "/_matrix/client/v1/rooms/{roomId}/threads", RoomRead),
    row(GET, ONLY, "/_matrix/client/v1/rooms/{roomId}/timestamp_to_event", RoomRead),
    row(GET, V1_UNSTABLE, "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}", RoomRead),
    row(GET, V1_UNSTABLE, "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}", RoomRead),
    row(GET, V1_UNSTABLE, "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}", RoomRead),
    row(GET, ONLY, "/_matrix/client/v1/room_summary/{roomIdOrAlias}", RoomRead),
    row(GET, ONLY, "/_matrix/client/unstable/im.nheko.summary/summary/{roomIdOrAlias}", RoomRead),
    row(GET, ONLY, "/_matrix/client/unstable/im.nheko.summary/rooms/{roomIdOrAlias}/summary", RoomRead),
    row(GET_PUT_DELETE, EVERY, "/_matrix/client/v3/directory/room/{roomAlias}", RoomRead),

    // Reads about no one room.
    row(GET, ONLY, "/_matrix/client/versions", ClientRead),
    row(GET, LATER, "/_matrix/client/v3/capabilities", ClientRead),
    row(GET, LATER, "/_matrix/client/v3/account/whoami", ClientRead),
    row(GET_POST, LATER, "/_matrix/client/v3/account/3pid", ClientRead),
    row(GET, LATER, "/_matrix/client/v3/notifications", ClientRead),
    row(GET, LATER, "/_matrix/client/v3/password_policy", ClientRead),
    row(POST, LATER, "/_matrix/client/v3/user/{userId}/filter", ClientRead),
    row(GET, LATER, "/_matrix/client/v3/user/{userId}/filter/{filterId}", ClientRead),
    row(GET, EVERY, "/_matrix/client/v3/joined_rooms", ClientRead),
    row(GET_POST, EVERY, "/_matrix/client/v3/publicRooms", ClientRead),
    row(POST, EVERY, "/_matrix/client/v3/search", ClientRead),
    row(GET, EVERY, "/_matrix/client/v3/voip/turnServer", ClientRead),
    row(GET, ONLY, "/_matrix/client/unstable/org.matrix.msc4140/delayed_events", ClientRead),

    // Encryption.
    row(POST, LATER, "/_matrix/client/v3/keys/query", Encryption),
    row(POST, LATER, "/_matrix/client/v3/keys/claim", Encryption),
    row(GET, LATER, "/_matrix/client/v3/keys/changes", Encryption),
    row(GET_POST, LATER, "/_matrix/client/v3/room_keys/version", Encryption),
    row(GET_PUT_DELETE, LATER, "/_matrix/client/v3/room_keys/version/{version}", Encryption),
    row(GET_PUT_DELETE, LATER, "/_matrix/client/v3/room_keys/keys", Encryption),
    row(GET_PUT_DELETE, LATER, "/_matrix/client/v3/room_keys/keys/{roomId}", Encryption),
    row(GET_PUT_DELETE, LATER, "/_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}", Encryption),

    // Logging in and registering.
    row(GET_POST, EVERY, "/_matrix/client/v3/login", Login),
    row(POST, LATER, "/_matrix/client/v3/register", Login),
    row(GET, LATER, "/_matrix/client/v3/register/available", Login),
    row(GET, V1_UNSTABLE, "/_matrix/client/v1/register/m.login.registration_token/validity", Login),
    row(GET, EVERY, "/_matrix/client/v3/login/sso/redirect", Sso),
    row(GET, STABLE, "/_matrix/client/v3/login/sso/redirect/{idpId}", Sso),
    row(GET, EVERY, "/_matrix/client/v3/login/cas/redirect", Sso),
    row(GET, EVERY, "/_matrix/client/v3/login/cas/ticket", Sso),

    // Sending. A `PUT` of a membership or of a new room is not in the documentation of workers: these are below.
    row(POST, EVERY, "/_matrix/client/v3/rooms/{roomId}/send/{eventType}", EventSend),
    row(PUT, EVERY, "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}", EventSend),
    row(GET_PUT, EVERY, "/_matrix/client/v3/rooms/{roomId}/state/{eventType}", EventSend),
    row(GET_PUT, EVERY, "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}", EventSend),
    row(POST, EVERY, "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}", EventSend),
    row(PUT, EVERY, "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}", EventSend),
    row(POST, EVERY, "/_matrix/client/v3/rooms/{roomId}/invite", EventSend),
    row(POST, EVERY, "/_matrix/client/v3/rooms/{roomId}/leave", EventSend),
    row(POST, EVERY, "/_matrix/client/v3/rooms/{roomId}/ban", EventSend),
    row(POST, EVERY, "/_matrix/client/v3/rooms/{roomId}/unban", EventSend),
    row(POST, EVERY, "/_matrix/client/v3/rooms/{roomId}/kick", EventSend),
    row(POST, ONLY, "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}/restart", EventSend),
    row(POST, EVERY, "/_matrix/client/v3/rooms/{roomId}/join", RoomJoin),
    row(POST, EVERY, "/_matrix/client/v3/join/{roomIdOrAlias}", RoomJoin),
    row(PUT, EVERY, "/_matrix/client/v3/join/{roomIdOrAlias}/{txnId}", RoomJoin),
    row(POST, LATER, "/_matrix/client/v3/knock/{roomIdOrAlias}", RoomJoin),
    row(POST, EVERY, "/_matrix/client/v3/createRoom", RoomCreate),
    row(GET, EVERY, "/_matrix/client/v3/profile/{userId}", Profile),
    row(GET_PUT_DELETE, EVERY, "/_matrix/client/v3/profile/{userId}/avatar_url", Profile),
    row(GET_PUT_DELETE, EVERY, "/_matrix/client/v3/profile/{userId}/displayname", Profile),
    row(GET_PUT_DELETE, ONLY, "/_matrix/client/v3/profile/{userId}/{keyName}", Profile),

    // What has a stream writer.
    row(PUT, EVERY, "/_matrix/client/v3/rooms/{roomId}/typing/{userId}", Typing),
    row(GET_PUT_DELETE, EVERY, "/_matrix/client/v3/pushrules/{*path}", PushRules),
    row(GET_PUT_DELETE, ONLY,
        "/_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{eventId}/subscription",
        ThreadSubscriptions),
    row(GET, ONLY, "/_matrix/client/unstable/io.element.msc4308/thread_subscriptions", ThreadSubscriptions),
    row(GET_PUT, LATER, "/_matrix/client/v3/user/{userId}/account_data/{type}", AccountData),
    row(GET_PUT, LATER, "/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}", AccountData),
    row(GET, LATER, "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags", AccountData),
    row(PUT_DELETE, LATER, "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}", AccountData),
    row(DELETE, ONLY, "/_matrix/client/unstable/org.matrix.msc3391/user/{userId}/account_data/{type}", AccountData),
    row(DELETE, ONLY,
        "/_matrix/client/unstable/org.matrix.msc3391/user/{userId}/rooms/{roomId}/account_data/{type}",
        AccountData),
    row(PUT, LATER, "/_matrix/client/v3/sendToDevice/{eventType}/{txnId}", ToDevice),
    row(GET_PUT, EVERY, "/_matrix/client/v3/presence/{userId}/status", Presence),
    row(POST, LATER, "/_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}", Receipts),
    row(POST, LATER, "/_matrix/client/v3/rooms/{roomId}/read_markers", Receipts),
    row(GET, LATER, "/_matrix/client/v3/devices", DeviceLists),
    row(GET_PUT_DELETE, LATER, "/_matrix/client/v3/devices/{deviceId}", DeviceLists),
    row(POST, LATER, "/_matrix/client/v3/delete_devices", DeviceLists),
    row(POST, LATER, "/_matrix/client/v3/keys/upload", DeviceLists),
    row(POST, LATER, "/_matrix/client/v3/keys/signatures/upload", DeviceLists),
    row(POST, V3_UNSTABLE, "/_matrix/client/v3/keys/device_signing/upload", DeviceLists),
    row(POST, LATER, "/_matrix/client/v3/user_directory/search", UserDirectory),

    // Main alone serves these.
    row(POST, EVERY, "/_matrix/client/v3/logout", Main),
    row(POST, EVERY, "/_matrix/client/v3/logout/all", Main),
    row(POST, LATER, "/_matrix/client/v3/refresh", Main),
    row(POST, LATER, "/_matrix/client/v3/tokenrefresh", Main),
    row(POST, ONLY, "/_matrix/client/v1/login/get_token", Main),
    row(POST, ONLY, "/_matrix/client/unstable/org.matrix.msc3882/login/token", Main),
    row(GET_POST, LATER, "/_matrix/client/v3/auth/{authType}/fallback/web", Main),
    row(POST, LATER, "/_matrix/client/v3/register/email/requestToken", Main),
    row(POST, LATER, "/_matrix/client/v3/register/msisdn/requestToken", Main),
    row(GET, ONLY, "/_matrix/client/unstable/registration/{medium}/submit_token", Main),
    row(POST, LATER, "/_matrix/client/v3/account/password", Main),
    row(POST, LATER, "/_matrix/client/v3/account/password/email/requestToken", Main),
    row(POST, LATER, "/_matrix/client/v3/account/3pid/add", Main),
    row(POST, LATER, "/_matrix/client/v3/account/3pid/bind", Main),
    row(POST, LATER, "/_matrix/client/v3/account/3pid/delete", Main),
    row(POST, LATER, "/_matrix/client/v3/account/3pid/unbind", Main),
    row(POST, LATER, "/_matrix/client/v3/account/3pid/email/requestToken", Main),
    row(POST, LATER, "/_matrix/client/v3/account/3pid/msisdn/requestToken", Main),
    row(GET, ONLY, "/_matrix/client/unstable/add_threepid/email/submit_token", Main),
    row(POST, ONLY, "/_matrix/client/unstable/add_threepid/msisdn/submit_token", Main),
    row(GET, LATER, "/_matrix/client/v3/account_validity/renew", Main),
    row(POST, LATER, "/_matrix/client/v3/account_validity/send_mail", Main),
    row(GET, EVERY, "/_matrix/client/v3/admin/whois/{userId}", Main),
    row(GET, EVERY, "/_matrix/client/v3/pushers", Main),
    row(POST, EVERY, "/_matrix/client/v3/pushers/set", Main),
    row(GET, ONLY, "/_matrix/client/unstable/pushers/remove", Main),
    row(GET_PUT, EVERY, "/_matrix/client/v3/directory/list/room/{roomId}", Main),
    row(PUT_DELETE, EVERY, "/_matrix/client/v3/directory/list/appservice/{networkId}/{roomId}", Main),
    row(POST, EVERY, "/_matrix/client/v3/rooms/{roomId}/forget", Main),
    row(PUT, EVERY, "/_matrix/client/v3/rooms/{roomId}/forget/{txnId}", Main),
    row(POST, ONLY, "/_matrix/client/v3/rooms/{roomId}/report", Main),
    row(POST, LATER, "/_matrix/client/v3/rooms/{roomId}/report/{eventId}", Main),
    row(POST, ONLY, "/_matrix/client/v3/users/{userId}/report", Main),
    row(POST, LATER, "/_matrix/client/v3/user/{userId}/openid/request_token", Main),
    row(GET, LATER, "/_matrix/client/v3/thirdparty/protocols", Main),
    row(GET, LATER, "/_matrix/client/v3/thirdparty/protocol/{protocol}", Main),
    row(GET, LATER, "/_matrix/client/v3/thirdparty/user", Main),
    row(GET, LATER, "/_matrix/client/v3/thirdparty/user/{protocol}", Main),
    row(GET, LATER, "/_matrix/client/v3/thirdparty/location", Main),
    row(GET, LATER, "/_matrix/client/v3/thirdparty/location/{protocol}", Main),
    row(GET, V1_UNSTABLE, "/_matrix/client/v1/mutual_rooms", Main),
    row(POST, ONLY, "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}/cancel", Main),
    row(POST, ONLY, "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}/send", Main),
    row(POST, LATER, "/_matrix/client/v3/rooms/{roomId}/upgrade", MainSlow),

    // The preflights of a rendezvous have headers of their own, so that they go where the rendezvous is.
    row(POST.and(OPTIONS), ONLY, "/_matrix/client/unstable/org.matrix.msc4108/rendezvous", Main),
    row(GET_POST.and(OPTIONS), ONLY, "/_matrix/client/unstable/io.element.msc4388/rendezvous", Main),
    row(GET_PUT_DELETE.and(OPTIONS), ONLY,
        "/_matrix/client/unstable/io.element.msc4388/rendezvous/{rendezvousId}", Main),

    // Workers serve these too, or some of their methods, but no documentation says so. A `PUT` with a transaction id
    // is also better off at one process: the answer to a repetition is kept in the process's memory.
    row(PUT, EVERY, "/_matrix/client/v3/createRoom/{txnId}", Main),
    row(PUT, EVERY, "/_matrix/client/v3/rooms/{roomId}/join/{txnId}", Main),
    row(PUT, EVERY, "/_matrix/client/v3/rooms/{roomId}/invite/{txnId}", Main),
    row(PUT, EVERY, "/_matrix/client/v3/rooms/{roomId}/leave/{txnId}", Main),
    row(PUT, EVERY, "/_matrix/client/v3/rooms/{roomId}/ban/{txnId}", Main),
    row(PUT, EVERY, "/_matrix/client/v3/rooms/{roomId}/unban/{txnId}", Main),
    row(PUT, EVERY, "/_matrix/client/v3/rooms/{roomId}/kick/{txnId}", Main),
    row(GET, EVERY, "/_matrix/client/v3/events/{eventId}", Main),
    row(GET_POST, ONLY, "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}", Main),
    row(GET_PUT_DELETE, ONLY,
        "/_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}/{keyName}", Main),
    row(GET, V1_UNSTABLE, "/_matrix/client/v1/auth_metadata", Main),
    row(GET, ONLY, "/_matrix/client/unstable/org.matrix.msc2965/auth_metadata", Main),
    row(POST, V1_UNSTABLE, "/_matrix/client/v1/appservice/{appserviceId}/ping", Main),
    row(POST, ONLY, "/_matrix/client/unstable/io.element.msc4512/appservice/fed_proxy", Main),
    row(GET, ONLY, "/_matrix/client/unstable/io.element.msc4502/rooms/{roomId}/is_joined", Main),
    row(GET, ONLY, "/_matrix/client/unstable/org.matrix.msc1763/retention/configuration", Main),
    row(POST, ONLY, "/_matrix/client/unstable/org.matrix.msc3720/account_status", Main),
    row(GET_PUT_DELETE, ONLY, "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device", Main),
    row(GET_POST, ONLY, "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{deviceId}/events", Main),
    row(POST, ONLY, "/_matrix/client/unstable/org.matrix.msc3983/keys/claim", Main),
    row(GET, ONLY, "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports", Main),

    // Documented for workers, but it can take as long as an upgrade does.
    row(POST, LATER, "/_matrix/client/v3/account/deactivate", MainSlow),
];
