//! The report: where it was made, what became of the goals, and every number. Pure.

use std::fmt::Write;

use super::table::table;
use crate::goals::Verdict;
use crate::machine::Machine;
use crate::scenarios::Done;

/// A picture of the report: its file, and what it shows.
pub(crate) struct Picture {
    pub(crate) file: String,
    pub(crate) shows: String,
}

/// The whole text.
pub(crate) fn report(machine: &Machine, results: &[Done], verdicts: &[Verdict], pictures: &[Picture]) -> String {
    let mut text = String::from("# What dendron costs beside HAProxy and nginx\n\n");
    text.push_str(&origin(machine));
    if !verdicts.is_empty() {
        text.push_str("\n## Goals\n\n| what | goal | result | |\n| --- | --- | --- | --- |\n");
    }
    for verdict in verdicts {
        let said = match verdict.is_reached {
            Some(true) => "reached",
            Some(false) => "**not reached**",
            None => "no result",
        };
        let _ = writeln!(text, "| {} | {} | {} | {said} |", verdict.what, verdict.goal, verdict.result);
    }
    text.push('\n');
    for picture in pictures {
        let _ = writeln!(text, "![{}]({})\n", picture.shows, picture.file);
    }
    for done in results {
        let _ = writeln!(text, "## ({}) {}\n", done.scenario.letter(), done.scenario.title());
        if let Err(fault) = &done.outcome {
            let _ = writeln!(text, "It failed: {fault}.\n");
        }
        for measured in done.parts() {
            let _ = writeln!(text, "{}:\n\n{}", upper_first(&measured.title), table(measured));
            for note in &measured.notes {
                let _ = writeln!(text, "{note}\n");
            }
        }
    }
    text.trim_end().to_owned() + "\n"
}

fn origin(machine: &Machine) -> String {
    let command = format!("./dev bench {}", machine.command);
    let command = command.trim_end();
    let mut text = format!(
        "Made on {} by `{}` at commit {}.\n\n| | |\n| --- | --- |\n| machine | {}, {} |\n| system | {} |\n",
        machine.date, command, machine.commit, machine.processor, machine.memory, machine.kernel,
    );
    for version in machine.versions.iter().filter(|version| !version.is_empty()) {
        let _ = writeln!(text, "| | {version} |");
    }
    text.push_str(
        "\nProxies stand before the same upstream, with the same routing, as many threads, a log line for each request; what is \
         held\nagainst Synapse stands before a real one. They are measured in turn, round after round, each round beginning \
         with another. A\nnumber is the median of the rounds; a ratio is that of the medians, with the least and the greatest \
         within one round in\nbrackets. CPU is what the kernel has accounted to the processes. A number that is struck out had \
         errors.\n",
    );
    text
}

fn upper_first(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
