//! Texts that nobody may see: passwords, tokens, keys.
//!
//! They are shown by no `Debug` output, and their memory is overwritten when they are dropped. A compiler cannot keep
//! somebody from writing down what [`Secret::expose`] returns, so the word is meant to stand out in a review.

use std::fmt;

use zeroize::Zeroizing;

/// A text that no log, message or `Debug` output ever shows.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// A secret of this text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(Zeroizing::new(text.into()))
    }

    /// The text itself. Nothing that is written anywhere may be made of it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

impl<'de> serde::Deserialize<'de> for Secret {
    /// Reads a text. The visitor says nothing about a value of another type but that a text was expected.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Secret;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text (in quotes)")
            }

            fn visit_str<E>(self, text: &str) -> Result<Secret, E> {
                Ok(Secret::new(text))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_it() {
        assert_eq!(format!("{:?}", Some(Secret::new("hunter2"))), "Some(Secret(…))");
    }

    #[test]
    fn a_wrong_type_is_told_without_its_value() {
        let error = serde_yaml::from_str::<Secret>("[hunter2]").unwrap_err().to_string();
        assert!(error.contains("expected a text") && !error.contains("hunter2"), "{error}");
    }
}
