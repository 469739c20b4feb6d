//! The requests, made by combining tables: every endpoint with every way to be (un)authorized, every method on every
//! kind of path, every spelling of a query, a path, a header and a body.

use super::twin::Twin;

/// The header of a user who is logged in.
const SOUND: &str = "Authorization: Bearer {token}\r\n";

/// One request, with a twin's words in braces.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: String,
    pub body: Vec<u8>,
}

impl Request {
    /// Whether it can change something, so that each twin must send its own.
    pub fn changes(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE")
    }

    /// The bytes that a twin sends. The length is known only when the twin's words are in.
    pub fn bytes(&self, twin: &Twin) -> Vec<u8> {
        let body = match std::str::from_utf8(&self.body) {
            Ok(body) => twin.fill(body).into_bytes(),
            Err(_) => self.body.clone(),
        };
        let mut headers = twin.fill(&self.headers);
        let needs_length = !body.is_empty() || matches!(self.method.as_str(), "POST" | "PUT" | "PATCH");
        if needs_length && !headers.contains("Transfer-Encoding") {
            headers.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        let line = format!("{} {} HTTP/1.1\r\n", self.method, twin.fill(&self.target));
        [line.as_bytes(), b"Host: localhost\r\nConnection: close\r\n", headers.as_bytes(), b"\r\n", &body].concat()
    }

    /// Its name in a failure.
    pub fn name(&self) -> String {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(60)]).into_owned();
        format!("{} {} {:?} {body:?}", self.method, self.target, self.headers)
    }
}

/// All requests.
pub fn requests() -> Vec<Request> {
    let all = [reads(), authorizations(), methods(), queries(), paths(), headers(), bodies(), federation(), writes()];
    all.concat()
}

fn request(method: &str, target: &str, headers: &str, body: &[u8]) -> Request {
    Request { method: method.to_owned(), target: target.to_owned(), headers: headers.to_owned(), body: body.to_vec() }
}

fn get(target: &str) -> Request {
    request("GET", target, SOUND, b"")
}

/// Endpoints that read, of every kind.
const READS: [&str; 50] = [
    "/_matrix/client/versions",
    "/_matrix/client/v3/login",
    "/_matrix/client/v3/register/available?username=nobody-yet",
    "/_matrix/client/v3/capabilities",
    "/_matrix/client/v3/account/whoami",
    "/_matrix/client/v3/account/3pid",
    "/_matrix/client/v3/pushrules/",
    "/_matrix/client/v3/pushrules/global/override/.m.rule.master",
    "/_matrix/client/v3/pushers",
    "/_matrix/client/v3/notifications",
    "/_matrix/client/v3/devices",
    "/_matrix/client/v3/devices/{device%}",
    "/_matrix/client/v3/sync?timeout=0",
    "/_matrix/client/v3/sync?timeout=0&filter={filter%}",
    "/_matrix/client/v3/initialSync",
    "/_matrix/client/v3/joined_rooms",
    "/_matrix/client/v3/publicRooms",
    "/_matrix/client/v3/profile/{user%}",
    "/_matrix/client/v3/profile/{user%}/displayname",
    "/_matrix/client/v3/profile/@nobody:nowhere.invalid",
    "/_matrix/client/v3/presence/{user%}/status",
    "/_matrix/client/v3/rooms/{room%}/state",
    "/_matrix/client/v3/rooms/{room%}/state/m.room.create",
    "/_matrix/client/v3/rooms/{room%}/state/m.room.nothing/",
    "/_matrix/client/v3/rooms/{room%}/members",
    "/_matrix/client/v3/rooms/{room%}/joined_members",
    "/_matrix/client/v3/rooms/{room%}/messages?dir=b&limit=3",
    "/_matrix/client/v3/rooms/{room%}/context/{event%}",
    "/_matrix/client/v3/rooms/{room%}/event/{event%}",
    "/_matrix/client/v3/rooms/{room%}/aliases",
    "/_matrix/client/v3/rooms/{room%}/initialSync",
    "/_matrix/client/v1/rooms/{room%}/hierarchy",
    "/_matrix/client/v1/rooms/{room%}/threads",
    "/_matrix/client/v1/rooms/{room%}/relations/{event%}",
    "/_matrix/client/v1/rooms/{room%}/timestamp_to_event?ts=0&dir=f",
    "/_matrix/client/v3/rooms/!unknown:nowhere.invalid/state",
    "/_matrix/client/v3/directory/room/%23nothing:localhost",
    "/_matrix/client/v3/directory/list/room/{room%}",
    "/_matrix/client/v3/user/{user%}/account_data/m.nothing",
    "/_matrix/client/v3/user/{user%}/filter/{filter%}",
    "/_matrix/client/v3/user/{user%}/rooms/{room%}/tags",
    "/_matrix/client/v3/keys/changes?from=s0&to=s0",
    "/_matrix/client/v3/room_keys/version",
    "/_matrix/client/v3/thirdparty/protocols",
    "/_matrix/client/v3/voip/turnServer",
    "/_matrix/client/v1/media/config",
    "/_matrix/client/v1/media/download/localhost/{media%}",
    "/_matrix/media/v3/download/localhost/{media%}",
    "/_matrix/media/v3/config",
    "/.well-known/matrix/client",
];

