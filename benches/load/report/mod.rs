//! What a run tells: tables on the terminal, and a folder with a Markdown report and charts.
//!
//! - [`table`]: a scenario's numbers as lines of a table.
//! - [`markdown`]: the whole report.
//! - [`charts`]: the pictures in it; `curves`: those of how cost grows.

mod charts;
mod curves;
pub(crate) mod markdown;
pub(crate) mod table;

use std::path::Path;

use crate::fault::{Doing, Outcome};
use crate::goals::verdicts;
use crate::machine::Machine;
use crate::scenarios::Done;

/// Writes the report into a folder.
pub(crate) fn write(folder: &Path, machine: &Machine, results: &[Done]) -> Outcome<()> {
    std::fs::create_dir_all(folder).doing(format!("making {}", folder.display()))?;
    let pictures = charts::draw(folder, results)?;
    let text = markdown::report(machine, results, &verdicts(results), &pictures);
    let path = folder.join("README.md");
    std::fs::write(&path, text).doing(format!("writing {}", path.display()))
}
