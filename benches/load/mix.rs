//! The requests of the scenarios: forty endpoints as clients and other servers ask for them, by eight users.

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// A client, with a token in a header.
    Client,
    /// A client, with a token in the query, as older ones do.
    OldClient,
    /// Another homeserver.
    Server,
}

/// A request, ready to be sent by any generator.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) target: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
    /// The pool that should have it.
    pub(crate) pool: &'static str,
}

/// The endpoints: a target, who asks, and the pool that should have it. `{room}`, `{user}` and `{event}` are filled in.
const ENDPOINTS: [(&str, By, &str); 40] = [
    ("v3/sync?since=s72594_4483_1934_1_1_1_1_1_1&timeout=0&set_presence=online", By::Client, "sync"),
    ("v3/sync?filter=1&timeout=0&since=s1_2_3", By::Client, "sync"),
    ("r0/sync?since=s72594_4483_1934&timeout=0", By::OldClient, "sync"),
    ("v3/sync?timeout=0&filter=0", By::Client, "initial_sync"),
    ("v3/events?from=s72594_4483_1934&timeout=0", By::Client, "sync"),
    ("v3/rooms/{room}/messages?dir=b&from=t1-2&limit=30", By::Client, "room_read"),
    ("v3/rooms/{room}/members?not_membership=leave", By::Client, "room_read"),
    ("v3/rooms/{room}/joined_members", By::Client, "room_read"),
    ("v3/rooms/{room}/state", By::Client, "room_read"),
    ("v3/rooms/{room}/context/{event}?limit=10", By::Client, "room_read"),
    ("v3/rooms/{room}/event/{event}", By::Client, "room_read"),
    ("v1/rooms/{room}/hierarchy?limit=50", By::Client, "room_read"),
    ("v1/rooms/{room}/threads?limit=20", By::Client, "room_read"),
    ("v1/rooms/{room}/timestamp_to_event?ts=1700000000000&dir=b", By::Client, "room_read"),
    ("v1/rooms/{room}/relations/{event}/m.annotation", By::Client, "room_read"),
    ("v3/rooms/{room}/aliases", By::Client, "room_read"),
    ("v3/directory/room/%23lounge%3Aexample.org", By::Client, "room_read"),
    ("v3/publicRooms?limit=20", By::Client, "client_read"),
    ("v3/account/3pid", By::Client, "client_read"),
    ("v3/account/whoami", By::Client, "client_read"),
    ("v3/voip/turnServer", By::Client, "client_read"),
    ("v3/joined_rooms", By::Client, "client_read"),
    ("v3/user/{user}/filter/0", By::Client, "client_read"),
    ("v3/capabilities", By::Client, "client_read"),
    ("v3/notifications?limit=10", By::OldClient, "client_read"),
    ("v3/keys/changes?from=s1&to=s2", By::Client, "encryption"),
    ("v3/room_keys/version", By::Client, "encryption"),
    ("v3/rooms/{room}/state/m.room.name/", By::Client, "event_send"),
    ("v3/profile/{user}", By::Client, "event_send"),
    ("v3/pushrules/", By::Client, "main"),
    ("v3/user/{user}/account_data/m.direct", By::Client, "main"),
    ("v3/presence/{user}/status", By::Client, "main"),
    ("v3/devices", By::Client, "main"),
    ("v3/pushers", By::Client, "main"),
    ("v1/media/download/example.org/abcdefghijkl", By::Client, "media"),
    ("v1/media/config", By::Client, "media"),
    ("v1/event/{event}", By::Server, "federation_read"),
    ("v1/state_ids/{room}?event_id={event}", By::Server, "federation_read"),
    ("v1/backfill/{room}?v={event}&limit=100", By::Server, "federation_read"),
    ("v1/query/profile?user_id={user}", By::Server, "federation_read"),
];

/// How many users ask for each endpoint.
const USERS: usize = 8;

/// A user's number in letters, and the localpart in base64 as Synapse's tokens have it.
const NAMES: [(&str, &str); USERS] = [
    ("alice", "YWxpY2U"),
    ("bernd", "YmVybmQ"),
    ("carla", "Y2FybGE"),
    ("denis", "ZGVuaXM"),
    ("elena", "ZWxlbmE"),
    ("felix", "ZmVsaXg"),
    ("gerda", "Z2VyZGE"),
    ("heinz", "aGVpbno"),
];

