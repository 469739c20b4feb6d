//! An answer of dendron's own as it stands on the wire. Pure.

use http::StatusCode;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderName, HeaderValue};

use crate::reply::Reply;

/// Room for a usual head, so that it is made once.
const HEAD_BYTES: usize = 768;

/// How an answer is written besides what it says.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    /// Whether the request was a `HEAD`, whose answer has the length of a body and no body.
    pub(super) is_bodiless: bool,
    /// Whether the connection ends with it.
    pub(super) is_last: bool,
    /// The moment, as HTTP writes it.
    pub(super) date: HeaderValue,
}

/// Writes an answer behind what is there.
pub(super) fn write(out: &mut Vec<u8>, reply: &Reply, manner: &Manner) {
    out.reserve(HEAD_BYTES + reply.body.len());
    begin_head(out, reply.status, reply.status.canonical_reason().unwrap_or_default());
    for (name, value) in &*reply.headers {
        line(out, name, value.as_bytes());
    }
    line(out, &CONTENT_LENGTH, HeaderValue::from(reply.body.len()).as_bytes());
    end_head(out, manner);
    if !manner.is_bodiless {
        out.extend_from_slice(&reply.body);
    }
}

/// Writes a head's first line.
pub(super) fn begin_head(out: &mut Vec<u8>, status: StatusCode, reason: &str) {
    for part in ["HTTP/1.1 ", status.as_str(), " ", reason, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Writes what a head ends with, whoever has given the answer.
pub(super) fn end_head(out: &mut Vec<u8>, manner: &Manner) {
    line(out, &DATE, manner.date.as_bytes());
    line(out, &CONNECTION, if manner.is_last { b"close" } else { b"keep-alive" });
    out.extend_from_slice(b"\r\n");
}

/// Writes a header.
pub(super) fn line(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    title(out, name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// A header's name with capitals.
fn title(out: &mut Vec<u8>, name: &HeaderName) {
    let mut begins = true;
    out.extend(name.as_str().bytes().map(|byte| {
        let titled = if begins { byte.to_ascii_uppercase() } else { byte };
        begins = byte == b'-';
        titled
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Failure;

    #[test]
    fn an_answer_is_whole_on_the_wire() {
        let reply = Failure::NoTunnel.reply();
        for (is_bodiless, is_last) in [(false, true), (true, true), (false, false), (true, false)] {
            let date = HeaderValue::from_static("Sun, 29 Nov 2026 08:00:00 GMT");
            let mut out = b"before".to_vec();
            write(&mut out, &reply, &Manner { is_bodiless, is_last, date });
            let text = String::from_utf8(out).unwrap();
            assert!(text.starts_with("beforeHTTP/1.1 405 Method Not Allowed\r\n"), "{text}");
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert_eq!(body.as_bytes(), if is_bodiless { b"" } else { &reply.body[..] });
            for line in [
                "Access-Control-Allow-Origin: *",
                "Content-Type: application/json",
                "Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS",
                &format!("Content-Length: {}", reply.body.len()),
                "Date: Sun, 29 Nov 2026 08:00:00 GMT",
                if is_last { "Connection: close" } else { "Connection: keep-alive" },
            ] {
                assert!(head.lines().any(|other| other == line), "{line} is not in {head}");
            }
        }
    }
}
