//! Whether an answer of Synapse's to a sync tells that nothing has happened: which of them are the same every time.
//!
//! An answer is empty if it has exactly what Synapse writes when there is nothing to say (`rest/client/sync.py`,
//! `encode_response` of both kinds), key by key. One that has anything else, known or not, is not: a new section of a new
//! Synapse is never taken for nothing. Counts of one-time keys and the lists of a sliding sync do not make an answer
//! full; they are only told beside what has happened.
//!
//! Pure. Not here: whether an empty answer is to be believed (`book`).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::eligible::Protocol;

/// The longest empty answer to a sync.
pub const SYNC_BYTES_MAX: usize = 4 * 1024;
/// The longest empty answer to a sliding sync, which names the rooms of its lists.
pub const SLIDING_BYTES_MAX: usize = 64 * 1024;

/// What an answer's body tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing has happened.
    Empty(Empty),
    /// These have something.
    Full(Sections),
    /// It is no answer to a sync.
    Unreadable,
}

/// An answer that tells nothing but positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Empty {
    /// Where to go on from: `next_batch`, or `pos`.
    pub next: Box<str>,
    /// The same for a sliding sync's to-device messages, if it asks for those.
    pub to_device_next: Option<Box<str>>,
}

/// Which sections of an answer have something: a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sections(u8);

impl Protocol {
    /// How long an empty answer can be. What is longer is full.
    pub const fn empty_bytes_max(self) -> usize {
        match self {
            Protocol::Sync => SYNC_BYTES_MAX,
            Protocol::Sliding => SLIDING_BYTES_MAX,
        }
    }
}

/// Looks at a whole body.
pub fn look(protocol: Protocol, body: &[u8]) -> Content {
    if body.len() > protocol.empty_bytes_max() {
        return Content::Full(Sections::UNREAD);
    }
    let empty = match protocol {
        Protocol::Sync => serde_json::from_slice::<EmptySync>(body).ok().map(Empty::from),
        Protocol::Sliding => serde_json::from_slice::<EmptySliding>(body).ok().and_then(EmptySliding::empty),
    };
    match empty {
        // A list of values in the right order would be read as well.
        Some(empty) if body.first() == Some(&b'{') && !empty.next.is_empty() => Content::Empty(empty),
        _ => full(protocol, body),
    }
}

fn full(protocol: Protocol, body: &[u8]) -> Content {
    let position = match protocol {
        Protocol::Sync => "next_batch",
        Protocol::Sliding => "pos",
    };
    match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(answer)) if answer.get(position).is_some_and(Value::is_string) => {
            let sections = answer.iter().fold(Sections::default(), |sections, (key, value)| match key.as_str() {
                "extensions" => sections.with(Sections::of_extensions(value)),
                // A sliding sync names rooms even if there are none.
                "rooms" if !has_content(value) => sections,
                key => sections.with(Sections::of_key(key)),
            });
            Content::Full(sections)
        }
        _ => Content::Unreadable,
    }
}

/// Every key that an empty answer to a sync has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmptySync {
    next_batch: Box<str>,
    #[serde(rename = "device_one_time_keys_count")]
    _key_counts: BTreeMap<String, u64>,
    #[serde(rename = "device_unused_fallback_key_types")]
    _fallback_keys: Vec<String>,
    /// What older versions send as well.
    #[serde(rename = "org.matrix.msc2732.device_unused_fallback_key_types", default)]
    _unstable_fallback_keys: Vec<String>,
}

