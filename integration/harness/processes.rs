//! What runs on this machine, as `/proc` tells it.

use std::path::Path;

/// A running process.
#[derive(Clone, Debug)]
pub struct Process {
    pub id: u32,
    /// Its program and arguments, with spaces between them.
    pub command: String,
}

/// Every running process that names this folder in its command line, or works in it. One that has ended and was not yet
/// asked for its exit code has no command line any more, and is not counted.
pub fn of_folder(folder: &Path) -> Vec<Process> {
    let folder = folder.to_string_lossy();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let processes = ids.filter_map(|id: u32| {
        let command = command_of(id)?;
        let works_in_it =
            || std::fs::read_link(format!("/proc/{id}/cwd")).is_ok_and(|place| place.starts_with(&*folder));
        (command.contains(&*folder) || works_in_it()).then_some(Process { id, command })
    });
    processes.collect()
}

/// The command line of a running process.
pub fn command_of(id: u32) -> Option<String> {
    let command = std::fs::read(format!("/proc/{id}/cmdline")).ok()?;
    let command = String::from_utf8_lossy(&command).replace('\0', " ").trim_end().to_owned();
    (!command.is_empty()).then_some(command)
}
