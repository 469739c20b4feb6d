//! What a parked sync costs, plain and over TLS.

use std::io::Write;
use std::net::TcpStream;

use libtest_mimic::Failed;
use serde_json::Value;

use crate::harness::alone::{Alone, free_port};
use crate::harness::eventually::{SOON, eventually};
use crate::harness::http::Client;
use crate::harness::matrix::{User, expect_ok};
use crate::harness::metrics::Metrics;
use crate::harness::stack::Stack;
use crate::harness::tls::{Authority, Files};
use crate::harness::{ensure, ensure_eq};

const USERS: usize = 20;
/// As many as one user may have parked.
const EACH: usize = 64;
/// What one may cost, in kilobytes. It was 4.7 and 14.4 when it was measured.
const PLAIN_MAX: f64 = 6.0;
const ENCRYPTED_MAX: f64 = 20.0;
/// What they may leave behind when they have gone, in bytes.
const LEFT_MAX: f64 = 30e6;

/// A dendron before a stack's Synapse, with a plain and an encrypted listener.
struct Edge {
    dendron: Alone,
    port: u16,
    tls_port: u16,
    authority: Authority,
}

impl Edge {
    fn start(stack: &Stack, name: &str, settings: &str) -> Result<Self, Failed> {
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
        let dendron = Alone::start(&config, admin, &folder.join("output"))?;
        eventually(SOON, || {
            let status = dendron.admin().get("/status")?.json();
            ensure_eq!(status["syncs"]["gate"], "live", "the gate: {}", status["syncs"]);
            Ok(())
        })?;
        Ok(Edge { dendron, port, tls_port, authority })
    }

    fn number(&self, name: &str) -> Result<f64, Failed> {
        Ok(Metrics::scrape(self.dendron.admin())?.sum(name, &[]))
    }

    fn memory(&self) -> Result<f64, Failed> {
        self.number("dendron_resident_memory_bytes")
    }

    fn expect_parked(&self, count: usize) -> Result<(), Failed> {
        eventually(SOON, || {
            ensure_eq!(self.number("dendron_sync_parked")?, count as f64, "parked");
            Ok(())
        })
    }

    /// A poll of a user who has nothing to hear, as bytes, when it is sure to be parked.
    fn settled(&self, user: &User) -> Result<Vec<u8>, Failed> {
        let user = user.through(&Client::new(&format!("http://127.0.0.1:{}", self.port)));
        let mut since = String::new();
        eventually(SOON, || {
            let from = if since.is_empty() { String::new() } else { format!("&since={since}") };
            let target = format!("/_matrix/client/v3/sync?timeout=300{from}");
            let answer = user.send_with("GET", &target, &Value::Null, &[("User-Agent", "a")])?;
            since = expect_ok(&answer, "sync")?["next_batch"].as_str().unwrap_or_default().to_owned();
            ensure_eq!(answer.header("x-dendron"), "replay", "what became of a sync");
            Ok(())
        })?;
        let target = format!("/_matrix/client/v3/sync?timeout=100000&since={since}");
        let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: a\r\n");
        Ok(format!("{head}Authorization: Bearer {}\r\n\r\n", user.token).into_bytes())
    }

    /// What each of the polls costs in kilobytes, on connections that are opened like this; and how many bytes are left when
    /// all have gone.
    fn cost<C: Write>(&self, polls: &[Vec<u8>], open: impl Fn() -> Result<C, Failed>) -> Result<(f64, f64), Failed> {
        let hold = |each: usize| -> Result<Vec<C>, Failed> {
            let mut held = Vec::new();
            for poll in polls {
                for _ in 0..each {
                    let mut connection = open()?;
                    connection.write_all(poll)?;
                    connection.flush()?;
                    held.push(connection);
                }
            }
            self.expect_parked(each * polls.len())?;
            Ok(held)
        };
        drop(hold(2)?);
        self.expect_parked(0)?;
        let before = self.memory()?;
        let held = hold(EACH)?;
        let each = (self.memory()? - before) / 1024.0 / held.len() as f64;
        drop(held);
        self.expect_parked(0)?;
        Ok((each, self.memory()? - before))
    }
}

pub fn they_cost_little(stack: &mut Stack) -> Result<(), Failed> {
    super::raise_own_limit()?;
    let names = (0..USERS).map(|number| format!("parked{number}"));
    let users: Vec<User> = names.map(|name| User::register(&stack.client(), &name)).collect::<Result<_, _>>()?;
    // Each in a process of its own: memory that one has given back would hide what the next one takes.
    let measure = |name: &str, settings: &str| -> Result<(f64, f64), Failed> {
        let edge = Edge::start(stack, name, settings)?;
        let polls: Vec<Vec<u8>> = users.iter().map(|user| edge.settled(user)).collect::<Result<_, _>>()?;
        match name {
            "encrypted" => edge.cost(&polls[..USERS / 2], || edge.authority.connect(edge.tls_port)),
            _ => edge.cost(&polls, || Ok(TcpStream::connect(("127.0.0.1", edge.port))?)),
        }
    };
    let (plain, left) = measure("plain", "")?;
    let (encrypted, left_encrypted) = measure("encrypted", "")?;
    let (without, _) = measure("without", "front: off\n")?;
    println!("a parked sync costs {plain:.1} KB, over TLS {encrypted:.1} KB, without the front {without:.1} KB");
    ensure!(plain < PLAIN_MAX && encrypted < ENCRYPTED_MAX && plain * 3.0 < without, "that is too much");
    ensure!(left.max(left_encrypted) < LEFT_MAX, "{left} and {left_encrypted} bytes are left when all have gone");
    Ok(())
}
