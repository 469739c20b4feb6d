//! The load suite: dendron beside HAProxy and nginx, before the same upstream, in the same run.
//!
//! `./dev bench` runs all of it, `./dev bench quick` in five minutes, `./dev bench a f` two scenarios by their letters.
//! What a request costs on a processor is the main figure, and the ratio of medians is what counts: the machine may be
//! noisy, but all are measured in turn.
//!
//! Read `scenarios` first: what is done. `contenders` has the three configurations, `mix` and `routing` what is asked and
//! where it has to go, `upstream` the stand-in for Synapse, `homeserver` a real one for what only that can show, `generate`
//! the generators, `goals` what is to be reached, and `report` what is written of it.

mod accounting;
mod arguments;
mod contenders;
mod fault;
mod figures;
mod generate;
mod goals;
mod homeserver;
mod machine;
mod mix;
mod process;
mod report;
mod routing;
mod scenarios;
mod upstream;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Size};
use contenders::{Certificate, Stage};
use fault::{Doing, Outcome, wrong};
use machine::Machine;
use scenarios::{Done, Scenario, Suite};
use upstream::Upstream;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match words.split_first() {
        Some((first, names)) if first == "upstream" => upstream::server::serve(names).doing("serving as the upstream"),
        _ => run(&Arguments::parse()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("bench: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Outcome<()> {
    let scenarios = arguments.scenarios().map_err(wrong)?;
    let descriptors = process::raise_descriptors_limit();
    let folder = tempfile::tempdir().doing("making a folder")?;
    let dendron = arguments.dendron.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_dendron")));
    let machine = Machine::look(&dendron);
    let certificate = Certificate::make(folder.path())?;
    let upstream = Upstream::start()?;
    let stage = Stage {
        folder: folder.path(),
        dendron: &dendron,
        upstream: &upstream,
        threads: arguments.threads,
        certificate: &certificate,
    };
    let size = arguments.size();
    let rounds = match size {
        Size::Smoke => 1,
        Size::Quick => 3,
        Size::Whole => 5,
    };
    let suite = Suite { stage, size, rounds: arguments.rounds.unwrap_or(rounds), descriptors };
    let results = measure(&suite, &scenarios, &arguments.report, &machine)?;
    let has_failed = results.iter().any(|done| done.outcome.is_err());
    let has_errors = results.iter().flat_map(Done::parts).any(|part| part.errors_of(contenders::Name::Dendron) > 0);
    match (has_failed, has_errors) {
        (true, _) => Err(wrong("a scenario has failed")),
        (false, true) => Err(wrong("dendron has answered requests with errors")),
        (false, false) => Ok(()),
    }
}

/// Runs the scenarios and reports after each, so that a run that is broken off leaves what it has. One that fails keeps
/// none of the others from being run.
fn measure(suite: &Suite<'_>, scenarios: &[Scenario], report: &Path, machine: &Machine) -> Outcome<Vec<Done>> {
    let mut results = Vec::new();
    for scenario in scenarios {
        println!("==> ({}) {}", scenario.letter(), scenario.title());
        let done = Done::of(*scenario, suite);
        for measured in done.parts() {
            println!("\n{}\n\n{}", measured.title, report::table::table(measured));
        }
        if let Err(fault) = &done.outcome {
            println!("\nIt failed: {fault}");
        }
        println!("\n({}) took {} s", scenario.letter(), done.took.as_secs());
        results.push(done);
        report::write(report, machine, &results)?;
    }
    println!("==> goals\n");
    for verdict in goals::verdicts(&results) {
        let said = verdict.is_reached.map_or("no result", |reached| if reached { "reached" } else { "NOT reached" });
        println!("{said}: {} {}, goal {}", verdict.what, verdict.result, verdict.goal);
    }
    println!("\nThe report is {}", report.join("README.md").display());
    Ok(results)
}
