//! (d): downloads and uploads of a megabyte and of a hundred.

use super::Suite;
use super::rounds;
use crate::fault::Outcome;
use crate::figures::{Figure, Measured};
use crate::generate::transfers::{self, Way};

const CONNECTIONS: usize = 4;
const MEGABYTE: u64 = 1_000_000;

pub(super) fn run(suite: &Suite<'_>) -> Outcome<Vec<Measured>> {
    let contenders = rounds::start(suite)?;
    let gigabytes_tenths = suite.by_size(4, 8, 15);
    let mut parts = Vec::new();
    for (way, word) in [(Way::Down, "downloads"), (Way::Up, "uploads")] {
        for megabytes in [1, 100] {
            let bytes = megabytes * MEGABYTE;
            let times = usize::try_from(gigabytes_tenths * 100 / megabytes).unwrap_or(CONNECTIONS);
            let mut measured = Measured::new(format!("{word} of {megabytes} MB, {CONNECTIONS} at once"));
            rounds::run(suite, &contenders, |contender| {
                let before = contender.usage()?;
                let failures = transfers::run(contender.plain, way, bytes, times, CONNECTIONS)?;
                let after = contender.usage()?;
                let gigabytes = (bytes * times as u64) as f64 / 1e9;
                let milliseconds = (after.cpu - before.cpu).as_secs_f64() * 1e3;
                measured.add(contender.name, Figure::CpuPerGigabyte, milliseconds / gigabytes);
                measured.add(contender.name, Figure::Resident, after.resident_bytes as f64 / 1e6);
                measured.failed(contender.name, failures);
                Ok(())
            })?;
            parts.push(measured);
        }
    }
    Ok(parts)
}