/// The forty endpoints by every user, shuffled the same way each time, so that neighbours differ.
pub(crate) fn forty_endpoints() -> Vec<Request> {
    let all = ENDPOINTS.len() * USERS;
    // Steps of a number that has no divisor in common with the count come by every place once.
    let places = (0..all).map(|number| number * 127 % all);
    places.map(|place| get(ENDPOINTS[place % ENDPOINTS.len()], place / ENDPOINTS.len())).collect()
}

/// Messages of several sizes, sent into the users' rooms.
pub(crate) fn sends() -> Vec<Request> {
    let send = |number: usize| {
        let user = number % USERS;
        let text = "how do you do ".repeat(4 + number % 50);
        Request {
            method: "PUT",
            target: filled(&format!("/_matrix/client/v3/rooms/{{room}}/send/m.room.message/m17{number}.7"), user),
            headers: vec![bearer(user), ("Content-Type", "application/json".to_owned())],
            body: format!(r#"{{"msgtype":"m.text","body":"{text}"}}"#),
            pool: "event_send",
        }
    };
    (0..200).map(send).collect()
}

/// What a browser asks before it asks for this.
pub(crate) fn preflight(path: &str) -> Request {
    Request {
        method: "OPTIONS",
        target: filled(path, 0),
        headers: vec![
            ("Origin", "https://app.example.org".to_owned()),
            ("Access-Control-Request-Method", "GET".to_owned()),
            ("Access-Control-Request-Headers", "authorization".to_owned()),
        ],
        body: String::new(),
        pool: "",
    }
}

/// What a load balancer can answer itself: three preflights and one look at the versions.
pub(crate) fn answerable() -> Vec<Request> {
    let mut requests = vec![preflight("/_matrix/client/v3/sync"), preflight("/_matrix/client/v3/rooms/{room}/members")];
    requests.push(preflight("/_matrix/client/v3/keys/query"));
    requests.push(Request { method: "GET", target: VERSIONS.to_owned(), ..requests[0].clone() });
    requests
}

/// The path that tells versions.
pub(crate) const VERSIONS: &str = "/_matrix/client/versions";

/// A sync that waits for half a minute, of the user with this number.
pub(crate) fn long_poll(number: usize) -> Request {
    let target = "/_matrix/client/v3/sync?since=s72594_4483_1934_1_1_1_1_1_1&timeout=30000&set_presence=online";
    let token = format!("Bearer syt_dXNlcg{number:05}_abcdefghijklmnopqrst_0aBcDe");
    Request {
        method: "GET",
        target: target.to_owned(),
        headers: vec![("Authorization", token), ("Accept", "application/json".to_owned())],
        body: String::new(),
        pool: "sync",
    }
}

fn get((target, by, pool): (&str, By, &'static str), user: usize) -> Request {
    let prefix = if by == By::Server { "/_matrix/federation/" } else { "/_matrix/client/" };
    let mut target = filled(&format!("{prefix}{target}"), user);
    let mut headers = vec![
        ("User-Agent", "Element/1.11.80 (Linux; Matrix load suite)".to_owned()),
        ("Accept", "application/json".to_owned()),
    ];
    match by {
        By::Client => headers.push(bearer(user)),
        By::OldClient => target.push_str(&format!("&access_token={}", token(user))),
        By::Server => headers.push((
            "Authorization",
            format!(r#"X-Matrix origin="s{user}.example.com",destination="example.org",key="ed25519:1",sig="abcd""#),
        )),
    }
    Request { method: "GET", target, headers, body: String::new(), pool }
}

fn token(user: usize) -> String {
    format!("syt_{}_abcdefghijklmnopqrst_0aBcDe", NAMES[user % USERS].1)
}

fn bearer(user: usize) -> (&'static str, String) {
    ("Authorization", format!("Bearer {}", token(user)))
}

fn filled(target: &str, user: usize) -> String {
    let name = NAMES[user % USERS].0;
    target
        .replace("{room}", &format!("%21room{name}abcdefgh%3Aexample.org"))
        .replace("{user}", &format!("%40{name}%3Aexample.org"))
        .replace("{event}", &format!("%24{name}0123456789abcdefghijklmnopqrstuvwxyzABCDEF"))
}
