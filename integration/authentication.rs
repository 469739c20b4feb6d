//! Logins that are the Matrix Authentication Service's: a real Synapse that has given them away, and a stub in the
//! service's place, which keeps what it is sent. The service itself comes from no registry that tests can install from.

use std::io::{ErrorKind, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use serde_json::json;

use crate::Test;
use crate::harness::eventually::{SOON, eventually};
use crate::harness::http::{Client, raw_tcp};
use crate::harness::stub::{Stub, read_body};
use crate::harness::{ensure, ensure_eq, fail};
use crate::login::edge::Edge;
use crate::login::others::Synapse;

pub const TESTS: &[Test] = &[("authentication::exactly_its_requests_reach_the_service", |stacks| {
    stacks.on_monolith(|stack| {
        let service = Service::start()?;
        let settings = format!(
            "password_config: {{enabled: false}}\nenable_registration: false\n\
             enable_registration_without_verification: false\n\
             matrix_authentication_service: {{enabled: true, endpoint: '{}/', secret: hush-mas}}\n",
            service.stub.url()
        );
        let synapse = Synapse::start(stack, "authentication", &settings)?;
        let edge = Edge::with(stack, "authentication", &synapse.changes, "")?;
        its_requests_reach_it(&service, &edge.address)?;
        others_do_not(&service, &edge.address, &synapse.address)?;
        nobody_stands_in(service, &edge.address)
    })
})];

/// What the stub answers, whatever it is asked; no Synapse says so.
const ANSWER: &str = r#"{"by":"the service"}"#;
const PATIENCE: Duration = Duration::from_secs(20);

/// Method and target of requests that are the service's.
const ITS_OWN: [(&str, &str); 16] = [
    ("GET", "/_matrix/client/v3/login"),
    ("POST", "/_matrix/client/v3/login"),
    ("POST", "/_matrix/client/r0/login?a=%7E&&b=c+d"),
    ("POST", "/_matrix/client/unstable/login"),
    ("OPTIONS", "/_matrix/client/v3/login"),
    ("POST", "/_matrix/client/v3/logout"),
    ("POST", "/_matrix/client/r0/logout?access_token=t"),
    ("POST", "/_matrix/client/v3/logout/all"),
    ("OPTIONS", "/_matrix/client/v3/logout/all"),
    ("POST", "/_matrix/client/v3/refresh"),
    ("POST", "/_matrix/client/v1/refresh"),
    ("OPTIONS", "/_matrix/client/r0/refresh"),
    ("GET", "/_matrix/client/v3/login/sso/redirect?redirectUrl=http%3A%2F%2Flocalhost%2F"),
    ("GET", "/_matrix/client/v3/login/sso/redirect/?redirectUrl=x"),
    ("GET", "/_matrix/client/v3/login/sso/redirect/oidc%2Dx?redirectUrl=x"),
    ("GET", "/_matrix/client/unstable/login/sso/redirect/y"),
];

/// The same of requests that look like it, and are Synapse's to refuse, or are something else.
const OTHERS: [(&str, &str); 30] = [
    ("PUT", "/_matrix/client/v3/login"),
    ("GET", "/_matrix/client/v3/logout"),
    ("GET", "/_matrix/client/v3/refresh"),
    ("POST", "/_matrix/client/api/v1/login"),
    ("POST", "/_matrix/client//login"),
    ("POST", "/_matrix/client/v3//login"),
    ("POST", "//_matrix/client/v3/login"),
    ("POST", "/_matrix/client/v3/login/"),
    ("POST", "/_matrix/client/v3/loginx"),
    ("POST", "/_matrix/client/v3/Login"),
    ("POST", "/_matrix/client/v3/log%69n"),
    ("POST", "/_matrix/client/v3/%6Cogin"),
    ("POST", "/_matrix/client/v3%2Flogin"),
    ("POST", "/_matrix/%63lient/v3/login"),
    ("POST", "/%5Fmatrix/client/v3/login"),
    ("POST", "/_matrix/client/v3/./login"),
    ("POST", "/_matrix/client/v3/x/../login"),
    ("POST", "/_matrix/client/v3/login;x"),
    ("POST", "/_matrix/client/v3/login%3Fx"),
    ("POST", "/_matrix/client/v3/logout/%61ll"),
    ("POST", "/_matrix/client/v3/logout/all/"),
    ("POST", "/_matrix/client/v3/refresh/x"),
    ("POST", "/_matrix/client/v1/login/get_token"),
    ("GET", "/_matrix/client/v3/login/cas/redirect"),
    ("PUT", "/_matrix/client/v3/rooms/!a:b/send/loginevent/1"),
    ("PUT", "/_matrix/client/v3/user/@me:b/account_data/login_prefs"),
    ("POST", "/_matrix/client/v3/register"),
    ("GET", "/_matrix/client/v3/account/whoami"),
    ("OPTIONS", "/_matrix/client/v3/sync"),
    ("GET", "/_matrix/client/versions"),
];

/// A request that reached the stub.
struct Heard {
    head: String,
    body: Vec<u8>,
}

/// The stub.
struct Service {
    stub: Stub,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Service {
    fn start() -> Result<Self, Failed> {
        let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let hearing = Arc::clone(&heard);
        let stub = Stub::start(move |head, stream| {
            let body = read_body(head, stream)?;
            // Dendron's own checks have no name.
            if header(head, "x-request-id").is_some() {
                let mut heard = hearing.lock().unwrap_or_else(PoisonError::into_inner);
                heard.push(Heard { head: head.to_owned(), body });
            }
            let length = ANSWER.len();
            let head = "HTTP/1.1 200 OK\r\nX-From: the service\r\nContent-Type: application/json\r\nConnection: close";
            stream.write_all(format!("{head}\r\nContent-Length: {length}\r\n\r\n{ANSWER}").as_bytes())?;
            // An error closes the connection: one that is kept would outlive the stub.
            Err(ErrorKind::ConnectionAborted.into())
        })?;
        Ok(Service { stub, heard })
    }

    /// What it has heard since it was last asked.
    fn heard(&self) -> Vec<Heard> {
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn header<'head>(head: &'head str, name: &str) -> Option<&'head str> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// A body in which nothing may be changed, and which is no JSON.
const BODY: &[u8] = b"{\"type\": \"m.login.password\",\r\n \"password\":\"\xff\x00 hunter2\"}";

/// The whole answer to a request that has a body where its method allows one.
fn exchange(address: &str, method: &str, target: &str) -> Result<String, Failed> {
    let body = if matches!(method, "POST" | "PUT") { BODY } else { b"" };
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: matrix.example.org\r\nAuthorization: Bearer mct_token\r\n\
         Accept-Language: de\r\n{length}Connection: close\r\n\r\n"
    );
    raw_tcp(address, &[head.as_bytes(), body].concat(), PATIENCE)
}

fn its_requests_reach_it(service: &Service, edge: &str) -> Result<(), Failed> {
    for (method, target) in ITS_OWN {
        let answer = exchange(edge, method, target)?;
        ensure!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\r\nX-From: the service\r\n"), "{answer}");
        ensure!(answer.ends_with(ANSWER), "{method} {target}: {answer}");
        let heard = service.heard();
        let [Heard { head, body }] = &heard[..] else { fail!("{method} {target}: {} requests", heard.len()) };
        ensure!(head.starts_with(&format!("{method} {target} HTTP/1.1\r\n")), "{method} {target}: {head}");
        ensure_eq!(body, if method == "POST" { BODY } else { b"" }, "{method} {target}: the body");
        for (name, expected) in [
            ("host", "matrix.example.org"),
            ("authorization", "Bearer mct_token"),
            ("accept-language", "de"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
        ] {
            ensure_eq!(header(head, name), Some(expected), "{method} {target}: {name}");
        }
    }
    Ok(())
}

fn others_do_not(service: &Service, edge: &str, synapse: &str) -> Result<(), Failed> {
    for (method, target) in OTHERS {
        let [ours, theirs] = [exchange(edge, method, target)?, exchange(synapse, method, target)?];
        let parts = |answer: &str| {
            let (head, body) = answer.split_once("\r\n\r\n")?;
            let is_chunked = header(head, "transfer-encoding") == Some("chunked");
            Some((head.lines().next()?.to_owned(), if is_chunked { unchunked(body)? } else { body.to_owned() }))
        };
        ensure!(parts(&ours).is_some(), "{method} {target}: no answer but {ours:?}");
        ensure_eq!(parts(&ours), parts(&theirs), "{method} {target}");
        ensure_eq!(service.heard().len(), 0, "{method} {target}: requests that reached the service");
    }
    Ok(())
}

/// A body out of its chunks.
fn unchunked(mut chunks: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, rest) = chunks.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.push_str(rest.get(..size)?);
        chunks = rest[size..].strip_prefix("\r\n")?;
    }
}

/// While the service is away, a login fails in Matrix's words, and never as Synapse would refuse it: a client would take
/// that for a homeserver without logins. Everything else goes on.
fn nobody_stands_in(service: Service, edge: &str) -> Result<(), Failed> {
    drop(service);
    let client = Client::new(&format!("http://{edge}"));
    let login = || client.send("POST", "/_matrix/client/v3/login", &[], b"{}");
    let begun = Instant::now();
    let first = login()?;
    ensure!(begun.elapsed() < Duration::from_secs(5), "a login failed after {:?}", begun.elapsed());
    ensure!(matches!(first.status, 502 | 503), "{} {}", first.status, first.text());
    // In the end the checks know that it is away.
    let down = eventually(SOON, || {
        let answer = login()?;
        if answer.status == 503 { Ok(answer) } else { Err(format!("{} {}", answer.status, answer.text()).into()) }
    })?;
    ensure_eq!(down.json()["errcode"], json!("M_UNKNOWN"), "errcode");
    ensure!(!down.header("retry-after").is_empty(), "no Retry-After");
    ensure_eq!(down.header("access-control-allow-origin"), "*", "CORS");
    ensure_eq!(client.get("/_matrix/client/versions")?.status, 200, "versions meanwhile");
    Ok(())
}
