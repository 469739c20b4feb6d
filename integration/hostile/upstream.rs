//! A process that stands where Synapse does, writes down every request, and reads HTTP as strictly as can be: whatever
//! two readers could read in two ways is a fault of dendron's.

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libtest_mimic::Failed;

/// How long a connection may be silent before its thread ends.
const PATIENCE: Duration = Duration::from_secs(120);
/// The most bytes of a head that is still read.
const HEAD_MAX: usize = 64 * 1024;
/// What it answers to every request.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}";
/// The same to a `HEAD`.
const BODILESS: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n";

/// A request that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Method and target.
    pub what: String,
    /// Whether its body came to its end.
    pub is_whole: bool,
}

/// What has come since it was last asked.
#[derive(Debug, Default)]
pub struct Record {
    pub seen: Vec<Seen>,
    pub faults: Vec<String>,
}

/// The upstream. Its threads end with the connections, and those with dendron.
pub struct Recording {
    pub port: u16,
    record: Arc<Mutex<Record>>,
}

impl Recording {
    /// Starts to listen.
    pub fn start() -> Result<Self, Failed> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let record = Arc::new(Mutex::new(Record::default()));
        let shared = Arc::clone(&record);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let record = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &record));
            }
        });
        Ok(Recording { port, record })
    }

    /// What has come since this was last called.
    pub fn take(&self) -> Record {
        std::mem::take(&mut lock(&self.record))
    }
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(stream: TcpStream, record: &Mutex<Record>) {
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    loop {
        let head = match read_head(&mut reader) {
            Ok(Some(head)) => head,
            Ok(None) => return,
            Err(fault) => return lock(record).faults.push(fault),
        };
        let request = match Request::read(&head) {
            Ok(request) => request,
            Err(fault) => {
                return lock(record).faults.push(format!("{fault}: {}", head.escape_ascii()));
            }
        };
        // The health checks are dendron's own requests.
        let is_counted = request.what != "GET /health";
        if is_counted {
            lock(record).seen.push(Seen { what: request.what.clone(), is_whole: false });
        }
        if request.expects && writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_err() {
            return;
        }
        match read_body(&mut reader, request.framing) {
            Ok(true) => {}
            Ok(false) => return,
            Err(fault) => return lock(record).faults.push(fault),
        }
        if is_counted {
            let mut record = lock(record);
            let unfinished = record.seen.iter_mut().rev().find(|seen| seen.what == request.what && !seen.is_whole);
            unfinished.into_iter().for_each(|seen| seen.is_whole = true);
        }
        let answer = if request.what.starts_with("HEAD ") { BODILESS } else { ANSWER };
        if writer.write_all(answer).is_err() {
            return;
        }
    }
}

#[derive(Clone, Copy)]
enum Framing {
    Length(u64),
    Chunked,
}

struct Request {
    what: String,
    framing: Framing,
    expects: bool,
}

impl Request {
    fn read(head: &[u8]) -> Result<Self, String> {
        let head = head.strip_suffix(b"\r\n\r\n").ok_or("no end")?;
        if head.iter().any(|byte| *byte == 0 || *byte == 0x7f) {
            return Err("a control character".to_owned());
        }
        let text: String = head.iter().map(|byte| char::from(*byte)).collect();
        let mut lines = text.split("\r\n");
        let line: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        let [method, target, "HTTP/1.1"] = line[..] else { return Err("no request line".to_owned()) };
        let has_parts = !method.is_empty() && !target.is_empty();
        let mut headers = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':').ok_or("a line without a colon")?;
            let is_token = |character: char| character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character);
            if name.is_empty() || !name.chars().all(is_token) {
                return Err(format!("a name that is no token: {name:?}"));
            }
            headers.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
        }
        if !has_parts || text.replace("\r\n", "").contains(['\r', '\n']) {
            return Err("a stray end of a line".to_owned());
        }
        let all = |wanted: &str| -> Vec<&str> {
            headers.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.as_str()).collect()
        };
        // The health checks are dendron's own requests.
        let is_check = (method, target) == ("GET", "/health");
        for once in ["host", "x-forwarded-for", "x-forwarded-proto", "x-request-id"] {
            if all(once).len() != 1 && !is_check {
                return Err(format!("{} of {once}", all(once).len()));
            }
        }
        // Synapse knows no WebSockets and answers an ordinary request.
        if !all("upgrade").iter().all(|protocol| *protocol == "websocket") {
            return Err("an upgrade".to_owned());
        }
        let framing = match (&all("content-length")[..], &all("transfer-encoding")[..]) {
            ([], []) => Framing::Length(0),
            ([], ["chunked"]) => Framing::Chunked,
            ([length], []) if !length.is_empty() && length.bytes().all(|digit| digit.is_ascii_digit()) => {
                Framing::Length(length.parse().map_err(|_| "a length that is too large")?)
            }
            framing => return Err(format!("a framing that is not clear: {framing:?}")),
        };
        Ok(Request { what: format!("{method} {target}"), framing, expects: !all("expect").is_empty() })
    }
}

/// A head with its empty line; `None` where the connection ends instead of a request.
fn read_head(reader: &mut impl Read) -> Result<Option<Vec<u8>>, String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match reader.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ if head.is_empty() => return Ok(None),
            _ => return Err(format!("a head without an end: {}", head.escape_ascii())),
        }
        if head.len() > HEAD_MAX {
            return Err("a head that is too large".to_owned());
        }
    }
    Ok(Some(head))
}

/// Whether the body came to its end.
fn read_body(reader: &mut impl Read, framing: Framing) -> Result<bool, String> {
    let mut skip =
        |length: u64| std::io::copy(&mut reader.take(length), &mut std::io::sink()).is_ok_and(|n| n == length);
    let Framing::Length(length) = framing else { return read_chunks(reader) };
    Ok(skip(length))
}

fn read_chunks(reader: &mut impl Read) -> Result<bool, String> {
    loop {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            match reader.read(&mut byte) {
                Ok(1) => line.push(byte[0]),
                _ => return Ok(false),
            }
            if line.len() > 10 {
                return Err(format!("a line of a chunk that is too long: {}", line.escape_ascii()));
            }
        }
        let digits = std::str::from_utf8(&line[..line.len() - 2]).unwrap_or_default();
        let is_hex = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let size = is_hex.then(|| u64::from_str_radix(digits, 16).ok()).flatten();
        let size = size.ok_or_else(|| format!("a chunk's size: {}", line.escape_ascii()))?;
        let mut chunk = Vec::new();
        let read = reader.take(size + 2).read_to_end(&mut chunk);
        if read.is_err() || (chunk.len() as u64) < size + 2 {
            return Ok(false);
        }
        if !chunk.ends_with(b"\r\n") {
            return Err("a chunk without an end".to_owned());
        }
        if size == 0 {
            return Ok(true);
        }
    }
}
