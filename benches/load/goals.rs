//! What is to be reached, each in one run of the suite: one row a goal. Pure.

use crate::contenders::Name;
use crate::figures::{Figure, Measured};
use crate::scenarios::{Done, Scenario};

/// How a result is held against its goal.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    /// At most so many of the other's.
    MostOf(Name, f64),
    /// At least so many of the other's.
    LeastOf(Name, f64),
    /// At most this.
    Most(f64),
}

/// A goal.
struct Goal {
    scenario: Scenario,
    /// Which part of the scenario.
    part: usize,
    figure: Figure,
    bound: Bound,
}

/// What became of a goal.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) what: String,
    pub(crate) goal: String,
    pub(crate) result: String,
    /// `None` where it was not measured, or not without errors.
    pub(crate) is_reached: Option<bool>,
}

const GOALS: [Goal; 24] = [
    goal(Scenario::Forward, 0, Figure::Cpu, Bound::MostOf(Name::HAProxy, 1.0)),
    goal(Scenario::Forward, 0, Figure::Cpu, Bound::MostOf(Name::Nginx, 0.9)),
    goal(Scenario::Forward, 0, Figure::Throughput, Bound::LeastOf(Name::HAProxy, 1.0)),
    goal(Scenario::Forward, 1, Figure::Percentile99, Bound::MostOf(Name::HAProxy, 1.2)),
    goal(Scenario::Answered, 0, Figure::Cpu, Bound::MostOf(Name::HAProxy, 0.9)),
    goal(Scenario::Polls, 0, Figure::MemoryPerConnection, Bound::Most(48.0)),
    goal(Scenario::Transfers, 1, Figure::CpuPerGigabyte, Bound::MostOf(Name::HAProxy, 1.5)),
    goal(Scenario::Transfers, 3, Figure::CpuPerGigabyte, Bound::MostOf(Name::HAProxy, 1.5)),
    goal(Scenario::Encrypted, 2, Figure::HandshakesPerCpuSecond, Bound::LeastOf(Name::HAProxy, 0.9)),
    goal(Scenario::Connections, 0, Figure::Cpu, Bound::MostOf(Name::HAProxy, 1.0)),
    goal(Scenario::Logins, 0, Figure::Logins, Bound::LeastOf(Name::Synapse, 1.0)),
    goal(Scenario::Logins, 0, Figure::Logins, Bound::LeastOf(Name::Loop, 0.95)),
    goal(Scenario::Logins, 1, Figure::Logins, Bound::LeastOf(Name::Synapse, 3.0)),
    goal(Scenario::Logins, 2, Figure::StormRatio, Bound::Most(2.0)),
    goal(Scenario::Logins, 3, Figure::Cpu, Bound::MostOf(Name::Synapse, 0.05)),
    goal(Scenario::Syncs, 0, Figure::CpuPerDevice, Bound::MostOf(Name::Synapse, 0.2)),
    goal(Scenario::Syncs, 1, Figure::CpuPerDevice, Bound::MostOf(Name::Synapse, 0.05)),
    goal(Scenario::Syncs, 0, Figure::EdgeShareOfMany, Bound::Most(5.0)),
    goal(Scenario::Rows, 0, Figure::EdgeShare, Bound::Most(50.0)),
    goal(Scenario::Rows, 0, Figure::RowLag, Bound::Most(50.0)),
    goal(Scenario::Rows, 1, Figure::WakePercentile99, Bound::Most(2.0)),
    goal(Scenario::Waiting, 0, Figure::MemoryPerConnection, Bound::MostOf(Name::HAProxy, 0.9)),
    goal(Scenario::Waiting, 1, Figure::MemoryPerConnection, Bound::MostOf(Name::HAProxy, 0.8)),
    goal(Scenario::Waiting, 2, Figure::MemoryPerConnection, Bound::Most(3.5)),
];

const fn goal(scenario: Scenario, part: usize, figure: Figure, bound: Bound) -> Goal {
    Goal { scenario, part, figure, bound }
}

/// What became of each goal whose scenario was run.
pub(crate) fn verdicts(results: &[Done]) -> Vec<Verdict> {
    let run = GOALS.iter().filter_map(|goal| {
        let done = results.iter().find(|done| done.scenario == goal.scenario)?;
        match &done.outcome {
            Ok(parts) => Some(verdict(goal, parts.get(goal.part)?)),
            Err(_) => Some(verdict(goal, &Measured::new("failed"))),
        }
    });
    run.collect()
}

fn verdict(goal: &Goal, measured: &Measured) -> Verdict {
    let is_failed = |name: Name| measured.errors_of(name) > 0;
    let ratio = |other: Name| {
        let ratio = measured.ratio(Name::Dendron, other, goal.figure)?;
        (!is_failed(other)).then_some(ratio.of_medians)
    };
    let (wanted, found) = match goal.bound {
        Bound::MostOf(other, most) => (format!("at most {most} of {}'s", other.text()), ratio(other)),
        Bound::LeastOf(other, least) => (format!("at least {least} of {}'s", other.text()), ratio(other)),
        Bound::Most(most) => (format!("at most {most}"), measured.median(Name::Dendron, goal.figure)),
    };
    let found = found.filter(|_| !is_failed(Name::Dendron));
    let is_reached = found.map(|found| match goal.bound {
        Bound::MostOf(_, most) | Bound::Most(most) => found <= most,
        Bound::LeastOf(_, least) => found >= least,
    });
    Verdict {
        what: format!("({}) {}: {}", goal.scenario.letter(), measured.title, goal.figure.text()),
        goal: wanted,
        result: found.map_or_else(|| "no result".to_owned(), |found| format!("{found:.2}")),
        is_reached,
    }
}
