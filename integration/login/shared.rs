//! Two edges before one Synapse that limit logins together, through a Redis that then goes away.

use libtest_mimic::Failed;

use super::cases::{Case, password_body};
use super::edge::Edge;
use super::{status, users};
use crate::harness::eventually::{SOON, eventually};
use crate::harness::metrics::Metrics;
use crate::harness::stack::Stack;
use crate::harness::stacks::Stacks;
use crate::harness::{ensure, ensure_eq};
use crate::shared_limits::Redis;
use crate::transparency::client::send;

const NAMES: [&str; 2] = ["login-shared-one", "login-shared-other"];
const IS_SHARED: &str = "dendron_login_limits_shared";
const ALONE: &str = "dendron_login_limits_alone_total";

pub fn edges_refuse_the_same_attempt_together(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_limited(|stack| {
        users::make(stack)?;
        let mut redis = Redis::start()?;
        // Nothing is to leak while the test runs.
        let limits = "rc_login: {failed_attempts: {per_second: 0.001, burst_count: 3}}";
        let changes = format!("redis: {{enabled: true, path: '{}'}}\n{limits}\n", redis.socket().display());
        let settings = "trusted_proxies: ['127.0.0.1']\nlogin: {limits: redis}\n";
        let mut edges = Vec::new();
        for name in NAMES {
            edges.push(Edge::with(stack, name, &changes, settings)?);
        }
        is_shared(&edges, 1.0)?;
        edges.iter().try_for_each(is_open)?;

        let one_address = |number: usize| attempt(&format!("nobody-{number}"), "wrong", "203.0.113.101");
        ensure_eq!(statuses(&edges, 7, one_address)?, [403, 403, 403, 403, 403, 429, 429], "from one address");
        let one_account = |number: usize| attempt("l-plain", "hush-plain", &format!("203.0.113.11{number}"));
        ensure_eq!(statuses(&edges, 6, one_account)?, [200, 200, 200, 200, 200, 429], "to one account");
        let failures = |number: usize| attempt("L-Plain", "wrong", &format!("203.0.113.12{number}"));
        ensure_eq!(statuses(&edges, 5, failures)?, [403, 403, 403, 429, 429], "failures at one account");

        // Two of five were let through here and two there when Redis goes: each edge then has three left of its own.
        let later = |number: usize| attempt(&format!("later-{number}"), "wrong", "203.0.113.102");
        ensure_eq!(statuses(&edges, 4, later)?, [403; 4], "before Redis has gone");
        redis.end();
        for edge in &edges {
            let statuses = statuses(std::slice::from_ref(edge), 5, later)?;
            ensure_eq!(statuses, [403, 403, 403, 429, 429], "at one edge, without Redis");
        }
        is_shared(&edges, 0.0)?;
        for edge in &edges {
            ensure!(Metrics::scrape(edge.admin())?.sum(ALONE, &[]) >= 1.0, "{ALONE}");
            let limits = edge.admin().get("/status")?.json()["logins"]["limits"].clone();
            ensure_eq!(limits, "in memory, while Redis is away", "limits in /status");
        }
        redis.begin()?;
        is_shared(&edges, 1.0)?;
        ensure_eq!(statuses(&edges, 2, later)?, [429, 429], "an empty Redis gives nobody a new start");
        told_once(stack, &mut edges)
    })
}

/// Waits until an edge answers logins: before that it forwards them, and Synapse counts failures.
fn is_open(edge: &Edge) -> Result<(), Failed> {
    eventually(SOON, || {
        let logins = edge.admin().get("/status")?.json()["logins"].clone();
        ensure!(logins["ready"] == true, "logins are not answered: {logins}");
        Ok(())
    })
}

/// The outage is in each log once, and so is its end.
fn told_once(stack: &Stack, edges: &mut [Edge]) -> Result<(), Failed> {
    for (edge, name) in edges.iter_mut().zip(NAMES) {
        edge.stop()?;
        let said = std::fs::read_to_string(stack.subfolder(name)?.join("dendron.out"))?;
        for line in ["Redis cannot be asked", "shared through Redis again"] {
            ensure_eq!(said.matches(line).count(), 1, "{name}: {line}");
        }
    }
    Ok(())
}

fn attempt(user: &str, password: &str, address: &str) -> Case {
    let headers = format!("X-Forwarded-For: {address}\r\n");
    Case { headers, ..Case::new(&password_body(user, password), None, None) }
}

/// How so many logins end, sent to one edge after the other.
fn statuses(edges: &[Edge], count: usize, login: impl Fn(usize) -> Case) -> Result<Vec<u16>, Failed> {
    let sent = (0..count).map(|number| {
        let bytes = login(number).bytes(&format!("shared-{number}"));
        Ok(status(&send(&edges[number % edges.len()].address, &bytes)?))
    });
    sent.collect()
}

fn is_shared(edges: &[Edge], expected: f64) -> Result<(), Failed> {
    eventually(SOON, || {
        for edge in edges {
            ensure_eq!(Metrics::scrape(edge.admin())?.sum(IS_SHARED, &[]), expected, "{IS_SHARED}");
        }
        Ok(())
    })
}
