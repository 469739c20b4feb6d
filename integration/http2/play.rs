//! One row of the tables: what a client does on a connection of its own, what is right then, and how it is played.

use std::time::{Duration, Instant};

use crate::harness::http2::{
    ACK, DATA, END_STREAM, Frame, GOAWAY, HEADERS, Http2, MAGIC, Next, PING, RST_STREAM, SETTINGS, frame, setting,
    status,
};
use crate::harness::tls::Authority;

/// How long it may take until a row is decided.
const BOUND: Duration = Duration::from_secs(5);
/// For how long more frames are waited for then, that could contradict it.
const DOUBT: Duration = Duration::from_millis(60);
/// What the ping has in it that follows every row.
const PROBE: &[u8] = b"\x01probe\x02\x03";

// The codes of errors (RFC 9113, 7).
pub const PROTOCOL_ERROR: u32 = 1;
pub const FLOW_CONTROL_ERROR: u32 = 3;
pub const STREAM_CLOSED: u32 = 5;
pub const FRAME_SIZE_ERROR: u32 = 6;
pub const REFUSED_STREAM: u32 = 7;
pub const COMPRESSION_ERROR: u32 = 9;

/// What a client does.
#[derive(Clone, Debug)]
pub enum Step {
    Send(Vec<u8>),
    /// It waits until this stream was answered whole.
    Answered(u32),
    /// It waits until it is told to go on with this stream.
    Continue(u32),
}

