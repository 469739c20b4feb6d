//! One YAML file, read once: its values as Synapse would see them, and the line of every key.
//!
//! The values and the lines come from the same walk over the parser's events, so they cannot disagree. Anchors, aliases
//! and merge keys (`<<`) are resolved as PyYAML does; see [`super::scalar`] for what words mean.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use serde_yaml::{Mapping, Value};

use super::key_path::KeyPath;
use super::problem::{Place, Places, Problem, Problems, Severity};
use super::scalar;

/// A YAML file and where its keys stand.
#[derive(Clone, Debug)]
pub(super) struct Document {
    /// The file, as it was named.
    pub(super) path: PathBuf,
    /// What it says.
    pub(super) value: Value,
    lines: HashMap<KeyPath, u32>,
}

/// Deeper nesting than this is no configuration, and would cost stack.
const DEPTH_MAX: usize = 64;

/// More values than this, aliases written out, are no configuration either.
const VALUES_MAX: usize = 200_000;

// === impl Document ===

impl Document {
    /// Reads `text`, the content of the file `path`. `repeated` says how bad a key is that is given twice: Synapse
    /// takes the last one without a word. `None` if the text is no YAML at all; why is among the problems.
    pub(super) fn parse(path: &Path, text: &str, repeated: Severity, problems: &mut Problems) -> Option<Document> {
        let mut builder = Builder {
            parser: Parser::new_from_str(text),
            path,
            repeated,
            anchors: HashMap::new(),
            lines: HashMap::new(),
            values: 0,
            problems,
        };
        match builder.document() {
            Ok(value) => Some(Document { path: path.to_owned(), value, lines: builder.lines }),
            Err(failure) => {
                let place = Place { file: path.to_owned(), line: Some(failure.line), key: failure.key };
                problems.error(place, failure.message);
                None
            }
        }
    }

    /// The line of `key` itself, if it stands in this file.
    pub(super) fn line(&self, key: &KeyPath) -> Option<u32> {
        self.lines.get(key).copied()
    }
}

impl Places for Document {
    fn place(&self, key: &KeyPath) -> Place {
        let mut nearest = Some(key.clone());
        let line = loop {
            match nearest {
                Some(path) => match self.line(&path) {
                    Some(line) => break Some(line),
                    None => nearest = path.parent(),
                },
                None => break None,
            }
        };
        Place { file: self.path.clone(), line, key: key.to_string() }
    }
}

/// The walk over the parser's events.
struct Builder<'text, 'caller> {
    parser: Parser<'text, StrInput<'text>>,
    path: &'caller Path,
    repeated: Severity,
    /// What an alias stands for, and how many values that is; `None` while the anchored value is being read.
    anchors: HashMap<usize, Option<(Value, usize)>>,
    lines: HashMap<KeyPath, u32>,
    values: usize,
    problems: &'caller mut Problems,
}

/// Why a text could not be read to its end.
struct Failure {
    line: u32,
    key: String,
    message: String,
}

/// A mapping while it is read.
#[derive(Default)]
struct Entries {
    own: Mapping,
    merged: Mapping,
}

// === impl Builder ===

