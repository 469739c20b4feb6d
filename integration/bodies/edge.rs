//! A dendron between the tests and a stub, with and without TLS, and bodies through it.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libtest_mimic::Failed;

use super::media_stub::{Check, Head, MediaStub, Pattern};
use crate::harness::alone::{Alone, Folder, free_port};
use crate::harness::tls::{Authority, Files};
use crate::harness::{ensure, program};

/// How long either side may be silent.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much of a body that nobody wants dendron throws away.
pub(super) const HEARD_OUT: u64 = 256 << 20;

/// A running dendron.
pub(super) struct Edge {
    // In this order: dendron stops before what it stands on.
    dendron: Alone,
    pub(super) stub: MediaStub,
    pub(super) authority: Authority,
    folder: Folder,
    plain: u16,
    tls: u16,
    admin: u16,
}

impl Edge {
    /// A dendron that reads this limit from a `homeserver.yaml`.
    pub(super) fn start(limit: u64) -> Result<Self, Failed> {
        let stub = MediaStub::start()?;
        let (plain, tls, admin) = (free_port()?, free_port()?, free_port()?);
        let folder = Folder::with(&[])?;
        let root = folder.path("");
        let authority = Authority::new(&root)?;
        let files = Files::new(&root, "edge");
        authority.sign(&files, rcgen::date_time_ymd(2040, 1, 1))?;
        folder.write("homeserver.yaml", &homeserver(limit, stub.port))?;
        folder.write(
            "dendron.yaml",
            &format!(
                "listeners:\n  - address: 127.0.0.1:{plain}\n  - address: 127.0.0.1:{tls}\n    tls: {{certificate: {}, \
                 key: {}}}\nadmin: {{address: 127.0.0.1:{admin}}}\nsynapse: {{config: [homeserver.yaml]}}\n",
                files.certificate.display(),
                files.key.display()
            ),
        )?;
        let dendron = Alone::start(&folder.path("dendron.yaml"), admin, &folder.path("dendron.out"))?;
        Ok(Edge { dendron, stub, authority, folder, plain, tls, admin })
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.plain)
    }

    /// How curl comes to it: a URL, the option for a version of HTTP, and that version.
    pub(super) fn ways(&self) -> [(String, &'static str, &'static str); 3] {
        let tls = format!("https://localhost:{}", self.tls);
        [(self.url(), "--http1.1", "1.1"), (tls.clone(), "--http1.1", "1.1"), (tls, "--http2", "2")]
    }

    /// Runs curl; returns the status with the version of HTTP, and the body.
    pub(super) fn curl(&self, option: &str, more: &[&str]) -> Result<(String, String), Failed> {
        let authority = self.authority.file.display().to_string();
        let arguments = ["--silent", "--show-error", "--cacert", &authority, option];
        let wanted = ["--write-out", "\n%{http_code} over %{http_version}"];
        let arguments = [&arguments[..], &wanted, more].concat();
        let said = program::run(Path::new("curl"), &arguments, &self.path("curl.out"), super::PROGRAM)?;
        let (body, how) = said.rsplit_once('\n').unwrap_or_default();
        Ok((how.to_owned(), body.to_owned()))
    }

    /// Starts it anew before a port that nobody listens on.
    pub(super) fn point_at_nobody(&mut self) -> Result<(), Failed> {
        self.folder.write("homeserver.yaml", &homeserver(u64::MAX >> 1, free_port()?))?;
        self.dendron.end()?;
        self.dendron = Alone::start(&self.path("dendron.yaml"), self.admin, &self.path("dendron.out"))?;
        Ok(())
    }

    /// A path in its folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path(name)
    }

    /// Whether it still serves, and has said nothing of a panic.
    pub(super) fn is_well(&self) -> Result<(), Failed> {
        self.download(1000, false, |_| {})?;
        let said = std::fs::read_to_string(self.path("dendron.out"))?;
        ensure!(!said.contains("panicked"), "dendron said:\n{said}");
        Ok(())
    }

    /// How much of its memory stands in the machine's, in bytes.
    pub(super) fn resident(&self) -> Result<u64, Failed> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.dendron.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    fn connect(&self) -> Result<TcpStream, Failed> {
        let stream = TcpStream::connect(("127.0.0.1", self.plain))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Uploads so many bytes; returns the status line.
    pub(super) fn upload(&self, length: u64, chunked: bool) -> Result<String, Failed> {
        let mut stream = self.connect()?;
        let framing = if chunked { "Transfer-Encoding: chunked".into() } else { format!("Content-Length: {length}") };
        write!(stream, "POST {} HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n", super::UPLOAD)?;
        Pattern::new().write(&mut stream, length, chunked)?;
        let head = Head::read(&mut BufReader::new(stream))?.ok_or("the connection ended without an answer")?;
        Ok(head.first)
    }

    /// Downloads so many bytes, and compares them. `pause` is called with the count after each piece.
    pub(super) fn download(&self, length: u64, chunked: bool, mut pause: impl FnMut(u64)) -> Result<(), Failed> {
        let mut stream = self.connect()?;
        let query = if chunked { "?chunked" } else { "" };
        let target = format!("/_matrix/client/v1/media/download/stub/{length}{query}");
        write!(stream, "GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut reader = BufReader::new(stream);
        let head = Head::read(&mut reader)?.ok_or("the connection ended without an answer")?;
        let framed = if chunked { head.header("transfer-encoding") == "chunked" } else { true };
        ensure!(head.first == "HTTP/1.1 200 OK" && framed, "{target}: {head:?}");
        let mut check = Check::new();
        head.read_body(&mut reader, |bytes| {
            check.hear(bytes);
            pause(check.length);
        })?;
        ensure!(check.is_intact && check.length == length, "{target}: {} bytes, or other ones, came", check.length);
        Ok(())
    }
}

fn homeserver(limit: u64, port: u16) -> String {
    format!(
        "server_name: localhost\nmax_upload_size: {limit}\nlisteners:\n  - {{port: {port}, bind_addresses: \
         [127.0.0.1], type: http, x_forwarded: true, resources: [{{names: [client, media, federation]}}]}}\n"
    )
}

/// Sends a head, and its body only when told to go on; returns all that came until there was silence.
pub(super) fn after_continue(address: &str, head: &str, body: &[u8]) -> Result<String, Failed> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(head.as_bytes())?;
    let mut said = Vec::new();
    while !said.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        said.extend_from_slice(&byte);
    }
    stream.set_read_timeout(Some(Duration::from_secs(3)))?;
    stream.write_all(body)?;
    let _ = stream.read_to_end(&mut said);
    Ok(String::from_utf8_lossy(&said).into_owned())
}
