//! A dendron beside a stack's own: the same Synapse, but a homeserver.yaml of its own, everything logged that can be,
//! and a peer that is believed, so that requests can bear names and come from any address.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;
use rustix::process::Signal;
use serde_json::Value;

use super::Answers;
use crate::harness::child::Child;
use crate::harness::eventually::{SOON, eventually};
use crate::harness::http::Client;
use crate::harness::stack::{Stack, free_address};
use crate::harness::{dendron, ensure, fronted};

/// A running dendron.
pub struct Edge {
    /// Its listener, `HOST:PORT`.
    pub address: String,
    admin: Client,
    folder: PathBuf,
    /// Whether it says more than what goes wrong.
    is_talkative: bool,
    process: Child,
}

/// What all that can be logged is logged by.
const LEVEL: &str = "trace";
/// What Synapse says of logins that are not its own is to be seen, too.
const SETTINGS: &str = "trusted_proxies: ['127.0.0.1']\npools: {authentication: []}\n";

impl Edge {
    /// Starts one before a stack's Synapse, and waits until it serves. `changes` are top-level settings in YAML that
    /// stand in place of those of the stack's homeserver.yaml; what is `null` is taken away.
    pub fn start(stack: &Stack, name: &str, changes: &str) -> Result<Self, Failed> {
        Self::with(stack, name, changes, SETTINGS)
    }

    /// The same for one that answers logins itself: waits until it does.
    pub fn answering(stack: &Stack, name: &str, changes: &str) -> Result<Self, Failed> {
        let edge = Self::start(stack, name, changes)?;
        until_answering(&edge.admin)?;
        Ok(edge)
    }

    /// The same for one that logs in another way.
    pub fn logging(stack: &Stack, name: &str, level: &str, format: &str) -> Result<Self, Failed> {
        let edge = Self::begin(stack, name, "", SETTINGS, (level, format))?;
        until_answering(&edge.admin)?;
        Ok(edge)
    }

    /// Starts one with these settings in dendron.yaml besides listeners, files and logs.
    pub fn with(stack: &Stack, name: &str, changes: &str, settings: &str) -> Result<Self, Failed> {
        Self::begin(stack, name, changes, settings, (LEVEL, "json"))
    }

    fn begin(
        stack: &Stack,
        name: &str,
        changes: &str,
        settings: &str,
        (level, format): (&str, &str),
    ) -> Result<Self, Failed> {
        let folder = stack.subfolder(name)?;
        let homeserver = std::fs::read_to_string(stack.text(&["synapse", "homeserver"]))?;
        std::fs::write(folder.join("homeserver.yaml"), changed(&homeserver, changes)?)?;
        let (address, admin) = (free_address()?, free_address()?);
        let config = folder.join("dendron.yaml");
        std::fs::write(
            &config,
            format!(
                "listeners: [{{address: '{address}'}}]\nadmin: {{address: '{admin}'}}\n\
                 synapse: {{config: [homeserver.yaml]}}\n\
                 log: {{level: {level}, access: ./access.log, format: {format}}}\n{settings}"
            ),
        )?;
        fronted::settle(&config)?;
        let arguments = ["run", "--config", config.to_str().unwrap_or_default()];
        let mut process = Child::start("dendron", dendron(), &arguments, &folder.join("dendron.out"))?;
        let admin = Client::new(&format!("http://{admin}"));
        eventually(SOON, || match admin.get("/ready") {
            Ok(answer) if answer.status == 200 => Ok(()),
            _ => {
                let said = std::fs::read_to_string(folder.join("dendron.out")).unwrap_or_default();
                Err(format!("{name} is not ready; it runs: {}; it said:\n{said}", process.is_running()).into())
            }
        })?;
        let is_talkative = ["debug", LEVEL].contains(&level);
        Ok(Edge { address, admin, folder, is_talkative, process })
    }

    /// Sends it a signal.
    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// A client of its admin listener.
    pub fn admin(&self) -> &Client {
        &self.admin
    }

    /// Stops it, so that its logs are whole; returns who answered each request that bore a name, as far as they are JSON.
    pub fn stop(&mut self) -> Result<Answers, Failed> {
        self.process.stop(Signal::INT)?;
        let log = std::fs::read_to_string(self.folder.join("access.log"))?;
        let mut answers = HashMap::new();
        for line in log.lines() {
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            answers.insert(text("request_id"), text("answered_by"));
        }
        Ok(Answers(answers))
    }

    /// Fails if one of these texts is in its metrics, its status or a log. Its logs are whole only when it has ended,
    /// and its admin listener speaks only before that: so this ends it.
    pub fn tells_none_of(&mut self, secrets: &[String]) -> Result<Answers, Failed> {
        ensure!(secrets.len() > 3 && secrets.iter().all(|secret| secret.len() > 7), "no secrets: {secrets:?}");
        let mut told = Vec::new();
        for page in ["/metrics", "/status", "/ready", "/health", "/"] {
            told.push((page.to_owned(), self.admin.get(page)?.text()));
        }
        let answers = self.stop()?;
        for log in ["dendron.out", "access.log"] {
            let text = std::fs::read_to_string(self.folder.join(log))?;
            let is_long = text.lines().count() > 3;
            let may_be_short = log == "dendron.out" && !self.is_talkative;
            ensure!(is_long || may_be_short, "{log} is too short to prove anything:\n{text}");
            told.push((log.to_owned(), text));
        }
        for (name, text) in told {
            for secret in secrets {
                for spelling in spellings(secret) {
                    let line = text.lines().find(|line| line.contains(&spelling));
                    ensure!(line.is_none(), "{name} tells {spelling:?}: {line:?}");
                }
            }
        }
        Ok(answers)
    }
}

/// Waits until a dendron answers logins itself.
pub fn until_answering(admin: &Client) -> Result<(), Failed> {
    eventually(SOON, || {
        let status: Value = serde_json::from_slice(&admin.get("/status")?.body)?;
        ensure!(status["logins"]["ready"] == true, "logins are not answered: {}", status["logins"]);
        Ok(())
    })
}

/// A secret as it is, and as it would stand in a query, a debug output and a basic authorization.
fn spellings(secret: &str) -> Vec<String> {
    use base64::Engine;
    let quoted = format!("{secret:?}");
    let mut spellings = vec![
        secret.to_owned(),
        crate::harness::matrix::encoded(secret),
        quoted.trim_matches('"').to_owned(),
        base64::engine::general_purpose::STANDARD_NO_PAD.encode(secret),
        // A list of bytes, as Rust shows one that nobody has made a text of.
        format!("{:?}", secret.as_bytes()).trim_matches(['[', ']']).to_owned(),
    ];
    spellings.dedup();
    spellings
}

/// A homeserver.yaml with other settings in it.
pub fn changed(homeserver: &str, changes: &str) -> Result<String, Failed> {
    let mut settings: serde_yaml::Mapping = serde_yaml::from_str(homeserver)?;
    let changes: Option<serde_yaml::Mapping> = serde_yaml::from_str(changes)?;
    for (name, value) in changes.unwrap_or_default() {
        match value {
            serde_yaml::Value::Null => drop(settings.remove(&name)),
            value => drop(settings.insert(name, value)),
        }
    }
    Ok(serde_yaml::to_string(&settings)?)
}

/// The contents of the file that a stack names.
pub fn secret_in(path: &str) -> Result<String, Failed> {
    Ok(std::fs::read_to_string(Path::new(path))?.trim().to_owned())
}
