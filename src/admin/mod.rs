//! The admin listener, for the administrator's network alone.
//!
//! - `GET /health`: 200 while the program runs.
//! - `GET /ready`: 200 when requests can be served: the main pool has a healthy process, and every process that dendron
//!   started is up. Else 503, saying what is missing.
//! - `GET /metrics`: Prometheus's text format.
//! - `GET /status`: pools, processes, classes, versions and uptime as JSON.
//! - `POST /sync/park?mode=on|shadow|off`: switches the parking of quiet syncs until the next start.
//!
//! - [`settings`]: `admin:` in dendron.yaml.
//! - [`status`]: what `/ready` and `/status` say, as values.
//!
//! Not here: any authentication. Who reaches the listener sees it all, and can do what stands above.

mod scrape;
pub mod settings;
pub mod status;

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use async_trait::async_trait;
use http::{Method, Response, StatusCode, header};
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::http::ServerSession;
use tokio::sync::watch;

use crate::answer::login::desk::Desk;
use crate::listener::{Certificates, Runtimes};
use crate::observe::Metrics;
use crate::query::query_value;
use crate::quiet::desk::Desk as Quiet;
use crate::quiet::mode::Mode;
use crate::replication::State;
use crate::route::Routes;
use crate::supervise::Supervisor;
use crate::token::Callers;
use crate::upstream::{Address, Pools};

pub use settings::AdminSettings;
pub use status::Status;

/// What the admin listener looks at.
pub struct Admin {
    /// Synapse's processes.
    pub pools: Pools,
    /// Where each class goes.
    pub routes: Routes,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The processes that dendron started, if any.
    pub supervisor: Option<Supervisor>,
    /// What clients are served on.
    pub runtimes: Runtimes,
    /// What becomes of logins.
    pub logins: Arc<Desk>,
    /// Who is behind access tokens.
    pub callers: Arc<Callers>,
    /// What becomes of quiet syncs.
    pub quiet: Arc<Quiet>,
    /// How following Synapse's replication stream is doing; `None` where there is no Redis.
    pub replication: Option<watch::Receiver<State>>,
    /// The certificates of the listeners that have any.
    pub certificates: Vec<(Address, Arc<Certificates>)>,
    /// The server's name, if Synapse's configuration was read.
    pub server_name: Option<String>,
    /// When dendron started.
    pub started: SystemTime,
}

impl Admin {
    fn status(&self, now: SystemTime) -> Status {
        Status::new(self, now, Instant::now())
    }

    /// Switches the parking of quiet syncs.
    fn switch(&self, query: &str) -> (StatusCode, String) {
        let mode = query_value(query, "mode").and_then(|mode| Mode::of_name(&mode));
        match (self.quiet.parking(), mode) {
            (_, None) => (StatusCode::BAD_REQUEST, "expected ?mode=on, shadow or off\n".to_owned()),
            (None, _) => (StatusCode::CONFLICT, "syncs cannot be parked here; /status says why\n".to_owned()),
            (Some(parking), Some(mode)) => {
                parking.switch_to(mode);
                (StatusCode::OK, format!("{}\n", parking.switch().mode().name()))
            }
        }
    }

    fn answer(&self, method: &Method, path: &str, query: &str, now: SystemTime) -> (StatusCode, &'static str, Vec<u8>) {
        const TEXT: &str = "text/plain; charset=utf-8";
        if method == Method::POST && path == "/sync/park" {
            let (status, text) = self.switch(query);
            return (status, TEXT, text.into_bytes());
        }
        if method != Method::GET && method != Method::HEAD {
            return (StatusCode::METHOD_NOT_ALLOWED, TEXT, b"only GET is served here\n".to_vec());
        }
        match path {
            "/health" => (StatusCode::OK, TEXT, b"OK\n".to_vec()),
            "/ready" => match self.status(now).missing() {
                missing if missing.is_empty() => (StatusCode::OK, TEXT, b"ready\n".to_vec()),
                missing => (StatusCode::SERVICE_UNAVAILABLE, TEXT, (missing.join("\n") + "\n").into_bytes()),
            },
            "/metrics" => {
                scrape::refresh(self);
                match self.metrics.text() {
                    Ok(text) => (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text),
                    Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, TEXT, error.to_string().into_bytes()),
                }
            }
            "/status" => match serde_json::to_vec_pretty(&self.status(now)) {
                Ok(text) => (StatusCode::OK, "application/json", text),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, TEXT, error.to_string().into_bytes()),
            },
            _ => (StatusCode::NOT_FOUND, TEXT, b"/health /ready /metrics /status\n".to_vec()),
        }
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let head = session.req_header();
        let (status, kind, body) =
            self.answer(&head.method, head.uri.path(), head.uri.query().unwrap_or_default(), SystemTime::now());
        let sent = if head.method == Method::HEAD { Vec::new() } else { body.clone() };
        let mut response = Response::new(sent);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
        headers.insert(header::CONTENT_LENGTH, header::HeaderValue::from(body.len()));
        response
    }
}
