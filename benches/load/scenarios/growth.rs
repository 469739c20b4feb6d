//! (l): how cost grows: time on a processor for a request with more and more connections, and memory with more and more
//! long-polls that are held.

use std::time::Duration;

use super::Suite;
use super::rounds::{self, burst, progress};
use crate::contenders::{Contender, Name};
use crate::fault::Outcome;
use crate::figures::{Figure, Measured};
use crate::generate::polls::Polls;
use crate::generate::wrk::{self, Wrk};
use crate::mix;

/// How many connections ask, as far as descriptors allow.
const CONNECTIONS: [usize; 5] = [64, 256, 1_000, 4_000, 10_000];
/// How long a proxy has to see that clients have gone, before as many others come: both together may be more than it takes.
const SETTLE: Duration = Duration::from_secs(2);
/// How many long-polls are held.
const POLLS: [usize; 6] = [0, 500, 2_000, 5_000, 10_000, 20_000];

pub(super) fn run(suite: &Suite<'_>) -> Outcome<Vec<Measured>> {
    let mut parts = connections(suite)?;
    parts.extend(polls(suite)?);
    progress("");
    Ok(parts)
}

/// Those that descriptors allow, and the most that they do in place of those that they do not.
fn sizes(suite: &Suite<'_>, wanted: &[usize]) -> Vec<usize> {
    let most = suite.passed_on_max();
    let mut sizes: Vec<usize> = wanted.iter().map(|size| *size.min(&most)).collect();
    sizes.dedup();
    sizes
}

fn connections(suite: &Suite<'_>) -> Outcome<Vec<Measured>> {
    let contenders = rounds::start(suite)?;
    let script = wrk::script(suite.folder().join("growth.lua"), &mix::forty_endpoints(), false)?;
    let mut parts = Vec::new();
    for count in sizes(suite, &CONNECTIONS[..suite.by_size(2, 5, 5)]) {
        let mut measured = Measured::new(format!("forty endpoints, {count} connections"));
        measured.size = Some(count as f64);
        let wrk = Wrk { script: &script, is_encrypted: false, connections: count, seconds: suite.by_size(1, 3, 3) };
        for contender in &contenders {
            progress(&format!("  {count} connections: {}", contender.name.text()));
            // Connections to the upstream are made before anything counts.
            wrk.run(contender.plain)?;
            std::thread::sleep(SETTLE);
            burst(&mut measured, contender, || wrk.run(contender.plain))?;
        }
        parts.push(measured);
    }
    Ok(parts)
}

fn polls(suite: &Suite<'_>) -> Outcome<Vec<Measured>> {
    let sizes = sizes(suite, &POLLS[..suite.by_size(2, 6, 6)]);
    let mut parts: Vec<Measured> = Vec::new();
    for size in &sizes {
        let mut measured = Measured::new(format!("{size} long-polls held"));
        measured.size = Some(*size as f64);
        parts.push(measured);
    }
    for name in Name::PROXIES {
        progress(&format!("  long-polls: {}", name.text()));
        suite.stage.upstream.wait_for_held(0)?;
        let contender = Contender::start(name, &suite.stage)?;
        let mut held = Vec::new();
        let mut count = 0;
        for (size, measured) in sizes.iter().zip(&mut parts) {
            held.push(Polls::hold(contender.plain, size - count)?);
            count = *size;
            suite.stage.upstream.wait_for_held(count)?;
            measured.add(name, Figure::Resident, contender.usage()?.resident_bytes as f64 / 1e6);
        }
        suite.stage.upstream.order("release")?;
        for polls in held {
            let (_, errors) = polls.drain()?;
            if let Some(last) = parts.last_mut() {
                last.failed(name, errors);
            }
        }
    }
    Ok(parts)
}
