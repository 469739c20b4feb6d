//! One question to one process of Synapse, and its answer, over connections that are kept.
//!
//! An error says whether Synapse can have seen the question: what was never sent may be asked elsewhere, or forwarded
//! as if nothing had happened; what was sent may have been done.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HOST, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::RequestHeader;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

/// The most bytes of an answer's body.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Asks questions. It keeps connections for the next ones, so that there should be one of these for all.
pub struct Client {
    connector: Connector<()>,
}

/// What is asked. There is no `Debug`: headers and body may hold secrets.
#[derive(Clone)]
pub struct Question {
    /// The method.
    pub method: Method,
    /// The path with its query, percent-encoded.
    pub path: String,
    /// The headers. `Host` is added unless it is here, and the body's length always is.
    pub headers: HeaderMap,
    /// The body; `None` sends none.
    pub body: Option<Bytes>,
}

/// What was answered. There is no `Debug`: the body may hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// A Matrix error in an answer's body.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct MatrixError {
    /// The error's code.
    pub errcode: String,
    /// What it says to people.
    #[serde(default)]
    pub error: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The process's host name has no address.
    #[error("the host name is not resolved")]
    Unresolved,
    /// No connection could be made.
    #[error("it cannot be connected to: {0}")]
    NotConnected(Box<pingora_core::Error>),
    /// No connection was made in time.
    #[error("it did not accept a connection in time")]
    NotConnectedInTime,
    /// The question cannot be written as HTTP.
    #[error("the question is not valid: {0}")]
    Unwritable(Box<pingora_core::Error>),
    /// The connection broke before the answer was there.
    #[error("it broke off: {0}")]
    BrokenOff(Box<pingora_core::Error>),
    /// The answer was not there in time.
    #[error("it did not answer in time")]
    Silent,
    /// The answer's body is longer than [`BODY_BYTES_MAX`].
    #[error("its answer is longer than {BODY_BYTES_MAX} bytes")]
    TooLong,
    /// It switched to another protocol, which nobody asked for.
    #[error("its answer is no answer to a question")]
    NotHttp,
}

// === impl Client ===

impl Default for Client {
    fn default() -> Self {
        Client { connector: Connector::new(None) }
    }
}

impl Client {
    /// Asks `peer`, and waits for the whole answer until `within` has passed.
    ///
    /// A kept connection may be one that Synapse is just closing. A question of a safe method is then asked again on
    /// another connection; any other is not, because Synapse may have begun with it.
    ///
    /// # Errors
    ///
    /// [`AskError`]; [`AskError::nothing_was_sent`] tells whether Synapse can have seen the question.
    pub async fn ask(&self, peer: &HttpPeer, question: &Question, within: Duration) -> Result<Answer, AskError> {
        let deadline = Instant::now() + within;
        loop {
            let connected = timeout_at(deadline, self.connector.get_http_session(peer)).await;
            let (mut session, reused) =
                connected.map_err(|_| AskError::NotConnectedInTime)?.map_err(AskError::NotConnected)?;
            let head = question.head().map_err(AskError::Unwritable)?;
            match timeout_at(deadline, converse(&mut session, head, question.body.as_ref())).await {
                Err(_) => return Err(AskError::Silent),
                // Every round uses up one kept connection, so that this ends.
                Ok(Err(AskError::BrokenOff(_))) if reused && question.method.is_safe() => {}
                Ok(Err(error)) => return Err(error),
                Ok(Ok(answer)) => {
                    self.connector.release_http_session(session, peer, peer.options.idle_timeout).await;
                    return Ok(answer);
                }
            }
        }
    }
}

/// Sends a question and reads its answer. Dropping the session afterwards closes the connection.
async fn converse(session: &mut HttpSession, head: RequestHeader, body: Option<&Bytes>) -> Result<Answer, AskError> {
    session.write_request_header(Box::new(head)).await.map_err(AskError::BrokenOff)?;
    if let Some(body) = body.filter(|body| !body.is_empty()) {
        session.write_request_body(body.clone(), true).await.map_err(AskError::BrokenOff)?;
    }
    session.finish_request_body().await.map_err(AskError::BrokenOff)?;
    let (status, headers) = loop {
        session.read_response_header().await.map_err(AskError::BrokenOff)?;
        let head = session.response_header().ok_or(AskError::NotHttp)?;
        match head.status {
            StatusCode::SWITCHING_PROTOCOLS => return Err(AskError::NotHttp),
            // What comes before an answer; the deadline bounds how often.
            status if status.is_informational() => {}
            status => break (status, head.headers.clone()),
        }
    };
    let mut body = BytesMut::new();
    while let Some(part) = session.read_response_body().await.map_err(AskError::BrokenOff)? {
        if body.len() + part.len() > BODY_BYTES_MAX {
            return Err(AskError::TooLong);
        }
        body.extend_from_slice(&part);
    }
    Ok(Answer { status, headers, body: body.freeze() })
}

// === impl Question ===

impl Question {
    /// A question without headers and body.
    pub fn get(path: impl Into<String>) -> Self {
        Question { method: Method::GET, path: path.into(), headers: HeaderMap::new(), body: None }
    }

    /// A question with a body.
    pub fn post(path: impl Into<String>, headers: HeaderMap, body: impl Into<Bytes>) -> Self {
        Question { method: Method::POST, path: path.into(), headers, body: Some(body.into()) }
    }

    fn head(&self) -> Result<RequestHeader, Box<pingora_core::Error>> {
        let mut head = RequestHeader::build(self.method.clone(), self.path.as_bytes(), Some(self.headers.len() + 2))?;
        for (name, value) in &self.headers {
            head.append_header(name, value)?;
        }
        if !self.headers.contains_key(HOST) {
            head.insert_header(HOST, "localhost")?;
        }
        // A request that says no length has no body, and Synapse waits for none; one with a body must say it.
        let length = self.body.as_ref().map(Bytes::len).or((self.method == Method::POST).then_some(0));
        match length {
            Some(length) => head.insert_header(CONTENT_LENGTH, HeaderValue::from(length))?,
            None => drop(head.remove_header(&CONTENT_LENGTH)),
        }
        Ok(head)
    }
}

// === impl Answer ===

impl Answer {
    /// The Matrix error in the body, if there is one.
    pub fn matrix_error(&self) -> Option<MatrixError> {
        serde_json::from_slice(&self.body).ok()
    }
}

// === impl AskError ===

impl AskError {
    /// Whether Synapse cannot have seen the question.
    pub const fn nothing_was_sent(&self) -> bool {
        match self {
            AskError::Unresolved
            | AskError::NotConnected(_)
            | AskError::NotConnectedInTime
            | AskError::Unwritable(_) => true,
            AskError::BrokenOff(_) | AskError::Silent | AskError::TooLong | AskError::NotHttp => false,
        }
    }
}

#[cfg(test)]
mod tests;
