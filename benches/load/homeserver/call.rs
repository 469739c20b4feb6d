//! One request, and its answer in JSON, as a client's library makes it.

use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::Request;

use crate::fault::{Outcome, wrong};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client of one port.
#[derive(Clone)]
pub(crate) struct Client {
    agent: Agent,
    pub(crate) port: u16,
}

impl Client {
    pub(crate) fn new(port: u16) -> Self {
        let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
        Client { agent: config.build().into(), port }
    }

    /// The answer's body, if its status is 200. An empty token is none.
    pub(crate) fn text(&self, method: &str, target: &str, token: &str, body: Option<&Value>) -> Outcome<String> {
        let failed = |error: &dyn std::fmt::Display| wrong(format!("{method} {target}: {error}"));
        let mut request = Request::builder().method(method).uri(format!("http://127.0.0.1:{}{target}", self.port));
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = match body {
            Some(body) => request.body(body.to_string()).map(|request| self.agent.run(request)),
            None => request.body(()).map(|request| self.agent.run(request)),
        };
        let mut answer = answer.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
        let text = answer.body_mut().read_to_string().map_err(|error| failed(&error))?;
        if answer.status() == 200 { Ok(text) } else { Err(failed(&format!("{} {text}", answer.status()))) }
    }

    /// The same, read as JSON.
    pub(crate) fn ask(&self, method: &str, target: &str, token: &str, body: Option<&Value>) -> Outcome<Value> {
        let text = self.text(method, target, token, body)?;
        serde_json::from_str(&text).map_err(|error| wrong(format!("{method} {target} is no JSON: {error}")))
    }
}
