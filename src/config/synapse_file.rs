//! Synapse's configuration files: which there are, and what they say together.
//!
//! Source: `find_config_files` and `read_config_files` in Synapse's `config/_base.py`: a folder stands for its `*.yaml`
//! in order of names, and of a top-level key given twice the later file's value replaces the earlier one's.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_yaml::{Mapping, Value};

use super::document::Document;
use super::key_path::{KeyPath, Step};
use super::problem::{Place, Places, Problems, Severity};

/// More files than this are no configuration of one Synapse.
const FILES_MAX: usize = 2_000;

/// A larger file is no configuration.
const FILE_SIZE_MAX: u64 = 4 << 20;

/// Several files as one.
#[derive(Clone, Debug)]
pub(super) struct Merged {
    /// What they say together; always a mapping.
    pub(super) value: Value,
    /// Each of them, in order.
    pub(super) documents: Vec<Document>,
    /// For each top-level key, whose it is.
    owners: HashMap<String, usize>,
}

/// Another's keys, seen from one key down.
pub(super) struct Under<'places> {
    /// Who knows the places.
    pub(super) places: &'places dyn Places,
    /// The key that all others are under.
    pub(super) above: KeyPath,
}

/// The files that `path` stands for: itself, or a folder's `*.yaml` in order of names.
///
/// # Errors
/// What keeps it from being read, in words.
pub(super) fn find(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return match std::fs::metadata(path) {
            Ok(_) => Ok(vec![path.to_owned()]),
            Err(error) => Err(cannot_read(path, &error)),
        };
    }
    let entries = std::fs::read_dir(path).map_err(|error| cannot_read(path, &error))?;
    let mut files: Vec<PathBuf> = entries
        .take(FILES_MAX)
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|file| file.extension().is_some_and(|extension| extension == "yaml") && file.is_file())
        .collect();
    files.sort();
    Ok(files)
}

/// Reads one file. `None` if it could not be read; why is among the problems, at `named` if the file cannot be opened.
pub(super) fn read(path: &Path, repeated: Severity, named: Place, problems: &mut Problems) -> Option<Document> {
    let size = std::fs::metadata(path).map(|metadata| metadata.len());
    if size.as_ref().is_ok_and(|size| *size > FILE_SIZE_MAX) {
        problems.error(named, format!("{} is too large to be a configuration", path.display()));
        return None;
    }
    match std::fs::read_to_string(path) {
        Ok(text) => Document::parse(path, text.trim_start_matches('\u{feff}'), repeated, problems),
        Err(error) => {
            problems.error(named, cannot_read(path, &error));
            None
        }
    }
}

/// A file that cannot be opened, in words.
pub(super) fn cannot_read(path: &Path, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => format!("{} does not exist", path.display()),
        std::io::ErrorKind::PermissionDenied => format!("{} may not be read by dendron's user", path.display()),
        _ => format!("{} cannot be read: {error}", path.display()),
    }
}

// === impl Merged ===

impl Merged {
    /// Puts the documents together. One that is no mapping is left out, as Synapse does, with a warning.
    pub(super) fn new(documents: Vec<Document>, problems: &mut Problems) -> Merged {
        let mut all = Mapping::new();
        let mut owners = HashMap::new();
        for (number, document) in documents.iter().enumerate() {
            let Value::Mapping(mapping) = &document.value else {
                let message = "empty, or no section of keys: Synapse leaves this file out, and so does dendron";
                problems.warning(Place::file(&document.path), message);
                continue;
            };
            for (key, value) in mapping {
                if let Value::String(name) = key {
                    owners.insert(name.clone(), number);
                }
                all.insert(key.clone(), value.clone());
            }
        }
        Merged { value: Value::Mapping(all), documents, owners }
    }

    /// The folder that relative paths under this key are taken from: its file's.
    pub(super) fn folder(&self, key: &str) -> PathBuf {
        let file = self.place(&KeyPath::root().key(key)).file;
        file.parent().map(Path::to_owned).unwrap_or_default()
    }
}

impl Places for Merged {
    fn place(&self, key: &KeyPath) -> Place {
        let owner = match key.steps().first() {
            Some(Step::Key(first)) => self.owners.get(first).copied().unwrap_or(0),
            _ => 0,
        };
        match self.documents.get(owner) {
            Some(document) => document.place(key),
            None => Place { file: PathBuf::from("homeserver.yaml"), line: None, key: key.to_string() },
        }
    }
}

impl Places for Under<'_> {
    fn place(&self, key: &KeyPath) -> Place {
        self.places.place(&key.steps().iter().cloned().fold(self.above.clone(), |path, step| path.and(step)))
    }
}
