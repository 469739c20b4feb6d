//! Values → typed settings, with every wrong key of a file reported at once.
//!
//! Serde stops at the first thing that is wrong. So that an administrator need not fix one key a run, each error is
//! noted with its key and line, the key is taken out, and the rest is read again.

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use serde_yaml::Value;

use super::key_path::{KeyPath, Step};
use super::nearest::hint;
use super::problem::{Places, Problems};

/// After so many wrong keys the rest is not looked at.
const ATTEMPTS_MAX: usize = 100;

/// Reads `value` as a `T`. `None` only if nothing of it could be used; what was wrong is among the problems.
///
/// A key without a value counts as not given, as `threads:` alone in a line does. Everything else that does not fit is
/// an error, and the key's default is taken so that later checks can still say what they find.
pub(super) fn read<T: DeserializeOwned>(value: &Value, places: &dyn Places, problems: &mut Problems) -> Option<T> {
    let mut value = value.clone();
    let mut removed = Removed::default();
    for _ in 0..ATTEMPTS_MAX {
        let error = match serde_path_to_error::deserialize::<_, T>(&value) {
            Ok(settings) => return Some(settings),
            Err(error) => error,
        };
        let path = error_path(&error, &value);
        let complaint = complaint(&error.inner().to_string());
        let key = removed.original(&path);
        let quiet = match &complaint {
            Complaint::Unknown { word, known } => {
                let hint = hint(word, known.iter().map(String::as_str));
                problems.error(places.place(&key), format!("unknown key; {hint}"));
                true
            }
            Complaint::Missing(field) => {
                let field = key.key(field);
                removed.contains(&field) || {
                    problems.error(places.place(&field), "missing");
                    true
                }
            }
            Complaint::Wrong(_) if is_empty_entry(&path, &value) => true,
            Complaint::Wrong(message) => {
                problems.error(places.place(&key), message.clone());
                true
            }
        };
        if !(quiet && path.remove(&mut value)) {
            return None;
        }
        removed.note(key);
    }
    None
}

/// What serde says, understood.
#[derive(Debug, PartialEq, Eq)]
enum Complaint {
    /// A key that the settings do not have.
    Unknown { word: String, known: Vec<String> },
    /// A key that must be there.
    Missing(String),
    /// Anything else, in words for an administrator.
    Wrong(String),
}

/// The keys taken out so far, by their paths in the file. Taking an item out of a list moves the later ones up.
#[derive(Default)]
struct Removed {
    paths: Vec<KeyPath>,
}

// === impl Removed ===

impl Removed {
    fn note(&mut self, path: KeyPath) {
        self.paths.push(path);
    }

    fn contains(&self, path: &KeyPath) -> bool {
        self.paths.contains(path)
    }

    /// The path in the file of what stands at `path` in the value that is left.
    fn original(&self, path: &KeyPath) -> KeyPath {
        path.steps().iter().fold(KeyPath::root(), |above, step| match step {
            Step::Key(key) => above.key(key),
            Step::Index(index) => {
                let mut index = *index;
                let mut gone: Vec<usize> = self.paths.iter().filter_map(|path| item_of(&above, path)).collect();
                gone.sort_unstable();
                for gone in gone {
                    index += usize::from(gone <= index);
                }
                above.index(index)
            }
        })
    }
}

fn item_of(list: &KeyPath, path: &KeyPath) -> Option<usize> {
    match path.steps().last() {
        Some(Step::Index(index)) if path.parent().as_ref() == Some(list) => Some(*index),
        _ => None,
    }
}

/// The path that serde tracked, as far as it exists: an enum's variant is no key.
fn error_path(error: &serde_path_to_error::Error<serde_yaml::Error>, value: &Value) -> KeyPath {
    let mut path = KeyPath::root();
    for segment in error.path() {
        let next = match segment {
            Segment::Seq { index } => path.index(*index),
            Segment::Map { key } => path.key(key),
            Segment::Enum { .. } | Segment::Unknown => continue,
        };
        if next.find(value).is_none() {
            break;
        }
        path = next;
    }
    path
}

