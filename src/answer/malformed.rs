//! Requests that must not go on: two readers of one could see two different requests in it, or no process of Synapse
//! would take it.
//!
//! Only heads are looked at. The rules hold for every version of HTTP and wherever they are asked: the front asks them of
//! the lines of an HTTP/1 head before Pingora has seen it, the filter of what Pingora has parsed. So some are Pingora's
//! own rules as well: it answers their breach with a bare status, which no client of Matrix understands.
//!
//! Not here: parsing.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{Method, Version};
use memchr::memchr_iter;

use super::head::Head;
use crate::reply::Failure;

/// The most bytes of a head. Twisted, on which Synapse stands, takes a request line of 16 KiB and headers of 16 KiB
/// together, so nothing that Synapse would serve is refused.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Why a request is refused for its head, `None` if it is not.
pub fn malformed(head: Head<'_>) -> Option<Failure> {
    if head_bytes(head) > HEAD_BYTES_MAX {
        return Some(Failure::HeadersTooLarge);
    }
    if head.is(&Method::CONNECT) {
        return Some(Failure::NoTunnel);
    }
    let raw = head.raw.unwrap_or_default();
    let is_malformed = has_no_clear_host(head)
        || !is_target(head)
        || has_fragment(raw)
        || has_bare_line_feed(raw)
        || is_framed_ambiguously(head, raw);
    is_malformed.then_some(Failure::Malformed)
}

fn head_bytes(head: Head<'_>) -> usize {
    head.raw.map_or_else(|| head.target.len() + head.headers.sizes(), <[u8]>::len)
}

/// HTTP/1.1 forbids a request without a `Host`, even one whose target names the host, and every request with two (RFC
/// 9112, 3.2). A host that names a user, or is another one than the target's, could be taken for either.
fn has_no_clear_host(head: Head<'_>) -> bool {
    let Ok(host) = head.headers.only(&HOST) else { return true };
    let is_missing = host.is_none() && head.version == Version::HTTP_11;
    let has_user = |authority: &[u8]| authority.contains(&b'@');
    let differs = authority(head.target).is_some_and(|authority| {
        let is_authority = !authority.is_empty() && Authority::try_from(authority).is_ok();
        !is_authority || has_user(authority) || host.is_some_and(|host| host != authority)
    });
    is_missing || differs || host.is_some_and(has_user)
}

/// The authority in the absolute form of a target (RFC 9112, 3.2.2).
fn authority(target: &[u8]) -> Option<&[u8]> {
    let rest = if begins(target, b"http://") { &target[7..] } else { target.get(8..).filter(|_| is_https(target))? };
    rest.split(|byte| b"/?#".contains(byte)).next()
}

/// A path, an absolute URI, or the asterisk of `OPTIONS` (RFC 9112, 3.2). Twisted looks a resource up by what follows the
/// first character, whatever that is, so `x_synapse/metrics` could be one path to Synapse and another to dendron.
fn is_target(head: Head<'_>) -> bool {
    let target = head.target;
    let has_form = begins(target, b"/")
        || begins(target, b"http://")
        || is_https(target)
        || target == b"*" && head.is(&Method::OPTIONS);
    has_form && !target.iter().any(u8::is_ascii_control)
}

fn is_https(target: &[u8]) -> bool {
    begins(target, b"https://")
}

fn begins(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len()).is_some_and(|found| found.eq_ignore_ascii_case(start))
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
    memchr_iter(b'\n', raw).any(|at| at == 0 || raw[at - 1] != b'\r')
}

/// A body's end must be told in one way: Twisted refuses every coding but `chunked`, a length beside it, and a second
/// length, be it the same. HTTP/1.0 has no codings (RFC 9112, 6.1). Pingora takes a length beside a coding out of the
/// headers, so it is looked for in the bytes.
fn is_framed_ambiguously(head: Head<'_>, raw: &[u8]) -> bool {
    let Ok(length) = head.headers.only(&CONTENT_LENGTH) else { return true };
    let Ok(coding) = head.headers.only(&TRANSFER_ENCODING) else { return true };
    let has_bad_length = length.is_some_and(|length| content_length(length).is_none());
    let has_bad_coding = coding.is_some_and(|coding| {
        let is_chunked = coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
        !is_chunked || head.version == Version::HTTP_10 || has_line_that_begins(raw, b"content-length:")
    });
    has_bad_length || has_bad_coding
}

/// The number of bytes that a `Content-Length` names, `None` where it names none.
pub fn content_length(value: &[u8]) -> Option<u64> {
    // A plus sign is a number to Rust.
    let digits = value.trim_ascii();
    digits.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

fn has_line_that_begins(raw: &[u8], beginning: &[u8]) -> bool {
    raw.split(|byte| *byte == b'\n').any(|line| begins(line, beginning))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::super::head::Headers;
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
        let as_parsed = Head::parsed(&parts, target.as_bytes(), Some(raw));
        let lines: Vec<httparse::Header<'_>> = parts.headers.iter().map(as_line).collect();
        let as_lines = Head { headers: Headers::Lines(&lines), ..as_parsed };
        assert_eq!(malformed(as_parsed), malformed(as_lines), "{text:?}");
        malformed(as_parsed)
    }

    fn as_line<'map>((name, value): (&'map http::HeaderName, &'map http::HeaderValue)) -> httparse::Header<'map> {
        httparse::Header { name: name.as_str(), value: value.as_bytes() }
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
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", refused),
            ("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", refused),
            ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", refused),
            ("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", None),
            ("GET http://a?b HTTP/1.1\r\nHost: a\r\n\r\n", None),
            ("GET http://a:8448/ HTTP/1.1\r\nHost: a:8448\r\n\r\n", None),
            ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", refused),
            ("GET http://u@a/ HTTP/1.1\r\nHost: u@a\r\n\r\n", refused),
            ("GET http://a/ HTTP/1.0\r\n\r\n", None),
            ("CONNECT a:22 HTTP/1.1\r\nHost: a:22\r\n\r\n", Some(Failure::NoTunnel)),
            ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", None),
            ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", refused),
            ("GET x HTTP/1.1\r\nHost: x\r\n\r\n", refused),
            ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", refused),
            ("GET /a%23b HTTP/1.1\r\nHost: a\r\nX: #\r\n\r\n", None),
            ("GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n", refused),
            ("GET /a\x7f HTTP/1.1\r\nHost: a\r\n\r\n", refused),
            ("GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n", None),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", None),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0005\r\n\r\n", None),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", refused),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", refused),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", refused),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n", refused),
            ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", refused),
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
            malformed(Head::parsed(&parts, b"/", None))
        };
        assert_eq!(counted(HEAD_BYTES_MAX), None);
        assert_eq!(counted(HEAD_BYTES_MAX + 1), Some(Failure::HeadersTooLarge));
    }
}
