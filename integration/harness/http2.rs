//! HTTP/2 frame by frame, over TLS: for what no client library would send, and to see what it would not show.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use super::tls::{Authority, Connection};

/// What every connection begins with (RFC 9113, 3.4), before the settings.
pub const MAGIC: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The same with empty settings.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

// The kinds of frames (RFC 9113, 6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

// Their flags.
pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const WITH_PRIORITY: u8 = 32;

/// How long a read waits for a first byte before it looks at the time.
const GLANCE: Duration = Duration::from_millis(20);
/// How long the rest of a frame may take, and a write.
const BOUND: Duration = Duration::from_secs(8);

/// A frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// What came next.
#[derive(Debug)]
pub enum Next {
    Frame(Frame),
    /// Nothing, for as long as was waited.
    Silence,
    /// The end of the connection.
    End,
}

/// A client's connection.
pub struct Http2 {
    connection: Connection,
}

/// A frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header without compression (RFC 7541, 6.2.2).
pub fn literal(name: &str, value: &str) -> Vec<u8> {
    [&[0][..], &text(name), &text(value)].concat()
}

/// A string of HPACK without Huffman's code (RFC 7541, 5.2).
pub fn text(value: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut length = value.len();
    if length < 127 {
        bytes.push(u8::try_from(length).unwrap_or(0));
    } else {
        bytes.push(127);
        length -= 127;
        while length >= 128 {
            bytes.push(u8::try_from(length % 128).unwrap_or(0) | 128);
            length /= 128;
        }
        bytes.push(u8::try_from(length).unwrap_or(0));
    }
    bytes.extend_from_slice(value.as_bytes());
    bytes
}

/// A block of headers without compression.
pub fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    headers.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

/// The block of a request.
pub fn head(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let own = [(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path)];
    block(&[&own[..], more].concat())
}

/// A setting (RFC 9113, 6.5.1).
pub fn setting(name: u16, value: u32) -> Vec<u8> {
    [&name.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

/// The status of the first answer that comes, to whoever has written his request himself.
pub fn first_status(stream: &mut impl Read) -> Result<Option<u16>, Failed> {
    loop {
        let mut start = [0; 9];
        stream.read_exact(&mut start)?;
        let length = usize::from(start[1]) << 8 | usize::from(start[2]);
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload)?;
        if start[3] == HEADERS {
            return Ok(status(&payload));
        }
    }
}

/// The status in a block of headers that was written without a dynamic table, as a client with a table of size 0 gets it.
/// A status comes first; the ones that HPACK has no number for are three digits in Huffman's code (RFC 7541, appendices
/// A and B).
pub fn status(block: &[u8]) -> Option<u16> {
    const NUMBERED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    // What may come before it is a change of the table's size.
    let block = block.iter().position(|byte| byte & 0xe0 != 0x20).map(|start| &block[start..])?;
    match *block {
        [first, ..] if (0x88..=0x8e).contains(&first) => NUMBERED.get(usize::from(first - 0x88)).copied(),
        [0x08 | 0x18 | 0x48, 3, ref digits @ ..] => std::str::from_utf8(digits.get(..3)?).ok()?.parse().ok(),
        [0x08 | 0x18 | 0x48, length, ref coded @ ..] if length & 0x80 != 0 => {
            digits(coded.get(..usize::from(length & 0x7f))?)
        }
        _ => None,
    }
}

/// Three digits in Huffman's code: 0, 1 and 2 have five bits, the others six.
fn digits(coded: &[u8]) -> Option<u16> {
    let mut bits = coded.iter().flat_map(|byte| (0..8).rev().map(move |place| u16::from(byte >> place & 1)));
    let mut take = |count: usize, from: u16| -> Option<u16> {
        (0..count).try_fold(from, |value, _| Some(value << 1 | bits.next()?))
    };
    let mut number = 0;
    for _ in 0..3 {
        let five = take(5, 0)?;
        // The codes of 3 to 9 are 25 to 31.
        let digit = if five < 3 { five } else { take(1, five)?.checked_sub(22)? };
        number = number * 10 + digit;
    }
    Some(number)
}

impl Http2 {
    /// Connects, and has said nothing yet.
    pub fn connect(authority: &Authority, port: u16) -> Result<Self, Failed> {
        let connection = authority.connect_speaking(port, &[b"h2"])?;
        connection.sock.set_write_timeout(Some(BOUND))?;
        connection.sock.set_read_timeout(Some(GLANCE))?;
        connection.sock.set_nodelay(true)?;
        Ok(Http2 { connection })
    }

    /// Sends bytes. A server that has had enough may close while it is still being sent to, which is no failure here.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.connection.write_all(bytes).and_then(|()| self.connection.flush());
    }

    /// What comes next.
    pub fn next(&mut self, within: Duration) -> Next {
        let mut head = [0; 9];
        match self.fill(&mut head, within) {
            Some(true) => {}
            Some(false) => return Next::Silence,
            None => return Next::End,
        }
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        if length > 0 && self.fill(&mut payload, BOUND) != Some(true) {
            return Next::End;
        }
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Next::Frame(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Whether the buffer was filled; `false` where nothing at all came in time, `None` at the connection's end.
    fn fill(&mut self, buffer: &mut [u8], within: Duration) -> Option<bool> {
        let begun = Instant::now();
        let mut filled = 0;
        while filled < buffer.len() {
            match self.connection.read(&mut buffer[filled..]) {
                Ok(0) => return None,
                Ok(count) => filled += count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    let bound = if filled == 0 { within } else { BOUND };
                    if begun.elapsed() > bound {
                        return (filled == 0).then_some(false);
                    }
                }
                Err(_) => return None,
            }
        }
        Some(true)
    }
}
