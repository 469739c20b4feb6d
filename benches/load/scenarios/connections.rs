//! (b): a connection for each request, as from clients that come once.

use super::Suite;
use super::rounds::{self, burst};
use crate::fault::Outcome;
use crate::figures::Measured;
use crate::generate::wrk::{self, Wrk};
use crate::mix;

/// How many clients come at once.
const CLIENTS: usize = 32;

pub(super) fn run(suite: &Suite<'_>) -> Outcome<Vec<Measured>> {
    let contenders = rounds::start(suite)?;
    let script = wrk::script(suite.folder().join("closing.lua"), &mix::forty_endpoints(), true)?;
    let wrk = Wrk { script: &script, is_encrypted: false, connections: CLIENTS, seconds: suite.by_size(1, 2, 4) };
    let mut measured = Measured::new("forty endpoints, a new connection for each request");
    rounds::run(suite, &contenders, |contender| {
        burst(&mut measured, contender, || wrk.run(contender.plain)).map(|_| ())
    })?;
    Ok(vec![measured])
}
