//! Methods, paths, headers and framings, mostly around a good body.

use super::Expect::{self, Edge, Forwarded};
use super::{Case, LOGIN, NOT_JSON, Refused, Reply, Status, UNRECOGNIZED, User, password_body};

const GOOD: Reply = User("@l-plain:localhost");
const NOWHERE: Reply = Refused(404, UNRECOGNIZED.0, UNRECOGNIZED.1);
const NO_METHOD: Reply = Refused(405, UNRECOGNIZED.0, UNRECOGNIZED.1);
const JSON: &str = "Content-Type: application/json\r\n";

pub fn cases() -> Vec<Case> {
    [methods(), paths(), headers(), framings()].concat()
}

fn methods() -> Vec<Case> {
    let mut cases = Vec::new();
    for (method, reply) in [("PUT", NO_METHOD), ("DELETE", NO_METHOD), ("PATCH", NO_METHOD)] {
        cases.push(Case { method, ..good(LOGIN, JSON, Some(reply), Some(Forwarded)) });
        cases.push(Case { method, body: Vec::new(), ..good(LOGIN, JSON, Some(reply), Some(Forwarded)) });
    }
    // Other tests hold the answers to these; here nobody may take them for a login.
    for method in ["GET", "HEAD", "OPTIONS"] {
        cases.push(Case { method, body: Vec::new(), ..good(LOGIN, "", None, None) });
    }
    cases.push(Case { method: "GET", ..good(LOGIN, JSON, None, None) });
    cases.push(Case { method: "POSTS", ..good(LOGIN, JSON, Some(NO_METHOD), Some(Forwarded)) });
    cases.push(Case { method: "post", ..good(LOGIN, JSON, None, None) });
    cases
}

fn paths() -> Vec<Case> {
    let rows = [
        ("/_matrix/client/api/v1/login", GOOD, Some(Edge)),
        ("/_matrix/client/r0/login", GOOD, Some(Edge)),
        ("/_matrix/client/v3/login", GOOD, Some(Edge)),
        ("/_matrix/client/unstable/login", GOOD, Some(Edge)),
        ("/_matrix/client/v1/login", NOWHERE, Some(Forwarded)),
        ("/_matrix/client/r1/login", NOWHERE, Some(Forwarded)),
        ("/_matrix/client/v2/login", NOWHERE, Some(Forwarded)),
        ("/_matrix/client/v4/login", NOWHERE, Some(Forwarded)),
        ("/_matrix/client/api/v2/login", NOWHERE, Some(Forwarded)),
        ("/_matrix/client/login", NOWHERE, Some(Forwarded)),
        ("/_matrix/client/v3/login/", NOWHERE, Some(Forwarded)),
        ("/_matrix/client/v3//login", NOWHERE, Some(Forwarded)),
        ("/_matrix/client/v3/%6cogin", NOWHERE, Some(Forwarded)),
        ("/_matrix/client/v3/Login", NOWHERE, Some(Forwarded)),
        ("/_matrix/client/v3/loginx", NOWHERE, Some(Forwarded)),
        ("/_matrix/client/v3/login;x", NOWHERE, Some(Forwarded)),
        ("/_matrix/client/v3/login%20", NOWHERE, Some(Forwarded)),
        ("/_matrix/client/v3/login%2F", NOWHERE, Some(Forwarded)),
        ("/_matrix/client/v3/login/password", NOWHERE, Some(Forwarded)),
        ("/_matrix/client/v3/login?", GOOD, None),
        ("/_matrix/client/v3/login?a=b", GOOD, None),
        ("/_matrix/client/v3/login?access_token=syt_no", GOOD, None),
        ("/_matrix/client/v3/login?user=l-other&type=m.login.token", GOOD, None),
        ("/_matrix/client/v3/login?%ff%00;&&=", GOOD, None),
    ];
    rows.into_iter().map(|(target, reply, answerer)| good(target, JSON, Some(reply), answerer)).collect()
}

fn headers() -> Vec<Case> {
    let form = "Content-Type: multipart/form-data; boundary=x\r\n";
    let rows: [(&str, Option<Reply>, Option<Expect>); 16] = [
        ("", Some(GOOD), None),
        ("Content-Type: text/plain\r\n", Some(GOOD), None),
        ("Content-Type: application/json; charset=latin-1\r\n", Some(GOOD), None),
        ("Content-Type: application/x-www-form-urlencoded\r\n", Some(GOOD), None),
        ("Content-Type: nonsense\r\n", Some(GOOD), None),
        (form, Some(Status(415)), Some(Forwarded)),
        ("Content-Type: multipart/form-data\r\n", Some(Status(415)), Some(Forwarded)),
        ("Content-Type: Multipart/Form-Data; boundary=x\r\n", None, Some(Forwarded)),
        ("Content-Type: application/json\r\nContent-Type: multipart/form-data\r\n", None, Some(Forwarded)),
        // Synapse does not look at it.
        ("Content-Encoding: gzip\r\n", None, Some(Edge)),
        ("Content-Encoding: identity\r\n", None, None),
        ("Authorization: Bearer syt_no\r\nContent-Type: application/json\r\n", Some(GOOD), None),
        ("Authorization: Basic YTpi\r\nAuthorization: Bearer x\r\n", Some(GOOD), None),
        ("Origin: https://app.example.org\r\nContent-Type: application/json\r\n", Some(GOOD), Some(Edge)),
        ("Cookie: a=b\r\nUser-Agent: \r\nAccept: text/html\r\nAccept-Encoding: gzip, br\r\n", Some(GOOD), None),
        ("If-None-Match: *\r\nRange: bytes=0-1\r\n", Some(GOOD), None),
    ];
    let mut cases: Vec<Case> =
        rows.into_iter().map(|(headers, reply, answerer)| good(LOGIN, headers, reply, answerer)).collect();
    let fields = "--x\r\nContent-Disposition: form-data; name=\"type\"\r\n\r\nm.login.password\r\n--x--\r\n";
    cases.push(Case { body: fields.as_bytes().to_vec(), ..good(LOGIN, form, Some(Status(415)), Some(Forwarded)) });
    cases
}

fn framings() -> Vec<Case> {
    let chunked = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
    let body = password_body("l-plain", "hush-plain");
    let whole = |size: usize| {
        let chunks = body.chunks(size).map(|chunk| {
            let mut bytes = format!("{:x}\r\n", chunk.len()).into_bytes();
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
            bytes
        });
        let mut bytes: Vec<u8> = chunks.flatten().collect();
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    };
    let mut cases = Vec::new();
    for size in [1, 7, body.len()] {
        cases.push(Case { body: whole(size), ..good(LOGIN, chunked, Some(GOOD), Some(Forwarded)) });
    }
    cases.push(Case { body: b"0\r\n\r\n".to_vec(), ..good(LOGIN, chunked, Some(NOT_JSON), Some(Forwarded)) });
    let large = format!("{:x}\r\n{}\r\n0\r\n\r\n", 70 << 10, " ".repeat(70 << 10));
    cases.push(Case { body: large.into_bytes(), ..good(LOGIN, chunked, Some(NOT_JSON), Some(Forwarded)) });
    // Without any word on its length a request has no body.
    cases.push(Case { body: Vec::new(), ..good(LOGIN, "Content-Length: 0\r\n", Some(NOT_JSON), None) });
    cases
}

fn good(target: &str, headers: &str, reply: Option<Reply>, answerer: Option<Expect>) -> Case {
    let case = Case::new(&password_body("l-plain", "hush-plain"), reply, answerer);
    Case { target: target.to_owned(), headers: headers.to_owned(), ..case }
}
