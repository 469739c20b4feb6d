//! Synapse's own ways to write durations, sizes and truths. Those of dendron.yaml are read by [`crate::duration`].

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use serde_yaml::Value;

/// A number of bytes in Synapse's files: a number, or a text such as `50M`, in units of 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SynapseSize(pub u64);

/// A duration in Synapse's files: a number of milliseconds, or a text such as `30s`, `5m`, `1h`, `7d`, `1w`, `1y`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SynapseDuration(pub Duration);

/// Something that Synapse passes to `strtobool(str(…))`: a boolean, or a text that means one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SynapseTruth(pub bool);

/// A text, or a list of texts: a list of one is often written as the one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OneOrMore(pub Vec<String>);

/// Synapse's `Config.parse_size` (`config/_base.py`).
fn synapse_size(text: &str) -> Option<u64> {
    let units = [('K', 1_u64 << 10), ('M', 1 << 20), ('G', 1 << 30), ('T', 1 << 40)];
    for (unit, size) in units {
        if let Some(number) = text.strip_suffix(unit) {
            return number.trim().parse::<u64>().ok()?.checked_mul(size);
        }
    }
    text.trim().parse().ok()
}

/// Synapse's `Config.parse_duration` (`config/_base.py`).
fn synapse_duration(text: &str) -> Option<Duration> {
    let second = 1_000;
    let day = 86_400 * second;
    let units =
        [('s', second), ('m', 60 * second), ('h', 3_600 * second), ('d', day), ('w', 7 * day), ('y', 365 * day)];
    for (unit, unit_ms) in units {
        if let Some(number) = text.strip_suffix(unit) {
            return number.trim().parse::<u64>().ok()?.checked_mul(unit_ms).map(Duration::from_millis);
        }
    }
    text.trim().parse().ok().map(Duration::from_millis)
}

/// Synapse's `strtobool` (`util/stringutils.py`).
fn synapse_truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" | "t" | "true" | "on" | "1" => Some(true),
        "n" | "no" | "f" | "false" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// What Python's `bool` says of a value, which is how Synapse reads some switches: whatever is not empty is true.
pub(super) fn python_truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Sequence(items) => !items.is_empty(),
        Value::Mapping(mapping) => !mapping.is_empty(),
        Value::Tagged(tagged) => python_truth(&tagged.value),
    }
}

impl<'de> Deserialize<'de> for SynapseSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Size;
        impl Visitor<'_> for Size {
            type Value = SynapseSize;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a number of bytes, such as 52428800 or 50M (K, M, G or T)")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<SynapseSize, E> {
                let size = synapse_size(text);
                size.map(SynapseSize).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }

            fn visit_u64<E>(self, size: u64) -> Result<SynapseSize, E> {
                Ok(SynapseSize(size))
            }
        }
        deserializer.deserialize_any(Size)
    }
}

impl<'de> Deserialize<'de> for SynapseDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Milliseconds;
        impl Visitor<'_> for Milliseconds {
            type Value = SynapseDuration;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a number of milliseconds, or a duration such as 30s or 1d (s, m, h, d, w or y)")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<SynapseDuration, E> {
                let duration = synapse_duration(text);
                duration.map(SynapseDuration).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }

            fn visit_u64<E>(self, milliseconds: u64) -> Result<SynapseDuration, E> {
                Ok(SynapseDuration(Duration::from_millis(milliseconds)))
            }
        }
        deserializer.deserialize_any(Milliseconds)
    }
}

impl<'de> Deserialize<'de> for SynapseTruth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Truth;
        impl Visitor<'_> for Truth {
            type Value = SynapseTruth;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("true or false")
            }

            fn visit_bool<E>(self, truth: bool) -> Result<SynapseTruth, E> {
                Ok(SynapseTruth(truth))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<SynapseTruth, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<SynapseTruth, E> {
                let truth = synapse_truth(text);
                truth.map(SynapseTruth).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Truth)
    }
}

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = OneOrMore;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a name, or a list of names")
            }

            fn visit_str<E>(self, text: &str) -> Result<OneOrMore, E> {
                Ok(OneOrMore(vec![text.to_owned()]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMore, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(OneOrMore(texts))
            }
        }
        deserializer.deserialize_any(Texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_synapses_are_milliseconds_without_a_unit() {
        let table = [("30s", Some(30_000)), ("1w", Some(604_800_000)), ("500", Some(500)), ("500ms", None), ("", None)];
        for (text, expected) in table {
            assert_eq!(synapse_duration(text), expected.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn what_is_not_empty_is_true_to_python() {
        let table = [
            ("", false),
            ("false", false),
            ("true", true),
            ("0", false),
            ("0.0", false),
            ("-1", true),
            ("''", false),
            ("'false'", true),
            ("[]", false),
            ("[0]", true),
            ("{}", false),
            ("{a: 0}", true),
        ];
        for (text, expected) in table {
            assert_eq!(python_truth(&serde_yaml::from_str(text).expect(text)), expected, "{text}");
        }
    }

    #[test]
    fn sizes_are_synapses() {
        let table = [
            ("50M", Some(52_428_800)),
            ("1K", Some(1024)),
            ("2G", Some(2 << 30)),
            ("100", Some(100)),
            ("50m", None),
            ("50MB", None),
            ("M", None),
        ];
        for (text, expected) in table {
            assert_eq!(synapse_size(text), expected, "{text}");
        }
    }
}