/// Whether `path` is a key of a mapping with nothing behind it.
fn is_empty_entry(path: &KeyPath, value: &Value) -> bool {
    matches!(path.steps().last(), Some(Step::Key(_))) && path.find(value).is_some_and(Value::is_null)
}

fn complaint(message: &str) -> Complaint {
    if let Some((word, rest)) = message.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')) {
        let known = rest.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        return Complaint::Unknown { word: word.to_owned(), known };
    }
    if let Some(field) = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        return Complaint::Missing(field.to_owned());
    }
    if let Some(rest) = message.strip_prefix("unknown variant `") {
        let known: Vec<&str> = rest.split('`').skip(2).step_by(2).collect();
        return Complaint::Wrong(format!("expected {}", known.join(" or ")));
    }
    // Serde repeats the value that it found, which may be a secret: only what kind of value it was is told.
    if let Some((found, expected)) =
        message.strip_prefix("invalid type: ").and_then(|rest| rest.rsplit_once(", expected "))
    {
        return Complaint::Wrong(format!("expected {}, found {}", expected_words(expected), found_words(found)));
    }
    if let Some((_, expected)) =
        message.strip_prefix("invalid value: ").and_then(|rest| rest.rsplit_once(", expected "))
    {
        return Complaint::Wrong(format!("expected {}", expected_words(expected)));
    }
    Complaint::Wrong(message.to_owned())
}

fn expected_words(expected: &str) -> &str {
    match expected {
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number",
        "f64" => "a number",
        "path string" => "a path",
        "a map" => "a section of keys",
        expected if expected.starts_with("struct ") => "a section of keys",
        expected => expected,
    }
}

fn found_words(found: &str) -> &'static str {
    match found.split([' ', '`']).next() {
        Some("string") => "a text",
        Some("integer" | "floating") => "a number",
        Some("boolean") => "true or false (yes, no, on and off mean these too)",
        Some("sequence") => "a list",
        Some("map") => "a section of keys",
        Some("unit") => "nothing",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::Document;
    use super::super::problem::Severity;
    use super::*;
    use serde::Deserialize;
    use std::path::Path;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Settings {
        name: Option<String>,
        ports: Vec<u16>,
        on: bool,
        items: Vec<Item>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Item {
        size: u16,
        #[serde(default)]
        colour: String,
    }

    fn read_text(text: &str) -> (Option<Settings>, String) {
        let mut problems = Problems::default();
        let document = Document::parse(Path::new("f"), text, Severity::Error, &mut problems).expect("YAML");
        let settings = read(&document.value, &document, &mut problems);
        problems.sort();
        (settings, problems.to_string())
    }

    #[test]
    fn every_wrong_key_is_told_with_its_own_line() {
        let text = "nam: x\non: maybe\nports:\n- 80\n- eighty\n- 443\n- {}\n- 99999\nitems:\n- {size: 1}\n\
                    - {colour: red}\n- {size: x}\n- {size: 2, colour: [1]}\n";
        let (settings, problems) = read_text(text);
        assert_eq!(
            problems,
            "f:1: nam: unknown key; did you mean name?\n\
             f:2: on: expected true or false, found a text\n\
             f:5: ports[1]: expected a whole number from 0 to 65535, found a text\n\
             f:7: ports[3]: expected a whole number from 0 to 65535, found a section of keys\n\
             f:8: ports[4]: expected a whole number from 0 to 65535\n\
             f:11: items[1].size: missing\n\
             f:12: items[2].size: expected a whole number from 0 to 65535, found a text\n\
             f:13: items[3].colour: expected a string, found a list\n"
        );
        let settings = settings.expect("the rest");
        assert_eq!(settings.ports, [80, 443]);
        assert_eq!(settings.items.len(), 2);
    }

    #[test]
    fn a_key_without_a_value_is_not_given() {
        let (settings, problems) = read_text("name:\nports:\non:\n");
        assert_eq!((settings, problems.as_str()), (Some(Settings::default()), ""));
    }

    #[test]
    fn a_root_that_is_no_section_is_one_error() {
        let (settings, problems) = read_text("- 1\n");
        assert_eq!((settings, problems.as_str()), (None, "f: expected a section of keys, found a list\n"));
    }
}
