//! The access log: one line a request, as JSON or text.
//!
//! Lines are made on the request's thread and written by a thread of its own, over a bounded queue: a slow disk costs
//! lines, which are counted, and never a request. A line holds the endpoint's template, never the path, and no query,
//! body or token.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use prometheus::IntCounter;
use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::logging::Format;
use crate::exchange::Exchange;

/// How many lines may wait to be written.
const QUEUE_MAX: usize = 8192;

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

/// The access log. Without a queue it is off.
#[derive(Debug)]
pub struct AccessLog {
    format: Format,
    queue: Option<SyncSender<Vec<u8>>>,
    dropped: IntCounter,
}

/// The fields of a line, in their order. Durations are in milliseconds since the request's head was read.
#[derive(Debug, Serialize)]
struct Line<'exchange> {
    time: String,
    request_id: String,
    client: Option<String>,
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
            Target::Off => return Ok(AccessLog { format, queue: None, dropped }),
            Target::Stdout => Box::new(std::io::stdout()),
            Target::File(path) => Box::new(append_to(path)?),
        };
        let (queue, lines) = sync_channel(QUEUE_MAX);
        std::thread::Builder::new().name("access log".to_owned()).spawn(move || write_all(&lines, output))?;
        Ok(AccessLog { format, queue: Some(queue), dropped })
    }

    /// Writes one request's line, if the queue has room for it.
    pub fn write(&self, exchange: &Exchange, method: &str, total: Duration, now: SystemTime) {
        let Some(queue) = &self.queue else { return };
        let line = Line::of(exchange, method, total, now);
        let bytes = match self.format {
            Format::Json => line.json(),
            Format::Text => line.text(),
        };
        if queue.try_send(bytes).is_err() {
            self.dropped.inc();
        }
    }
}

fn append_to(path: &PathBuf) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Writes lines until the last sender is gone. What has come together is written together.
fn write_all(lines: &Receiver<Vec<u8>>, output: impl Write) {
    let mut output = BufWriter::with_capacity(64 * 1024, output);
    while let Ok(first) = lines.recv() {
        let more = lines.try_iter().take(QUEUE_MAX);
        let written = std::iter::once(first).chain(more).try_for_each(|line| output.write_all(&line));
        // A log that cannot be written (a full disk, a closed pipe) must not end the service: the lines are lost.
        if written.and_then(|()| output.flush()).is_err() {
            continue;
        }
    }
}

impl<'exchange> Line<'exchange> {
    fn of(exchange: &'exchange Exchange, method: &'exchange str, total: Duration, now: SystemTime) -> Self {
        Line {
            time: OffsetDateTime::from(now).format(&Rfc3339).unwrap_or_default(),
            request_id: exchange.request_id.to_string(),
            client: exchange.client.map(|client| client.to_string()),
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
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    fn text(&self) -> Vec<u8> {
        let dash = |text: Option<&'exchange str>| text.unwrap_or("-");
        let number = |number: Option<f64>| number.map_or_else(|| "-".to_owned(), |number| format!("{number:.1}"));
        let declined = self.declined.map(|reason| format!(" declined={reason}")).unwrap_or_default();
        let parked = self.parked_ms.map(|parked| format!(" parked={parked:.1}")).unwrap_or_default();
        let line = format!(
            "{} {} {} {} {} {} class={} pool={} process={} in={} out={} waited={} connected={} first_byte={} total={:.1} retries={} by={} ended={}{parked}{declined}\n",
            self.time,
            self.request_id,
            self.client.as_deref().unwrap_or("-"),
            self.method,
            self.endpoint,
            self.status,
            self.class,
            dash(self.pool),
            dash(self.process),
            self.bytes_in,
            self.bytes_out,
            number(self.waited_ms),
            number(self.connected_ms),
            number(self.first_byte_ms),
            self.total_ms,
            self.retries,
            self.answered_by,
            self.ended,
        );
        line.into_bytes()
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
    fn lines_that_find_no_room_are_counted() {
        let dropped = IntCounter::new("dropped", "Dropped.").unwrap();
        let (queue, _lines) = sync_channel(1);
        let log = AccessLog { format: Format::Text, queue: Some(queue), dropped: dropped.clone() };
        for _ in 0..3 {
            log.write(&exchange(), "GET", Duration::ZERO, SystemTime::UNIX_EPOCH);
        }
        assert_eq!(dropped.get(), 2);
    }
}
