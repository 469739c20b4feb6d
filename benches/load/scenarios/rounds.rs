//! Who is measured when: all in turn, round after round, each round beginning with another, so that what a machine does
//! meanwhile falls on all alike.

use super::Suite;
use crate::contenders::{Contender, Name};
use crate::fault::{Outcome, wrong};
use crate::figures::{Figure, Measured};
use crate::generate::plain::{Connection, bytes};
use crate::generate::wrk::Burst;
use crate::mix;
use crate::routing;

/// All that are compared, running.
pub(crate) fn start(suite: &Suite<'_>) -> Outcome<Vec<Contender>> {
    Name::PROXIES.iter().map(|name| Contender::start(*name, &suite.stage)).collect()
}

/// Has each contender measured once a round.
pub(crate) fn run(
    suite: &Suite<'_>,
    contenders: &[Contender],
    mut measure: impl FnMut(&Contender) -> Outcome<()>,
) -> Outcome<()> {
    for round in 0..suite.rounds {
        for place in 0..contenders.len() {
            let contender = &contenders[(place + round) % contenders.len()];
            progress(&format!("  round {} of {}: {}", round + 1, suite.rounds, contender.name.text()));
            measure(contender)?;
        }
    }
    progress("");
    Ok(())
}

/// Measures a burst: time on a processor for each of its requests, and how many there were a second.
pub(crate) fn burst(
    measured: &mut Measured,
    contender: &Contender,
    send: impl FnOnce() -> Outcome<Burst>,
) -> Outcome<Burst> {
    let before = contender.usage()?;
    let burst = send()?;
    let cpu = contender.usage()?.cpu - before.cpu;
    measured.add(contender.name, Figure::Cpu, cpu.as_secs_f64() * 1e6 / burst.requests.max(1) as f64);
    measured.add(contender.name, Figure::Throughput, burst.requests as f64 / burst.seconds);
    measured.failed(contender.name, burst.errors);
    Ok(burst)
}

/// Sees to it that all send the forty endpoints to the same processes, the ones that they should have.
pub(crate) fn check_routing(contenders: &[Contender]) -> Outcome<()> {
    for contender in contenders {
        let mut connection = Connection::open(contender.plain).map_err(|error| wrong(error.to_string()))?;
        for request in mix::forty_endpoints() {
            let answer = connection.ask(&bytes(&request));
            let answer = answer.map_err(|error| wrong(format!("{}: {error}", request.target)))?;
            let served = answer.served_by.as_deref().map(routing::group_of);
            let expected = routing::group_behind(request.pool);
            if answer.status != 200 || served != Some(expected) {
                let name = contender.name.text();
                return Err(wrong(format!(
                    "{name} has {} answered by {served:?} and not {expected}: {answer:?}",
                    request.target
                )));
            }
        }
    }
    Ok(())
}

/// Says on a terminal what is being done, over the line that was there.
pub(crate) fn progress(text: &str) {
    use std::io::{IsTerminal, Write};
    let mut terminal = std::io::stderr();
    if terminal.is_terminal() {
        let _ = write!(terminal, "\r\x1b[K{text}");
        let _ = terminal.flush();
    }
}
