//! Secrets of Synapse's that dendron may need later. They are shown nowhere.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

/// A text that no log, message or `Debug` output ever shows.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

/// Where a secret is to be had. A file is read when the secret is needed, so that a configuration can be checked by
/// somebody who may not read the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// It stands in the configuration itself.
    Inline(Secret),
    /// It is the content of this file, without white space at its ends (`read_file(…).strip()` in Synapse).
    File(PathBuf),
}

// === impl Secret ===

impl Secret {
    /// A secret of this text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
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

impl<'de> Deserialize<'de> for Secret {
    /// Reads a text. The visitor says nothing about a value of another type but that a text was expected.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
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

// === impl SecretSource ===

impl SecretSource {
    /// The secret.
    ///
    /// # Errors
    /// The file could not be read.
    pub fn read(&self) -> std::io::Result<Secret> {
        match self {
            SecretSource::Inline(secret) => Ok(secret.clone()),
            SecretSource::File(path) => Ok(Secret::new(std::fs::read_to_string(path)?.trim())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_it() {
        let source = SecretSource::Inline(Secret::new("hunter2"));
        assert_eq!(format!("{source:?}"), "Inline(Secret(…))");
    }

    #[test]
    fn a_file_is_read_without_its_last_newline() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("secret");
        std::fs::write(&path, "hunter2\n").expect("file");
        assert_eq!(SecretSource::File(path.clone()).read().expect("secret").expose(), "hunter2");
        std::fs::remove_file(&path).expect("removed");
        assert!(SecretSource::File(path).read().is_err());
    }
}
