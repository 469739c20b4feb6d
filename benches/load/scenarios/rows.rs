//! (j): following a replication stream of many rows, which come through a real Redis: what it takes, and how late each row
//! is read. [`wakes`] measures what comes of a row.

use std::time::Duration;

use super::rounds::progress;
use super::{Suite, wakes};
use crate::contenders::Name;
use crate::fault::Outcome;
use crate::figures::{Figure, Measured};
use crate::generate::rows::Writer;
use crate::homeserver::edge::Edge;
use crate::homeserver::stack::Homeserver;

const ROWS_PER_SECOND: u32 = 5_000;
/// What the histogram of lags is called.
const LAG: &str = "dendron_replication_lag_seconds";
/// Upper ends of its buckets, in seconds.
const BOUNDS: [&str; 10] = ["0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1"];

pub(super) fn run(suite: &Suite<'_>) -> Outcome<Vec<Measured>> {
    let mut homeserver = Homeserver::databases()?;
    let time = Duration::from_secs(suite.by_size(2, 2, 10));
    let mut measured = Measured::new(format!("{ROWS_PER_SECOND} rows a second, followed"));
    homeserver.run_synapse(&serde_json::json!({}))?;
    let is_live = |status: &serde_json::Value| status["syncs"]["gate"] == "live";
    let edge = Edge::start(&suite.stage, &homeserver, "", is_live)?;
    let (channel, socket) = homeserver.redis();
    let mut writer = Writer::connect(channel, socket, 1)?;
    writer.tell_positions()?;
    for round in 0..suite.rounds {
        progress(&format!("  round {} of {}", round + 1, suite.rounds));
        let rows = || edge.metric("dendron_replication_rows_total");
        let counted = || -> Outcome<Vec<f64>> {
            let bucket = |bound: &str| edge.metric(&format!("{LAG}_bucket{{le=\"{bound}\"}}"));
            BOUNDS.iter().map(|bound| bucket(bound)).chain([edge.metric(&format!("{LAG}_count"))]).collect()
        };
        let (before, read_before, lags_before) = (edge.usage()?, rows()?, counted()?);
        let (written, per_second) = writer.write(ROWS_PER_SECOND, time)?;
        edge.wait_for("dendron_replication_rows_total", |read| read - read_before >= written as f64)?;
        let cpu = edge.usage()?.cpu - before.cpu;
        measured.add(Name::Dendron, Figure::Rows, per_second);
        measured.add(Name::Dendron, Figure::EdgeShare, cpu.as_secs_f64() / time.as_secs_f64() * 100.0);
        measured.add(Name::Dendron, Figure::RowLag, bound_of_lag(&lags_before, &counted()?) * 1e3);
    }
    drop(edge);
    let woken = wakes::run(suite, &mut homeserver)?;
    progress("");
    Ok(vec![measured, woken])
}

/// The least bound that 99 of 100 lags keep within, in seconds; infinite if none is.
fn bound_of_lag(before: &[f64], after: &[f64]) -> f64 {
    let new: Vec<f64> = before.iter().zip(after).map(|(before, after)| after - before).collect();
    let Some((all, within)) = new.split_last() else { return f64::INFINITY };
    let least = BOUNDS.iter().zip(within).find(|(_, count)| **count >= all * 0.99);
    least.and_then(|(bound, _)| bound.parse().ok()).unwrap_or(f64::INFINITY)
}
