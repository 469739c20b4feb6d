//! Where a value stands in a YAML document: `listeners[0].address`.

use std::fmt;

use serde_yaml::Value;

/// The keys and indices from a document's root to a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct KeyPath {
    steps: Vec<Step>,
}

/// One step down.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Step {
    /// To the value of a key.
    Key(String),
    /// To an item of a list, from 0.
    Index(usize),
}

impl KeyPath {
    /// The root itself.
    pub(super) fn root() -> KeyPath {
        KeyPath::default()
    }

    /// This path, and one key further.
    pub(super) fn key(&self, key: &str) -> KeyPath {
        self.and(Step::Key(key.to_owned()))
    }

    /// This path, and one item further.
    pub(super) fn index(&self, index: usize) -> KeyPath {
        self.and(Step::Index(index))
    }

    /// This path, and one step further.
    pub(super) fn and(&self, step: Step) -> KeyPath {
        let mut steps = self.steps.clone();
        steps.push(step);
        KeyPath { steps }
    }

    /// The steps, from the root.
    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The path one step up; `None` at the root.
    pub(super) fn parent(&self) -> Option<KeyPath> {
        let (_, above) = self.steps.split_last()?;
        Some(KeyPath { steps: above.to_vec() })
    }

    /// The value at this path.
    pub(super) fn find<'value>(&self, root: &'value Value) -> Option<&'value Value> {
        self.steps.iter().try_fold(root, |value, step| match step {
            Step::Key(key) => value.get(key.as_str()),
            Step::Index(index) => value.get(*index),
        })
    }

    /// Takes the value at this path out of its mapping or list. `false` if there is none, or at the root.
    pub(super) fn remove(&self, root: &mut Value) -> bool {
        let Some((last, above)) = self.steps.split_last() else { return false };
        let parent = above.iter().try_fold(root, |value, step| match step {
            Step::Key(key) => value.get_mut(key.as_str()),
            Step::Index(index) => value.get_mut(*index),
        });
        match (parent, last) {
            (Some(Value::Mapping(mapping)), Step::Key(key)) => mapping.remove(key.as_str()).is_some(),
            (Some(Value::Sequence(list)), Step::Index(index)) if *index < list.len() => {
                list.remove(*index);
                true
            }
            _ => false,
        }
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.steps.iter().enumerate() {
            match step {
                Step::Key(key) if place == 0 => write!(formatter, "{key}")?,
                Step::Key(key) => write!(formatter, ".{key}")?,
                Step::Index(index) => write!(formatter, "[{index}]")?,
            }
        }
        Ok(())
    }
}
