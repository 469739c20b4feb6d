//! The access log: one line a request, as JSON or text.
//!
//! Lines are made on the request's thread and written by a thread of its own, out of a bounded buffer: a slow disk costs
//! lines, which are counted, and never a request. The writer lets lines gather for a moment, because to wake it for each
//! would cost a request more than its line. A line holds the endpoint's template, never the path, and no query, body or
//! token.

use std::fmt;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use prometheus::IntCounter;
use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::logging::Format;
use crate::exchange::{Exchange, RequestId};

/// How many bytes of lines may wait to be written.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// How long lines gather after others were written: nobody reads a log sooner.
const GATHER: Duration = Duration::from_millis(50);
/// So many bytes of lines wait no longer.
const GATHERED_BYTES: usize = 256 << 10;
/// Room for a usual line.
const LINE_BYTES: usize = 512;

/// Where the access log goes: `stdout`, `off` or a file's path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    #[default]
    Stdout,
    /// A file, which is appended to.
    File(PathBuf),
    /// Nowhere.
    Off,
}

/// The access log. Without lines it is off.
#[derive(Debug)]
pub struct AccessLog {
    format: Format,
    lines: Option<Arc<Lines>>,
    dropped: IntCounter,
}

/// The lines that wait to be written.
#[derive(Debug, Default)]
struct Lines {
    waiting: Mutex<Waiting>,
    /// Told when there is something for a writer that has nothing, or enough for one that lets lines gather.
    news: Condvar,
    /// Told when what was taken is written.
    written: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Whether lines were taken that are not written yet.
    is_writing: bool,
    /// Whether the writer lets lines gather.
    is_gathering: bool,
    /// Whether no other line will come.
    is_over: bool,
}

/// The fields of a line, in their order. Durations are in milliseconds since the request's head was read.
#[derive(Debug, Serialize)]
struct Line<'exchange> {
    time: String,
    #[serde(serialize_with = "as_text")]
    request_id: &'exchange RequestId,
    client: Option<IpAddr>,
    method: &'exchange str,
    endpoint: &'exchange str,
    class: &'exchange str,
    pool: Option<&'exchange str>,
    process: Option<&'exchange str>,
    status: u16,
    bytes_in: u64,
    bytes_out: u64,
    waited_ms: Option<f64>,
    connected_ms: Option<f64>,
    first_byte_ms: Option<f64>,
    total_ms: f64,
    retries: u32,
    answered_by: &'exchange str,
    ended: &'exchange str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parked_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    declined: Option<&'exchange str>,
}

impl AccessLog {
    /// Opens the log and starts its writer.
    ///
    /// # Errors
    ///
    /// What the system says when the file cannot be opened or the thread cannot be started.
    pub fn open(target: &Target, format: Format, dropped: IntCounter) -> std::io::Result<Self> {
        let output: Box<dyn Write + Send> = match target {
            Target::Off => return Ok(AccessLog { format, lines: None, dropped }),
            Target::Stdout => Box::new(std::io::stdout()),
            Target::File(path) => Box::new(append_to(path)?),
        };
        let lines = Arc::new(Lines::default());
        let own = Arc::clone(&lines);
        std::thread::Builder::new().name("access log".to_owned()).spawn(move || own.write_all(output))?;
        Ok(AccessLog { format, lines: Some(lines), dropped })
    }

    /// Writes one request's line, if there is room for it.
    pub fn write(&self, exchange: &Exchange, method: &str, total: Duration, now: SystemTime) {
        let Some(lines) = &self.lines else { return };
        let line = Line::of(exchange, method, total, now);
        let bytes = match self.format {
            Format::Json => line.json(),
            Format::Text => line.text(),
        };
        if !lines.add(&bytes) {
            self.dropped.inc();
        }
    }