/// What may come of it.
#[derive(Clone, Copy, Debug)]
pub enum Right {
    /// The connection ends: with one of these codes, or without a word (RFC 9113, 5.4.1, wishes for the word only).
    Ends(&'static [u32]),
    /// A stream is reset with one of these codes; the connection goes on.
    Reset(u32, &'static [u32]),
    /// A stream is answered with this status in the end; the connection goes on.
    Status(u32, u16),
    /// A stream is answered with 200 and this body.
    Body(u32, &'static str),
    /// Nothing but the answer to a ping.
    Lives,
}

/// A row.
#[derive(Clone, Debug)]
pub struct Row {
    /// The section that demands it, of RFC 9113 unless it says otherwise.
    pub section: &'static str,
    pub name: &'static str,
    pub steps: Vec<Step>,
    pub right: Vec<Right>,
    /// What is sent before all else; the preface and settings, unless they are what is tested.
    pub opening: Vec<u8>,
}

/// All that was seen on a connection.
#[derive(Debug, Default)]
pub struct Seen {
    /// Code of a GOAWAY.
    goodbye: Option<u32>,
    is_closed: bool,
    resets: Vec<(u32, u32)>,
    statuses: Vec<(u32, u16)>,
    ended: Vec<u32>,
    bodies: Vec<(u32, Vec<u8>)>,
    is_alive: bool,
}

/// A row that begins with an ordinary preface. `bytes` is all that is sent after it.
pub fn row(section: &'static str, name: &'static str, bytes: Vec<u8>, right: &[Right]) -> Row {
    steps(section, name, vec![Step::Send(bytes)], right)
}

/// The same with steps.
pub fn steps(section: &'static str, name: &'static str, steps: Vec<Step>, right: &[Right]) -> Row {
    Row { section, name, steps, right: right.to_vec(), opening: opening() }
}

/// The preface, and settings by which the answers need no table to be read.
pub fn opening() -> Vec<u8> {
    [MAGIC, &frame(SETTINGS, 0, 0, &setting(1, 0))].concat()
}

impl Row {
    /// Plays it. Whether what came is right, and what that was.
    pub fn play(&self, authority: &Authority, port: u16) -> (bool, Seen) {
        self.play_for(authority, port, &self.right)
    }

    /// The same, with other outcomes to be waited for.
    pub fn play_for(&self, authority: &Authority, port: u16, right: &[Right]) -> (bool, Seen) {
        let mut seen = Seen::default();
        let Ok(mut client) = Http2::connect(authority, port) else { return (false, seen) };
        client.send(&self.opening);
        for step in &self.steps {
            match step {
                Step::Send(bytes) => client.send(bytes),
                Step::Answered(stream) => read(&mut client, &mut seen, |seen| seen.ended.contains(stream)),
                Step::Continue(stream) => read(&mut client, &mut seen, |seen| seen.last_status(*stream) == Some(100)),
            }
        }
        client.send(&frame(PING, 0, 0, PROBE));
        let is_right = |seen: &Seen| right.iter().any(|right| right.holds(seen));
        read(&mut client, &mut seen, is_right);
        let begun = Instant::now();
        while let Some(left) = DOUBT.checked_sub(begun.elapsed()) {
            seen.take(client.next(left), &mut client);
        }
        (is_right(&seen), seen)
    }
}

/// Reads until something holds, the connection is over, or the time is.
fn read(client: &mut Http2, seen: &mut Seen, holds: impl Fn(&Seen) -> bool) {
    let begun = Instant::now();
    while !holds(seen) && !seen.is_closed {
        let Some(left) = BOUND.checked_sub(begun.elapsed()) else { return };
        let next = client.next(left);
        seen.take(next, client);
    }
}

impl Right {
    /// Whether it is what was seen.
    pub fn holds(&self, seen: &Seen) -> bool {
        let goes_on = seen.goodbye.is_none() && !seen.is_closed;
        match *self {
            Right::Ends(codes) => seen.goodbye.map_or(seen.is_closed, |code| codes.contains(&code)),
            Right::Reset(stream, codes) => {
                let codes_seen = seen.resets.iter().filter(|(reset, _)| *reset == stream);
                goes_on && codes_seen.map(|(_, code)| *code).next().is_some_and(|code| codes.contains(&code))
            }
            Right::Status(stream, status) => {
                goes_on && seen.ended.contains(&stream) && seen.last_status(stream) == Some(status)
            }
            Right::Body(stream, text) => Right::Status(stream, 200).holds(seen) && seen.body(stream) == text.as_bytes(),
            Right::Lives => goes_on && seen.is_alive && seen.resets.is_empty(),
        }
    }
}

impl Seen {
    /// Takes note of what came, and confirms settings.
    fn take(&mut self, next: Next, client: &mut Http2) {
        let frame = match next {
            Next::Frame(frame) => frame,
            Next::Silence => return,
            Next::End => {
                self.is_closed = true;
                return;
            }
        };
        let code =
            |at: usize| frame.payload.get(at..at + 4).and_then(|code| code.try_into().ok()).map(u32::from_be_bytes);
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => client.send(&crate::harness::http2::frame(SETTINGS, ACK, 0, b"")),
            PING if frame.flags & ACK != 0 && frame.payload == PROBE => self.is_alive = true,
            PING if frame.flags & ACK == 0 => client.send(&crate::harness::http2::frame(PING, ACK, 0, &frame.payload)),
            GOAWAY => self.goodbye = code(4),
            RST_STREAM => self.resets.push((frame.stream, code(0).unwrap_or(u32::MAX))),
            HEADERS | DATA => self.take_answer(frame),
            _ => {}
        }
    }

    fn take_answer(&mut self, frame: Frame) {
        if frame.flags & END_STREAM != 0 {
            self.ended.push(frame.stream);
        }
        if frame.kind == HEADERS {
            self.statuses.push((frame.stream, status(&frame.payload).unwrap_or(0)));
        } else {
            self.bodies.push((frame.stream, frame.payload));
        }
    }

    fn last_status(&self, stream: u32) -> Option<u16> {
        self.statuses.iter().rev().find(|(of, _)| *of == stream).map(|(_, status)| *status)
    }

    fn body(&self, stream: u32) -> Vec<u8> {
        self.bodies.iter().filter(|(of, _)| *of == stream).flat_map(|(_, bytes)| bytes.clone()).collect()
    }
}
