//! `supervise:` in dendron.yaml. The configuration turns names into commands and so makes a [`super::Plan`] of it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::plan::{DEFAULT_STOP_TIMEOUT, NamesOnly};

/// Which of Synapse's processes dendron runs, and with which Python.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The Python that has Synapse installed; needed when a process is given by its name alone.
    pub python: Option<PathBuf>,
    /// The processes; without the key, main and every worker that the configuration names.
    pub processes: Option<Vec<ProcessSettings>>,
    /// Where processes given by name run, which is what relative paths in Synapse's files are relative to; the folder
    /// of the first file of `synapse.config` if not given.
    pub working_directory: Option<PathBuf>,
    /// Where dendron puts the sockets by which processes say that they are ready.
    pub runtime_directory: Option<PathBuf>,
    /// How long a process may take to end before it is killed.
    #[serde(with = "crate::duration")]
    pub stop_timeout: Duration,
}

/// One entry of `processes:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessSettings {
    /// `main`, or a worker's name: its command follows from Synapse's files.
    Name(String),
    /// A command of the administrator's own.
    Command(CommandSettings),
}

/// A process whose command is written out.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandSettings {
    /// `main`, or the worker's name.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Where it runs.
    #[serde(default)]
    pub working_directory: Option<PathBuf>,
    /// Variables set on top of dendron's own environment.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            python: None,
            processes: None,
            working_directory: None,
            runtime_directory: None,
            stop_timeout: DEFAULT_STOP_TIMEOUT,
        }
    }
}

impl ProcessSettings {
    /// The process's name.
    pub fn name(&self) -> &str {
        match self {
            ProcessSettings::Name(name) => name,
            ProcessSettings::Command(command) => &command.name,
        }
    }
}

/// Written out, and not derived as untagged, because an untagged enum hides which key was wrong.
impl<'de> Deserialize<'de> for ProcessSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ProcessVisitor)
    }
}

impl fmt::Debug for CommandSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CommandSettings")
            .field("name", &self.name)
            .field("command", &self.command)
            .field("working_directory", &self.working_directory)
            .field("environment", &NamesOnly(&self.environment))
            .finish()
    }
}

struct ProcessVisitor;

impl<'de> Visitor<'de> for ProcessVisitor {
    type Value = ProcessSettings;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a process's name, or {name: NAME, command: [PROGRAM, …]}")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<ProcessSettings, E> {
        Ok(ProcessSettings::Name(name.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ProcessSettings, A::Error> {
        CommandSettings::deserialize(MapAccessDeserializer::new(map)).map(ProcessSettings::Command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_map_is_the_default() {
        assert_eq!(serde_yaml::from_str::<Settings>("{}").expect("reads"), Settings::default());
        assert_eq!(Settings::default().stop_timeout, Duration::from_secs(10));
    }

    #[test]
    fn names_and_commands_are_read() {
        let settings: Settings = serde_yaml::from_str(
            "python: /opt/venv/bin/python\n\
             working_directory: /srv\n\
             runtime_directory: /run/dendron\n\
             stop_timeout: 500ms\n\
             processes:\n\
             - main\n\
             - {name: sync1, command: [/usr/bin/sync, -v], working_directory: /var, environment: {A: b}}\n",
        )
        .expect("reads");
        let command = CommandSettings {
            name: "sync1".to_owned(),
            command: vec!["/usr/bin/sync".to_owned(), "-v".to_owned()],
            working_directory: Some(PathBuf::from("/var")),
            environment: BTreeMap::from([("A".to_owned(), "b".to_owned())]),
        };
        let processes = vec![ProcessSettings::Name("main".to_owned()), ProcessSettings::Command(command)];
        assert_eq!(processes.iter().map(ProcessSettings::name).collect::<Vec<_>>(), ["main", "sync1"]);
        let expected = Settings {
            python: Some(PathBuf::from("/opt/venv/bin/python")),
            processes: Some(processes),
            working_directory: Some(PathBuf::from("/srv")),
            runtime_directory: Some(PathBuf::from("/run/dendron")),
            stop_timeout: Duration::from_millis(500),
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn errors_name_the_key() {
        let table = [
            ("pyton: /x", "pyton"),
            ("processes: [{name: a, command: [b], enviroment: {}}]", "enviroment"),
            ("processes: [{name: a}]", "command"),
            ("processes: [7]", "a process's name, or {name: NAME, command: [PROGRAM, …]}"),
            ("stop_timeout: soon", "stop_timeout"),
        ];
        for (yaml, expected) in table {
            let error = serde_yaml::from_str::<Settings>(yaml).expect_err(yaml).to_string();
            assert!(error.contains(expected), "{yaml}: {error}");
        }
    }

    #[test]
    fn values_of_the_environment_are_not_shown() {
        let settings: Settings =
            serde_yaml::from_str("processes: [{name: a, command: [b], environment: {TOKEN: hidden-value}}]")
                .expect("reads");
        let shown = format!("{settings:?}");
        assert!(shown.contains("TOKEN") && !shown.contains("hidden-value"), "{shown}");
    }
}