fn reads() -> Vec<Request> {
    READS.iter().map(|target| get(target)).collect()
}

fn authorizations() -> Vec<Request> {
    let nobody = READS.iter().map(|target| request("GET", target, "", b""));
    let odd = [
        "Authorization: Bearer wrong\r\n",
        "Authorization: Bearer syt_YQ_aaaaaaaaaaaaaaaaaaaa_0aaaaa\r\n",
        "Authorization: Bearer \r\n",
        "Authorization: Bearer\r\n",
        "Authorization: bearer {token}\r\n",
        "Authorization: Bearer  {token}\r\n",
        "Authorization: Basic YTpi\r\n",
        "Authorization: \r\n",
        "Authorization: Bearer {token}\r\nAuthorization: Bearer {token}\r\n",
        "Authorization: Bearer \u{e4}\r\n",
        "Cookie: access_token={token}\r\n",
    ];
    let odd = odd.map(|headers| request("GET", "/_matrix/client/v3/account/whoami", headers, b""));
    let by_query =
        ["access_token={token%}", "access_token=wrong", "access_token=", "access_token={token%}&access_token=x"];
    let by_query = by_query.map(|query| request("GET", &format!("/_matrix/client/v3/account/whoami?{query}"), "", b""));
    let both = request("GET", "/_matrix/client/v3/account/whoami?access_token={token%}", SOUND, b"");
    nobody.chain(odd).chain(by_query).chain([both]).collect()
}

