//! What strangers send: malformed and ambiguous requests against a running dendron, before an upstream that writes down
//! every request and calls each doubt a fault.
//!
//! - `exchange`: what a client does on one connection, and what must come of it.
//! - `framing`, `heads`: the tables of HTTP/1.1.
//! - `http2`: the table of HTTP/2 over TLS.
//! - `differential`: the same bytes with the front and without it.
//! - `mutants`: what is sent there.
//! - `upstream`: the recording upstream.
//!
//! Named differences without the front: where a row says `Early`, Pingora answers before dendron is asked, with a status
//! and no body, so these are no Matrix errors then. `Closed` rows had nothing that could be answered.

mod differential;
mod exchange;
mod framing;
mod heads;
mod http2;
mod mutants;
mod upstream;

use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use time::OffsetDateTime;

use crate::Test;
use crate::harness::alone::{Alone, Folder, free_port};
use crate::harness::fronted;
use crate::harness::metrics::Metrics;
use crate::harness::stacks::Stacks;
use crate::harness::tls::{Authority, Files};
use crate::harness::{ensure, ensure_eq};
use exchange::{Exchange, Expected, Step, none};
use upstream::Recording;

pub const TESTS: &[Test] = &[
    ("hostile::http1_is_refused_or_passed_once", http1_is_refused_or_passed_once),
    ("hostile::http1_without_the_front_as_well", http1_without_the_front_as_well),
    ("hostile::http2_is_refused_or_survived", http2_is_refused_or_survived),
    ("hostile::the_front_changes_nothing", |_| differential::the_front_changes_nothing()),
    ("hostile::silence_is_bounded", silence_is_bounded),
];

/// How often the table is played.
const ROUNDS: usize = 20;
/// After how many of them memory must not grow any more.
const WARM_UP: usize = 5;
/// How much resident memory may differ then, in bytes.
const GROWTH_MAX: f64 = 8e6;

/// How long a client may be silent before its connection is ended.
const SILENCE_MAX: Duration = Duration::from_secs(65);

/// A dendron before a recording upstream.
struct Target {
    alone: Alone,
    is_fronted: bool,
    port: u16,
    /// The port of TLS, and who signed its certificate.
    tls_port: u16,
    authority: Authority,
    upstream: Recording,
    _folder: Folder,
}

impl Target {
    fn start() -> Result<Self, Failed> {
        Self::start_with("")
    }

    /// The same with more settings.
    fn start_with(settings: &str) -> Result<Self, Failed> {
        let upstream = Recording::start()?;
        let (port, tls_port, admin) = (free_port()?, free_port()?, free_port()?);
        let folder = Folder::with(&[])?;
        let files = Files::new(&folder.path(""), "edge");
        let authority = Authority::new(&folder.path(""))?;
        authority.sign(&files, OffsetDateTime::now_utc() + Duration::from_secs(86_400))?;
        let config = format!(
            "listeners:\n- address: '127.0.0.1:{port}'\n- address: '127.0.0.1:{tls_port}'\n  \
             tls: {{certificate: edge.pem, key: edge.key}}\nadmin: {{address: '127.0.0.1:{admin}'}}\n\
             pools: {{main: ['http://127.0.0.1:{}']}}\n{settings}",
            upstream.port
        );
        folder.write("dendron.yaml", &config)?;
        let alone = Alone::start(&folder.path("dendron.yaml"), admin, &folder.path("output"))?;
        let is_fronted = fronted::by_default() && !settings.contains("front: off");
        Ok(Target { alone, is_fronted, port, tls_port, authority, upstream, _folder: folder })
    }

    /// Its resident memory, in bytes.
    fn memory(&self) -> Result<f64, Failed> {
        Ok(Metrics::scrape(self.alone.admin())?.sum("dendron_resident_memory_bytes", &[]))
    }

