//! Requests that Pingora lets pass and that must not go on: two readers of one could see two different requests in it,
//! or no process of Synapse would take it.
//!
//! Only heads are looked at, and only for what Pingora's own checks leave over. Not here: parsing. What Pingora cannot
//! parse it answers by itself, before any hook.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, Method, Version};

use crate::reply::Failure;

/// The most bytes of a head. Twisted, on which Synapse stands, takes a request line of 16 KiB and headers of 16 KiB
/// together, so nothing that Synapse would serve is refused.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;

/// A request's head, as it was read.
#[derive(Clone, Copy, Debug)]
pub struct Head<'request> {
    /// Method, target, version and headers.
    pub parts: &'request Parts,
    /// The target, which may hold bytes that a URI cannot.
    pub target: &'request [u8],
    /// The bytes on the wire; `None` in HTTP/2, which has a framing of its own.
    pub raw: Option<&'request [u8]>,
}

/// Why a request is refused for its head, `None` if it is not.
pub fn malformed(head: Head<'_>) -> Option<Failure> {
    if head_bytes(head) > HEAD_BYTES_MAX {
        return Some(Failure::HeadersTooLarge);
    }
    let raw = head.raw.unwrap_or_default();
    let is_malformed = is_hostless(head.parts)
        || !is_target(head)
        || has_fragment(raw)
        || has_bare_line_feed(raw)
        || is_framed_ambiguously(&head.parts.headers, raw);
    is_malformed.then_some(Failure::Malformed)
}

fn head_bytes(head: Head<'_>) -> usize {
    match head.raw {
        Some(raw) => raw.len(),
        None => {
            let headers = head.parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
            head.target.len() + headers.sum::<usize>()
        }
    }
}

/// HTTP/1.1 forbids a request without a `Host`, even one whose target names the host (RFC 9112, 3.2).
fn is_hostless(parts: &Parts) -> bool {
    parts.version == Version::HTTP_11 && !parts.headers.contains_key(HOST)
}

/// A path, an absolute URI, or the asterisk of `OPTIONS` (RFC 9112, 3.2). Twisted looks a resource up by what follows the
/// first character, whatever that is, so `x_synapse/metrics` could be one path to Synapse and another to dendron.
fn is_target(head: Head<'_>) -> bool {
    let begins = |start: &[u8]| head.target.get(..start.len()).is_some_and(|found| found.eq_ignore_ascii_case(start));
    let has_form = begins(b"/")
        || begins(b"http://")
        || begins(b"https://")
        || head.target == b"*" && head.parts.method == Method::OPTIONS;
    has_form && !head.target.iter().any(u8::is_ascii_control)
}

/// A target has no fragment (RFC 9112, 3.2). Pingora drops one silently, Twisted takes it for a part of the path: the
/// request would become another one on its way.
fn has_fragment(raw: &[u8]) -> bool {
    let line = raw.trim_ascii_start().split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.contains(&b'#')
}

/// Pingora takes a line feed alone for the end of a line. A reader that does not would see other headers, so what may be
/// ignored (RFC 9112, 2.2) is not.
fn has_bare_line_feed(raw: &[u8]) -> bool {
    raw.first() == Some(&b'\n') || raw.windows(2).any(|pair| pair[1] == b'\n' && pair[0] != b'\r')
}

/// A body's end must be told in one way: Twisted refuses every coding but `chunked`, a length beside it, and a second
/// length, be it the same. Pingora has taken a length beside a coding out of the headers, so it is looked for in the
/// bytes.
fn is_framed_ambiguously(headers: &HeaderMap, raw: &[u8]) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    if lengths.next().is_some_and(|length| !length.as_bytes().iter().all(u8::is_ascii_digit))
        || lengths.next().is_some()
    {
        return true;
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return false };
    let is_chunked = coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    !is_chunked || codings.next().is_some() || has_line_that_begins(raw, b"content-length:")
}

fn has_line_that_begins(raw: &[u8], beginning: &[u8]) -> bool {
    let begins = |line: &[u8]| line.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning));
    raw.split(|byte| *byte == b'\n').any(begins)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    /// What is said of a head, given as bytes that are well-formed enough to be cut into lines.
    fn verdict(raw: &[u8]) -> Option<Failure> {
        let text = String::from_utf8_lossy(raw).into_owned();
        let mut lines = text.trim_start().lines();
        let mut line = lines.next().unwrap().split(' ');
        let (method, target, version) = (line.next().unwrap(), line.next().unwrap(), line.next().unwrap());
        let version = if version == "HTTP/1.0" { Version::HTTP_10 } else { Version::HTTP_11 };
        // A URI holds no control characters; Pingora keeps such a target beside it.
        let uri = target.replace(|character: char| character.is_ascii_control(), "");
        let mut request = Request::builder().method(method).uri(uri).version(version);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            request = request.header(name, value.trim());
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        malformed(Head { parts: &parts, target: target.as_bytes(), raw: Some(raw) })
    }

    #[test]
    fn heads_are_refused_for_what_is_ambiguous() {
        let refused = Some(Failure::Malformed);
        let table: &[(&str, Option<Failure>)] = &[
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", None),
            ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", None),
            ("GET / HTTP/1.0\r\n\r\n", None),
            ("GET http://a/ HTTP/1.1\r\n\r\n", refused),
            ("GET HTTPS://a/ HTTP/1.1\r\nHost: a\r\n\r\n", None),
            ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", refused),
            ("GET / HTTP/1.1\r\n\r\n", refused),
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", refused),
            ("GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", refused),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", refused),
            ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", refused),
            ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", None),
            ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", refused),
            ("GET x HTTP/1.1\r\nHost: x\r\n\r\n", refused),
            ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", refused),
            ("GET /a%23b HTTP/1.1\r\nHost: a\r\nX: #\r\n\r\n", None),
            ("GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n", refused),
            ("GET /a\x7f HTTP/1.1\r\nHost: a\r\n\r\n", refused),
            ("GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n", None),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", None),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", refused),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", refused),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", None),
            ("POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: \tCHUNKED \r\n\r\n", None),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", refused),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", refused),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", refused),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\ncontent-LENGTH: 5\r\n\r\n", refused),
            ("POST / HTTP/1.1\r\nHost: a\r\nX-Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        ];
        for (raw, expected) in table {
            assert_eq!(verdict(raw.as_bytes()), *expected, "{raw:?}");
        }
    }

    #[test]
    fn a_head_has_a_size() {
        let with_padding = |bytes: usize| {
            let around = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
            format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(bytes - around))
        };
        assert_eq!(verdict(with_padding(HEAD_BYTES_MAX).as_bytes()), None);
        assert_eq!(verdict(with_padding(HEAD_BYTES_MAX + 1).as_bytes()), Some(Failure::HeadersTooLarge));
    }

    #[test]
    fn without_bytes_the_headers_are_counted() {
        let counted = |bytes: usize| {
            let request = Request::builder().version(Version::HTTP_2).uri("/").header("x", "x".repeat(bytes - 2));
            let (parts, ()) = request.body(()).unwrap().into_parts();
            malformed(Head { parts: &parts, target: b"/", raw: None })
        };
        assert_eq!(counted(HEAD_BYTES_MAX), None);
        assert_eq!(counted(HEAD_BYTES_MAX + 1), Some(Failure::HeadersTooLarge));
    }
}