fn methods() -> Vec<Request> {
    let paths = [
        "/_matrix/client/versions",
        "/_matrix/client/v3/account/whoami",
        "/_matrix/client/v3/rooms/{room%}/state",
        "/_matrix/client/v1/media/download/localhost/{media%}",
        "/_matrix/federation/v1/version",
        "/_matrix/client/v3/no_such_endpoint",
        "/_matrix/nothing",
        "/",
    ];
    let methods = ["HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "get"];
    let each = |path: &&str| methods.map(|method| request(method, path, SOUND, b""));
    paths.iter().flat_map(each).collect()
}

fn queries() -> Vec<Request> {
    let queries = [
        "?",
        "?&",
        "?=",
        "?a",
        "?a=b&a=c",
        "?%",
        "?%zz",
        "?%00",
        "?x=%ff",
        "?x=✓",
        "?x=a+b",
        "?x=%2B",
        "?a;b",
        "?a?b?c",
        "?x=/../..",
        "?limit=-1",
        "?limit=x",
        "?limit=99999999999999999999",
        "?dir=x",
        "?dir=b&from=nonsense",
        "?dir=f&filter=%7B",
        "?dir=f&filter={}",
    ];
    let messages = queries.map(|query| get(&format!("/_matrix/client/v3/rooms/{{room%}}/messages{query}")));
    let syncs = [
        "?timeout=x",
        "?timeout=-1",
        "?timeout=0&since=x",
        "?timeout=0&filter=999",
        "?timeout=0&filter={",
        "?timeout=0&full_state=maybe",
        "?timeout=0&set_presence=asleep",
    ];
    let syncs = syncs.map(|query| get(&format!("/_matrix/client/v3/sync{query}")));
    messages.into_iter().chain(syncs).collect()
}

fn paths() -> Vec<Request> {
    let paths = [
        "//",
        "/_matrix",
        "/_matrix/",
        "/_matrix//client/versions",
        "//_matrix/client/versions",
        "/_matrix/client/versions/",
        "/_matrix/client//versions",
        "/_matrix/client/./versions",
        "/_matrix/client/../client/versions",
        "/_matrix/client/%76ersions",
        "/_matrix%2Fclient/versions",
        "/_MATRIX/client/versions",
        "/_matrix/client/versions;a=b",
        "/_matrix/client/v9/sync",
        "/_matrix/client/api/v1/sync",
        "/_matrix/client/r0/account/whoami",
        "/_matrix/client/unstable/account/whoami",
        "/_matrix/client/v3/rooms/{room}/state/m.room.create",
        "/_matrix/client/v3/rooms/%21a%2Fb:c/state",
        "/_matrix/client/v3/rooms//state",
        "/_matrix/client/v3/rooms/%/state",
        "/_matrix/client/v3/rooms/%00/state",
        "/_matrix/client/v3/rooms/%ff/state",
        "/_matrix/client/v3/rooms/✓/state",
        "/_matrix/client/v3/profile/@✓:localhost",
        "/_matrix/client/v3/profile/%E2%9C%93",
        "/_matrix/client/v3/profile/@a",
        "/_matrix/media/v3/download/localhost/..%2F..",
        "/_matrix/media/v3/download/localhost/nothing",
        "/_matrix/media/v3/thumbnail/localhost/{media%}?width=x",
        "/_matrix/media/v1/create",
        "/_synapse/client/nothing",
        "/_synapse/client/pick_idp",
        "/_matrix/static/",
        "/_matrix/static/nothing",
        "/_matrix/key/v2/nothing",
        "/.well-known/matrix/server",
        "/.well-known/matrix/nothing",
        "/favicon.ico",
        "/robots.txt",
        "/nonsense/%7Ea{b}|c^d~'()*!$&,;=:@",
        "/health",
    ];
    paths.iter().map(|path| get(path)).collect()
}

fn headers() -> Vec<Request> {
    let headers = [
        "Accept-Encoding: gzip\r\n",
        "Accept-Encoding: gzip, deflate, br, zstd\r\n",
        "Accept: text/html\r\n",
        "Accept-Language: de\r\n",
        "If-None-Match: \"x\"\r\n",
        "If-None-Match: *\r\n",
        "If-Modified-Since: Wed, 21 Oct 2037 07:28:00 GMT\r\n",
        "Range: bytes=0-3\r\n",
        "Range: bytes=9-1\r\n",
        "Range: bytes=-3\r\n",
        "Origin: https://app.example.org\r\n",
        "Origin: null\r\n",
        "Origin: https://app.example.org\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: authorization\r\n",
        "User-Agent:\r\n",
        "Cache-Control: no-cache\r\nPragma: no-cache\r\n",
        "X-Custom: \u{e4}\u{f6}\r\n",
        "DNT: 1\r\nSec-Fetch-Mode: cors\r\nReferer: https://app.example.org/?token=x\r\n",
    ];
    let paths = ["/_matrix/client/versions", "/_matrix/client/v1/media/download/localhost/{media%}"];
    let each = |path: &str| headers.map(|more| request("GET", path, &format!("{SOUND}{more}"), b""));
    let options = headers.map(|more| request("OPTIONS", "/_matrix/client/v3/sync", more, b""));
    paths.into_iter().flat_map(each).chain(options).collect()
}

fn bodies() -> Vec<Request> {
    let json = "Content-Type: application/json\r\n";
    let deep = "[".repeat(20_000);
    let nested = format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200));
    let bodies: [&[u8]; 18] = [
        b"",
        b"{",
        b"{}",
        b"[]",
        b"null",
        b"1",
        b"\"text\"",
        b"{}{}",
        b"{\"a\":NaN}",
        b"{\"a\":1,\"a\":2}",
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        b"{\"type\":\"m.login.password\"}",
        b"{\"type\":\"m.login.nothing\"}",
        b"{\"type\":5}",
        b"{\"type\":\"\\ud800\"}",
        deep.as_bytes(),
        nested.as_bytes(),
    ];
    let login = bodies.map(|body| request("POST", "/_matrix/client/v3/login", json, body));
    let data = bodies.map(|body| {
        request("PUT", "/_matrix/client/v3/user/{user%}/account_data/org.example", &format!("{SOUND}{json}"), body)
    });
    let types = [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain",
        "application/json; charset=utf-16",
        "nonsense",
        "",
    ];
    let typed = types.map(|kind| {
        request(
            "POST",
            "/_matrix/client/v3/login",
            &format!("Content-Type: {kind}\r\n"),
            b"type=m.login.password&user=a&password=b",
        )
    });
    let chunked = request(
        "POST",
        "/_matrix/client/v3/login",
        "Transfer-Encoding: chunked\r\n",
        b"a\r\n{\"type\":5,\r\n7\r\n\"a\":11}\r\n0\r\n\r\n",
    );
    let with_body =
        ["GET", "DELETE", "OPTIONS"].map(|method| request(method, "/_matrix/client/versions", SOUND, b"{}"));
    login.into_iter().chain(data).chain(typed).chain([chunked]).chain(with_body).collect()
}