impl<'text> Builder<'text, '_> {
    fn document(&mut self) -> Result<Value, Failure> {
        let root = KeyPath::root();
        let mut value = None;
        loop {
            let (event, span) = self.next(&root)?;
            match event {
                Event::StreamEnd => return Ok(value.unwrap_or(Value::Null)),
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                _ if value.is_some() => {
                    return Err(failure(span, &root, "expected one YAML document, found a second one"));
                }
                event => value = Some(self.value(event, span, &root)?),
            }
        }
    }

    fn next(&mut self, path: &KeyPath) -> Result<(Event<'text>, Span), Failure> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(syntax_failure(&error)),
            None => Err(failure(Span::default(), path, "bad YAML: the text ends too early")),
        }
    }

    fn value(&mut self, event: Event<'text>, span: Span, path: &KeyPath) -> Result<Value, Failure> {
        self.values += 1;
        if self.values > VALUES_MAX || path.steps().len() > DEPTH_MAX {
            return Err(failure(span, path, "too large or too deeply nested to be a configuration"));
        }
        let before = self.values;
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (anchor, scalar_value(&text, style, tag.as_deref(), span, path)?)
            }
            Event::SequenceStart(anchor, _) => {
                self.open_anchor(anchor);
                (anchor, self.sequence(path)?)
            }
            Event::MappingStart(anchor, _) => {
                self.open_anchor(anchor);
                (anchor, self.mapping(path)?)
            }
            Event::Alias(anchor) => return self.alias(anchor, span, path),
            _ => return Err(failure(span, path, "bad YAML: expected a value")),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, Some((value.clone(), self.values - before + 1)));
        }
        Ok(value)
    }

    fn open_anchor(&mut self, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, None);
        }
    }

    fn alias(&mut self, anchor: usize, span: Span, path: &KeyPath) -> Result<Value, Failure> {
        match self.anchors.get(&anchor) {
            Some(Some((value, size))) if self.values + size <= VALUES_MAX => {
                self.values += size;
                Ok(value.clone())
            }
            Some(Some(_)) => {
                Err(failure(span, path, "too large to be a configuration once its aliases are written out"))
            }
            _ => Err(failure(span, path, "an alias that contains itself")),
        }
    }

    fn sequence(&mut self, path: &KeyPath) -> Result<Value, Failure> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next(path)?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Value::Sequence(items));
            }
            let path = path.index(items.len());
            self.lines.insert(path.clone(), line(span));
            items.push(self.value(event, span, &path)?);
        }
    }

    fn mapping(&mut self, path: &KeyPath) -> Result<Value, Failure> {
        let mut entries = Entries::default();
        loop {
            let (event, span) = self.next(path)?;
            let key = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, style, _, tag) => {
                    if text == "<<" && style == ScalarStyle::Plain && tag.is_none() {
                        self.merge(path, &mut entries)?;
                        continue;
                    }
                    key_text(&scalar_value(&text, style, tag.as_deref(), span, path)?, &text)
                }
                _ => return Err(failure(span, path, "expected a word as a key")),
            };
            let path = path.key(&key);
            let value_line = line(span);
            let (event, span) = self.next(&path)?;
            if let Some(first) = self.lines.insert(path.clone(), value_line).filter(|_| entries.own.contains_key(&*key))
            {
                self.note_repetition(&path, first, value_line);
            }
            let value = self.value(event, span, &path)?;
            entries.own.insert(Value::String(key), value);
        }
        let mut all = entries.merged;
        for (key, value) in entries.own {
            all.insert(key, value);
        }
        Ok(Value::Mapping(all))
    }

    /// `<<: *alias` brings in the keys of another mapping, or of several: the first of a list wins, and the mapping's
    /// own keys win over all.
    fn merge(&mut self, path: &KeyPath, entries: &mut Entries) -> Result<(), Failure> {
        let (event, span) = self.next(path)?;
        let sources = match self.value(event, span, &path.key("<<"))? {
            Value::Sequence(sources) => sources,
            source => vec![source],
        };
        for source in sources.into_iter().rev() {
            let Value::Mapping(source) = source else {
                return Err(failure(span, &path.key("<<"), "expected a section, or a list of sections, to merge"));
            };
            for (key, value) in source {
                entries.merged.insert(key, value);
            }
        }
        Ok(())
    }

    fn note_repetition(&mut self, path: &KeyPath, first: u32, second: u32) {
        let place = Place { file: self.path.to_owned(), line: Some(second), key: path.to_string() };
        let rest = match self.repeated {
            Severity::Error => "",
            Severity::Warning => "; Synapse takes the last one",
        };
        let message = format!("given twice, first in line {first}{rest}");
        self.problems.push(Problem { severity: self.repeated, place, message });
    }
}

