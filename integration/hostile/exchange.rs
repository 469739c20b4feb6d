//! What a stranger does on one connection, and what must come of it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use socket::reset_on_close;

use super::upstream::Recording;

/// How long an exchange may take that waits for nothing.
const BOUND: Duration = Duration::from_secs(10);
/// How long nothing more must come after the last answer.
const QUIET: Duration = Duration::from_millis(15);
/// How long the upstream may take to see what a client did not wait for.
const LATE: Duration = Duration::from_millis(60);

/// One thing that a client does.
#[derive(Clone, Debug)]
pub enum Step {
    Send(Vec<u8>),
    Wait(Duration),
    /// Sends no more, and reads on.
    HalfClose,
    /// Cuts the connection, and reads nothing.
    Reset,
}

/// What must come of an exchange. In no case may dendron send what the upstream calls a fault.
#[derive(Clone, Copy, Debug)]
pub enum Expected {
    /// A Matrix error of dendron's with this status and a close. Nothing goes on.
    Refused(u16),
    /// An answer of dendron's as above to a request that is well-formed: the connection may stay.
    Answered(u16),
    /// The same from the front. Without it Pingora answers before any hook of dendron's is asked: a bare 4xx without a
    /// body or CORS headers, or a close.
    Early(u16),
    /// The same from the front. Without it Pingora mends the request's line, and these go on.
    EarlyOrMended(u16, &'static [&'static str]),
    /// A close without an answer. Nothing goes on.
    Closed,
    /// These requests go on whole and are answered, and no more.
    Passed(&'static [&'static str]),
    /// These go on; what comes after them is refused as `Early(400)`.
    PassedThenEarly(&'static [&'static str]),
    /// This one's head goes on, but never a whole body; a 4xx or a close.
    Broken(&'static str),
    /// The client does not wait to see: at most this request goes on.
    AtMost(&'static str),
}

/// A row of a table.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub name: &'static str,
    pub steps: Vec<Step>,
    pub expected: Expected,
}

/// Bytes that are sent at once.
pub fn at_once(name: &'static str, bytes: impl Into<Vec<u8>>, expected: Expected) -> Exchange {
    Exchange { name, steps: vec![Step::Send(bytes.into())], expected }
}

/// Bytes after which the client sends no more.
pub fn cut_off(name: &'static str, bytes: impl Into<Vec<u8>>, expected: Expected) -> Exchange {
    Exchange { name, steps: vec![Step::Send(bytes.into()), Step::HalfClose], expected }
}

/// What came back.
#[derive(Debug, Default)]
struct Outcome {
    bytes: Vec<u8>,
    /// Whether the server ended the connection in time.
    is_closed: bool,
}

/// One answer, cut out of what came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Exchange {
    /// Plays it; the reason, if it does not end as it must.
    pub fn play(&self, port: u16, is_fronted: bool, upstream: &Recording) -> Result<(), String> {
        let expected = match self.expected {
            Expected::Early(status) | Expected::EarlyOrMended(status, _) if is_fronted => Expected::Refused(status),
            Expected::EarlyOrMended(_, requests) => Expected::Passed(requests),
            expected => expected,
        };
        let wanted = match expected {
            Expected::Passed(requests) => Some(requests.len()),
            Expected::Answered(_) => Some(1),
            _ => None,
        };
        // What a client did not wait for may come late; what must never come is not excused.
        let late = upstream.take();
        if !late.faults.is_empty() || late.seen.iter().any(|seen| seen.what.contains("smuggled")) {
            return Err(format!("before {}: {late:?}", self.name));
        }
        let outcome = run(&self.steps, port, wanted).map_err(|error| format!("{}: {error}", self.name))?;
        let answers = answers(&outcome.bytes);
        let mut record = upstream.take();
        if matches!(expected, Expected::AtMost(_) | Expected::Broken(_)) {
            std::thread::sleep(LATE);
            let more = upstream.take();
            record.seen.extend(more.seen);
            record.faults.extend(more.faults);
        }
        let whole: Vec<&str> = record.seen.iter().filter(|seen| seen.is_whole).map(|seen| seen.what.as_str()).collect();
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        let is_matrix = |answer: &Answer| {
            answer.body.contains("\"errcode\":\"M_") && answer.head.contains("access-control-allow-origin: *")
        };
        let nothing_passed = record.seen.is_empty();
        let closed = outcome.is_closed;
        let holds = match expected {
            Expected::Refused(status) => {
                nothing_passed && closed && statuses == [status] && answers.iter().all(is_matrix)
            }
            Expected::Answered(status) => nothing_passed && statuses == [status] && answers.iter().all(is_matrix),
            Expected::Early(_) | Expected::EarlyOrMended(..) => {
                nothing_passed && closed && statuses.len() <= 1 && statuses.iter().all(|status| status / 100 == 4)
            }
            Expected::Closed => nothing_passed && closed && outcome.bytes.is_empty(),
            Expected::Passed(requests) => {
                whole == requests && record.seen.len() == whole.len() && statuses == vec![200; requests.len()]
            }
            Expected::PassedThenEarly(requests) => {
                let expected = [vec![200; requests.len()], vec![400]].concat();
                let is_told = !is_fronted || answers.last().is_some_and(is_matrix);
                whole == requests && record.seen.len() == whole.len() && statuses == expected && closed && is_told
            }
            Expected::Broken(request) => {
                let is_refused = statuses.is_empty()
                    || statuses.len() == 1 && (400..500).contains(&statuses[0]) && is_matrix(&answers[0]);
                whole.is_empty() && record.seen.iter().all(|seen| seen.what == request) && closed && is_refused
            }
            Expected::AtMost(request) => record.seen.iter().all(|seen| seen.what == request),
        };
        if holds && record.faults.is_empty() {
            return Ok(());
        }
        let bytes = &outcome.bytes[..outcome.bytes.len().min(300)];
        Err(format!(
            "{}: expected {expected:?}; closed: {closed}, answers: {statuses:?} {:?}, upstream: {record:?}",
            self.name,
            String::from_utf8_lossy(bytes)
        ))
    }
}

