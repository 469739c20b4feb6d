//! PostgreSQL and Redis go away for Synapse and dendron together, and come back.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use super::cases::{Expect, password_body};
use super::edge::Edge;
use super::{shape_of_login, synapse_address, users};
use crate::harness::eventually::{SOON, eventually};
use crate::harness::stack::Stack;
use crate::harness::stacks::Stacks;
use crate::harness::{ensure, ensure_eq};

/// How much longer than Synapse's own an answer may take.
const LONGER: Duration = Duration::from_secs(2);
/// How often each login is sent while the databases are away.
const TIMES: usize = 3;

/// On a stack of its own: others need not come through this.
pub fn databases_that_stop_for_all(_: &Stacks) -> Result<(), Failed> {
    let mut stack = Stack::start("outage", "monolith", &[])?;
    users::make(&stack)?;
    let mut edge = Edge::answering(&stack, "login-outage", "")?;
    let synapse = synapse_address(&stack);
    let mut expected = Vec::new();
    answered_alike(&synapse, &edge.address, "before")?;
    stack.stop_databases()?;
    for round in 0..TIMES {
        for (user, password) in [("l-plain", "hush-plain"), ("l-plain", "wrong"), ("nobody", "wrong")] {
            let (name, body) = (format!("away-{round}-{user}-{password}"), password_body(user, password));
            let begun = Instant::now();
            let theirs = shape_of_login(&synapse, &body, "direct")?;
            let (within, begun) = (begun.elapsed() + LONGER, Instant::now());
            let ours = shape_of_login(&edge.address, &body, &name)?;
            ensure_eq!(ours, theirs, "{name}");
            ensure!(theirs.status.contains(" 500"), "{name}: Synapse has a database: {theirs:?}");
            ensure!(begun.elapsed() < within, "{name} took {} ms", begun.elapsed().as_millis());
            expected.push((name, Expect::Forwarded));
        }
    }
    stack.start_databases()?;
    // Synapse and dendron each find their way back by themselves.
    eventually(SOON, || answered_alike(&synapse, &edge.address, "back"))?;
    super::edge::until_answering(edge.admin())?;
    answered_alike(&synapse, &edge.address, "after")?;
    expected.extend([("before".to_owned(), Expect::Edge), ("after".to_owned(), Expect::Edge)]);
    let answers = edge.stop()?;
    let fault = |(name, answerer): (String, Expect)| Some(format!("{name} {}", answers.fault(&name, Some(answerer))?));
    let faults: Vec<String> = expected.into_iter().filter_map(fault).collect();
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

/// A good login succeeds on both ways, and through dendron bears this name.
fn answered_alike(synapse: &str, edge: &str, name: &str) -> Result<(), Failed> {
    let body = password_body("l-plain", "hush-plain");
    let (theirs, ours) = (shape_of_login(synapse, &body, "direct")?, shape_of_login(edge, &body, name)?);
    ensure!(theirs.status.contains(" 200"), "{name}: {theirs:?}");
    ensure_eq!(ours, theirs, "{name}");
    Ok(())
}
