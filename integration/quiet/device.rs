//! A device that syncs through an edge, as a client does: each poll goes on from where the last one has ended.

use std::io::Write;
use std::net::TcpStream;
use std::thread::JoinHandle;
use std::time::Duration;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::harness::eventually::{SOON, eventually};
use crate::harness::http::{Answer, Client};
use crate::harness::matrix::{User, expect_ok};
use crate::harness::metrics::Metrics;
use crate::login::edge::Edge;

/// The header by which dendron tells those it trusts what became of a sync.
pub const X_DENDRON: &str = "x-dendron";

const SYNC: &str = "/_matrix/client/v3/sync";
const SLIDING: &str = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync";
/// A poll that is long enough to be believed, and short enough to wait for.
const SHORT: Duration = Duration::from_millis(400);

/// A device.
pub struct Device {
    user: User,
    is_sliding: bool,
    since: Option<String>,
    to_device_since: Option<String>,
    /// What the client's program is called; nothing if it says nothing.
    pub agent: String,
    /// Whether its syncs say nothing of the user's presence. Else Synapse has something to tell the user, of herself, a
    /// minute after she was last active.
    pub is_invisible: bool,
}

/// A poll that is under way.
pub struct Poll(JoinHandle<Result<Answer, String>>);

impl Device {
    /// A device that has not synced yet.
    pub fn new(user: &User, edge: &Edge) -> Self {
        Device::at(user, &edge.address)
    }

    /// The same, at an address of an edge's.
    pub fn at(user: &User, address: &str) -> Self {
        let user = user.through(&Client::new(&format!("http://{address}")));
        Device {
            user,
            is_sliding: false,
            since: None,
            to_device_since: None,
            agent: String::new(),
            is_invisible: false,
        }
    }

    /// The same for one that speaks sliding sync.
    pub fn sliding(user: &User, edge: &Edge) -> Self {
        Device { is_sliding: true, ..Device::new(user, edge) }
    }

    /// Where a poll goes.
    pub fn target(&self, timeout: Duration) -> String {
        let (path, name) = if self.is_sliding { (SLIDING, "pos") } else { (SYNC, "since") };
        let since = self.since.as_ref().map(|since| format!("&{name}={since}")).unwrap_or_default();
        let presence = if self.is_invisible { "&set_presence=offline" } else { "" };
        format!("{path}?timeout={}{presence}{since}", timeout.as_millis())
    }

    /// Begins a poll.
    pub fn poll(&self, timeout: Duration) -> Poll {
        let (user, target, body, agent) = (self.user.clone(), self.target(timeout), self.body(), self.agent.clone());
        let method = if self.is_sliding { "POST" } else { "GET" };
        Poll(std::thread::spawn(move || {
            let answer = user.send_with(method, &target, &body, &[("User-Agent", &agent)]);
            answer.map_err(|reason| reason.message().unwrap_or_default().to_owned())
        }))
    }

    fn body(&self) -> Value {
        if !self.is_sliding {
            return Value::Null;
        }
        let mut to_device = json!({ "enabled": true });
        if let Some(since) = &self.to_device_since {
            to_device["since"] = json!(since);
        }
        let enabled = json!({ "enabled": true });
        json!({
            "conn_id": "room-list",
            "lists": { "all": { "ranges": [[0, 19]], "timeline_limit": 10, "required_state": [] } },
            "extensions": {
                "to_device": to_device, "e2ee": enabled, "account_data": enabled, "receipts": enabled, "typing": enabled,
            },
        })
    }

    /// Goes on from where an answer ends.
    pub fn take(&mut self, answer: &Answer) -> Result<(), Failed> {
        let answer = expect_ok(answer, "sync")?;
        let name = if self.is_sliding { "pos" } else { "next_batch" };
        self.since = Some(answer[name].as_str().ok_or_else(|| format!("no {name} in {answer}"))?.to_owned());
        self.to_device_since = answer["extensions"]["to_device"]["next_batch"].as_str().map(str::to_owned);
        Ok(())
    }

    /// Polls until the edge answers for Synapse: there is nothing more to hear.
    pub fn settle(&mut self) -> Result<(), Failed> {
        eventually(SOON * 2, || {
            let answer = self.poll(SHORT).answer()?;
            self.take(&answer)?;
            match answer.header(X_DENDRON) {
                "replay" => Ok(()),
                other => Err(format!("the last sync was {other}: {}", answer.text()).into()),
            }
        })
    }

    /// Begins a poll on a connection of its own, which is dropped with what is returned.
    pub fn raw_poll(&self, edge: &Edge, timeout: Duration) -> Result<TcpStream, Failed> {
        let mut connection = TcpStream::connect(&edge.address)?;
        let (target, token) = (self.target(timeout), &self.user.token);
        // What the other polls say of themselves, so that it is the same device.
        write!(
            connection,
            "GET {target} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nUser-Agent: {}\r\n\r\n",
            edge.address, self.agent
        )?;
        Ok(connection)
    }
}

impl Poll {
    /// Waits for its answer.
    pub fn answer(self) -> Result<Answer, Failed> {
        let answer = self.0.join().map_err(|_| "the client has panicked")?;
        answer.map_err(Failed::from)
    }
}

/// The sum of a metric of an edge.
pub fn sum(edge: &Edge, name: &str, labels: &[(&str, &str)]) -> Result<f64, Failed> {
    Ok(Metrics::scrape(edge.admin())?.sum(name, labels))
}

/// Waits until so many syncs are parked.
pub fn expect_parked(edge: &Edge, count: u32) -> Result<(), Failed> {
    expect_parked_at(edge.admin(), count)
}

/// The same, by the admin listener.
pub fn expect_parked_at(admin: &Client, count: u32) -> Result<(), Failed> {
    eventually(SOON, || {
        let parked = Metrics::scrape(admin)?.sum("dendron_sync_parked", &[]);
        if parked == f64::from(count) { Ok(()) } else { Err(format!("{parked} are parked, not {count}").into()) }
    })
}
