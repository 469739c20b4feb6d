//! A homeserver that others can reach: a stack whose dendron listens with TLS as well.

use std::path::Path;

use libtest_mimic::Failed;
use time::OffsetDateTime;

use super::stack::Stack;
use super::tls::{Authority, Files};

/// A stack, and where its dendron listens with TLS.
pub struct Federated {
    pub stack: Stack,
    pub url: String,
    pub address: String,
    pub port: u16,
    pub files: Files,
    /// When its certificate expires.
    pub expires: OffsetDateTime,
}

impl Federated {
    /// Starts a monolith without waiting for Synapse, which trusts the authority alone. `folder` is for the certificate's
    /// files; `more` are further arguments of `stack.py prepare`.
    pub fn start(
        name: &str,
        authority: &Authority,
        folder: &Path,
        expires: OffsetDateTime,
        more: &[&str],
    ) -> Result<Self, Failed> {
        let files = Files::new(folder, name);
        authority.sign(&files, expires)?;
        let arguments = [
            "--tls-certificate",
            path_text(&files.certificate),
            "--tls-key",
            path_text(&files.key),
            "--listen-tls",
            "127.0.0.1:0",
            "--federation-ca",
            path_text(&authority.file),
        ];
        let mut stack = Stack::prepare(name, "monolith", &[&arguments, more].concat())?;
        stack.start_dendron()?;
        let listeners = stack.facts["dendron"]["listeners"].as_array().cloned().unwrap_or_default();
        let listener = listeners.iter().find(|listener| listener["tls"] == true).ok_or("no listener has TLS")?;
        let text = |key: &str| listener[key].as_str().unwrap_or_default().to_owned();
        let (url, address) = (text("url"), text("address"));
        let port = address.rsplit(':').next().unwrap_or_default().parse()?;
        Ok(Federated { stack, url, address, port, files, expires })
    }

    /// The homeserver's name, by which others find it.
    pub fn name(&self) -> String {
        self.stack.text(&["server_name"])
    }
}

fn path_text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
