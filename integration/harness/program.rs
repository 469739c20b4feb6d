//! A program that a test runs to its end.

use std::path::Path;
use std::time::Duration;

use libtest_mimic::Failed;

use super::child::Child;

/// Runs a program and returns all that it said. Should it fail, or not end in time, that is in the failure.
pub fn run(program: &Path, arguments: &[&str], output: &Path, within: Duration) -> Result<String, Failed> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let mut child = Child::start(&name, program, arguments, output)?;
    let ended = child.wait(within);
    drop(child);
    let said = std::fs::read_to_string(output)?;
    match ended {
        Ok(status) if status.success() => Ok(said),
        Ok(status) => Err(format!("{name} {}: {status}; it said:\n{said}", arguments.join(" ")).into()),
        Err(reason) => {
            let reason = reason.message().unwrap_or_default();
            Err(format!("{name} {}: {reason}; it said:\n{said}", arguments.join(" ")).into())
        }
    }
}
