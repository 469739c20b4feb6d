//! Requests, as a client library makes them and as raw bytes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use libtest_mimic::Failed;
use serde_json::Value;
use ureq::Agent;
use ureq::http::{Method, Request, Response};

/// How long a test waits for an answer, unless it says otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client of one base URL.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    base: String,
}

/// An answer with its whole body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: Response<()>,
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value, empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.head.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Client {
    /// A client of a base URL such as `http://127.0.0.1:8008`.
    pub fn new(base: &str) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .max_redirects(0)
            .allow_non_standard_methods(true);
        Client { agent: config.build().into(), base: base.trim_end_matches('/').to_owned() }
    }

    /// The base URL.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Sends a request with headers and a body.
    pub fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, Failed> {
        let method: Method = method.parse()?;
        let has_body = !body.is_empty() || matches!(method.as_str(), "POST" | "PUT");
        let mut request = Request::builder().method(method).uri(format!("{}{target}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response =
            if has_body { self.agent.run(request.body(body)?)? } else { self.agent.run(request.body(())?)? };
        let (parts, body) = response.into_parts();
        let body = body.into_with_config().limit(256 << 20).read_to_vec()?;
        Ok(Answer { status: parts.status.as_u16(), head: Response::from_parts(parts, ()), body })
    }

    /// Gets a path without any header of its own.
    pub fn get(&self, target: &str) -> Result<Answer, Failed> {
        self.send("GET", target, &[], b"")
    }
}

/// Sends bytes as they are over TCP, and returns all that comes until the connection ends or `patience` is over.
pub fn raw_tcp(address: &str, bytes: &[u8], patience: Duration) -> Result<String, Failed> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(patience))?;
    exchange(stream, bytes)
}

/// The same over a unix socket.
pub fn raw_unix(path: &Path, bytes: &[u8], patience: Duration) -> Result<String, Failed> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(patience))?;
    exchange(stream, bytes)
}

fn exchange(mut stream: impl Read + Write, bytes: &[u8]) -> Result<String, Failed> {
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    // Silence for as long as the patience lasts ends the exchange as well.
    let _ = stream.read_to_end(&mut answer);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
