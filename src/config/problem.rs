//! What is wrong with a configuration, each with its place: file, line and key.
//!
//! Problems are collected, not thrown: an administrator sees all of them at once. Messages say what was expected; they
//! never repeat a value that could be a secret.

use std::fmt;
use std::path::{Path, PathBuf};

use super::key_path::KeyPath;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Dendron does not start with it.
    Error,
    /// Dendron starts, but somebody should look.
    Warning,
}

/// Where in the configuration something stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as the administrator named it.
    pub file: PathBuf,
    /// The line, from 1; `None` for what concerns the file as a whole.
    pub line: Option<u32>,
    /// The key, for instance `listeners[0].address`; empty for the file as a whole.
    pub key: String,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether dendron can start with it.
    pub severity: Severity,
    /// Where it is.
    pub place: Place,
    /// What is wrong, and what was expected.
    pub message: String,
}

/// Everything that is wrong, in the order of files and lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
}

/// More problems than this help nobody, and a broken file must not fill the memory.
const PROBLEMS_MAX: usize = 500;

/// Whatever can tell where a key of its own stands.
pub(super) trait Places {
    /// The place of `key`, or of the nearest key above it.
    fn place(&self, key: &KeyPath) -> Place;
}

// === impl Place ===

impl Place {
    /// The place of a whole file.
    pub fn file(file: &Path) -> Place {
        Place { file: file.to_owned(), line: None, key: String::new() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.file.display())?;
        match self.line {
            Some(line) => write!(formatter, ":{line}"),
            None => Ok(()),
        }
    }
}

// === impl Problem ===

impl fmt::Display for Problem {
    /// Writes `file:line: key: message`; a warning has `warning: ` before its key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.place)?;
        if self.severity == Severity::Warning {
            formatter.write_str("warning: ")?;
        }
        if !self.place.key.is_empty() {
            write!(formatter, "{}: ", self.place.key)?;
        }
        formatter.write_str(&self.message)
    }
}

// === impl Problems ===

impl Problems {
    /// Adds an error.
    pub fn error(&mut self, place: Place, message: impl Into<String>) {
        self.push(Problem { severity: Severity::Error, place, message: message.into() });
    }

    /// Adds a warning.
    pub fn warning(&mut self, place: Place, message: impl Into<String>) {
        self.push(Problem { severity: Severity::Warning, place, message: message.into() });
    }

    /// Adds a problem, unless the same one is there, which happens when several processes share a file.
    pub fn push(&mut self, problem: Problem) {
        if self.list.len() < PROBLEMS_MAX && !self.list.contains(&problem) {
            self.list.push(problem);
        }
    }

    /// Whether one of them keeps dendron from starting.
    pub fn has_errors(&self) -> bool {
        self.error_count() > 0
    }

    /// How many of them do.
    pub fn error_count(&self) -> usize {
        self.list.iter().filter(|problem| problem.severity == Severity::Error).count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether some are at this key of a file, or below it.
    pub(super) fn are_at(&self, file: &Path, key: &str) -> bool {
        let below = |place: &Place| {
            place.key.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.list.iter().any(|problem| problem.place.file == file && below(&problem.place))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// Puts them into the order of files, lines and keys.
    pub(super) fn sort(&mut self) {
        self.list.sort_by(|left, right| left.place.cmp(&right.place));
    }
}

impl fmt::Display for Problems {
    /// Writes one line each.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.list {
            writeln!(formatter, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
