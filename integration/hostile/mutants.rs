//! Requests that nobody has thought of, drawn from a seed: good and odd ones on one connection, with bytes changed here
//! and there, cut into pieces anywhere.

use crate::harness::numbers::Numbers;

/// What is sent on one connection, piece by piece.
#[derive(Clone, Debug)]
pub struct Mutant {
    pub pieces: Vec<Vec<u8>>,
}

/// What every connection ends with, unless something before it ended it.
const LAST: &str = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

const LINES: [&str; 14] = [
    "GET /1 HTTP/1.1",
    "GET /2?a=b&c=%20 HTTP/1.1",
    "HEAD /3 HTTP/1.1",
    "POST /4 HTTP/1.1",
    "PUT /5 HTTP/1.1",
    "DELETE /6 HTTP/1.1",
    "OPTIONS /7 HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "GET http://a/8 HTTP/1.1",
    "GET /9 HTTP/1.0",
    "CONNECT a:22 HTTP/1.1",
    "GET /_synapse/admin/v1/10 HTTP/1.1",
    "get /11 HTTP/1.1",
    "GET //12 HTTP/1.1",
];
const HEADERS: [&str; 22] = [
    "Accept: */*",
    "Connection: keep-alive",
    "Connection: close",
    "Connection: Upgrade",
    "Connection: X-Forwarded-For",
    "Content-Length: 0",
    "Content-Length: 5",
    "Content-Length: 05",
    "Content-Length: 5, 5",
    "Content-Length: +5",
    "Content-Length: 18446744073709551616",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: identity",
    "Expect: 100-continue",
    "Upgrade: websocket",
    "TE: trailers",
    "X-Forwarded-For: 192.0.2.1",
    "X: \u{e4}",
    " folded: a",
    "Host: a",
    "Host: b",
];
const BODIES: [&str; 9] = [
    "",
    "",
    "hello",
    "5\r\nhello\r\n0\r\n\r\n",
    "5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
    "0\r\n\r\n",
    "5\nhello\n0\n\n",
    "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
];
const ODD_BYTES: &[u8] = b"\r\n\0\x7f\x80 \t:,;/?#%\"+-0159aGHXx";

impl Mutant {
    /// The next one.
    pub fn draw(numbers: &mut Numbers) -> Self {
        let mut bytes = Vec::new();
        for _ in 0..1 + numbers.below(4) {
            bytes.extend_from_slice(request(numbers).as_bytes());
        }
        // Every third is as it was put together.
        for _ in 0..numbers.below(3) {
            change(&mut bytes, numbers);
        }
        bytes.extend_from_slice(LAST.as_bytes());
        Mutant { pieces: numbers.cut(bytes, 4) }
    }

    /// All that is sent, as it can be read.
    pub fn text(&self) -> String {
        self.pieces.concat().escape_ascii().to_string()
    }
}

/// A request whose body fits its head more often than not.
fn request(numbers: &mut Numbers) -> String {
    let mut lines = vec![numbers.one_of(&LINES), "Host: a"];
    let mut body = "";
    match numbers.below(4) {
        0 => {
            for _ in 0..numbers.below(4) {
                lines.push(numbers.one_of(&HEADERS));
            }
            body = numbers.one_of(&BODIES);
        }
        1 => {
            lines[0] = "POST /4 HTTP/1.1";
            lines.push("Content-Length: 5");
            body = "hello";
        }
        2 => {
            lines[0] = "PUT /5 HTTP/1.1";
            lines.push("Transfer-Encoding: chunked");
            body = numbers.one_of(&["5\r\nhello\r\n0\r\n\r\n", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "0\r\n\r\n"]);
        }
        _ => lines.push(numbers.one_of(&["Accept: */*", "User-Agent: a", "Authorization: Bearer a"])),
    }
    format!("{}\r\n\r\n{body}", lines.join("\r\n"))
}

fn change(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    let at = numbers.below(bytes.len());
    match numbers.below(5) {
        0 => bytes[at] = numbers.one_of(ODD_BYTES),
        1 => bytes.insert(at, numbers.one_of(ODD_BYTES)),
        2 => drop(bytes.remove(at)),
        3 => {
            let end = (at + 1 + numbers.below(40)).min(bytes.len());
            let part = bytes[at..end].to_vec();
            bytes.splice(end..end, part);
        }
        _ => {
            let end = (at + 1 + numbers.below(20)).min(bytes.len());
            bytes.drain(at..end);
        }
    }
}