fn federation() -> Vec<Request> {
    let signed =
        "Authorization: X-Matrix origin=\"a.invalid\",destination=\"localhost\",key=\"ed25519:1\",sig=\"AAAA\"\r\n";
    let odd = [
        "",
        signed,
        "Authorization: X-Matrix\r\n",
        "Authorization: X-Matrix origin=a\r\n",
        "Authorization: X-Matrix origin=\"\",key=\"\",sig=\"\"\r\n",
        "Authorization: X-Matrix origin=\"localhost\",key=\"ed25519:1\",sig=\"AAAA\"\r\n",
        "Authorization: Bearer {token}\r\n",
        "Authorization: X-Matrix origin=\"a.invalid\",destination=\"elsewhere\",key=\"ed25519:1\",sig=\"AAAA\"\r\n",
    ];
    let paths = [
        ("GET", "/_matrix/federation/v1/version"),
        ("GET", "/_matrix/key/v2/server"),
        ("GET", "/_matrix/key/v2/server/ed25519:x"),
        ("GET", "/_matrix/federation/v1/event/{event%}"),
        ("PUT", "/_matrix/federation/v1/send/1"),
        ("GET", "/_matrix/federation/v1/publicRooms"),
        ("GET", "/_matrix/federation/v1/nothing"),
        ("GET", "/_matrix/federation/v1/openid/userinfo?access_token=x"),
        ("GET", "/_matrix/federation/v9/version"),
    ];
    let plain = paths.map(|(method, path)| request(method, path, "", b"{}"));
    let odd =
        odd.map(|headers| request("PUT", "/_matrix/federation/v1/send/2", headers, b"{\"pdus\":[],\"origin\":\"a\"}"));
    let unsigned = request("GET", "/_matrix/federation/v1/state/{room%}?event_id=x", "", b"");
    plain.into_iter().chain(odd).chain([unsigned]).collect()
}

/// What changes something, in this order.
fn writes() -> Vec<Request> {
    let writes: [(&str, &str, &str); 24] = [
        ("PUT", "/_matrix/client/v3/rooms/{room%}/send/m.room.message/t1", r#"{"msgtype":"m.text","body":"✓"}"#),
        ("PUT", "/_matrix/client/v3/rooms/{room%}/send/m.room.message/t1", r#"{"msgtype":"m.text","body":"✓"}"#),
        ("PUT", "/_matrix/client/v3/rooms/{room%}/state/m.room.topic/", r#"{"topic":"a"}"#),
        ("PUT", "/_matrix/client/v3/rooms/{room%}/state/m.room.power_levels", r#"{"users":5}"#),
        ("PUT", "/_matrix/client/v3/rooms/!unknown:localhost/send/m.room.message/t1", "{}"),
        ("PUT", "/_matrix/client/v3/rooms/{room%}/typing/{user%}", r#"{"typing":true,"timeout":1000}"#),
        ("POST", "/_matrix/client/v3/rooms/{room%}/receipt/m.read/{event%}", "{}"),
        ("POST", "/_matrix/client/v3/rooms/{room%}/read_markers", r#"{"m.fully_read":"{event}"}"#),
        ("PUT", "/_matrix/client/v3/rooms/{room%}/redact/{event%}/t2", "{}"),
        ("POST", "/_matrix/client/v3/rooms/{room%}/invite", r#"{"user_id":"nonsense"}"#),
        ("POST", "/_matrix/client/v3/createRoom", r#"{"preset":"private_chat"}"#),
        ("POST", "/_matrix/client/v3/createRoom", r#"{"preset":"nonsense"}"#),
        ("PUT", "/_matrix/client/v3/profile/{user%}/displayname", r#"{"displayname":"ä"}"#),
        ("PUT", "/_matrix/client/v3/presence/{user%}/status", r#"{"presence":"online"}"#),
        ("POST", "/_matrix/client/v3/user/{user%}/filter", r#"{"room":{"timeline":{"limit":1}}}"#),
        ("PUT", "/_matrix/client/v3/pushrules/global/content/a", r#"{"pattern":"a","actions":["notify"]}"#),
        ("DELETE", "/_matrix/client/v3/pushrules/global/content/a", ""),
        ("POST", "/_matrix/client/v3/keys/query", r#"{"device_keys":{"{user}":[]}}"#),
        ("POST", "/_matrix/client/v3/keys/upload", "{}"),
        ("PUT", "/_matrix/client/v3/sendToDevice/m.test/t3", r#"{"messages":{"{user}":{"{device}":{}}}}"#),
        ("POST", "/_matrix/media/v3/upload", "content"),
        ("POST", "/_matrix/client/v3/delete_devices", r#"{"devices":["{device}"]}"#),
        ("POST", "/_matrix/client/v3/rooms/{room%}/leave", "{}"),
        ("POST", "/_matrix/client/v3/logout", "{}"),
    ];
    let json = format!("{SOUND}Content-Type: application/json\r\n");
    writes.map(|(method, target, body)| request(method, target, &json, body.as_bytes())).into()
}
