//! HTTP/2 over TLS, written frame by frame, because no client library would send this. Whatever a row does, its connection
//! ends or goes on within a bound, and another one is served.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use crate::harness::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Http2, Next, PING, PREFACE, PRIORITY, PUSH_PROMISE,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, head, literal, text,
};
use crate::harness::tls::Authority;

/// How long an answer may take.
const BOUND: Duration = Duration::from_secs(8);

/// What must come of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The connection is ended, with or without a word.
    Ended,
    /// Stream 1 is reset or answered 4xx; nothing goes on.
    Refused,
    /// Stream 1 is answered by the upstream.
    Passed,
    /// Whatever comes; the bound and the next connection are what counts.
    Survived,
}

/// A row of the table.
pub struct Row {
    pub name: &'static str,
    /// What is sent after the preface.
    pub bytes: Vec<u8>,
    pub expected: Expected,
}

/// What was seen until the row was decided.
#[derive(Debug, Default)]
struct Outcome {
    is_ended: bool,
    is_reset: bool,
    status: Option<u8>,
    data: Vec<u8>,
}

/// The headers of a plain request, and more.
fn plain(more: &[(&str, &str)]) -> Vec<u8> {
    head("GET", "/h", more)
}

/// A request on stream 1.
fn request(headers: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, 1, headers)
}

/// The table.
pub fn rows() -> Vec<Row> {
    heads().into_iter().chain(frames()).chain(floods()).collect()
}

fn row(name: &'static str, bytes: Vec<u8>, expected: Expected) -> Row {
    Row { name, bytes, expected }
}

fn heads() -> Vec<Row> {
    let with = |name, more: &[(&str, &str)]| row(name, request(&plain(more)), Expected::Refused);
    let only = |name, headers: &[(&str, &str)]| row(name, request(&block(headers)), Expected::Refused);
    let (method, scheme, authority) = ((":method", "GET"), (":scheme", "https"), (":authority", "localhost"));
    let path = |name, path| only(name, &[method, scheme, authority, (":path", path)]);
    let (kilobyte, large) = ("x".repeat(1_000), "x".repeat(15_000));
    let many: Vec<(&str, &str)> = (0..100).map(|_| ("x", kilobyte.as_str())).collect();
    vec![
        row("plain request", request(&plain(&[])), Expected::Passed),
        row("large header", request(&plain(&[("x", &large)])), Expected::Passed),
        with("connection header", &[("connection", "close")]),
        with("coding", &[("transfer-encoding", "chunked")]),
        with("upgrade", &[("upgrade", "h2c")]),
        with("TE that is not trailers", &[("te", "gzip")]),
        with("name in capitals", &[("X", "y")]),
        with("end of a line in a value", &[("x", "a\r\nhost: b")]),
        with("NUL in a value", &[("x", "a\0b")]),
        with("blank in a name", &[("x y", "z")]),
        with("host that differs", &[("host", "elsewhere")]),
        with("length without a body", &[("content-length", "5")]),
        with("negative length", &[("content-length", "-1")]),
        with("two lengths", &[("content-length", "0"), ("content-length", "1")]),
        with("method after a header", &[("x", "y"), (":method", "GET")]),
        with("method twice", &[(":method", "GET")]),
        with("pseudo-header of an answer", &[(":status", "200")]),
        with("unknown pseudo-header", &[(":wonder", "x")]),
        only("no path", &[method, scheme, authority]),
        only("no method", &[scheme, authority, (":path", "/h")]),
        path("empty path", ""),
        path("path without a slash", "x_synapse/admin/v1/x"),
        path("blank in the path", "/h HTTP/1.1"),
        path("end of a line in the path", "/h HTTP/1.1\r\nHost: b\r\n\r\nGET /smuggled"),
        path("NUL in the path", "/h\0"),
        only("tunnel", &[(":method", "CONNECT"), (":authority", "a:22")]),
        only(
            "method with an end of a line",
            &[(":method", "GET /smuggled HTTP/1.1\r\n"), scheme, authority, (":path", "/h")],
        ),
        Row { name: "100 headers of 1 KB", bytes: continued(&plain(&many)), expected: Expected::Refused },
        Row { name: "40 headers of 1 KB", bytes: continued(&plain(&many[..40])), expected: Expected::Refused },
    ]
}