impl Exchange {
    /// Plays it without a look at the upstream; the reason, if the connection is not ended or answered otherwise than
    /// with a 4xx.
    pub fn play_alone(&self, port: u16) -> Result<(), String> {
        let outcome = run(&self.steps, port, None).map_err(|error| format!("{}: {error}", self.name))?;
        let is_refused = answers(&outcome.bytes).iter().all(|answer| (400..500).contains(&answer.status));
        if outcome.is_closed && is_refused {
            return Ok(());
        }
        Err(format!("{}: closed: {}, {:?}", self.name, outcome.is_closed, String::from_utf8_lossy(&outcome.bytes)))
    }
}

/// Does the steps, then reads until the server ends the connection, or until as many answers came as are `wanted`.
fn run(steps: &[Step], port: u16, wanted: Option<usize>) -> std::io::Result<Outcome> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(BOUND))?;
    for step in steps {
        // A server that has had enough may close while it is still being sent to: what it said is read below.
        match step {
            Step::Send(bytes) => {
                let _ = stream.write_all(bytes);
            }
            Step::Wait(time) => std::thread::sleep(*time),
            Step::HalfClose => {
                let _ = stream.shutdown(Shutdown::Write);
            }
            Step::Reset => {
                reset_on_close(&stream)?;
                return Ok(Outcome { bytes: Vec::new(), is_closed: true });
            }
        }
    }
    read(&mut stream, wanted)
}

fn read(stream: &mut TcpStream, wanted: Option<usize>) -> std::io::Result<Outcome> {
    let mut outcome = Outcome::default();
    let begun = Instant::now();
    let mut buffer = [0; 16 * 1024];
    loop {
        let is_enough = wanted.is_some_and(|wanted| answers(&outcome.bytes).len() >= wanted);
        stream.set_read_timeout(Some(if is_enough { QUIET } else { BOUND }))?;
        match stream.read(&mut buffer) {
            Ok(0) => outcome.is_closed = true,
            Ok(count) => {
                outcome.bytes.extend_from_slice(&buffer[..count]);
                continue;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => outcome.is_closed = true,
        }
        outcome.is_closed &= begun.elapsed() < BOUND * 10;
        return Ok(outcome);
    }
}

/// The final answers among the bytes, by their lengths. What is not whole is left out.
pub fn answers(bytes: &[u8]) -> Vec<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let mut rest = text.as_ref();
    let mut answers = Vec::new();
    while let Some((head, after)) = rest.split_once("\r\n\r\n") {
        let head = head.to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0_usize);
        // Only an answer to HEAD has a length and no body; none follows another answer here.
        let length = if after.is_empty() || after.starts_with("HTTP/1.1 ") { 0 } else { length };
        let Some(body) = after.get(..length) else { break };
        rest = &after[length..];
        if status >= 200 {
            answers.push(Answer { status, head, body: body.to_owned() });
        }
    }
    answers
}

mod socket {
    //! How a connection is cut.

    use std::net::TcpStream;
    use std::time::Duration;

    /// Makes the close of a connection a reset.
    pub(super) fn reset_on_close(stream: &TcpStream) -> std::io::Result<()> {
        Ok(rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))?)
    }
}

/// All that does not end as it must, as one failure.
pub fn none(faults: &[String]) -> Result<(), Failed> {
    if faults.is_empty() { Ok(()) } else { Err(format!("{} faults:\n{}", faults.len(), faults.join("\n")).into()) }
}