fn scalar_value(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    span: Span,
    path: &KeyPath,
) -> Result<Value, Failure> {
    match tag {
        None if style == ScalarStyle::Plain => Ok(scalar::plain(text)),
        None => Ok(Value::String(text.to_owned())),
        Some(tag) if tag.is_yaml_core_schema() => {
            scalar::tagged(&tag.suffix, text).ok_or_else(|| failure(span, path, "the value does not fit its !! tag"))
        }
        Some(tag) if tag.suffix.is_empty() => Ok(Value::String(text.to_owned())),
        Some(_) => Err(failure(span, path, "a tag (!) that Synapse does not read either")),
    }
}

/// A key as a text. Keys that are numbers or booleans to YAML keep their spelling.
fn key_text(key: &Value, text: &str) -> String {
    match key {
        Value::String(key) => key.clone(),
        _ => text.to_owned(),
    }
}

fn line(span: Span) -> u32 {
    u32::try_from(span.start.line()).unwrap_or(u32::MAX).max(1)
}

fn failure(span: Span, path: &KeyPath, message: &str) -> Failure {
    Failure { line: line(span), key: path.to_string(), message: message.to_owned() }
}

fn syntax_failure(error: &ScanError) -> Failure {
    let line = u32::try_from(error.marker().line()).unwrap_or(u32::MAX).max(1);
    Failure { line, key: String::new(), message: format!("bad YAML: {}", error.info()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> (Option<Document>, String) {
        let mut problems = Problems::default();
        let document = Document::parse(Path::new("f"), text, Severity::Error, &mut problems);
        (document, problems.to_string())
    }

    #[test]
    fn every_key_has_its_line() {
        let text = "# a comment\na: 1\nb:\n  c:\n  - x\n  - {d: [1,\n     2]}\n'e f': |\n  text\n  text\ng: 2\n";
        let document = parse(text).0.expect("YAML");
        let root = KeyPath::root();
        let table = [
            (root.key("a"), 2),
            (root.key("b"), 3),
            (root.key("b").key("c"), 4),
            (root.key("b").key("c").index(0), 5),
            (root.key("b").key("c").index(1).key("d"), 6),
            (root.key("b").key("c").index(1).key("d").index(1), 7),
            (root.key("e f"), 8),
            (root.key("g"), 11),
            // A key that is not there has the line of the one above it.
            (root.key("b").key("x").key("y"), 3),
        ];
        for (key, line) in table {
            assert_eq!(document.place(&key).line, Some(line), "{key}");
        }
    }

    #[test]
    fn anchors_and_merge_keys_are_written_out() {
        let text = "base: &base {a: 1, b: 2}\nother: &other {b: 3, c: 4}\none: {<<: *base, b: 5}\n\
                    both:\n  <<: [*base, *other]\n  d: *base\nquoted: {'<<': 1}\n";
        let document = parse(text).0.expect("YAML");
        let expected = "base: {a: 1, b: 2}\nother: {b: 3, c: 4}\none: {a: 1, b: 5}\n\
                        both: {a: 1, b: 2, c: 4, d: {a: 1, b: 2}}\nquoted: {'<<': 1}\n";
        assert_eq!(document.value, serde_yaml::from_str::<Value>(expected).expect("YAML"));
    }

    #[test]
    fn a_few_letters_cannot_fill_the_memory() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        let (document, problems) = parse(&bomb);
        assert!(document.is_none() && problems.contains("too large"), "{problems}");
        for opening in ["[", "- ", "{a: "] {
            assert!(parse(&opening.repeat(10_000)).0.is_none(), "{opening}");
            let (document, problems) = parse(&opening.repeat(DEPTH_MAX + 2));
            assert!(document.is_none() && problems.contains("too deeply nested"), "{opening}: {problems}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[-a:{}\\[\\], \n\t#&*!|>'\"?%@`<0~é]{0,60}") {
            let (document, problems) = parse(&text);
            prop_assert!(document.is_some() || !problems.is_empty());
        }
    }
}
