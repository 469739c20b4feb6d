//! What becomes of a request, decided from the bytes of its head alone. Pure: the loop asks, and does what is said.
//!
//! Two things can be said yet, besides that more is needed: the request is refused, or it passes to Pingora byte for byte.
//! What the front will one day answer or hold is decided here as well.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use pingora_http::RequestHeader;

use super::fence::Fence;
use super::head::{self, Parsed};
use crate::answer::malformed::content_length;
use crate::answer::{Head, malformed};
use crate::reply::Failure;

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Decision {
    /// Its head is not whole yet.
    Wait,
    /// It is Pingora's.
    Pass(Passage),
    /// It must not go on.
    Refuse(Refusal),
}

/// How a request passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passage {
    /// The length of its head.
    pub(super) head_bytes: usize,
    /// Where it ends behind the head.
    pub(super) fence: Fence,
    /// Whether it asks for another protocol, which knows no end.
    pub(super) may_switch: bool,
}

/// Why a request does not pass.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The reason.
    pub(super) failure: Failure,
    /// Its head as far as it could be read: with its line alone, or not at all.
    pub(super) head: Option<Box<RequestHeader>>,
}

impl Refusal {
    /// The refusal of a head that is not whole or cannot be read.
    pub(super) fn of(arrived: &[u8], failure: Failure) -> Self {
        Refusal { failure, head: head::line_alone(arrived).map(Box::new) }
    }
}

/// Decides about the request at the beginning of what has arrived.
pub(super) fn decide(arrived: &[u8]) -> Decision {
    let mut room = head::room();
    match head::parse(arrived, &mut room) {
        Parsed::Partial => Decision::Wait,
        Parsed::Broken(failure) => Decision::Refuse(Refusal::of(arrived, failure)),
        Parsed::Whole(head) => decide_whole(&head),
    }
}

fn decide_whole(head: &Head<'_>) -> Decision {
    let refused = malformed(*head).or_else(|| (!head::is_holdable(head)).then_some(Failure::Malformed));
    match refused {
        Some(failure) => Decision::Refuse(Refusal { failure, head: head::as_pingora(head).map(Box::new) }),
        None => Decision::Pass(passage(head)),
    }
}

/// How a head passes that was found good: it tells its body's end in one way at most.
fn passage(head: &Head<'_>) -> Passage {
    let is_chunked = head.headers.all(&TRANSFER_ENCODING).next().is_some();
    let length = head.headers.all(&CONTENT_LENGTH).next().and_then(content_length).unwrap_or(0);
    Passage {
        head_bytes: head.raw.map_or(0, <[u8]>::len),
        fence: if is_chunked { Fence::CHUNKS } else { Fence::Length(length) },
        may_switch: head.headers.all(&UPGRADE).next().is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::malformed::HEAD_BYTES_MAX;

    /// What is said, in a form that can be compared.
    #[derive(Debug, PartialEq, Eq)]
    enum Said {
        Wait,
        Pass(Passage),
        Refuse(Failure, Option<String>),
    }

    fn said(arrived: &[u8]) -> Said {
        match decide(arrived) {
            Decision::Wait => Said::Wait,
            Decision::Pass(passage) => Said::Pass(passage),
            Decision::Refuse(Refusal { failure, head }) => {
                Said::Refuse(failure, head.map(|head| format!("{} {}", head.method, head.uri)))
            }
        }
    }

    fn refused(failure: Failure, head: &str) -> Said {
        Said::Refuse(failure, (!head.is_empty()).then(|| head.to_owned()))
    }

    #[test]
    fn what_passes_has_a_fence() {
        let head = |headers: &str| format!("POST /a HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        let table = [
            ("", Fence::Length(0), false),
            ("Content-Length: 5\r\n", Fence::Length(5), false),
            ("content-length: \t007 \r\n", Fence::Length(7), false),
            ("Transfer-Encoding: Chunked\r\n", Fence::CHUNKS, false),
            ("Upgrade: websocket\r\nConnection: upgrade\r\n", Fence::Length(0), true),
            ("Expect: 100-continue\r\nContent-Length: 5\r\n", Fence::Length(5), false),
        ];
        for (headers, fence, may_switch) in table {
            let head = head(headers);
            let passage = Passage { head_bytes: head.len(), fence, may_switch };
            for behind in ["", "hello", "GET /next HTTP/1.1\r\n\r\n"] {
                assert_eq!(said(format!("{head}{behind}").as_bytes()), Said::Pass(passage), "{headers:?} {behind:?}");
            }
            for cut in 0..head.len() {
                assert_eq!(said(&head.as_bytes()[..cut]), Said::Wait, "{headers:?} cut at {cut}");
            }
        }
        let old = "\r\nGET / HTTP/1.0\r\n\r\n";
        let passage = Passage { head_bytes: old.len(), fence: Fence::Length(0), may_switch: false };
        assert_eq!(said(old.as_bytes()), Said::Pass(passage));
    }

    #[test]
    fn what_is_refused_is_known_as_far_as_it_can_be_read() {
        use Failure::{HeadersTooLarge, Malformed, NoTunnel};
        let long = format!("GET /a HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(HEAD_BYTES_MAX));
        let many = format!("GET /a HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(256));
        let table = [
            ("CONNECT a:22 HTTP/1.1\r\nHost: a:22\r\n\r\n", refused(NoTunnel, "CONNECT /")),
            ("CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n", refused(NoTunnel, "CONNECT /a")),
            ("GET /a HTTP/1.1\r\n\r\n", refused(Malformed, "GET /a")),
            ("GET /a HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", refused(Malformed, "GET /a")),
            ("GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", refused(Malformed, "GET /a")),
            ("GET /a`b HTTP/1.1\r\nHost: a\r\n\r\n", refused(Malformed, "")),
            ("\r\nGET /a HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", refused(Malformed, "GET /a")),
            ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", refused(Malformed, "")),
            ("GET /a HTTP/2.0\r\n", refused(Malformed, "")),
            ("GET /a\r\n", refused(Malformed, "")),
            ("\x16\x03\x01", refused(Malformed, "")),
            (&long, refused(HeadersTooLarge, "GET /a")),
            (&long[..HEAD_BYTES_MAX + 1], refused(HeadersTooLarge, "GET /a")),
            (&long[..HEAD_BYTES_MAX], Said::Wait),
            (&many, refused(HeadersTooLarge, "GET /a")),
            (&long[20..], refused(Malformed, "")),
        ];
        for (arrived, expected) in table {
            assert_eq!(said(arrived.as_bytes()), expected, "{:?}", arrived.get(..60));
        }
    }

    #[test]
    fn a_head_is_looked_at_again_when_a_line_has_ended() {
        let long = "x".repeat(HEAD_BYTES_MAX + 1);
        let table: [(&str, usize, bool); 6] = [
            ("G", 0, true),
            ("GE", 1, false),
            ("GE\n", 2, true),
            ("\nGE", 1, false),
            (&long, HEAD_BYTES_MAX, true),
            (&long[1..], 5, false),
        ];
        for (arrived, seen, expected) in table {
            assert_eq!(head::is_news(arrived.as_bytes(), seen), expected, "{:?} {seen}", arrived.get(..5));
        }
    }
}
