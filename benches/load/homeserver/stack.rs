//! The databases and Synapse, as `scripts/stack.py` prepares them: no limits of requests, open registration, and metrics.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::call::Client;
use crate::accounting::{Usage, usage};
use crate::contenders::free_port;
use crate::fault::{Doing, Outcome, wrong};
use crate::process::Running;

/// How long the databases, and Synapse, may take to start on a busy machine.
const START: Duration = Duration::from_secs(150);

/// A running homeserver. It ends when this is dropped: Synapse first, which stands on the databases.
pub(crate) struct Homeserver {
    folder: PathBuf,
    facts: Value,
    synapse: Option<Running>,
    worker: Option<Worker>,
    _databases: Running,
}

/// A worker of Synapse's, which serves clients.
struct Worker {
    running: Running,
    port: u16,
}

impl Homeserver {
    /// Makes a fresh one and starts its databases.
    pub(crate) fn databases() -> Outcome<Self> {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
        let dev = std::env::var_os("DENDRON_DEV").map_or_else(|| checkout.join(".dev"), PathBuf::from);
        let (python, script) = (dev.join("venv/bin/python"), checkout.join("scripts/stack.py"));
        let folder = dev.join("bench-stack");
        if folder.exists() {
            std::fs::remove_dir_all(&folder).doing(format!("removing {}", folder.display()))?;
        }
        std::fs::create_dir_all(&folder).doing(format!("making {}", folder.display()))?;
        let prepared = Command::new(&python)
            .arg(&script)
            .args(["prepare", "--shape", "monolith", "--no-supervise", "--dir"])
            .arg(&folder)
            .output()
            .doing("starting stack.py; ./dev bench installs what it needs")?;
        if !prepared.status.success() {
            return Err(wrong(format!("stack.py prepare: {}", String::from_utf8_lossy(&prepared.stderr))));
        }
        let facts = std::fs::read(folder.join("stack.json")).doing("reading stack.json")?;
        let facts = serde_json::from_slice(&facts).map_err(|error| wrong(format!("stack.json: {error}")))?;
        let log = folder.join("databases.out");
        let command = &mut Command::new(&python);
        command.arg(&script).args(["databases", "--dir"]).arg(&folder);
        let mut databases = Running::start("the databases", command, &log)?;
        databases.wait_until("become ready", START, || {
            std::fs::read_to_string(&log).is_ok_and(|said| said.lines().any(|line| line == "ready"))
        })?;
        Ok(Homeserver { folder, facts, synapse: None, worker: None, _databases: databases })
    }

    /// Starts Synapse, or starts it again, with these settings before those of the stack, and without a worker.
    pub(crate) fn run_synapse(&mut self, settings: &Value) -> Outcome<()> {
        self.worker = None;
        self.synapse = None;
        // JSON is YAML as well.
        std::fs::write(self.more(), settings.to_string()).doing("writing settings of Synapse's")?;
        let words = self.facts["synapse"]["processes"][0]["command"].as_array();
        let words: Vec<&str> = words.into_iter().flatten().filter_map(Value::as_str).collect();
        let Some((program, arguments)) = words.split_first() else { return Err(wrong("stack.json has no command")) };
        let command = &mut Command::new(program);
        command.args(arguments).arg("-c").arg(self.more()).current_dir(&self.folder);
        self.synapse = Some(healthy("Synapse", command, &self.folder.join("synapse.out"), self.port())?);
        Ok(())
    }

    /// Starts a worker beside Synapse's main process.
    pub(crate) fn run_worker(&mut self) -> Outcome<()> {
        let (path, port) = (self.folder.join("worker.yaml"), free_port()?);
        let settings = json!({
            "worker_app": "synapse.app.generic_worker",
            "worker_name": "worker1",
            "worker_listeners": [{
                "port": port,
                "bind_addresses": ["127.0.0.1"],
                "type": "http",
                "x_forwarded": true,
                "resources": [{ "names": ["client", "health"] }],
            }],
            "worker_log_config": self.folder.join("log-config/main.yaml"),
        });
        std::fs::write(&path, settings.to_string()).doing("writing a worker's settings")?;
        let python = self.facts["python"].as_str().unwrap_or_default();
        let command = &mut Command::new(python);
        command.args(["-m", "synapse.app.generic_worker"]).current_dir(&self.folder);
        for path in self.configuration().iter().chain([&path]) {
            command.arg("-c").arg(path);
        }
        let running = healthy("a worker", command, &self.folder.join("worker.out"), port)?;
        self.worker = Some(Worker { running, port });
        Ok(())
    }

    /// The files that Synapse's configuration is in.
    pub(crate) fn configuration(&self) -> [PathBuf; 2] {
        [self.folder.join("homeserver.yaml"), self.more()]
    }

    /// The file that a worker's is in, if one runs.
    pub(crate) fn worker_configuration(&self) -> Option<PathBuf> {
        self.worker.as_ref().map(|_| self.folder.join("worker.yaml"))
    }

    /// Where everything of it lies.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The channel on which its processes speak, and the socket of its Redis.
    pub(crate) fn redis(&self) -> (&str, &str) {
        fn text(value: &Value) -> &str {
            value.as_str().unwrap_or_default()
        }
        (text(&self.facts["server_name"]), text(&self.facts["redis"]["socket"]))
    }

    /// Where that process listens which has the requests that need not go to the main one.
    pub(crate) fn worker_port(&self) -> u16 {
        self.worker.as_ref().map_or_else(|| self.port(), |worker| worker.port)
    }

    /// Where Synapse's main process listens.
    pub(crate) fn port(&self) -> u16 {
        let address = self.facts["synapse"]["processes"][0]["address"].as_str().unwrap_or_default();
        address.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_default()
    }

    /// A client of Synapse itself.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.port())
    }

    /// What Synapse has used so far, a worker besides.
    pub(crate) fn usage(&self) -> Outcome<Usage> {
        let main = usage(self.synapse.as_ref().ok_or_else(|| wrong("Synapse does not run"))?.id())?;
        let worker = self.worker.as_ref().map_or_else(|| Ok(Usage::default()), |worker| usage(worker.running.id()))?;
        Ok(main + worker)
    }

    fn more(&self) -> PathBuf {
        self.folder.join("more.yaml")
    }
}

/// Starts a process of Synapse's, which listens there.
fn healthy(name: &str, command: &mut Command, log: &Path, port: u16) -> Outcome<Running> {
    let mut running = Running::start(name, command, log)?;
    let client = Client::new(port);
    running.wait_until("become healthy", START, || client.text("GET", "/health", "", None).is_ok())?;
    Ok(running)
}
