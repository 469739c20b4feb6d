//! A dendron before a stack's Synapse, with a plain and an encrypted listener, and syncs that are parked there.

use std::path::PathBuf;

use libtest_mimic::Failed;
use serde_json::Value;

use crate::harness::alone::{Alone, free_port};
use crate::harness::ensure_eq;
use crate::harness::eventually::{SOON, eventually};
use crate::harness::http::Client;
use crate::harness::matrix::{User, expect_ok};
use crate::harness::metrics::Metrics;
use crate::harness::stack::Stack;
use crate::harness::tls::{Authority, Files};

/// A running dendron.
pub struct Edge {
    pub dendron: Alone,
    pub port: u16,
    pub tls_port: u16,
    pub authority: Authority,
    output: PathBuf,
}

impl Edge {
    /// Starts it in a folder of this name, and waits until it can park syncs.
    pub fn start(stack: &Stack, name: &str, settings: &str) -> Result<Self, Failed> {
        let folder = stack.subfolder(&format!("parked-{name}"))?;
        let [port, tls_port, admin] = [free_port()?, free_port()?, free_port()?];
        let files = Files::new(&folder, "edge");
        let authority = Authority::new(&folder)?;
        authority.sign(&files, time::OffsetDateTime::now_utc() + time::Duration::days(2))?;
        let config = folder.join("dendron.yaml");
        std::fs::write(
            &config,
            format!(
                "listeners:\n- address: '127.0.0.1:{port}'\n- address: '127.0.0.1:{tls_port}'\n  \
                 tls: {{certificate: edge.pem, key: edge.key}}\nadmin: {{address: '127.0.0.1:{admin}'}}\n\
                 synapse: {{config: ['{}']}}\ntrusted_proxies: ['127.0.0.1']\n{settings}",
                stack.text(&["synapse", "homeserver"]),
            ),
        )?;
        let output = folder.join("output");
        let dendron = Alone::start(&config, admin, &output)?;
        eventually(SOON, || {
            let status = dendron.admin().get("/status")?.json();
            ensure_eq!(status["syncs"]["gate"], "live", "the gate: {}", status["syncs"]);
            Ok(())
        })?;
        Ok(Edge { dendron, port, tls_port, authority, output })
    }

    /// A client of its plain listener.
    pub fn client(&self) -> Client {
        Client::new(&format!("http://127.0.0.1:{}", self.port))
    }

    /// A metric, or the sum of those of this name.
    pub fn number(&self, name: &str) -> Result<f64, Failed> {
        Ok(Metrics::scrape(self.dendron.admin())?.sum(name, &[]))
    }

    /// Waits until so many syncs are parked.
    pub fn expect_parked(&self, count: usize) -> Result<(), Failed> {
        eventually(SOON, || {
            ensure_eq!(self.number("dendron_sync_parked")?, count as f64, "parked");
            Ok(())
        })
    }

    /// All that dendron has said besides its access log.
    pub fn said(&self) -> Result<String, Failed> {
        Ok(std::fs::read_to_string(&self.output)?)
    }
}

/// From where on a user has nothing to hear, when a sync from there is sure to be parked.
pub fn settled(user: &User) -> Result<String, Failed> {
    let mut since = String::new();
    eventually(SOON, || {
        let from = if since.is_empty() { String::new() } else { format!("&since={since}") };
        let target = format!("/_matrix/client/v3/sync?timeout=300{from}");
        let answer = user.send_with("GET", &target, &Value::Null, &[("User-Agent", "a")])?;
        since = expect_ok(&answer, "sync")?["next_batch"].as_str().unwrap_or_default().to_owned();
        ensure_eq!(answer.header("x-dendron"), "replay", "what became of a sync");
        Ok(since.clone())
    })
}

/// A sync of a user from there on, as the same program would send it, for so many milliseconds.
pub fn poll(user: &User, since: &str, timeout: u128) -> Vec<u8> {
    let target = format!("/_matrix/client/v3/sync?timeout={timeout}&since={since}");
    let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: a\r\n");
    format!("{head}Authorization: Bearer {}\r\n\r\n", user.token).into_bytes()
}