/// A request on stream 1 whose head takes several frames.
fn continued(headers: &[u8]) -> Vec<u8> {
    let chunks: Vec<&[u8]> = headers.chunks(16_000).collect();
    let last = chunks.len() - 1;
    let frames = chunks.iter().enumerate().flat_map(|(number, chunk)| {
        let (kind, flags) = if number == 0 { (HEADERS, END_STREAM) } else { (CONTINUATION, 0) };
        frame(kind, flags | if number == last { END_HEADERS } else { 0 }, 1, chunk)
    });
    frames.collect()
}

fn frames() -> Vec<Row> {
    let ended = |name, bytes| row(name, bytes, Expected::Ended);
    vec![
        ended("data on no stream", frame(DATA, 0, 0, b"x")),
        ended("data on an idle stream", frame(DATA, 0, 1, b"x")),
        ended("headers on no stream", frame(HEADERS, END_STREAM | END_HEADERS, 0, &plain(&[]))),
        ended("headers on an even stream", frame(HEADERS, END_STREAM | END_HEADERS, 2, &plain(&[]))),
        ended("padding longer than the frame", frame(HEADERS, END_STREAM | END_HEADERS | 8, 1, b"\xffx")),
        ended("compression that is none", request(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")),
        ended("index out of the table", request(b"\xfe")),
        ended("continuation of nothing", frame(CONTINUATION, END_HEADERS, 1, b"")),
        ended("ping between headers", [frame(HEADERS, 0, 1, &plain(&[])), frame(PING, 0, 0, &[0; 8])].concat()),
        ended("settings on a stream", frame(SETTINGS, 0, 1, b"")),
        ended("settings of an odd length", frame(SETTINGS, 0, 0, &[0; 5])),
        ended("window over its limit", frame(SETTINGS, 0, 0, b"\x00\x04\xff\xff\xff\xff")),
        ended("ping of an odd length", frame(PING, 0, 0, &[0; 7])),
        ended("window update of nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        ended("window that overflows", frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff")),
        ended("reset of an idle stream", frame(RST_STREAM, 0, 1, &[0; 4])),
        ended("promise by a client", frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2])),
        ended("frame over the limit", frame(DATA, 0, 1, &[0; 20_000])),
        ended("garbage", vec![0xff; 100]),
        ended("HTTP/1.1 after the preface", b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        row("goodbye", frame(GOAWAY, 0, 0, &[0; 8]), Expected::Survived),
        row("stream that waits for itself", frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0]), Expected::Survived),
        row("unknown frame", [frame(99, 0, 0, b"x"), request(&plain(&[]))].concat(), Expected::Passed),
        row(
            "data after the end",
            [request(&plain(&[])), frame(DATA, END_STREAM, 1, b"x")].concat(),
            Expected::Survived,
        ),
        row("head without an end", frame(HEADERS, 0, 1, &plain(&[])), Expected::Survived),
    ]
}