    /// Waits until every line is written, for so long at most. It is the end: lines that come later are lost.
    pub fn finish(&self, patience: Duration) {
        let Some(lines) = &self.lines else { return };
        lines.end();
        let is_behind = |waiting: &mut Waiting| waiting.is_writing || !waiting.bytes.is_empty();
        let _ = lines.written.wait_timeout_while(lines.waiting(), patience, is_behind);
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        if let Some(lines) = &self.lines {
            lines.end();
        }
    }
}

fn append_to(path: &PathBuf) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

// === impl Lines ===

impl Lines {
    /// Adds a line; returns whether there was room for it.
    fn add(&self, line: &[u8]) -> bool {
        let mut waiting = self.waiting();
        if waiting.bytes.len() + line.len() > WAITING_BYTES_MAX {
            return false;
        }
        let before = waiting.bytes.len();
        waiting.bytes.extend_from_slice(line);
        let is_enough = before < GATHERED_BYTES && waiting.bytes.len() >= GATHERED_BYTES;
        let is_news = if waiting.is_gathering { is_enough } else { before == 0 };
        drop(waiting);
        if is_news {
            self.news.notify_one();
        }
        true
    }

    /// No other line will come.
    fn end(&self) {
        self.waiting().is_over = true;
        self.news.notify_one();
    }

    /// Writes lines until no other will come.
    fn write_all(&self, mut output: impl Write) {
        let mut bytes = Vec::new();
        while self.take(&mut bytes) {
            // A log that cannot be written (a full disk, a closed pipe) must not end the service: the lines are lost.
            let _ = output.write_all(&bytes).and_then(|()| output.flush());
            self.waiting().is_writing = false;
            self.written.notify_all();
            self.gather(GATHER);
        }
    }

    /// Lets lines gather, for so long at most.
    fn gather(&self, time: Duration) {
        let mut waiting = self.waiting();
        waiting.is_gathering = true;
        let are_few = |waiting: &mut Waiting| waiting.bytes.len() < GATHERED_BYTES && !waiting.is_over;
        let gathered = self.news.wait_timeout_while(waiting, time, are_few);
        gathered.unwrap_or_else(PoisonError::into_inner).0.is_gathering = false;
    }

    /// Waits for lines and takes all of them, in exchange for a buffer that is not needed any more. False at the end.
    fn take(&self, bytes: &mut Vec<u8>) -> bool {
        bytes.clear();
        let is_idle = |waiting: &mut Waiting| waiting.bytes.is_empty() && !waiting.is_over;
        let waiting = self.news.wait_while(self.waiting(), is_idle);
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut waiting.bytes, bytes);
        waiting.is_writing = !bytes.is_empty();
        waiting.is_writing
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Line ===

impl<'exchange> Line<'exchange> {
    fn of(exchange: &'exchange Exchange, method: &'exchange str, total: Duration, now: SystemTime) -> Self {
        Line {
            time: OffsetDateTime::from(now).format(&Rfc3339).unwrap_or_default(),
            request_id: &exchange.request_id,
            client: exchange.client,
            method,
            endpoint: exchange.endpoint.label,
            class: exchange.endpoint.class.name(),
            pool: exchange.pool.as_deref(),
            process: exchange.backend.as_deref(),
            status: exchange.status,
            bytes_in: exchange.bytes_in,
            bytes_out: exchange.bytes_out,
            waited_ms: exchange.waited.map(milliseconds),
            connected_ms: exchange.connected.map(milliseconds),
            first_byte_ms: exchange.first_byte.map(milliseconds),
            total_ms: milliseconds(total),
            retries: exchange.retries,
            answered_by: exchange.answered_by.name(),
            ended: exchange.ended.name(),
            parked_ms: exchange.parked.map(milliseconds),
            declined: exchange.declined,
        }
    }

    fn json(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LINE_BYTES);
        // It cannot fail: there is room, and nothing in a line refuses to be written.
        let _ = serde_json::to_writer(&mut bytes, self);
        bytes.push(b'\n');
        bytes
    }

