//! The tokens that syncs begin from and end at: `since`, `next_batch`, and `pos`.
//!
//! A token is the position in each of Synapse's streams, joined by `_` (`StreamToken` in Synapse's `types/__init__.py`).
//! A stream's position is a number, or where it has several writers of which some are further than others,
//! `m<least>~<writer>.<position>~…` with the writer's number in the table `instance_map`. In sliding sync the number of
//! the connection's state stands before it with a `/`, which says nothing of streams.

use crate::replication::Stream;

/// How many fields the newest known token has: Synapse 1.163.
pub const FIELDS_MAX: usize = 14;
/// The longest token that is read, in bytes.
const BYTES_MAX: usize = 2048;
/// The most writers that one field may name.
const WRITERS_MAX: usize = 64;

/// Which stream each field stands for. A shorter token is an older one, whose missing fields are 0, as Synapse reads it.
pub const LAYOUT: [Option<Stream>; FIELDS_MAX] = [
    Some(Stream::Events),
    Some(Stream::Presence),
    Some(Stream::Typing),
    Some(Stream::Receipts),
    Some(Stream::AccountData),
    Some(Stream::PushRules),
    Some(Stream::ToDevice),
    Some(Stream::DeviceLists),
    // Groups, which Synapse has no more.
    None,
    Some(Stream::UnPartialStatedRoom),
    Some(Stream::ThreadSubscriptions),
    Some(Stream::StickyEvents),
    // Quarantined media, of which no sync tells.
    None,
    Some(Stream::ProfileUpdates),
];

/// The streams of which sliding sync never tells (`handlers/sliding_sync/` in Synapse has no presence).
const UNTOLD_BY_SLIDING: [Stream; 1] = [Stream::Presence];

/// A token, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncToken {
    fields: [Position; FIELDS_MAX],
    /// Of these streams no request with such a token is told anything.
    untold: &'static [Stream],
}

/// A stream's position in a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Where every writer is at least.
    pub least: i64,
    /// Who is further, by the numbers of `instance_map`.
    pub further: Vec<(u32, i64)>,
}

/// Why a token is not understood.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenError {
    /// It has more fields than are known.
    #[error("the token has {0} fields, but only {FIELDS_MAX} are known")]
    Layout(usize),
    /// It is of another shape.
    #[error("the token is malformed")]
    Malformed,
}

/// The place of a stream in tokens; `None` if they have none for it.
pub fn field_of(stream: Stream) -> Option<usize> {
    LAYOUT.iter().position(|known| *known == Some(stream))
}

impl SyncToken {
    /// Reads `since` or `next_batch`.
    ///
    /// # Errors
    ///
    /// [`TokenError`]: then the request is Synapse's.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        if text.len() > BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        let count = text.split('_').count();
        if count > FIELDS_MAX {
            return Err(TokenError::Layout(count));
        }
        let mut token = SyncToken { fields: Default::default(), untold: &[] };
        for (place, (text, field)) in text.split('_').zip(&mut token.fields).enumerate() {
            *field = if place == 0 { events(text) } else { position(text) }.ok_or(TokenError::Malformed)?;
        }
        Ok(token)
    }

    /// Reads `pos`.
    ///
    /// # Errors
    ///
    /// [`TokenError`]: then the request is Synapse's.
    pub fn parse_sliding(text: &str) -> Result<Self, TokenError> {
        let (connection, token) = text.split_once('/').ok_or(TokenError::Malformed)?;
        number(connection).ok_or(TokenError::Malformed)?;
        Ok(SyncToken { untold: &UNTOLD_BY_SLIDING, ..SyncToken::parse(token)? })
    }

    /// Whether a request with such a token is never told anything of the stream with this field.
    pub fn is_untold(&self, field: usize) -> bool {
        LAYOUT.get(field).copied().flatten().is_some_and(|stream| self.untold.contains(&stream))
    }

    /// Every field, in the order of [`LAYOUT`].
    pub fn fields(&self) -> &[Position; FIELDS_MAX] {
        &self.fields
    }
}

/// The first field: a number behind an `s`, or several. `t` is for the history of one room, which no sync gives.
fn events(text: &str) -> Option<Position> {
    match text.strip_prefix('s') {
        Some(text) => Some(Position { least: number(text)?, further: Vec::new() }),
        None if text.starts_with('m') => position(text),
        None => None,
    }
}

fn position(text: &str) -> Option<Position> {
    let Some(text) = text.strip_prefix('m') else {
        return Some(Position { least: number(text)?, further: Vec::new() });
    };
    let mut parts = text.split('~');
    let least = number(parts.next()?)?;
    let mut further: Vec<(u32, i64)> = Vec::new();
    // Synapse has written `m5~` and reads it as 5.
    for part in parts.filter(|part| !part.is_empty()) {
        let (writer, position) = part.split_once('.')?;
        let writer = u32::try_from(number(writer)?).ok()?;
        let is_twice = further.iter().any(|(known, _)| *known == writer);
        if is_twice || further.len() == WRITERS_MAX {
            return None;
        }
        further.push((writer, number(position)?));
    }
    Some(Position { least, further })
}

