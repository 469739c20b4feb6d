//! A dendron before a real Synapse.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::call::Client;
use super::stack::Homeserver;
use crate::accounting::{Usage, usage};
use crate::contenders::{Stage, free_port};
use crate::fault::{Doing, Outcome, wrong};
use crate::process::Running;

/// How long it may take to begin, and to know what it needs to answer by itself.
const START: Duration = Duration::from_secs(60);

/// A running dendron. It ends when this is dropped.
pub(crate) struct Edge {
    pub(crate) port: u16,
    /// The port with TLS.
    pub(crate) tls: u16,
    admin: Client,
    running: Running,
}

impl Edge {
    /// Starts one with these settings in dendron.yaml besides, and waits until its `/status` is as it should be.
    pub(crate) fn start(
        stage: &Stage<'_>,
        homeserver: &Homeserver,
        settings: &str,
        is_ready: impl Fn(&Value) -> bool,
    ) -> Outcome<Self> {
        let (port, tls, admin) = (free_port()?, free_port()?, free_port()?);
        let folder = homeserver.folder();
        let path = folder.join("edge.yaml");
        let [own, more] = homeserver.configuration();
        let workers = homeserver.worker_configuration().unwrap_or_default();
        let text = format!(
            "listeners:\n  - address: 127.0.0.1:{port}\n  - address: 127.0.0.1:{tls}\n    \
             tls: {{certificate: {}, key: {}}}\nadmin: {{address: \"127.0.0.1:{admin}\"}}\n\
             synapse: {{config: [{}, {}], workers: [{}]}}\nlog: {{access: {}}}\n{settings}",
            stage.certificate.certificate.display(),
            stage.certificate.key.display(),
            own.display(),
            more.display(),
            workers.display(),
            folder.join("access.log").display(),
        );
        std::fs::write(&path, text).doing("writing dendron.yaml")?;
        let command = &mut Command::new(stage.dendron);
        let running =
            Running::start("dendron", command.arg("run").arg("--config").arg(&path), &folder.join("edge.out"))?;
        let mut edge = Edge { port, tls, admin: Client::new(admin), running };
        let admin = edge.admin.clone();
        let status = || admin.ask("GET", "/status", "", None);
        edge.running.wait_until("become ready", START, || {
            admin.text("GET", "/ready", "", None).is_ok() && status().is_ok_and(|status| is_ready(&status))
        })?;
        Ok(edge)
    }

    /// What it has used so far.
    pub(crate) fn usage(&self) -> Outcome<Usage> {
        usage(self.running.id())
    }

    /// The sum of a metric's samples whose line begins so.
    pub(crate) fn metric(&self, beginning: &str) -> Outcome<f64> {
        let text = self.admin.text("GET", "/metrics", "", None)?;
        let lines = text.lines().filter(|line| line.starts_with(beginning));
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Waits until a metric has a value.
    pub(crate) fn wait_for(&self, beginning: &str, is_so: impl Fn(f64) -> bool) -> Outcome<()> {
        let begun = Instant::now();
        while begun.elapsed() < START {
            if is_so(self.metric(beginning)?) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(wrong(format!("{beginning} is not what it should be: {}", self.metric(beginning)?)))
    }
}
