//! A row's JSON, read only as far as the rules look: a list of fields that slice patterns take apart.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A field of a row. Its `Debug` shows no text, because a text may be an access token.
#[derive(Clone, PartialEq)]
pub enum Field<'row> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Number(i64),
    /// A text, borrowed unless it has escapes.
    Text(Cow<'row, str>),
    /// A list.
    List(Vec<Field<'row>>),
    /// An object, a fraction or a number beyond 64 bits: no rule looks into these.
    Other,
}

/// Reads a row, which is a list. `None` if it is none.
pub fn row(json: &str) -> Option<Vec<Field<'_>>> {
    match serde_json::from_str(json) {
        Ok(Field::List(fields)) => Some(fields),
        _ => None,
    }
}

impl fmt::Debug for Field<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Field::Null => "Null",
            Field::Bool(_) => "Bool",
            Field::Number(_) => "Number",
            Field::Text(_) => "Text",
            Field::List(_) => "List",
            Field::Other => "Other",
        })
    }
}

impl<'de> Deserialize<'de> for Field<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyField)
    }
}

struct AnyField;

impl<'de> Visitor<'de> for AnyField {
    type Value = Field<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Field<'de>, E> {
        Ok(Field::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Field<'de>, E> {
        Ok(Field::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Field<'de>, E> {
        Ok(Field::Number(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Field<'de>, E> {
        Ok(i64::try_from(value).map_or(Field::Other, Field::Number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Field<'de>, E> {
        Ok(Field::Other)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Field<'de>, E> {
        Ok(Field::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Field<'de>, E> {
        Ok(Field::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Field<'de>, E> {
        Ok(Field::Text(Cow::Owned(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Field<'de>, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = list.next_element()? {
            fields.push(field);
        }
        Ok(Field::List(fields))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Field<'de>, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Field<'_> {
        Field::Text(Cow::Borrowed(text))
    }

    #[test]
    fn a_row_becomes_its_fields() {
        let table = [
            ("[]", Some(vec![])),
            (r#"["a", null, true, -5]"#, Some(vec![text("a"), Field::Null, Field::Bool(true), Field::Number(-5)])),
            (r#"["\u00e9", ["b"], {"ts": 1}]"#, Some(vec![text("é"), Field::List(vec![text("b")]), Field::Other])),
            ("[1.5, 18446744073709551615]", Some(vec![Field::Other, Field::Other])),
            ("{}", None),
            ("null", None),
            ("[", None),
            ("[] []", None),
            ("", None),
        ];
        for (json, expected) in table {
            assert_eq!(row(json), expected, "{json}");
        }
    }

    #[test]
    fn a_row_as_deep_as_a_well_is_none() {
        assert_eq!(row(&"[".repeat(100_000)), None);
    }

    #[test]
    fn plain_texts_are_borrowed() {
        let fields = row(r#"["plain"]"#).unwrap();
        assert!(matches!(fields.as_slice(), [Field::Text(Cow::Borrowed("plain"))]));
    }

    #[test]
    fn debug_output_shows_no_text() {
        assert_eq!(format!("{:?}", row(r#"["syt_secret", 1]"#)), "Some([Text, Number])");
    }
}
