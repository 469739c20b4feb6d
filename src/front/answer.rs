//! The head of an answer of Synapse's that is relayed: what it says of the body, and how the client gets it. Pure.
//!
//! Not here: heads that could be read in more than one way, or that say something about the connection besides whether
//! it ends. Pingora has rules for those.

use std::mem::MaybeUninit;

use http::StatusCode;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderName, TRANSFER_ENCODING, UPGRADE};
use httparse::{Header, ParserConfig, Response, Status};
use pingora_core::{ErrorType::InvalidHTTPHeader, OrErr, Result};
use pingora_http::ResponseHeader;

use super::fence::Fence;
use super::head::HEADERS_MAX;
use super::wire::{self, Manner};
use crate::answer::malformed::content_length;
use crate::proxy::relay::Told;

/// The longest head. Pingora has bounds of its own for longer ones.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// What has arrived of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<T> {
    /// Its head goes on.
    Partial,
    /// Its head is whole; and the same as the client gets it.
    Whole(AnswerHead, T),
    /// It is not plain.
    Odd,
}

/// In which form a client gets the head of an answer.
pub(super) trait Form: Sync {
    /// A head in this form.
    type Head: Send;

    /// Whether the request was a `HEAD`, whose answer has no body.
    fn is_bodiless(&self) -> bool;

    /// Writes a head.
    fn write(&self, answer: &Response<'_, '_>, status: StatusCode, told: Option<Told<'_>>) -> Self::Head;
}

/// The form of HTTP/2. The date is added by Pingora, which leaves out what must not stand there.
pub(super) struct Fields {
    pub(super) is_bodiless: bool,
}

/// The head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AnswerHead {
    pub(super) status: StatusCode,
    /// How long it was when it came.
    pub(super) bytes: usize,
    /// Where the answer ends behind it.
    pub(super) fence: Fence,
    /// Whether the process takes another request on the same connection.
    pub(super) stays_open: bool,
}

/// Looks for a head at the beginning of what has arrived. A plain one is written as the client gets it: all of it but what
/// concerns the connection to the process, and the date, which is that of the server that sends (as Pingora has it); and
/// what whoever asked is told.
pub(super) fn read<F: Form>(arrived: &[u8], told: Option<Told<'_>>, form: &F) -> Parsed<F::Head> {
    let mut room = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut answer = Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut answer, arrived, &mut room);
    let bytes = match parsed {
        Ok(Status::Complete(bytes)) => bytes,
        Ok(Status::Partial) if arrived.len() <= HEAD_BYTES_MAX => return Parsed::Partial,
        _ => return Parsed::Odd,
    };
    match plain(&answer, bytes, form.is_bodiless()) {
        Some(head) => Parsed::Whole(head, form.write(&answer, head.status, told)),
        None => Parsed::Odd,
    }
}

/// What a head says that is plain; `None` for any other.
fn plain(answer: &Response<'_, '_>, bytes: usize, is_bodiless: bool) -> Option<AnswerHead> {
    let status = StatusCode::from_u16(answer.code.filter(|_| answer.version == Some(1))?).ok()?;
    let (mut length, mut chunks, mut stays_open) = (None, None, None);
    for Header { name, value } in &*answer.headers {
        if is(name, &CONTENT_LENGTH) {
            set_once(&mut length, content_length(value)?)?;
        } else if is(name, &TRANSFER_ENCODING) {
            set_once(&mut chunks, value.eq_ignore_ascii_case(b"chunked").then_some(())?)?;
        } else if is(name, &CONNECTION) {
            set_once(&mut stays_open, keeps_alive(value)?)?;
        } else if is(name, &UPGRADE) {
            return None;
        }
    }
    if status.is_informational() {
        return None;
    }
    let has_no_body = is_bodiless || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let fence = match (has_no_body, length, chunks) {
        (_, Some(_), Some(_)) | (false, None, None) => return None,
        (true, ..) => Fence::Length(0),
        (false, Some(length), None) => Fence::Length(length),
        (false, None, Some(_)) => Fence::CHUNKS,
    };
    Some(AnswerHead { status, bytes, fence, stays_open: stays_open.unwrap_or(true) })
}

/// What a `Connection` header says; `None` where it says something else.
fn keeps_alive(value: &[u8]) -> Option<bool> {
    let ends = value.eq_ignore_ascii_case(b"close");
    (ends || value.eq_ignore_ascii_case(b"keep-alive")).then_some(!ends)
}

/// `None` where it was set already.
fn set_once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

fn is(name: &str, other: &HeaderName) -> bool {
    name.eq_ignore_ascii_case(other.as_str())
}

impl Form for Manner {
    type Head = Vec<u8>;

    fn is_bodiless(&self) -> bool {
        self.is_bodiless
    }

    fn write(&self, answer: &Response<'_, '_>, status: StatusCode, told: Option<Told<'_>>) -> Vec<u8> {
        let mut out = Vec::new();
        wire::begin_head(&mut out, status, answer.reason.unwrap_or_default());
        for Header { name, value } in answer.headers.iter().filter(|header| !is_own(header.name)) {
            for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                out.extend_from_slice(part);
            }
        }
        if let Some((name, told)) = told {
            wire::line(&mut out, &name, told.as_bytes());
        }
        wire::end_head(&mut out, self);
        out
    }
}

