//! What was asked for on the command line.

use std::path::PathBuf;

use clap::Parser;

use crate::scenarios::Scenario;

/// How long everything takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// Seconds in all: does it work.
    Smoke,
    /// Five minutes in all, for the scenarios that need no Synapse.
    Quick,
    /// Forty minutes in all.
    Whole,
}

/// Measures dendron beside HAProxy and nginx.
#[derive(Debug, Parser)]
#[command(name = "load")]
pub(crate) struct Arguments {
    /// `quick`, `smoke`, or the letters of scenarios; nothing for all of them.
    words: Vec<String>,
    /// How many threads each proxy has.
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// The dendron to measure, in place of the one that was built with this.
    #[arg(long)]
    pub(crate) dendron: Option<PathBuf>,
    /// Where the report goes.
    #[arg(long, default_value = "benches/reports/latest")]
    pub(crate) report: PathBuf,
    /// How often each is measured, in place of what the size says.
    #[arg(long)]
    pub(crate) rounds: Option<usize>,
    /// What cargo calls every benchmark with.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Arguments {
    /// How much is to be done: the whole, unless a word or the scenarios say otherwise.
    pub(crate) fn size(&self) -> Size {
        let has = |wanted: &str| self.words.iter().any(|word| word == wanted);
        if has("smoke") {
            Size::Smoke
        } else if has("quick") {
            Size::Quick
        } else {
            Size::Whole
        }
    }

    /// The scenarios, or the word that is none.
    pub(crate) fn scenarios(&self) -> Result<Vec<Scenario>, String> {
        let words = self.words.iter().filter(|word| *word != "quick" && *word != "smoke");
        let named: Vec<Scenario> = words.map(|word| Scenario::named(word)).collect::<Result<_, _>>()?;
        let smoke = [Scenario::Forward, Scenario::Answered, Scenario::Polls];
        Ok(match (named.is_empty(), self.size()) {
            (false, _) => named,
            (true, Size::Smoke) => smoke.to_vec(),
            (true, Size::Quick) => Scenario::ALL.into_iter().filter(|scenario| scenario.is_quick()).collect(),
            (true, Size::Whole) => Scenario::ALL.to_vec(),
        })
    }
}