    fn text(&self) -> Vec<u8> {
        let mut line = String::with_capacity(LINE_BYTES);
        // Nor can this.
        let _ = self.write_text(&mut line);
        line.into_bytes()
    }

    fn write_text(&self, line: &mut String) -> fmt::Result {
        write!(line, "{} {} ", self.time, self.request_id)?;
        match self.client {
            Some(client) => write!(line, "{client}")?,
            None => line.push('-'),
        }
        write!(line, " {} {} {}", self.method, self.endpoint, self.status)?;
        let (pool, process) = (self.pool.unwrap_or("-"), self.process.unwrap_or("-"));
        write!(line, " class={} pool={pool} process={process}", self.class)?;
        write!(line, " in={} out={}", self.bytes_in, self.bytes_out)?;
        let moments =
            [("waited", self.waited_ms), ("connected", self.connected_ms), ("first_byte", self.first_byte_ms)];
        for (word, moment) in moments {
            match moment {
                Some(milliseconds) => write!(line, " {word}={}", Tenths(milliseconds))?,
                None => write!(line, " {word}=-")?,
            }
        }
        write!(line, " total={} retries={}", Tenths(self.total_ms), self.retries)?;
        write!(line, " by={} ended={}", self.answered_by, self.ended)?;
        if let Some(milliseconds) = self.parked_ms {
            write!(line, " parked={}", Tenths(milliseconds))?;
        }
        if let Some(reason) = self.declined {
            write!(line, " declined={reason}")?;
        }
        line.push('\n');
        Ok(())
    }
}

fn as_text<S: Serializer>(value: impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&value)
}

/// A number that is not negative, with one digit behind the point, a half rounded up: that is done with whole numbers, for
/// `{:.1}` takes care of every fraction that there is.
struct Tenths(f64);

impl fmt::Display for Tenths {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0 * 10.0).round() as u64;
        write!(formatter, "{}.{}", tenths / 10, tenths % 10)
    }
}

/// Milliseconds with three digits behind the point.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TargetVisitor)
    }
}

struct TargetVisitor;