    /// Ends it; it must have lived until now, and never have panicked.
    fn end(self) -> Result<(), Failed> {
        ensure_eq!(self.alone.admin().get("/health")?.status, 200, "health");
        let late = self.upstream.take();
        ensure!(late.seen.is_empty() && late.faults.is_empty(), "the upstream has more: {late:?}");
        let said = self.alone.stop()?;
        ensure!(!said.contains("panicked"), "dendron panicked:\n{said}");
        Ok(())
    }
}

fn http1_is_refused_or_passed_once(_: &Stacks) -> Result<(), Failed> {
    let exchanges = [framing::exchanges(), heads::exchanges()].concat();
    ensure!(exchanges.len() >= 100, "only {} exchanges", exchanges.len());
    let target = Target::start()?;
    let mut warm = 0.0;
    for round in 0..ROUNDS {
        none(&play(&exchanges, &target))?;
        if round + 1 == WARM_UP {
            warm = target.memory()?;
        }
    }
    let grown = target.memory()? - warm;
    ensure!(grown < GROWTH_MAX, "memory grew by {grown} bytes");
    target.end()
}

/// A supported setting, which must be as safe, if less polite.
fn http1_without_the_front_as_well(_: &Stacks) -> Result<(), Failed> {
    let exchanges = [framing::exchanges(), heads::exchanges()].concat();
    let target = Target::start_with("front: off\n")?;
    (0..2).try_for_each(|_| none(&play(&exchanges, &target)))?;
    target.end()
}

fn play(exchanges: &[Exchange], target: &Target) -> Vec<String> {
    exchanges
        .iter()
        .filter_map(|exchange| {
            let begun = Instant::now();
            let outcome = exchange.play(target.port, target.is_fronted, &target.upstream);
            let took = begun.elapsed();
            let slow = (took > Duration::from_secs(5)).then(|| format!("{}: took {took:?}", exchange.name));
            outcome.err().or(slow)
        })
        .collect()
}

fn http2_is_refused_or_survived(_: &Stacks) -> Result<(), Failed> {
    let rows = http2::rows();
    let target = Target::start()?;
    let mut warm = 0.0;
    let mut faults = Vec::new();
    for round in 0..ROUNDS {
        for row in &rows {
            if let Err(reason) = row.play(&target.authority, target.tls_port) {
                faults.push(reason.message().unwrap_or_default().to_owned());
            }
            let record = target.upstream.take();
            let strange = record.seen.iter().find(|seen| seen.what != "GET /h");
            if !record.faults.is_empty() || strange.is_some() {
                faults.push(format!("{}: {:?} {strange:?}", row.name, record.faults));
            }
        }
        none(&faults)?;
        if round + 1 == WARM_UP {
            warm = target.memory()?;
        }
    }
    // Another connection is served, whatever the others did.
    rows[0].play(&target.authority, target.tls_port)?;
    let grown = target.memory()? - warm;
    ensure!(grown < GROWTH_MAX, "memory grew by {grown} bytes");
    std::thread::sleep(Duration::from_secs(1));
    target.upstream.take();
    target.end()
}

/// Who sends nothing more is waited for, but not without end.
fn silence_is_bounded(_: &Stacks) -> Result<(), Failed> {
    let target = Target::start()?;
    let silent = |name, text: &str, expected| {
        let wait = Step::Wait(SILENCE_MAX);
        Exchange { name, steps: vec![Step::Send(text.as_bytes().to_vec()), wait], expected }
    };
    let head = "POST /h HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n";
    let exchanges = [
        silent("silence", "", Expected::Closed),
        silent("silence in a head", head, Expected::Closed),
        silent("silence in a body", &format!("{head}\r\nhe"), Expected::Broken("POST /h")),
    ];
    let outcomes = std::thread::scope(|scope| {
        let plays = exchanges.each_ref().map(|exchange| scope.spawn(|| exchange.play_alone(target.port)));
        plays.map(|play| play.join().unwrap_or_else(|_| Err("it panicked".to_owned())))
    });
    none(&outcomes.into_iter().filter_map(Result::err).collect::<Vec<_>>())?;
    target.upstream.take();
    target.end()
}