fn floods() -> Vec<Row> {
    let survived = |name, bytes| row(name, bytes, Expected::Survived);
    let repeated = |count: usize, bytes: &[u8]| bytes.repeat(count);
    let streams = |count: u32, then: fn(u32) -> Vec<u8>| -> Vec<u8> {
        (0..count)
            .flat_map(|number| {
                let stream = number * 2 + 1;
                [frame(HEADERS, END_STREAM | END_HEADERS, stream, &plain(&[])), then(stream)].concat()
            })
            .collect()
    };
    let post = frame(HEADERS, END_HEADERS, 1, &plain(&[]));
    let never_ending = (0..200).flat_map(|_| frame(CONTINUATION, 0, 1, &literal("x", &"x".repeat(1_000))));
    let never_ending: Vec<u8> = frame(HEADERS, 0, 1, &plain(&[])).into_iter().chain(never_ending).collect();
    let bomb = {
        // One entry of the table, then thousands of references to it (RFC 7541, 6.1 and 6.2.1).
        let entry = [&[0x40][..], &text("x"), &text(&"x".repeat(3_000))].concat();
        [plain(&[]), entry, vec![0xbe; 12_000]].concat()
    };
    vec![
        survived("10,000 pings", repeated(10_000, &frame(PING, 0, 0, &[0; 8]))),
        survived("10,000 settings", repeated(10_000, &frame(SETTINGS, 0, 0, b""))),
        survived("10,000 empty data frames", [post, repeated(10_000, &frame(DATA, 0, 1, b""))].concat()),
        survived("10,000 window updates", repeated(10_000, &frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]))),
        survived("10,000 priorities", repeated(10_000, &frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 0]))),
        survived("1,000 streams that are reset", streams(1_000, |stream| frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]))),
        survived(
            "1,000 streams that are made to be reset",
            streams(1_000, |stream| frame(WINDOW_UPDATE, 0, stream, &[0; 4])),
        ),
        survived("1,000 streams at once", streams(1_000, |_| Vec::new())),
        survived(
            "10,000 empty continuations",
            [frame(HEADERS, 0, 1, &plain(&[])), repeated(10_000, &frame(CONTINUATION, 0, 1, b""))].concat(),
        ),
        row("headers without an end", never_ending, Expected::Ended),
        row("bomb of headers", request(&bomb), Expected::Refused),
        row("1 MB of garbage", vec![0x55; 1 << 20], Expected::Ended),
    ]
}

impl Row {
    /// Plays it on a connection of its own; the reason, if it does not end as it must.
    pub fn play(&self, authority: &Authority, port: u16) -> Result<(), Failed> {
        let mut client = Http2::connect(authority, port)?;
        client.send(&[PREFACE, &self.bytes].concat());
        let outcome = self.read(&mut client);
        // The codes of `:status 200` and `:status 400` in the static table are 8 and 12 (RFC 7541, appendix A).
        let is_ok = outcome.status == Some(0x88);
        let holds = match self.expected {
            Expected::Ended => outcome.is_ended && outcome.status.is_none(),
            Expected::Refused => {
                let is_said = outcome.status.is_some() && !is_ok;
                outcome.is_ended && outcome.status.is_none() || outcome.is_reset && !is_ok || is_said
            }
            Expected::Passed => is_ok && outcome.data == b"{}",
            Expected::Survived => true,
        };
        if holds {
            Ok(())
        } else {
            Err(format!("{}: expected {:?}, came {outcome:?}", self.name, self.expected).into())
        }
    }

    /// Reads frames until the row is decided.
    fn read(&self, client: &mut Http2) -> Outcome {
        let mut outcome = Outcome::default();
        let begun = Instant::now();
        // What survives is only drained for a moment.
        let bound = if self.expected == Expected::Survived { Duration::from_millis(100) } else { BOUND };
        while let Some(left) = bound.checked_sub(begun.elapsed()) {
            let frame = match client.next(left) {
                Next::Frame(frame) => frame,
                Next::Silence => break,
                Next::End => {
                    outcome.is_ended = true;
                    break;
                }
            };
            match (frame.kind, frame.stream) {
                (GOAWAY, _) => outcome.is_ended = true,
                (RST_STREAM, 1) => outcome.is_reset = true,
                (HEADERS, 1) => outcome.status = frame.payload.first().copied(),
                (DATA, 1) => outcome.data.extend(frame.payload),
                _ => continue,
            }
            let is_decided = outcome.is_ended || outcome.is_reset || frame.flags & END_STREAM != 0;
            if is_decided && self.expected != Expected::Survived {
                break;
            }
        }
        outcome
    }
}
