//! A reply of dendron's own, and the one place where a failure becomes a Matrix error.
//!
//! Every reply carries the CORS headers that Synapse sends, because a browser shows a page nothing of an answer without
//! them, not even that it failed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderName, HeaderValue};

/// The methods that Matrix knows.
const METHODS: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS";
/// The CORS headers on every answer (Synapse, `http/server.py`, `set_cors_headers`).
pub const CORS: [(HeaderName, HeaderValue); 4] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS)),
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("X-Requested-With, Content-Type, Authorization, Date"),
    ),
    (header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Synapse-Trace-Id, Server")),
];

/// An answer that dendron gives by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: StatusCode,
    /// The headers, without `Content-Length`, which is the body's. An answer that is given thousands of times has them in
    /// common with all its copies.
    pub headers: Arc<Vec<(HeaderName, HeaderValue)>>,
    /// The whole body.
    pub body: Bytes,
}

impl Reply {
    /// Adds a header behind the others.
    pub fn add(&mut self, name: HeaderName, value: HeaderValue) {
        Arc::make_mut(&mut self.headers).push((name, value));
    }
}

/// Why dendron answers a request with an error of its own. The texts tell a user what happened; the administrator
/// finds the cause under the request id in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The request cannot be understood as HTTP.
    #[error("The request is malformed")]
    Malformed,
    /// The request's line and headers are larger than any that Synapse takes.
    #[error("The request's headers are too large")]
    HeadersTooLarge,
    /// The path is not offered on this listener.
    #[error("Unrecognized request")]
    NotOffered,
    /// The request is for a tunnel (`CONNECT`), which dendron does not offer.
    #[error("Tunnels are not offered")]
    NoTunnel,
    /// The body is larger than Synapse takes.
    #[error("The request is too large")]
    TooLarge,
    /// The client took too long to send its request.
    #[error("The request took too long to arrive")]
    TooSlow,
    /// No process of the homeserver could be connected to.
    #[error("The homeserver cannot be reached at the moment")]
    Unreachable,
    /// No process could be connected to, as was to be expected: the checks know that none is alive.
    #[error("The homeserver is down at the moment")]
    Down,
    /// The process broke the connection, or answered something that is no HTTP.
    #[error("The homeserver broke off while answering")]
    BrokenOff,
    /// The process did not answer in the time that its class has.
    #[error("The homeserver took too long to answer")]
    TimedOut,
    /// More requests wait than may.
    #[error("The homeserver is overloaded")]
    Overloaded,
    /// A fault of dendron's own.
    #[error("Internal error of the edge")]
    Internal,
}

impl Failure {
    /// The status code, which tells who is at fault.
    pub const fn status(self) -> StatusCode {
        match self {
            Failure::Malformed => StatusCode::BAD_REQUEST,
            Failure::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Failure::NotOffered => StatusCode::NOT_FOUND,
            Failure::NoTunnel => StatusCode::METHOD_NOT_ALLOWED,
            Failure::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Failure::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Failure::Unreachable | Failure::BrokenOff => StatusCode::BAD_GATEWAY,
            Failure::Down | Failure::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Failure::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Failure::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The Matrix error code (Matrix client-server API, "Standard error response").
    pub const fn errcode(self) -> &'static str {
        match self {
            Failure::NotOffered | Failure::NoTunnel => "M_UNRECOGNIZED",
            Failure::TooLarge => "M_TOO_LARGE",
            _ => "M_UNKNOWN",
        }
    }

    /// How long a client should wait before it tries again, where waiting helps.
    pub const fn retry_after(self) -> Option<Duration> {
        match self {
            Failure::Unreachable | Failure::Down | Failure::BrokenOff | Failure::Overloaded => {
                Some(Duration::from_secs(5))
            }
            _ => None,
        }
    }

    /// The failure as an answer.
    pub fn reply(self) -> Reply {
        let mut body = serde_json::json!({ "errcode": self.errcode(), "error": self.to_string() });
        let mut headers = CORS.to_vec();
        headers.push((header::CONTENT_TYPE, HeaderValue::from_static("application/json")));
        headers.push((header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate")));
        if self == Failure::NoTunnel {
            // An answer 405 must have it (RFC 9110, 15.5.6).
            headers.push((header::ALLOW, HeaderValue::from_static(METHODS)));
        }
        if let Some(wait) = self.retry_after() {
            headers.push((header::RETRY_AFTER, HeaderValue::from(wait.as_secs())));
            body["retry_after_ms"] = serde_json::json!(wait.as_secs() * 1000);
        }
        Reply { status: self.status(), headers: headers.into(), body: Bytes::from(body.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Failure; 12] = [
        Failure::Malformed,
        Failure::HeadersTooLarge,
        Failure::NotOffered,
        Failure::NoTunnel,
        Failure::TooLarge,
        Failure::TooSlow,
        Failure::Unreachable,
        Failure::Down,
        Failure::BrokenOff,
        Failure::TimedOut,
        Failure::Overloaded,
        Failure::Internal,
    ];

    #[test]
    fn every_failure_is_a_matrix_error_that_a_browser_can_read() {
        for failure in ALL {
            let reply = failure.reply();
            let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
            assert!(body["errcode"].as_str().unwrap().starts_with("M_"), "{failure:?}");
            assert_eq!(body["error"], failure.to_string());
            for (name, value) in &CORS {
                assert!(reply.headers.contains(&(name.clone(), value.clone())), "{failure:?} {name}");
            }
        }
    }

    #[test]
    fn where_waiting_helps_both_hints_are_given() {
        for failure in ALL {
            let reply = failure.reply();
            let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
            let header = reply.headers.iter().find(|(name, _)| name == header::RETRY_AFTER);
            assert_eq!(header.is_some(), failure.retry_after().is_some(), "{failure:?}");
            assert_eq!(body.get("retry_after_ms").is_some(), failure.retry_after().is_some(), "{failure:?}");
        }
    }
}