/// Every key that an empty answer to a sliding sync has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmptySliding {
    pos: Box<str>,
    #[serde(rename = "lists", default)]
    _lists: BTreeMap<String, List>,
    rooms: Nothing,
    extensions: Extensions,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(rename = "count")]
    _count: u64,
    #[serde(rename = "ops")]
    _operations: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Extensions {
    to_device: Option<ToDevice>,
    #[serde(rename = "e2ee")]
    encryption: Option<Encryption>,
    account_data: Option<AccountData>,
    #[serde(rename = "receipts")]
    _receipts: Option<ByRoom>,
    #[serde(rename = "typing")]
    _typing: Option<ByRoom>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToDevice {
    next_batch: Box<str>,
    events: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Encryption {
    #[serde(rename = "device_one_time_keys_count")]
    _key_counts: BTreeMap<String, u64>,
    #[serde(rename = "device_unused_fallback_key_types")]
    _fallback_keys: Vec<String>,
    device_lists: Option<DeviceLists>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceLists {
    changed: Vec<IgnoredAny>,
    left: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountData {
    global: Vec<IgnoredAny>,
    #[serde(rename = "rooms")]
    _rooms: Nothing,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByRoom {
    #[serde(rename = "rooms")]
    _rooms: Nothing,
}

/// An object without keys.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

// === impl Empty ===

impl From<EmptySync> for Empty {
    fn from(answer: EmptySync) -> Self {
        Empty { next: answer.next_batch, to_device_next: None }
    }
}

impl EmptySliding {
    /// The positions, if no extension has anything.
    fn empty(self) -> Option<Empty> {
        let EmptySliding { pos, rooms: Nothing {}, extensions, .. } = self;
        let lists = extensions.encryption.and_then(|encryption| encryption.device_lists);
        let is_empty = extensions.to_device.as_ref().is_none_or(|to_device| to_device.events.is_empty())
            && lists.is_none_or(|lists| lists.changed.is_empty() && lists.left.is_empty())
            && extensions.account_data.is_none_or(|account_data| account_data.global.is_empty());
        let to_device_next = extensions.to_device.map(|to_device| to_device.next_batch);
        is_empty.then_some(Empty { next: pos, to_device_next })
    }
}

// === impl Sections ===

impl Sections {
    /// Of an answer that is longer than is read.
    pub const UNREAD: Sections = Sections(1 << 7);

    /// The names, each with its bit's place.
    const NAMES: [&'static str; 8] =
        ["rooms", "presence", "account_data", "to_device", "device_lists", "ephemeral", "other", "unread"];

    /// The sections that have something, by name.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let places = Sections::NAMES.into_iter().enumerate();
        places.filter(move |(place, _)| self.0 & (1 << place) != 0).map(|(_, name)| name)
    }

    fn with(self, other: Sections) -> Sections {
        Sections(self.0 | other.0)
    }

    fn named(name: &str) -> Sections {
        let place = Sections::NAMES.iter().position(|known| *known == name).unwrap_or(6);
        Sections(1 << place)
    }

    /// The section of a key at the top. Synapse leaves those away that are empty, but for a sliding sync's.
    fn of_key(key: &str) -> Sections {
        match key {
            "next_batch" | "pos" | "lists" | "txn_id" => Sections::default(),
            "device_one_time_keys_count" | "device_unused_fallback_key_types" => Sections::default(),
            "org.matrix.msc2732.device_unused_fallback_key_types" => Sections::default(),
            "groups" | "unread" => Sections::named("other"),
            key => Sections::named(key),
        }
    }

    fn of_extensions(extensions: &Value) -> Sections {
        let all = extensions.as_object().into_iter().flatten();
        let full = all.filter(|(_, extension)| has_content(extension));
        full.fold(Sections::default(), |sections, (key, _)| {
            sections.with(match key.as_str() {
                "to_device" | "account_data" => Sections::named(key),
                "e2ee" => Sections::named("device_lists"),
                "receipts" | "typing" => Sections::named("ephemeral"),
                _ => Sections::named("other"),
            })
        })
    }
}

/// Whether a section has anything besides positions and counts.
fn has_content(value: &Value) -> bool {
    match value {
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => entries.iter().any(|(key, value)| match key.as_str() {
            // What a sliding sync names even if there is nothing.
            "rooms" | "device_lists" | "events" | "changed" | "left" | "global" => has_content(value),
            "next_batch" | "device_one_time_keys_count" | "device_unused_fallback_key_types" => false,
            _ => true,
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
