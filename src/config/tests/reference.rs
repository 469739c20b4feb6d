//! `conf/dendron.yaml` against the code: it loads, it has every key, and its defaults are the code's.

use std::path::Path;

use serde_yaml::{Mapping, Value};

use super::super::document::Document;
use super::super::homeserver::MAIN;
use super::super::key_path::KeyPath;
use super::super::problem::{Problems, Severity};
use super::super::read::read;
use super::super::settings::Settings;
use super::super::{Source, load};
use crate::route::rules::pool_names;
use crate::supervise;

const REFERENCE: &str = include_str!("../../../conf/dendron.yaml");

/// How a line ends that shows a value which is not the default.
const EXAMPLE: &str = "# example";

/// The sections whose keys are the administrator's own words.
const FREE_SECTIONS: [&str; 4] =
    ["pools", "timeouts.classes", "answers.well_known_support", "supervise.processes[1].environment"];

/// A line of the reference without the `#` before its key; `None` for prose.
fn key_line(line: &str) -> Option<String> {
    let indentation = line.len() - line.trim_start().len();
    match line.trim_start().strip_prefix('#') {
        None => Some(line.to_owned()),
        Some(key) if key.starts_with(|letter: char| letter.is_ascii_lowercase()) => {
            Some(format!("{}{key}", " ".repeat(indentation)))
        }
        Some(_) => None,
    }
}

fn document(text: &str) -> Document {
    let mut problems = Problems::default();
    let document = Document::parse(Path::new("reference"), text, Severity::Error, &mut problems);
    document.unwrap_or_else(|| panic!("{problems}"))
}

fn settings(document: &Document) -> Settings {
    let mut problems = Problems::default();
    let settings = read(&document.value, document, &mut problems);
    assert!(problems.is_empty(), "{problems}");
    settings.expect("settings")
}

/// The reference with every key that it has.
fn with_everything() -> Document {
    document(&REFERENCE.lines().filter_map(key_line).map(|line| line + "\n").collect::<String>())
}

/// Each section of the value, with its path.
fn sections(path: KeyPath, value: &Value, found: &mut Vec<(KeyPath, Mapping)>) {
    match value {
        Value::Mapping(mapping) => {
            found.push((path.clone(), mapping.clone()));
            for (key, value) in mapping {
                sections(path.key(key.as_str().expect("a word")), value, found);
            }
        }
        Value::Sequence(items) => {
            items.iter().enumerate().for_each(|(number, item)| sections(path.index(number), item, found));
        }
        _ => {}
    }
}

/// The keys that the code knows in the section `path`: it says so itself when it meets one that it does not know.
fn known_keys(path: &KeyPath, root: &Value) -> Vec<String> {
    let mut root = root.clone();
    let section = path.steps().iter().try_fold(&mut root, |value, step| match step {
        super::super::key_path::Step::Key(key) => value.get_mut(key.as_str()),
        super::super::key_path::Step::Index(index) => value.get_mut(*index),
    });
    let section = section.and_then(Value::as_mapping_mut).expect("a section");
    section.insert(Value::from("0"), Value::from("0"));
    let error = serde_path_to_error::deserialize::<_, Settings>(&root).err();
    let message = error.map(|error| error.inner().to_string()).unwrap_or_default();
    if !message.starts_with("unknown field `0`") {
        assert!(FREE_SECTIONS.contains(&path.to_string().as_str()), "{path}: {message}");
        return Vec::new();
    }
    message.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

#[test]
fn it_loads_as_it_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/dendron.yaml");
    let (config, warnings) = load(&Source::File(path)).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(warnings.is_empty(), "{warnings}");
    assert_eq!(config.pools.iter().map(|pool| pool.name.as_str()).collect::<Vec<_>>(), [MAIN]);
}

#[test]
fn it_has_every_key_that_the_code_knows() {
    let everything = with_everything();
    settings(&everything);
    let mut found = Vec::new();
    sections(KeyPath::root(), &everything.value, &mut found);
    let mut seen = 0;
    for (path, section) in &found {
        let known = known_keys(path, &everything.value);
        for key in &known {
            assert!(section.contains_key(key.as_str()), "conf/dendron.yaml lacks {}", path.key(key));
        }
        seen += known.len();
    }
    assert!(seen > 30, "only {seen} keys were looked for");
}

#[test]
fn its_defaults_are_the_codes() {
    let lines = REFERENCE.lines().filter(|line| !line.ends_with(EXAMPLE));
    let defaults = document(&lines.filter_map(key_line).map(|line| line + "\n").collect::<String>());
    let expected = Settings { supervise: Some(supervise::Settings::default()), ..Settings::default() };
    assert_eq!(settings(&defaults), expected);
}

#[test]
fn it_names_every_pool() {
    let (_, list) = REFERENCE.split_once("# Pools: ").expect("a list");
    let (list, _) = list.split_once('.').expect("an end");
    let named: Vec<&str> = list.split([',', '#', '\n', ' ']).filter(|word| !word.is_empty()).collect();
    assert_eq!(named, pool_names());
}
