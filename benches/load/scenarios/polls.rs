//! (f): long-polls by the thousand, all held by the upstream and then all answered: memory for each, and the time until
//! the last one has its answer. Each contender is started anew, because memory that was used once is seldom given back.

use super::Suite;
use super::rounds::progress;
use crate::contenders::{Contender, Name};
use crate::fault::Outcome;
use crate::figures::{Figure, Measured};
use crate::generate::polls::Polls;

pub(super) fn run(suite: &Suite<'_>) -> Outcome<Vec<Measured>> {
    let wanted = suite.by_size(100, 4_000, 10_000);
    let count = wanted.min(suite.passed_on_max());
    let rounds = suite.by_size(1, 1, 3).min(suite.rounds);
    let mut measured = Measured::new(format!("{count} long-polls, forwarded"));
    for round in 0..rounds {
        for place in 0..Name::PROXIES.len() {
            let name = Name::PROXIES[(place + round) % Name::PROXIES.len()];
            progress(&format!("  round {} of {rounds}: {}", round + 1, name.text()));
            one(suite, name, count, &mut measured)?;
        }
    }
    progress("");
    if count < wanted {
        measured.notes.push(format!("The limit of {} open files allows no more than {count}.", suite.descriptors));
    }
    Ok(vec![measured])
}

fn one(suite: &Suite<'_>, name: Name, count: usize, measured: &mut Measured) -> Outcome<()> {
    let upstream = suite.stage.upstream;
    upstream.wait_for_held(0)?;
    let contender = Contender::start(name, &suite.stage)?;
    let before = contender.usage()?;
    let polls = Polls::hold(contender.plain, count)?;
    upstream.wait_for_held(count)?;
    let during = contender.usage()?;
    upstream.order("release")?;
    let (drained, errors) = polls.drain()?;
    let after = contender.usage()?;
    let bytes = during.resident_bytes.saturating_sub(before.resident_bytes) as f64;
    measured.add(name, Figure::MemoryPerConnection, bytes / 1e3 / count as f64);
    measured.add(name, Figure::Resident, after.resident_bytes as f64 / 1e6);
    measured.add(name, Figure::Drain, drained.as_secs_f64() * 1e3);
    measured.add(name, Figure::CpuPerPoll, (after.cpu - before.cpu).as_secs_f64() * 1e6 / count as f64);
    measured.failed(name, errors);
    Ok(())
}
