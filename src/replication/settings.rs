//! How Synapse's Redis is reached, and who is expected to speak there.
//!
//! It is `redis:` of homeserver.yaml, which Synapse's own processes use. Not here: its `dbid`, because publications know
//! no databases.

use std::io;
use std::path::PathBuf;

use crate::secret::Secret;
use crate::upstream::Address;

/// Where and what to follow.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `host` and `port`, or `path`.
    pub address: Address,
    /// The name of the user. Without one, a password is for the default user.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Password>,
    /// How TLS is spoken, if it is. Not over a unix socket.
    pub tls: Option<Tls>,
    /// The homeserver's name, which is the channel's as well.
    pub server_name: String,
    /// The processes that are expected to tell their positions, by the names that they have in Synapse (main is `master`).
    /// With these known, following begins as soon as all have done so; without, after some seconds.
    pub expected_instances: Vec<String>,
    /// Whether the user may publish. Without it positions cannot be asked for, so that a lost row is noticed later.
    pub may_publish: bool,
}

/// Where the password is to be had.
#[derive(Clone, Debug)]
pub enum Password {
    /// It stands in the configuration.
    Inline(Secret),
    /// It is the content of this file, without white space at its ends. The file is read for each connection.
    File(PathBuf),
}

/// The files for TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The certificate to show, and its chain.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub private_key: Option<PathBuf>,
    /// The authorities to believe instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// A folder of such authorities; `ca_file` comes before it.
    pub ca_path: Option<PathBuf>,
}

// === impl Password ===

impl Password {
    /// The password.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn read(&self) -> io::Result<Secret> {
        match self {
            Password::Inline(secret) => Ok(secret.clone()),
            Password::File(path) => {
                let text = Secret::new(std::fs::read_to_string(path)?);
                Ok(Secret::new(text.expose().trim()))
            }
        }
    }
}

// === impl Tls ===

impl Tls {
    /// The authorities to believe, in PEM; `None` for the system's.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn authorities(&self) -> io::Result<Option<Vec<u8>>> {
        if let Some(path) = &self.ca_file {
            return std::fs::read(path).map(Some);
        }
        let Some(folder) = &self.ca_path else { return Ok(None) };
        let mut all = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            // Such folders hold every certificate twice: under its name, and linked under its hash.
            if path.is_file() && !path.is_symlink() {
                all.extend(std::fs::read(path)?);
                all.push(b'\n');
            }
        }
        Ok(Some(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_read_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, " hunter2\n").unwrap();
        let file = Password::File(path);
        assert_eq!(file.read().unwrap().expose(), "hunter2");
        let inline = Password::Inline(Secret::new("hunter2"));
        assert_eq!(inline.read().unwrap().expose(), "hunter2");
        assert!(!format!("{inline:?}{file:?}").contains("hunter2"));
    }

    #[test]
    fn authorities_come_from_the_file_else_from_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.pem"), "a").unwrap();
        std::os::unix::fs::symlink("a.pem", folder.path().join("1234.0")).unwrap();
        let file = Some(folder.path().join("a.pem"));
        let path = Some(folder.path().to_owned());
        let table =
            [(None, None, None), (None, path.clone(), Some(b"a\n".to_vec())), (file, path, Some(b"a".to_vec()))];
        for (ca_file, ca_path, expected) in table {
            let tls = Tls { ca_file, ca_path, ..Tls::default() };
            assert_eq!(tls.authorities().unwrap(), expected);
        }
    }
}
