//! A dendron without a stack, with a configuration of the test's own: for what needs no Synapse.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use libtest_mimic::Failed;
use rustix::process::Signal;
use tempfile::TempDir;

use super::child::Child;
use super::eventually::{SOON, eventually};
use super::fronted;
use super::http::Client;
use super::metrics::Metrics;
use super::{dendron, ensure};

/// A folder of configuration files, removed with its last owner.
pub struct Folder {
    folder: TempDir,
}

/// A running dendron in a folder of its own, with one plain listener on a free port.
pub struct Edge {
    /// The program.
    pub dendron: Alone,
    /// The listener's port.
    pub port: u16,
    /// A client of the listener.
    pub client: Client,
    _folder: Folder,
}

/// A running dendron whose admin listener answers.
pub struct Alone {
    process: Child,
    output: PathBuf,
    admin: Client,
}

impl Folder {
    /// A folder with these files; their names may hold folders.
    pub fn with(files: &[(&str, &str)]) -> Result<Self, Failed> {
        let folder = Folder { folder: tempfile::tempdir()? };
        for (name, content) in files {
            folder.write(name, content)?;
        }
        Ok(folder)
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as a text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes a file.
    pub fn write(&self, name: &str, content: &str) -> Result<(), Failed> {
        let path = self.path(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        Ok(std::fs::write(path, content)?)
    }
}

impl Edge {
    /// Starts it with these settings besides its listeners: pools at least.
    pub fn start(settings: &str) -> Result<Self, Failed> {
        Self::with_listener("", settings, Alone::start)
    }

    /// The same with a limit of open files.
    pub fn limited(settings: &str, descriptors: u32) -> Result<Self, Failed> {
        let start = |config: &Path, port, output: &Path| Alone::limited(config, port, output, descriptors);
        Self::with_listener("", settings, start)
    }

    /// The same with a listener that has certificates or the like.
    pub fn with_listener(
        listener: &str,
        settings: &str,
        start: impl Fn(&Path, u16, &Path) -> Result<Alone, Failed>,
    ) -> Result<Self, Failed> {
        let [port, admin] = [free_port()?, free_port()?];
        let config = format!(
            "listeners: [{{address: '127.0.0.1:{port}'{listener}}}]\nadmin: {{address: '127.0.0.1:{admin}'}}\n{settings}"
        );
        let folder = Folder::with(&[("dendron.yaml", &config)])?;
        let dendron = start(&folder.path("dendron.yaml"), admin, &folder.path("output"))?;
        Ok(Edge { dendron, port, client: Client::new(&format!("http://127.0.0.1:{port}")), _folder: folder })
    }

    /// A metric of its own, or the sum of those with these labels.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64, Failed> {
        Ok(Metrics::scrape(self.dendron.admin())?.sum(name, labels))
    }
}

impl Alone {
    /// Starts `dendron run` on a configuration whose admin listener has this port, and waits until it serves.
    pub fn start(config: &Path, admin_port: u16, output: &Path) -> Result<Self, Failed> {
        fronted::settle(config)?;
        let arguments = ["run", "--config", config.to_str().unwrap_or_default()];
        Self::wait(Child::start("dendron", dendron(), &arguments, output)?, config, admin_port, output)
    }

    /// The same with a limit of open files, the soft and the hard one.
    pub fn limited(config: &Path, admin_port: u16, output: &Path, descriptors: u32) -> Result<Self, Failed> {
        fronted::settle(config)?;
        let limit = format!("--nofile={descriptors}:{descriptors}");
        let program = dendron().to_str().unwrap_or_default();
        let arguments = [&limit, "--", program, "run", "--config", config.to_str().unwrap_or_default()];
        Self::wait(Child::start("dendron", Path::new("prlimit"), &arguments, output)?, config, admin_port, output)
    }

    fn wait(mut process: Child, config: &Path, admin_port: u16, output: &Path) -> Result<Self, Failed> {
        let admin = Client::new(&format!("http://127.0.0.1:{admin_port}"));
        eventually(SOON, || match admin.get("/health") {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => Err(answer.text().into()),
            Err(_) => {
                let said = std::fs::read_to_string(output).unwrap_or_default();
                Err(format!("dendron runs: {}; it said:\n{said}", process.is_running()).into())
            }
        })?;
        // The services start side by side, and the admin listener may be the first.
        let ports = ports(&std::fs::read_to_string(config)?)?;
        eventually(SOON, || {
            ensure!(are_open(&ports)?, "not all of the ports {ports:?} are open");
            Ok(())
        })?;
        Ok(Alone { process, output: output.to_owned(), admin })
    }

    /// Its process's id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// A client of its admin listener.
    pub fn admin(&self) -> &Client {
        &self.admin
    }

    /// Stops it at once, for another to take its place.
    pub fn end(&mut self) -> Result<(), Failed> {
        self.process.stop(Signal::INT).map(drop)
    }

    /// Stops it at once; returns all that it said.
    pub fn stop(mut self) -> Result<String, Failed> {
        let status = self.process.stop(Signal::INT)?;
        let said = std::fs::read_to_string(&self.output)?;
        if !status.success() {
            return Err(format!("dendron ended with {status}; it said:\n{said}").into());
        }
        Ok(said)
    }
}

/// Runs dendron to its end.
pub fn run(arguments: &[&str]) -> Result<Output, Failed> {
    Ok(Command::new(dendron()).args(arguments).output()?)
}

/// The ports that a configuration of these tests has dendron listen on.
fn ports(config: &str) -> Result<Vec<u16>, Failed> {
    let texts = config.split("address: '127.0.0.1:").skip(1).filter_map(|rest| rest.split_once('\''));
    Ok(texts.map(|(port, _)| port.parse()).collect::<Result<_, _>>()?)
}

/// Whether somebody listens on each of these ports. None of them is connected to, for dendron counts its connections.
fn are_open(ports: &[u16]) -> Result<bool, Failed> {
    let table = std::fs::read_to_string("/proc/net/tcp")?;
    let is_open = |port: &u16| {
        let listening = format!(":{port:04X} 00000000:0000 0A ");
        table.contains(&listening)
    };
    Ok(ports.iter().all(is_open))
}

/// A port of loopback that nobody listens on at the moment.
pub fn free_port() -> Result<u16, Failed> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