impl Form for Fields {
    /// An error is a name or a value that HTTP does not know.
    type Head = Result<Box<ResponseHeader>>;

    fn is_bodiless(&self) -> bool {
        self.is_bodiless
    }

    fn write(
        &self,
        answer: &Response<'_, '_>,
        status: StatusCode,
        told: Option<Told<'_>>,
    ) -> Result<Box<ResponseHeader>> {
        let mut head = ResponseHeader::build_no_case(status, Some(answer.headers.len() + 2))?;
        for Header { name, value } in answer.headers.iter().filter(|header| !is_own(header.name)) {
            head.append_header(HeaderName::from_bytes(name.as_bytes()).or_err(InvalidHTTPHeader, "a name")?, *value)?;
        }
        if let Some((name, told)) = told {
            head.append_header(name, told)?;
        }
        Ok(Box::new(head))
    }
}

/// Whether dendron itself says this to its client.
fn is_own(name: &str) -> bool {
    is(name, &CONNECTION) || is(name, &DATE)
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    fn relayed(answer: &str, is_bodiless: bool) -> Parsed<String> {
        let manner =
            Manner { is_bodiless, is_last: false, date: HeaderValue::from_static("Sun, 29 Nov 2026 08:00:00 GMT") };
        match read(answer.as_bytes(), None, &manner) {
            Parsed::Partial => Parsed::Partial,
            Parsed::Whole(head, text) => Parsed::Whole(head, String::from_utf8(text).unwrap()),
            Parsed::Odd => Parsed::Odd,
        }
    }

    #[test]
    fn a_plain_head_passes_but_for_what_concerns_the_connection() {
        let answer = "HTTP/1.1 404 Gone Fishing\r\nserver: Synapse\r\nDATE: old\r\nX-A: 1\r\nConnection: Keep-Alive\r\n\
                      x-a: 2\r\nContent-Length: 5\r\n\r\nhello";
        let bytes = answer.len() - 5;
        let head = AnswerHead { status: StatusCode::NOT_FOUND, bytes, fence: Fence::Length(5), stays_open: true };
        let text = "HTTP/1.1 404 Gone Fishing\r\nserver: Synapse\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 5\r\n\
                    Date: Sun, 29 Nov 2026 08:00:00 GMT\r\nConnection: keep-alive\r\n\r\n";
        assert_eq!(relayed(answer, false), Parsed::Whole(head, text.to_owned()));
        for cut in 0..bytes {
            assert_eq!(relayed(&answer[..cut], false), Parsed::Partial, "cut at {cut}");
        }
    }

    #[test]
    fn over_http2_a_head_says_nothing_of_connections() {
        let answer = "HTTP/1.1 200 OK\r\nServer: Synapse\r\nDate: old\r\nX-A: 1\r\nConnection: close\r\nx-a: 2\r\n\
                      Content-Length: 5\r\n\r\n";
        let told = Some((HeaderName::from_static("x-dendron"), "forwarded"));
        let form = Fields { is_bodiless: false };
        let Parsed::Whole(_, head) = read(answer.as_bytes(), told, &form) else { panic!("not plain") };
        let head = head.unwrap();
        let fields: Vec<_> =
            head.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        let expected =
            [("server", "Synapse"), ("x-a", "1"), ("x-a", "2"), ("content-length", "5"), ("x-dendron", "forwarded")];
        assert_eq!((head.status, fields), (StatusCode::OK, expected.to_vec()));
    }

    #[test]
    fn a_head_says_where_its_answer_ends() {
        let table = [
            ("200 OK", "Content-Length: 0", false, Fence::Length(0), true),
            ("200 OK", "Content-Length: 7\r\nConnection: close", false, Fence::Length(7), false),
            ("200 OK", "Transfer-Encoding: Chunked", false, Fence::CHUNKS, true),
            ("200 OK", "Content-Length: 7", true, Fence::Length(0), true),
            ("200 OK", "Transfer-Encoding: chunked", true, Fence::Length(0), true),
            ("304 Not Modified", "Content-Length: 7", false, Fence::Length(0), true),
            ("204 No Content", "X: y", false, Fence::Length(0), true),
            ("200", "Content-Length: 1", false, Fence::Length(1), true),
        ];
        for (status, headers, is_bodiless, fence, stays_open) in table {
            let answer = format!("HTTP/1.1 {status}\r\n{headers}\r\n\r\n");
            let Parsed::Whole(head, _) = relayed(&answer, is_bodiless) else { panic!("{answer:?}") };
            assert_eq!((head.fence, head.stays_open), (fence, stays_open), "{answer:?}");
        }
    }

    #[test]
    fn what_is_not_plain_is_not_relayed() {
        let long = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(HEAD_BYTES_MAX));
        for answer in [
            "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: X\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nUpgrade: h2c\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\n",
            "nonsense\r\n\r\n",
            &long,
        ] {
            assert_eq!(relayed(answer, false), Parsed::Odd, "{answer:.60?}");
        }
    }
}
