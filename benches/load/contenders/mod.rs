//! What is compared: dendron, HAProxy and nginx, each before the same upstream, with the same routing, as many threads,
//! a log line for each request, a plain port and one with TLS.
//!
//! - [`dendron`], [`haproxy`], [`nginx`]: the configuration of each, and how it is started.

pub(crate) mod dendron;
pub(crate) mod haproxy;
pub(crate) mod nginx;

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::accounting::{Usage, usage};
use crate::fault::{Doing, Outcome, wrong};
use crate::process::Running;
use crate::upstream::Upstream;

/// How long one may take to start.
const START: Duration = Duration::from_secs(20);

/// What is compared with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    Dendron,
    HAProxy,
    Nginx,
    /// No proxy at all: what the upstream itself takes.
    Direct,
    /// A real Synapse, with no dendron before it.
    Synapse,
    /// No server at all: passwords checked in a bare loop.
    Loop,
}

impl Name {
    /// The proxies that are compared with each other.
    pub(crate) const PROXIES: [Name; 3] = [Name::Dendron, Name::HAProxy, Name::Nginx];

    pub(crate) const fn text(self) -> &'static str {
        match self {
            Name::Dendron => "dendron",
            Name::HAProxy => "HAProxy",
            Name::Nginx => "nginx",
            Name::Direct => "no proxy",
            Name::Synapse => "Synapse",
            Name::Loop => "bare loop",
        }
    }
}

/// What all of them are configured with.
pub(crate) struct Stage<'suite> {
    /// Where configurations and logs go.
    pub(crate) folder: &'suite Path,
    /// The built dendron.
    pub(crate) dendron: &'suite Path,
    pub(crate) upstream: &'suite Upstream,
    /// How many threads serve.
    pub(crate) threads: usize,
    pub(crate) certificate: &'suite Certificate,
}

/// A certificate for `localhost`, P-256, in the forms that they want.
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Both in one file.
    pub(crate) both: PathBuf,
    pub(crate) der: rustls::pki_types::CertificateDer<'static>,
}

/// One of them, running. It ends when this is dropped.
pub(crate) struct Contender {
    pub(crate) name: Name,
    pub(crate) plain: u16,
    pub(crate) tls: u16,
    running: Running,
}

/// The ports of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) plain: u16,
    pub(crate) tls: u16,
}

impl Contender {
    /// Starts one, and waits until it serves.
    pub(crate) fn start(name: Name, stage: &Stage<'_>) -> Outcome<Self> {
        let ports = Ports { plain: free_port()?, tls: free_port()? };
        let mut running = match name {
            Name::Dendron => dendron::start(stage, ports)?,
            Name::HAProxy => haproxy::start(stage, ports)?,
            Name::Nginx | Name::Direct | Name::Synapse | Name::Loop => nginx::start(stage, ports)?,
        };
        running.wait_until("listened", START, || TcpStream::connect(("127.0.0.1", ports.tls)).is_ok())?;
        Ok(Contender { name, plain: ports.plain, tls: ports.tls, running })
    }

    /// What it has used so far.
    pub(crate) fn usage(&self) -> Outcome<Usage> {
        usage(self.running.id())
    }
}

impl Certificate {
    /// Makes one in a folder.
    pub(crate) fn make(folder: &Path) -> Outcome<Self> {
        let names = vec!["localhost".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).map_err(|error| wrong(error.to_string()))?;
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let made = Certificate {
            certificate: folder.join("certificate.pem"),
            key: folder.join("key.pem"),
            both: folder.join("both.pem"),
            der: made.cert.der().clone(),
        };
        write(&made.certificate, &certificate)?;
        write(&made.key, &key)?;
        write(&made.both, &format!("{certificate}{key}"))?;
        Ok(made)
    }
}

/// Takes the lines that a program sends to its system's log, as a log daemon does, until this program ends.
pub(crate) fn swallow_log(path: &Path) -> Outcome<()> {
    let _ = std::fs::remove_file(path);
    let socket = UnixDatagram::bind(path).doing(format!("making {}", path.display()))?;
    let swallow = move || {
        let mut room = [0; 2_048];
        while socket.recv(&mut room).is_ok() {}
    };
    std::thread::Builder::new().name("log".to_owned()).spawn(swallow).doing("starting a thread")?;
    Ok(())
}

/// A port that nobody listens on at the moment.
pub(crate) fn free_port() -> Outcome<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").doing("looking for a free port")?;
    Ok(listener.local_addr().doing("looking for a free port")?.port())
}

fn write(path: &Path, text: &str) -> Outcome<()> {
    let mut file = std::fs::File::create(path).doing(format!("creating {}", path.display()))?;
    file.write_all(text.as_bytes()).doing(format!("writing {}", path.display()))
}
