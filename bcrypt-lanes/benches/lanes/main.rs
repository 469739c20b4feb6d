//! Lanes against the crate `bcrypt`, one check after the other, on one core: checks a second, and how long one takes.
//!
//! `cargo bench --bench lanes` takes three minutes, and wants a core for itself. It prints what it finds, writes
//! `benches/reports/lanes/`, and fails where lanes are not as fast as they are promised to be: then a build setting has
//! lost the gain (see the crate's documentation), or this processor has none to give.
//!
//! The crate is built at the optimisation level at which it is fastest (see the profiles in `Cargo.toml`). Both sides of a
//! ratio are measured in the same round, one right after the other, and the median of all rounds counts.

mod report;
mod waiting;

use std::process::ExitCode;
use std::time::Duration;

use bcrypt_lanes::LaneCount;

use report::Report;
use waiting::{mixed_with_crate, mixed_with_lanes, one_by_one, side_by_side};

/// The costs that are measured: the least that is sold as a password hash, and Synapse's.
const COSTS: [u32; 2] = [5, 12];
/// How many wait, where ratios are taken.
const WAITING_MAX: usize = 6;
/// How many wait, in the charts.
const WAITING_MAX_CHART: usize = 16;
/// How long one side of a round takes at the least.
const ROUND: Duration = Duration::from_millis(500);
const ROUNDS: usize = 7;
const ROUNDS_CHART: usize = 3;

/// What is promised: a ratio to the crate, and what it must be.
pub(crate) struct Goal {
    pub(crate) what: String,
    pub(crate) measured: f64,
    pub(crate) bound: Bound,
}

pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// With so many waiting, at some cost: checks a second, and seconds from coming to the result.
#[derive(Clone, Copy)]
pub(crate) struct Point {
    pub(crate) waiting: usize,
    pub(crate) rate: f64,
    pub(crate) seconds: f64,
}

/// One cost, with more and more waiting.
pub(crate) struct Ratios {
    pub(crate) cost: u32,
    /// Checks a second of the crate.
    pub(crate) crate_rate: f64,
    /// Checks a second in lanes against those of the crate, with one waiting and more.
    pub(crate) ratios: Vec<f64>,
}

fn main() -> ExitCode {
    let Ok(measured) = LaneCount::measure() else {
        eprintln!("published hashes come out wrong");
        return ExitCode::FAILURE;
    };
    println!("the measurement at the start chooses {} lanes\n", measured.get());
    let ratios: Vec<Ratios> = COSTS.into_iter().map(ratios).collect();
    let mixed = median((0..ROUNDS).map(|_| mixed_with_crate() / mixed_with_lanes()).collect());
    println!("costs mixed from 5 to 10: {mixed:.2} times the crate");
    let goals = goals(&ratios, mixed);
    let report = Report { lanes: measured.get(), ratios, mixed, chart: chart(), goals };
    if let Err(error) = report.write() {
        eprintln!("the report cannot be written: {error}");
        return ExitCode::FAILURE;
    }
    let missed: Vec<&Goal> = report.goals.iter().filter(|goal| !goal.is_reached()).collect();
    for goal in &missed {
        eprintln!("MISSED: {}: {:.3}, which should be {}", goal.what, goal.measured, goal.bound.text());
    }
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Lanes against the crate at one cost.
fn ratios(cost: u32) -> Ratios {
    let mut crate_rates = Vec::new();
    let mut ratios = vec![Vec::new(); WAITING_MAX];
    for _ in 0..ROUNDS {
        for (waiting, ratios) in (1..).zip(&mut ratios) {
            let crate_rate = one_by_one(cost, ROUND);
            ratios.push(side_by_side(cost, waiting, ROUND).rate / crate_rate);
            crate_rates.push(crate_rate);
        }
    }
    let ratios: Vec<f64> = ratios.into_iter().map(median).collect();
    let crate_rate = median(crate_rates);
    println!("cost {cost}: the crate checks {crate_rate:.2} a second");
    for (waiting, ratio) in (1..).zip(&ratios) {
        println!("  {waiting} waiting: {ratio:.2} times as many");
    }
    Ratios { cost, crate_rate, ratios }
}

/// At Synapse's cost, with one to many waiting.
fn chart() -> Vec<Point> {
    let point = |waiting| {
        let points: Vec<Point> = (0..ROUNDS_CHART).map(|_| side_by_side(COSTS[1], waiting, ROUND)).collect();
        let of = |value: fn(&Point) -> f64| median(points.iter().map(value).collect());
        Point { waiting, rate: of(|point| point.rate), seconds: of(|point| point.seconds) }
    };
    (1..=WAITING_MAX_CHART).map(point).collect()
}

fn goals(ratios: &[Ratios], mixed: f64) -> Vec<Goal> {
    let of_costs = ratios.iter().flat_map(|Ratios { cost, ratios, .. }| {
        let many = ratios.last().copied().unwrap_or_default();
        // The time of one check in a lane alone, against the crate's.
        let lone = ratios.first().map_or(f64::INFINITY, |ratio| 1.0 / ratio);
        [
            Goal { what: format!("cost {cost}, many waiting: rate"), measured: many, bound: Bound::AtLeast(3.2) },
            Goal { what: format!("cost {cost}, a lone check: time"), measured: lone, bound: Bound::AtMost(1.02) },
        ]
    });
    let mixed = Goal { what: "mixed costs with refill: rate".into(), measured: mixed, bound: Bound::AtLeast(3.0) };
    of_costs.chain([mixed]).collect()
}

/// The one in the middle; not a number of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

// === impl Goal ===

impl Goal {
    pub(crate) fn is_reached(&self) -> bool {
        match self.bound {
            Bound::AtLeast(bound) => self.measured >= bound,
            Bound::AtMost(bound) => self.measured <= bound,
        }
    }
}

// === impl Bound ===

impl Bound {
    pub(crate) fn text(&self) -> String {
        match self {
            Bound::AtLeast(bound) => format!("at least {bound}"),
            Bound::AtMost(bound) => format!("at most {bound}"),
        }
    }
}
