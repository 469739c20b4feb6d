//! `supervise:` → what runs: names become the commands of Synapse's processes. Pure, but for the place of the sockets.
//!
//! The settings and the plan are `supervise`'s own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::homeserver::{Homeserver, MAIN, Process, is_main};
use super::key_path::KeyPath;
use super::nearest::hint;
use super::problem::{Places, Problems};
use crate::supervise::settings::ProcessSettings;
use crate::supervise::{Plan, ProcessPlan, Settings};

/// The plan. Paths in `settings` are absolute already.
pub(super) fn plan(
    settings: &Settings,
    homeserver: Option<&Homeserver>,
    places: &dyn Places,
    problems: &mut Problems,
) -> Plan {
    let key = KeyPath::root().key("supervise");
    let entries = match (&settings.processes, homeserver) {
        (Some(entries), _) => entries.clone(),
        (None, Some(homeserver)) => {
            homeserver.processes().map(|process| ProcessSettings::Name(process.name.clone())).collect()
        }
        (None, None) => {
            problems
                .error(places.place(&key), "nothing to supervise: name Synapse's files (synapse.config), or processes");
            Vec::new()
        }
    };
    let mut processes: Vec<ProcessPlan> = Vec::new();
    for (number, entry) in entries.iter().enumerate() {
        let place = || places.place(&key.key("processes").index(number));
        match process(entry, settings, homeserver) {
            Ok(process) if processes.iter().any(|other| other.name == process.name) => {
                problems.error(place(), format!("{} is named twice", process.name));
            }
            Ok(process) => processes.push(process),
            Err(message) => problems.error(place(), message),
        }
    }
    let by_name = entries.iter().any(|entry| matches!(entry, ProcessSettings::Name(_)));
    if by_name && settings.python.is_none() {
        problems.error(places.place(&key.key("python")), "missing: expected the Python that has Synapse installed");
    }
    processes.sort_by_key(|process| !process.main);
    let runtime_directory = settings.runtime_directory.clone().unwrap_or_else(|| {
        let file = homeserver.and_then(|homeserver| homeserver.files.first());
        default_runtime_directory(std::env::var_os("RUNTIME_DIRECTORY"), file.map(PathBuf::as_path), &processes)
    });
    Plan { processes, stop_timeout: settings.stop_timeout, runtime_directory }
}

/// The folder that systemd makes for the service, or one under the system's temporary folder that two dendrons share if
/// they are for one Synapse, and only then: the supervisor takes its folder for itself, so that no Synapse runs twice.
fn default_runtime_directory(systemd: Option<OsString>, file: Option<&Path>, processes: &[ProcessPlan]) -> PathBuf {
    if let Some(folder) = systemd.filter(|folder| !folder.is_empty()) {
        return PathBuf::from(folder);
    }
    let synapse = match file {
        // One file has one name here, however it was reached.
        Some(file) => xxh3_64(file.canonicalize().unwrap_or_else(|_| file.to_owned()).as_os_str().as_bytes()),
        None => {
            let words = processes.iter().flat_map(|process| &process.command);
            xxh3_64(words.map(|word| format!("{word}\0")).collect::<String>().as_bytes())
        }
    };
    std::env::temp_dir().join(format!("dendron-{synapse:016x}"))
}

fn process(
    entry: &ProcessSettings,
    settings: &Settings,
    homeserver: Option<&Homeserver>,
) -> Result<ProcessPlan, String> {
    let name = entry.name();
    let known = homeserver.and_then(|homeserver| homeserver.process(name));
    let health = known.and_then(Process::health);
    let main = is_main(name);
    let name = if main { MAIN.to_owned() } else { name.to_owned() };
    match (entry, known, homeserver) {
        (ProcessSettings::Command(entry), ..) if entry.command.is_empty() => {
            Err("expected a program in command".to_owned())
        }
        (ProcessSettings::Command(entry), ..) => Ok(ProcessPlan {
            name,
            command: entry.command.clone(),
            working_directory: entry.working_directory.clone(),
            environment: entry.environment.clone(),
            health,
            main,
        }),
        (ProcessSettings::Name(_), Some(process), Some(homeserver)) => Ok(ProcessPlan {
            name,
            command: command(process, homeserver, settings),
            working_directory: working_directory(settings, &homeserver.files),
            environment: BTreeMap::new(),
            health,
            main,
        }),
        (ProcessSettings::Name(name), _, Some(homeserver)) => {
            let known: Vec<&str> = homeserver.processes().map(|process| process.name.as_str()).collect();
            Err(format!("no process of Synapse's is called {name}; {}", hint(name, known)))
        }
        (ProcessSettings::Name(name), _, None) => {
            Err(format!("the command of {name} is not known without Synapse's files (synapse.config)"))
        }
    }
}

/// The folder in which processes given by name run.
pub(super) fn working_directory(settings: &Settings, files: &[PathBuf]) -> Option<PathBuf> {
    let beside_files = || files.first().and_then(|file| file.parent()).map(Path::to_owned);
    settings.working_directory.clone().or_else(beside_files)
}

/// `python -m synapse.app.… --config-path FILE …`, as Synapse's documentation starts its processes.
fn command(process: &Process, homeserver: &Homeserver, settings: &Settings) -> Vec<String> {
    let python = settings.python.as_deref().unwrap_or(Path::new("python3"));
    let mut command = vec![python.display().to_string(), "-m".to_owned(), process.app.clone()];
    for file in homeserver.files.iter().chain(&process.file) {
        command.extend(["--config-path".to_owned(), file.display().to_string()]);
    }
    command
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn process(command: &[&str]) -> ProcessPlan {
        ProcessPlan {
            name: MAIN.to_owned(),
            command: command.iter().map(ToString::to_string).collect(),
            working_directory: None,
            environment: BTreeMap::new(),
            health: None,
            main: true,
        }
    }

    #[test]
    fn two_dendrons_meet_in_one_folder_only_if_they_are_for_one_synapse() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("homeserver.yaml"), folder.path().join("link.yaml"));
        std::fs::write(&file, "").expect("a file");
        symlink(&file, &link).expect("a link");
        let of_file = |file: &Path| default_runtime_directory(None, Some(file), &[process(&["a"])]);
        let of_commands = |processes: &[ProcessPlan]| default_runtime_directory(None, None, processes);

        let own = of_file(&file);
        let digits =
            own.strip_prefix(std::env::temp_dir()).ok().and_then(|name| name.to_str()?.strip_prefix("dendron-"));
        assert!(
            digits.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())),
            "{own:?}"
        );
        assert_eq!(own, of_file(&link));
        assert_eq!(own, default_runtime_directory(Some(OsString::new()), Some(&file), &[]));
        assert_ne!(own, of_file(&folder.path().join("other.yaml")));
        assert_eq!(of_commands(&[process(&["a", "b"])]), of_commands(&[process(&["a", "b"])]));
        assert_ne!(of_commands(&[process(&["a", "b"])]), of_commands(&[process(&["ab"])]));
    }

    #[test]
    fn systemds_folder_comes_first() {
        let systemd = Some(OsString::from("/run/dendron"));
        let folder = default_runtime_directory(systemd, Some(Path::new("/homeserver.yaml")), &[]);
        assert_eq!(folder, Path::new("/run/dendron"));
    }
}