impl Visitor<'_> for TargetVisitor {
    type Value = Target;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("stdout, off, or a file's path")
    }

    /// `off` is `false` to YAML.
    fn visit_bool<E: Error>(self, on: bool) -> Result<Target, E> {
        match on {
            false => Ok(Target::Off),
            true => Err(E::invalid_value(Unexpected::Bool(on), &self)),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Target, E> {
        match text {
            "stdout" => Ok(Target::Stdout),
            "off" => Ok(Target::Off),
            path if path.contains('/') => Ok(Target::File(PathBuf::from(path))),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::endpoint::{Class, Endpoint, Subject};
    use crate::exchange::{AnsweredBy, RequestId};

    fn exchange() -> Exchange {
        let endpoint = Endpoint { class: Class::Sync, label: "/_matrix/client/v3/sync", subject: Subject::None };
        let client = Some("192.0.2.1".parse().unwrap());
        let mut exchange = Exchange::new(Instant::now(), RequestId::Made { process: 1, number: 2 }, endpoint, client);
        exchange.pool = Some("sync".into());
        exchange.backend = Some("sync1".into());
        exchange.status = 200;
        exchange.connected = Some(Duration::from_micros(1_500));
        exchange.answered_by = AnsweredBy::Synapse;
        exchange
    }

    #[test]
    fn a_json_line_has_every_field_under_its_name() {
        let exchange = exchange();
        let line = Line::of(&exchange, "GET", Duration::from_millis(30_000), SystemTime::UNIX_EPOCH);
        let json: serde_json::Value = serde_json::from_slice(&line.json()).unwrap();
        let expected = serde_json::json!({
            "time": "1970-01-01T00:00:00Z", "request_id": "00000001-2", "client": "192.0.2.1", "method": "GET",
            "endpoint": "/_matrix/client/v3/sync", "class": "sync", "pool": "sync", "process": "sync1",
            "status": 200, "bytes_in": 0, "bytes_out": 0, "waited_ms": null, "connected_ms": 1.5,
            "first_byte_ms": null, "total_ms": 30000.0, "retries": 0, "answered_by": "synapse", "ended": "complete",
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn a_text_line_is_one_line() {
        let exchange = exchange();
        let line = Line::of(&exchange, "GET", Duration::from_millis(5), SystemTime::UNIX_EPOCH).text();
        let line = String::from_utf8(line).unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.contains("class=sync pool=sync process=sync1"), "{line}");
    }

    #[test]
    fn tenths_are_those_of_the_standard_library_but_for_halves() {
        for thousandths in (0..20_000_u32).chain([29_999_949, 29_999_951]).filter(|number| number % 100 != 50) {
            let number = f64::from(thousandths) / 1_000.0;
            assert_eq!(Tenths(number).to_string(), format!("{number:.1}"), "{thousandths}");
        }
        assert_eq!([0.05, 0.25, 0.95].map(|half| Tenths(half).to_string()), ["0.1", "0.3", "1.0"]);
    }

    #[test]
    fn lines_that_find_no_room_are_counted() {
        let dropped = IntCounter::new("dropped", "Dropped.").unwrap();
        let lines = Arc::new(Lines::default());
        lines.waiting().bytes = vec![b'x'; WAITING_BYTES_MAX - 300];
        let log = AccessLog { format: Format::Text, lines: Some(lines), dropped: dropped.clone() };
        for _ in 0..3 {
            log.write(&exchange(), "GET", Duration::ZERO, SystemTime::UNIX_EPOCH);
        }
        assert_eq!(dropped.get(), 2);
    }

    /// A log in a file, in a folder that goes with the first.
    fn opened() -> (tempfile::TempDir, PathBuf, AccessLog) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let dropped = IntCounter::new("dropped", "Dropped.").unwrap();
        let log = AccessLog::open(&Target::File(path.clone()), Format::Text, dropped).unwrap();
        (folder, path, log)
    }

    #[test]
    fn many_lines_wait_no_longer() {
        let hour = Duration::from_secs(3_600);
        for is_over in [false, true] {
            let lines = Arc::new(Lines::default());
            let own = Arc::clone(&lines);
            let gathering = std::thread::spawn(move || own.gather(hour));
            while !lines.waiting().is_gathering {
                std::thread::yield_now();
            }
            if is_over {
                lines.end();
            } else {
                assert!((0..GATHERED_BYTES / 64).all(|_| lines.add(&[b'x'; 64])));
            }
            gathering.join().unwrap();
        }
    }

    #[test]
    fn nothing_is_missing_at_the_end() {
        let (_folder, path, log) = opened();
        // The second line gathers while the writer is at rest after the first.
        for line in 1..=2 {
            log.write(&exchange(), "GET", Duration::ZERO, SystemTime::UNIX_EPOCH);
            while line == 1 && std::fs::read(&path).unwrap().is_empty() {
                std::thread::yield_now();
            }
        }
        log.finish(Duration::from_secs(10));
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
    }

    #[test]
    fn every_line_is_written_in_its_order_also_the_last() {
        let (_folder, path, log) = opened();
        let mut exchange = exchange();
        for status in 0..500 {
            exchange.status = status;
            log.write(&exchange, "GET", Duration::ZERO, SystemTime::UNIX_EPOCH);
        }
        drop(log);
        let written = || std::fs::read_to_string(&path).unwrap();
        let begun = Instant::now();
        while written().lines().count() < 500 && begun.elapsed().as_secs() < 10 {
            std::thread::yield_now();
        }
        for (status, line) in written().lines().enumerate() {
            assert!(line.contains(&format!("/sync {status} class=")), "{line}");
        }
        assert_eq!(written().lines().count(), 500);
    }
}
