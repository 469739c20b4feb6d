//! What was measured, round by round, and the medians, spreads and ratios that follow. Pure.

use std::collections::BTreeSet;

use crate::contenders::Name;

/// A kind of number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Figure {
    /// Time on a processor for a request, in microseconds.
    Cpu,
    /// Requests a second, as many as go.
    Throughput,
    /// Latencies at a fixed rate, in microseconds.
    Median,
    Percentile99,
    Percentile999,
    /// Time on a processor for a gigabyte, in milliseconds.
    CpuPerGigabyte,
    /// New TLS sessions for each second on a processor.
    HandshakesPerCpuSecond,
    /// Memory for a connection, in kilobytes.
    MemoryPerConnection,
    /// Memory of the whole process, in megabytes.
    Resident,
    /// How long it took until all long-polls were answered, in milliseconds.
    Drain,
    /// Time on a processor for a long-poll from its connection to its answer, in microseconds.
    CpuPerPoll,
    /// Logins a second.
    Logins,
    /// Time on a processor for a login, dendron's and Synapse's, in milliseconds.
    CpuPerLogin,
    /// Synapse's part of it.
    SynapsePerLogin,
    /// The latency that 99 of 100 keep within while nothing else is done, and in a storm of logins, in milliseconds.
    QuietPercentile99,
    StormPercentile99,
    /// How many times as long the second is.
    StormRatio,
    /// Time on a processor that Synapse needs for a device in a minute, in milliseconds.
    CpuPerDevice,
    /// The share of a processor that dendron takes, in percent.
    EdgeShare,
    /// The share that dendron would take for ten thousand such devices.
    EdgeShareOfMany,
    /// Rows of replication a second.
    Rows,
    /// By when 99 of 100 rows were read, counted from when they were written, in milliseconds.
    RowLag,
    /// What lies between a row's being published and a sync that it wakes being on its way to Synapse, in milliseconds.
    WakeMedian,
    WakePercentile99,
    /// The same for each of many that a row wakes together.
    ManyWakesPercentile99,
}

impl Figure {
    /// Its name and unit.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Figure::Cpu => "CPU per request, µs",
            Figure::Throughput => "requests per second",
            Figure::Median => "latency p50, µs",
            Figure::Percentile99 => "latency p99, µs",
            Figure::Percentile999 => "latency p99.9, µs",
            Figure::CpuPerGigabyte => "CPU per GB, ms",
            Figure::HandshakesPerCpuSecond => "handshakes per CPU second",
            Figure::MemoryPerConnection => "memory per connection, KB",
            Figure::Resident => "resident memory, MB",
            Figure::Drain => "time to answer all, ms",
            Figure::CpuPerPoll => "CPU per long-poll, µs",
            Figure::Logins => "logins per second",
            Figure::CpuPerLogin => "CPU per login in all, ms",
            Figure::SynapsePerLogin => "Synapse's CPU per login, ms",
            Figure::QuietPercentile99 => "latency p99 in quiet, ms",
            Figure::StormPercentile99 => "latency p99 in the storm, ms",
            Figure::StormRatio => "storm's p99 / quiet's",
            Figure::CpuPerDevice => "Synapse's CPU per device and minute, ms",
            Figure::EdgeShare => "dendron's CPU, % of a core",
            Figure::EdgeShareOfMany => "dendron's CPU for 10,000 devices, % of a core",
            Figure::Rows => "rows per second",
            Figure::RowLag => "lag p99 at most, ms",
            Figure::WakeMedian => "from a row to its sync's leaving p50, ms",
            Figure::WakePercentile99 => "from a row to its sync's leaving p99, ms",
            Figure::ManyWakesPercentile99 => "from a row to its many syncs' leaving p99, ms",
        }
    }
}

/// One kind of number of one contender, a value for each round.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) figure: Figure,
    pub(crate) name: Name,
    pub(crate) values: Vec<f64>,
}

/// A ratio of medians, and the least and the greatest ratio within one round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratio {
    pub(crate) of_medians: f64,
    pub(crate) least: f64,
    pub(crate) greatest: f64,
}

/// What a part of a scenario has measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    /// What was done, in a few words.
    pub(crate) title: String,
    pub(crate) series: Vec<Series>,
    /// What failed: a contender with errors has no result.
    pub(crate) errors: Vec<(Name, u64)>,
    /// How much of something there was, where the same is measured for several such sizes.
    pub(crate) size: Option<f64>,
    /// What a reader should know.
    pub(crate) notes: Vec<String>,
}

impl Measured {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Measured { title: title.into(), ..Measured::default() }
    }

    /// Adds a round's value.
    pub(crate) fn add(&mut self, name: Name, figure: Figure, value: f64) {
        match self.series.iter_mut().find(|series| series.name == name && series.figure == figure) {
            Some(series) => series.values.push(value),
            None => self.series.push(Series { figure, name, values: vec![value] }),
        }
    }

    /// Adds a round's errors.
    pub(crate) fn failed(&mut self, name: Name, count: u64) {
        match self.errors.iter_mut().find(|(known, _)| *known == name) {
            Some((_, errors)) => *errors += count,
            None => self.errors.push((name, count)),
        }
    }

    pub(crate) fn errors_of(&self, name: Name) -> u64 {
        self.errors.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count)
    }

    /// The kinds of numbers that there are, in their order.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        self.series.iter().map(|series| series.figure).collect::<BTreeSet<_>>().into_iter().collect()
    }

    pub(crate) fn values(&self, name: Name, figure: Figure) -> Option<&[f64]> {
        let series = self.series.iter().find(|series| series.name == name && series.figure == figure)?;
        Some(&series.values)
    }

    /// The median of a contender's rounds.
    pub(crate) fn median(&self, name: Name, figure: Figure) -> Option<f64> {
        median(self.values(name, figure)?)
    }

    /// One contender's number for each of another's.
    pub(crate) fn ratio(&self, name: Name, other: Name, figure: Figure) -> Option<Ratio> {
        let (own, others) = (self.values(name, figure)?, self.values(other, figure)?);
        let ratios: Vec<f64> = own.iter().zip(others).map(|(own, other)| own / other).collect();
        Some(Ratio {
            of_medians: median(own)? / median(others)?,
            least: ratios.iter().copied().fold(f64::INFINITY, f64::min),
            greatest: ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }
}

/// The middle value, or the middle of the two in the middle.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let above = *sorted.get(sorted.len() / 2)?;
    let below = *sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(below, above))
}
