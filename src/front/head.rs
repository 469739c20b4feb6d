//! Cuts a request's head into lines, with the parser that Pingora has, so that both find the same head. Pure.
//!
//! Pingora mends some request lines that its parser refuses (a blank in the target becomes `%20`). That is not done here:
//! what the parser refuses is no HTTP (RFC 9112, 3), and Twisted, which never sees the mended line, refuses it too.

use std::mem::MaybeUninit;

use http::Version;
use httparse::{Error, Header, Status};
use pingora_http::RequestHeader;

use crate::answer::malformed::HEAD_BYTES_MAX;
use crate::answer::{Head, Headers};
use crate::reply::Failure;

/// The most headers of a head, as Pingora has it.
pub(super) const HEADERS_MAX: usize = 256;

/// What has arrived of a head.
#[derive(Debug)]
pub(super) enum Parsed<'bytes> {
    /// It goes on.
    Partial,
    /// It is whole.
    Whole(Head<'bytes>),
    /// It is none, and will not become one.
    Broken(Failure),
}

/// The longest target that is known to be no longer than Pingora can hold.
const USUAL_TARGET_MAX: usize = 4096;

/// What a connection begins with that speaks HTTP/2 at once (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether a connection that begins like this speaks HTTP/2; `None` while it may come to either.
pub(super) fn is_http2(arrived: &[u8]) -> Option<bool> {
    if arrived.starts_with(PREFACE) {
        return Some(true);
    }
    if PREFACE.starts_with(arrived) { None } else { Some(false) }
}

/// Room for the lines of a head. It is large, and left as it is until lines are put there.
pub(super) type Room<'bytes> = [MaybeUninit<Header<'bytes>>; HEADERS_MAX];

/// Room in which nothing is.
pub(super) const fn room<'bytes>() -> Room<'bytes> {
    [const { MaybeUninit::uninit() }; HEADERS_MAX]
}

/// Whether bytes behind the first `seen` can have changed what is to be said of a head. Whoever sends a byte at a time
/// must not have the whole parsed as often.
pub(super) fn is_news(arrived: &[u8], seen: usize) -> bool {
    seen == 0 || arrived.len() > HEAD_BYTES_MAX || arrived.get(seen..).is_some_and(|new| new.contains(&b'\n'))
}

/// Looks for a head at the beginning of what has arrived. The whole one has its length in `raw`.
pub(super) fn parse<'bytes>(arrived: &'bytes [u8], room: &'bytes mut Room<'bytes>) -> Parsed<'bytes> {
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(arrived, room) {
        Ok(Status::Complete(length)) => whole(request, &arrived[..length]),
        Ok(Status::Partial) if arrived.len() > HEAD_BYTES_MAX => Parsed::Broken(Failure::HeadersTooLarge),
        Ok(Status::Partial) => Parsed::Partial,
        Err(Error::TooManyHeaders) => Parsed::Broken(Failure::HeadersTooLarge),
        Err(_) => Parsed::Broken(Failure::Malformed),
    }
}

fn whole<'bytes>(request: httparse::Request<'bytes, 'bytes>, raw: &'bytes [u8]) -> Parsed<'bytes> {
    let httparse::Request { method: Some(method), path: Some(target), version: Some(version), headers } = request
    else {
        return Parsed::Broken(Failure::Malformed);
    };
    let version = if version == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    Parsed::Whole(Head { method, target: target.as_bytes(), version, headers: Headers::Lines(headers), raw: Some(raw) })
}

/// The head as Pingora will have it, for those who read it once more; `None` where it would not take the head.
pub(super) fn as_pingora(head: &Head<'_>) -> Option<RequestHeader> {
    let mut header = RequestHeader::build_no_case(head.method, head.target, None).ok()?;
    header.set_version(head.version);
    let Headers::Lines(lines) = head.headers else { return None };
    for line in lines {
        header.append_header(line.name.to_owned(), line.value).ok()?;
    }
    Some(header)
}

/// A head of which nothing is known but its line; `None` where that is not whole and good either.
pub(super) fn line_alone(arrived: &[u8]) -> Option<RequestHeader> {
    let start = arrived.iter().position(|byte| !b"\r\n".contains(byte))?;
    let line = arrived[start..].split_inclusive(|byte| *byte == b'\n').next().filter(|line| line.ends_with(b"\n"))?;
    let alone = [line, b"\r\n"].concat();
    let mut room = room();
    match parse(&alone, &mut room) {
        Parsed::Whole(head) => as_pingora(&head),
        _ => None,
    }
}

/// Whether Pingora can hold the request's method and target.
pub(super) fn is_holdable(head: &Head<'_>) -> bool {
    let is_usual = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%?".contains(byte);
    let target = head.target;
    let has_usual_target = target.starts_with(b"/") && target.len() <= USUAL_TARGET_MAX && target.iter().all(is_usual);
    let is_plain_to_see = has_usual_target && matches!(head.method, "GET" | "OPTIONS" | "PUT" | "POST");
    // Only where it is not, one is made to find out.
    is_plain_to_see || RequestHeader::build_no_case(head.method, head.target, Some(0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_plain_to_see_is_what_pingora_would_say() {
        let is_held = |method: &str, target: &[u8]| {
            let headers = Headers::Lines(&[]);
            let head = Head { method, target, version: Version::HTTP_11, headers, raw: None };
            (is_holdable(&head), RequestHeader::build_no_case(method, target, Some(0)).is_ok())
        };
        for method in ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PROPFIND", "G T", ""] {
            for byte in 0..=u8::MAX {
                for target in [&[b'/', byte][..], &[b'/', b'?', byte], &[byte, b'a'], &[b'/', b'%', byte]] {
                    let (found, pingora) = is_held(method, target);
                    assert_eq!(found, pingora, "{method} {target:?}");
                }
            }
            for length in [USUAL_TARGET_MAX - 1, USUAL_TARGET_MAX, usize::from(u16::MAX)] {
                let target = [b"/", "x".repeat(length).as_bytes()].concat();
                let (found, pingora) = is_held(method, &target);
                assert_eq!(found, pingora, "{method} and {length} bytes");
            }
        }
    }
}
