//! (a), (c), (g): requests over kept connections: what each costs when there are as many as go, and (a)'s latencies at
//! half of what the slowest can do.

use std::time::Duration;

use super::Suite;
use super::rounds::{self, burst, check_routing};
use crate::contenders::{Contender, Name};
use crate::fault::{Outcome, wrong};
use crate::figures::{Figure, Measured};
use crate::generate::paced::Pace;
use crate::generate::plain::bytes;
use crate::generate::wrk::{self, Wrk};
use crate::mix::{self, Request};

/// How many connections ask at once.
const CONNECTIONS: usize = 64;
/// How many connections a fixed rate is spread over.
const PACED_CONNECTIONS: usize = 16;
/// How long dendron may take to learn what it answers.
const LEARNING: Duration = Duration::from_secs(20);

/// (a)
pub(super) fn forty_endpoints(suite: &Suite<'_>) -> Outcome<Vec<Measured>> {
    let contenders = rounds::start(suite)?;
    check_routing(&contenders)?;
    let requests = mix::forty_endpoints();
    let mut bursts = Measured::new("forty endpoints, 64 kept connections");
    saturate(suite, &contenders, &requests, &mut bursts)?;
    let slowest = Name::PROXIES.iter().filter_map(|name| bursts.median(*name, Figure::Throughput));
    let rate = (slowest.fold(f64::INFINITY, f64::min) / 2.0).floor();
    Ok(vec![bursts, at_rate(suite, &contenders, &requests, rate)?])
}

/// (c)
pub(super) fn sends(suite: &Suite<'_>) -> Outcome<Vec<Measured>> {
    let contenders = rounds::start(suite)?;
    let mut measured = Measured::new("messages of 60 to 750 bytes, 64 kept connections");
    saturate(suite, &contenders, &mix::sends(), &mut measured)?;
    Ok(vec![measured])
}

/// (g)
pub(super) fn answered(suite: &Suite<'_>) -> Outcome<Vec<Measured>> {
    let mut contenders = rounds::start(suite)?;
    wait_until_learned(suite, &mut contenders)?;
    let mut measured = Measured::new("three preflights to one look at versions, 64 connections");
    let before = suite.stage.upstream.served()?;
    saturate(suite, &contenders, &mix::answerable(), &mut measured)?;
    let passed = suite.stage.upstream.served()? - before;
    // Dendron renews what it has learned: a few questions in half a minute.
    if passed > 1_000 {
        return Err(wrong(format!("{passed} requests that should have been answered went to the upstream")));
    }
    Ok(vec![measured])
}

/// As many as go.
fn saturate(suite: &Suite<'_>, contenders: &[Contender], requests: &[Request], measured: &mut Measured) -> Outcome<()> {
    let script = wrk::script(suite.folder().join("requests.lua"), requests, false)?;
    let seconds = suite.by_size(1, 3, 4);
    let wrk = Wrk { script: &script, is_encrypted: false, connections: CONNECTIONS, seconds };
    // Connections to the upstream are made, and memory is touched, before anything counts.
    for contender in contenders {
        Wrk { seconds: 1, ..wrk }.run(contender.plain)?;
    }
    rounds::run(suite, contenders, |contender| {
        burst(measured, contender, || wrk.run(contender.plain))?;
        measured.add(contender.name, Figure::Resident, contender.usage()?.resident_bytes as f64 / 1e6);
        Ok(())
    })
}

fn at_rate(suite: &Suite<'_>, contenders: &[Contender], requests: &[Request], rate: f64) -> Outcome<Measured> {
    let mut measured = Measured::new(format!("forty endpoints, {rate} requests a second"));
    let requests: Vec<Vec<u8>> = requests.iter().map(bytes).collect();
    let duration = Duration::from_secs(suite.by_size(1, 3, 4));
    let pace = Pace { requests: &requests, per_second: rate, connections: PACED_CONNECTIONS, duration };
    rounds::run(suite, contenders, |contender| {
        let before = contender.usage()?;
        let latencies = pace.run(contender.plain)?;
        let cpu = contender.usage()?.cpu - before.cpu;
        measured.add(contender.name, Figure::Cpu, cpu.as_secs_f64() * 1e6 / latencies.count().max(1) as f64);
        for (figure, thousandths) in [(Figure::Median, 500), (Figure::Percentile99, 990), (Figure::Percentile999, 999)]
        {
            measured.add(contender.name, figure, latencies.of_thousand(thousandths));
        }
        measured.failed(contender.name, latencies.errors);
        Ok(())
    })?;
    let direct = pace.run(suite.stage.upstream.direct_port())?;
    for (figure, thousandths) in [(Figure::Median, 500), (Figure::Percentile99, 990), (Figure::Percentile999, 999)] {
        measured.add(Name::Direct, figure, direct.of_thousand(thousandths));
    }
    Ok(measured)
}

/// Dendron answers only what it has heard from Synapse: it is asked until it does.
fn wait_until_learned(suite: &Suite<'_>, contenders: &mut [Contender]) -> Outcome<()> {
    let begun = std::time::Instant::now();
    loop {
        let before = suite.stage.upstream.served()?;
        for contender in contenders.iter() {
            let mut connection = crate::generate::plain::Connection::open(contender.plain);
            for request in mix::answerable() {
                let answer = connection.as_mut().map(|connection| connection.ask(&bytes(&request)));
                if !matches!(answer, Ok(Ok(answer)) if answer.status < 300) {
                    return Err(wrong(format!("{} does not answer {}", contender.name.text(), request.target)));
                }
            }
        }
        if suite.stage.upstream.served()? == before {
            return Ok(());
        }
        if begun.elapsed() > LEARNING {
            return Err(wrong("preflights and versions still go to the upstream"));
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}
