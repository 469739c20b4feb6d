//! A real stack: PostgreSQL and Redis, dendron, and the Synapse that dendron starts.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::child::Child;
use super::eventually::{SOON, eventually};
use super::http::Client;
use super::matrix::expect_ok;
use super::{checkout, dendron, dev_folder, ensure, fronted, processes, synapse_python};

/// How long databases may take to be ready.
const DATABASES: Duration = Duration::from_secs(90);
/// How long Synapse may take, with all its workers on a small machine.
const SYNAPSE: Duration = Duration::from_secs(150);

/// A running stack. Dropping it stops dendron, which stops Synapse, and then the databases.
pub struct Stack {
    folder: PathBuf,
    /// What `stack.json` says: addresses, processes, logs.
    pub facts: Value,
    /// A short place for dendron's own socket: the path of a socket may have 107 bytes.
    sockets: TempDir,
    // In this order: dendron stops before what it stands on.
    dendron: Option<Child>,
    databases: Child,
}

impl Stack {
    /// Prepares a stack of a shape in a fresh folder, and starts its databases but not dendron. `more` are further
    /// arguments of `stack.py prepare`.
    pub fn prepare(name: &str, shape: &str, more: &[&str]) -> Result<Self, Failed> {
        Stack::prepare_on(&synapse_python(), name, shape, more)
    }

    /// The same with the Synapse that this Python has.
    fn prepare_on(python: &Path, name: &str, shape: &str, more: &[&str]) -> Result<Self, Failed> {
        let folder = dev_folder().join("test").join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        let sockets = tempfile::tempdir()?;
        let prepared = Command::new(python)
            .arg(stack_script())
            .arg("prepare")
            .arg("--dir")
            .arg(&folder)
            .args(["--shape", shape, "--listen", "127.0.0.1:0", "--listen"])
            .arg(format!("unix:{}", edge_socket(&sockets).display()))
            .args(more)
            .output()?;
        if !prepared.status.success() {
            return Err(format!("stack.py prepare: {}", String::from_utf8_lossy(&prepared.stderr)).into());
        }
        let facts: Value = serde_json::from_slice(&std::fs::read(folder.join("stack.json"))?)?;

        let databases = databases(&folder)?;
        Ok(Stack { folder, facts, sockets, dendron: None, databases })
    }

    /// The whole stack, ready to serve.
    pub fn start(name: &str, shape: &str, more: &[&str]) -> Result<Self, Failed> {
        Stack::start_on(&synapse_python(), name, shape, more)
    }

    /// The same with the Synapse that this Python has.
    pub fn start_on(python: &Path, name: &str, shape: &str, more: &[&str]) -> Result<Self, Failed> {
        let mut stack = Stack::prepare_on(python, name, shape, more)?;
        stack.start_dendron()?;
        stack.wait_until_ready()?;
        Ok(stack)
    }

    /// Stops PostgreSQL and Redis, whoever uses them.
    pub fn stop_databases(&mut self) -> Result<(), Failed> {
        self.databases.stop(Signal::TERM).map(drop)
    }

    /// Starts both again, with what they held.
    pub fn start_databases(&mut self) -> Result<(), Failed> {
        self.databases = databases(&self.folder)?;
        Ok(())
    }

    /// Starts dendron with the stack's configuration.
    pub fn start_dendron(&mut self) -> Result<(), Failed> {
        let config = self.text(&["dendron", "config"]);
        fronted::settle(Path::new(&config))?;
        let output = self.dendron_log();
        self.dendron = Some(Child::start("dendron", dendron(), &["run", "--config", &config], &output)?);
        Ok(())
    }

    /// Goes on with the Synapse that this Python has: all of its processes end and begin again, and so does dendron.
    pub fn change_synapse(&mut self, python: &Path) -> Result<(), Failed> {
        self.stop_dendron()?;
        let config = self.text(&["dendron", "config"]);
        let mut settings: serde_yaml::Value = serde_yaml::from_str(&std::fs::read_to_string(&config)?)?;
        settings["supervise"]["python"] = path_text(python).into();
        std::fs::write(&config, serde_yaml::to_string(&settings)?)?;
        self.start_dendron()?;
        self.wait_until_ready()
    }

    /// Waits until dendron says that it is ready, and that every process of every pool is healthy: before that main may
    /// serve what is a worker's.
    pub fn wait_until_ready(&mut self) -> Result<(), Failed> {
        let admin = self.admin();
        let log = self.dendron_log();
        let dendron = self.dendron.as_mut().ok_or("dendron was not started")?;
        let outcome = eventually(SYNAPSE, || {
            if !dendron.is_running() {
                // Nothing comes of waiting: the reason is told below.
                return Ok(Err(Failed::from("dendron has ended")));
            }
            let answer = admin.get("/ready")?;
            if answer.status != 200 {
                return Err(answer.text().into());
            }
            let status = admin.get("/status")?.json();
            let pools = status["pools"].as_array().into_iter().flatten();
            let mut processes = pools.flat_map(|pool| pool["processes"].as_array().into_iter().flatten());
            match processes.find(|process| process["healthy"] != true) {
                Some(process) => Err(format!("not healthy yet: {process}").into()),
                None => Ok(Ok(())),
            }
        });
        let outcome = outcome.and_then(|outcome| outcome);
        outcome.map_err(|reason| {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let tail: Vec<&str> = said.lines().rev().take(30).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            let reason = reason.message().unwrap_or_default().to_owned();
            format!("{reason}; dendron runs: {}; its log ends:\n{}", dendron.is_running(), tail.join("\n")).into()
        })
    }

