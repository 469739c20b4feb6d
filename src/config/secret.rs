//! Where Synapse keeps its secrets.

use std::path::PathBuf;

use crate::secret::Secret;

/// Where a secret is to be had. A file is read when the secret is needed, so that a configuration can be checked by
/// somebody who may not read the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// It stands in the configuration itself.
    Inline(Secret),
    /// It is the content of this file, without white space at its ends (`read_file(…).strip()` in Synapse).
    File(PathBuf),
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
