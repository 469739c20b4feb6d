//! Times as the configuration writes them: `500ms`, `10s`, `2m`, `1h`, `1d`.
//!
//! A field takes this form by `#[serde(with = "crate::duration")]`, a list or map of times by [`Text`]. A number without
//! a unit is refused: it would mean seconds to one reader and milliseconds to another (and to Synapse). Sums such as
//! `1h30m` are deliberately not read: every time in dendron's configuration is one number and one unit.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use serde::ser::Serializer;

/// A time that is read and written as a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text(pub Duration);

/// Why a text is no time.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DurationError {
    /// It is not a number followed by one of the units.
    #[error("expected {EXPECTED}")]
    Form,
    /// It is longer than anybody can mean, and would overflow when added to the present time.
    #[error("expected at most ten years")]
    TooLong,
}

/// What a time looks like, for those who wrote something else.
const EXPECTED: &str = "a duration with its unit, such as 500ms, 30s, 10m, 2h or 1d";

/// The units, longest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Ten years: beyond it, adding a time to a clock could overflow.
const LONGEST_MS: u64 = 10 * 366 * 86_400_000;

/// Reads a time: one whole number and one unit, perhaps with spaces between them.
///
/// # Errors
///
/// When the text has another form, or says more than ten years.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let (_, unit_ms) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(DurationError::Form)?;
    if number.is_empty() {
        return Err(DurationError::Form);
    }
    // Only digits are left, so a number that does not parse is one that does not fit.
    let number: u64 = number.parse().map_err(|_| DurationError::TooLong)?;
    let milliseconds = number.checked_mul(*unit_ms).filter(|milliseconds| *milliseconds <= LONGEST_MS);
    milliseconds.map(Duration::from_millis).ok_or(DurationError::TooLong)
}

/// Writes a time so that [`parse`] reads it back, in the longest unit that loses nothing down to a millisecond.
pub fn text(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    let fitting = UNITS.iter().find(|(_, unit_ms)| milliseconds.is_multiple_of(u128::from(*unit_ms)));
    let (unit, unit_ms) = fitting.unwrap_or(&("ms", 1));
    format!("{}{unit}", milliseconds / u128::from(*unit_ms))
}

/// Reads a field of serde's.
///
/// # Errors
///
/// When the value is no text that [`parse`] takes.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    // Whatever type the format found: YAML reads `10` as a number, and the error should say so.
    deserializer.deserialize_any(DurationVisitor)
}

/// Writes a field of serde's.
///
/// # Errors
///
/// Only those of the serializer.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(*duration))
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer).map(Text)
    }
}

struct DurationVisitor;

impl Visitor<'_> for DurationVisitor {
    type Value = Duration;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        parse(text).map_err(|error| match error {
            DurationError::Form => E::invalid_value(Unexpected::Str(text), &self),
            DurationError::TooLong => E::custom(error),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize, serde::Serialize)]
    struct Settings {
        #[serde(with = "crate::duration")]
        timeout: Duration,
    }

    #[test]
    fn times_are_read() {
        let table = [
            ("500ms", Ok(Duration::from_millis(500))),
            ("10s", Ok(Duration::from_secs(10))),
            ("2m", Ok(Duration::from_secs(120))),
            ("1h", Ok(Duration::from_secs(3600))),
            ("1d", Ok(Duration::from_secs(86_400))),
            ("30 s", Ok(Duration::from_secs(30))),
            ("0s", Ok(Duration::ZERO)),
            ("10", Err(DurationError::Form)),
            ("0", Err(DurationError::Form)),
            ("", Err(DurationError::Form)),
            ("s", Err(DurationError::Form)),
            ("-1s", Err(DurationError::Form)),
            ("+1s", Err(DurationError::Form)),
            ("1.5s", Err(DurationError::Form)),
            (" 10s", Err(DurationError::Form)),
            ("1h30m", Err(DurationError::Form)),
            ("10S", Err(DurationError::Form)),
            ("10D", Err(DurationError::Form)),
            ("10w", Err(DurationError::Form)),
            ("1٣s", Err(DurationError::Form)),
            ("99999999999999999999s", Err(DurationError::TooLong)),
            ("18446744073709551615h", Err(DurationError::TooLong)),
            ("100000h", Err(DurationError::TooLong)),
            ("3660d", Ok(Duration::from_secs(3660 * 86_400))),
            ("3661d", Err(DurationError::TooLong)),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_written_time_reads_back() {
        let table = [
            (0, "0s"),
            (1, "1ms"),
            (500, "500ms"),
            (1_500, "1500ms"),
            (10_000, "10s"),
            (90_000, "90s"),
            (120_000, "2m"),
            (5_400_000, "90m"),
            (86_400_000, "1d"),
            (90_000_000, "25h"),
        ];
        for (milliseconds, expected) in table {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(text(duration), expected);
            assert_eq!(parse(expected), Ok(duration), "{expected}");
        }
    }

    #[test]
    fn yaml_gives_a_text_or_an_error_that_says_what_was_expected() {
        let table = [
            ("timeout: 10s", Ok(10_000)),
            ("timeout: \"250ms\"", Ok(250)),
            ("timeout: 10", Err(EXPECTED)),
            ("timeout: 0.25", Err(EXPECTED)),
            ("timeout: -1", Err(EXPECTED)),
            ("timeout: true", Err(EXPECTED)),
            ("timeout: [10s]", Err(EXPECTED)),
            ("timeout: soon", Err(EXPECTED)),
            ("timeout: 100000d", Err("expected at most ten years")),
        ];
        for (yaml, expected) in table {
            let settings = serde_yaml::from_str::<Settings>(yaml).map(|settings| settings.timeout);
            match (settings, expected) {
                (Ok(timeout), Ok(milliseconds)) => assert_eq!(timeout, Duration::from_millis(milliseconds), "{yaml}"),
                (Err(error), Err(said)) => assert!(error.to_string().contains(said), "{yaml}: {error}"),
                (outcome, _) => panic!("{yaml}: {outcome:?}"),
            }
        }
    }

    #[test]
    fn yaml_gets_a_text() {
        let settings = Settings { timeout: Duration::from_secs(120) };
        assert_eq!(serde_yaml::to_string(&settings).expect("writes"), "timeout: 2m\n");
    }
}