    /// The process that is dendron.
    pub fn dendron(&mut self) -> Result<&mut Child, Failed> {
        self.dendron.as_mut().ok_or_else(|| "dendron was not started".into())
    }

    /// Stops dendron at once, and with it Synapse.
    pub fn stop_dendron(&mut self) -> Result<(), Failed> {
        match self.dendron.take() {
            Some(mut dendron) => dendron.stop(Signal::INT).map(drop),
            None => Ok(()),
        }
    }

    /// A new folder below the stack's own, for a dendron beside the stack's.
    pub fn subfolder(&self, name: &str) -> Result<PathBuf, Failed> {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// The stack's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where dendron's output goes, the access log included.
    pub fn dendron_log(&self) -> PathBuf {
        self.folder.join("dendron.out")
    }

    /// A client of dendron's first listener.
    pub fn client(&self) -> Client {
        Client::new(&self.text(&["dendron", "client_url"]))
    }

    /// The unix socket that dendron listens on besides its TCP listener.
    pub fn edge_socket(&self) -> PathBuf {
        edge_socket(&self.sockets)
    }

    /// A client of the admin listener.
    pub fn admin(&self) -> Client {
        Client::new(&self.text(&["dendron", "admin_url"]))
    }

    /// A text in `stack.json`, by its keys.
    pub fn text(&self, keys: &[&str]) -> String {
        let value = keys.iter().fold(&self.facts, |value, key| &value[*key]);
        value.as_str().unwrap_or_default().to_owned()
    }

    /// What Synapse's process of this name has logged.
    pub fn synapse_log(&self, process: &str) -> Result<String, Failed> {
        let processes = self.facts["synapse"]["processes"].as_array().ok_or("stack.json names no processes")?;
        let found = processes.iter().find(|known| known["name"] == process);
        let path = found.and_then(|known| known["log"].as_str()).ok_or_else(|| format!("no process {process}"))?;
        Ok(std::fs::read_to_string(path)?)
    }

    /// What `/status` says of a process that dendron started.
    pub fn supervised(&self, name: &str) -> Result<Value, Failed> {
        let status = expect_ok(&self.admin().get("/status")?, "/status")?;
        let processes = status["supervised"].as_array().cloned().unwrap_or_default();
        Ok(processes
            .into_iter()
            .find(|process| process["name"] == name)
            .ok_or_else(|| format!("no {name}: {status}"))?)
    }

    /// Sends a signal to a process of this stack's Synapse, and to nobody else, whatever dendron says.
    pub fn signal(&self, name: &str, signal: Signal) -> Result<(), Failed> {
        let id = self.supervised(name)?["pid"].as_u64().and_then(|id| u32::try_from(id).ok());
        let id = id.ok_or_else(|| format!("{name} does not run"))?;
        let command = processes::command_of(id).unwrap_or_default();
        let is_meant = command.contains("synapse.app.") && command.contains(&self.folder.display().to_string());
        ensure!(is_meant, "process {id} is not {name} but {command}");
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw).ok_or("no process id")?;
        Ok(kill_process(pid, signal)?)
    }

    /// The names of Synapse's processes.
    pub fn synapse_processes(&self) -> Vec<String> {
        let processes = self.facts["synapse"]["processes"].as_array().cloned().unwrap_or_default();
        processes.iter().filter_map(|process| process["name"].as_str().map(str::to_owned)).collect()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let _ = self.stop_dendron();
    }
}

/// A dendron of its own with these settings besides its listeners, and a client of it.
pub fn bare_dendron(folder: &Path, settings: &str) -> Result<(Client, Child), Failed> {
    let (listen, admin) = (free_address()?, free_address()?);
    let config = folder.join("dendron.yaml");
    std::fs::write(&config, format!("listeners: [{{address: {listen}}}]\nadmin: {{address: {admin}}}\n{settings}"))?;
    fronted::settle(&config)?;
    let arguments = ["run", "--config", path_text(&config)];
    let child = Child::start("dendron", dendron(), &arguments, &folder.join("dendron.out"))?;
    let admin = Client::new(&format!("http://{admin}"));
    eventually(SOON, || if admin.get("/health")?.status == 200 { Ok(()) } else { Err("not healthy".into()) })?;
    Ok((Client::new(&format!("http://{listen}")), child))
}

/// An address on this machine that nobody listens on at the moment.
pub fn free_address() -> Result<String, Failed> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// Starts the databases of a stack that is prepared, and waits until they are ready.
fn databases(folder: &Path) -> Result<Child, Failed> {
    let output = folder.join("databases.out");
    let script = stack_script();
    let arguments = [path_text(&script), "databases", "--dir", path_text(folder)];
    let mut databases = Child::start("databases", &synapse_python(), &arguments, &output)?;
    eventually(DATABASES, || {
        let said = std::fs::read_to_string(&output)?;
        if said.lines().any(|line| line == "ready") {
            return Ok(());
        }
        Err(format!("running: {}, it said: {said}", databases.is_running()).into())
    })?;
    Ok(databases)
}

fn stack_script() -> PathBuf {
    checkout().join("scripts/stack.py")
}

fn edge_socket(folder: &TempDir) -> PathBuf {
    folder.path().join("edge.sock")
}

fn path_text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