/// A number as Synapse writes it: Python reads more spellings, which no client has from Synapse.
fn number(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The token's fields as `least` or `least~writer.position`.
    fn told(token: &SyncToken) -> Vec<String> {
        let told = |position: &Position| {
            let further = position.further.iter().map(|(writer, at)| format!("~{writer}.{at}"));
            format!("{}{}", position.least, further.collect::<String>())
        };
        token.fields().iter().map(told).collect()
    }

    #[test]
    fn tokens_are_read() {
        let table = [
            ("s9_2_0_1_1_1_1_5_0_1_2_1_1_1", "9 2 0 1 1 1 1 5 0 1 2 1 1 1"),
            ("s9_2_0_1_1_1_1_5_0_1_2_1_1", "9 2 0 1 1 1 1 5 0 1 2 1 1 0"),
            ("s9", "9 0 0 0 0 0 0 0 0 0 0 0 0 0"),
            ("m5~2.7~3.9_2_0_m4~1.6_1_1_1_5_0_1_2_1_1_1", "5~2.7~3.9 2 0 4~1.6 1 1 1 5 0 1 2 1 1 1"),
            ("m5~_1", "5 1 0 0 0 0 0 0 0 0 0 0 0 0"),
            ("s-5_-1", "-5 -1 0 0 0 0 0 0 0 0 0 0 0 0"),
        ];
        for (text, expected) in table {
            assert_eq!(told(&SyncToken::parse(text).unwrap()).join(" "), expected, "{text}");
            assert_eq!(told(&SyncToken::parse_sliding(&format!("7/{text}")).unwrap()).join(" "), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        let malformed = ["", "9", "s", "t4-9_1", "s9__1", "s9_x", "s+9", "s 9", "m5~2", "m5~x.1", "m5~2.1~2.3", "s9_m"];
        for text in malformed.into_iter().chain(["s99999999999999999999", "m5~4294967296.1", "m5~-1.1"]) {
            assert_eq!(SyncToken::parse(text), Err(TokenError::Malformed), "{text}");
        }
        assert_eq!(SyncToken::parse("s1_2_3_4_5_6_7_8_9_10_11_12_13_14_15"), Err(TokenError::Layout(15)));
        for text in ["s9", "x/s9", "/s9", "1/2/s9"] {
            assert_eq!(SyncToken::parse_sliding(text), Err(TokenError::Malformed), "{text}");
        }
        assert_eq!(SyncToken::parse(&format!("s1_{}", "0".repeat(BYTES_MAX))), Err(TokenError::Malformed));
        let writers: String = (0..=WRITERS_MAX).map(|writer| format!("~{writer}.9")).collect();
        assert_eq!(SyncToken::parse(&format!("m5{writers}")), Err(TokenError::Malformed));
    }

    #[test]
    fn sliding_sync_tells_no_presence() {
        let (sync, sliding) = (SyncToken::parse("s1").unwrap(), SyncToken::parse_sliding("7/s1").unwrap());
        let untold = |token: &SyncToken| -> Vec<usize> { (0..20).filter(|field| token.is_untold(*field)).collect() };
        assert_eq!(untold(&sync), Vec::<usize>::new());
        assert_eq!(untold(&sliding), [field_of(Stream::Presence).unwrap()]);
    }

    #[test]
    fn every_stream_has_one_field() {
        for stream in LAYOUT.into_iter().flatten() {
            assert_eq!(LAYOUT.iter().filter(|known| **known == Some(stream)).count(), 1, "{stream:?}");
        }
        assert_eq!(field_of(Stream::Caches), None);
        assert_eq!(field_of(Stream::ProfileUpdates), Some(13));
    }

    proptest! {
        #[test]
        fn nothing_breaks_the_reader(text in "[sm0-9_~./-]{0,60}|.{0,40}") {
            let _ = SyncToken::parse(&text);
            let _ = SyncToken::parse_sliding(&text);
        }

        #[test]
        fn what_is_written_is_read(least in any::<i64>(), further in prop::collection::btree_map(any::<u32>(), any::<i64>(), 0..9)) {
            let parts: String = further.iter().map(|(writer, at)| format!("~{writer}.{at}")).collect();
            let token = SyncToken::parse(&format!("m{least}{parts}_1_1_m{least}{parts}")).unwrap();
            let expected = Position { least, further: further.into_iter().collect() };
            prop_assert_eq!(&token.fields()[0], &expected);
            prop_assert_eq!(&token.fields()[3], &expected);
        }
    }
}
