//! What becomes of a request, decided from the bytes of its head alone. Pure: the loop asks, and does what is said.
//!
//! Besides that more is needed, five things can be said: the request is answered, waits, is asked of its process, is
//! refused, or passes to Pingora byte for byte. What is answered, waits or is asked is the desk's to say, which is asked about plain heads alone: for everything
//! unusual in one Pingora's reading counts, and the filter is asked.

use http::Version;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE};
use pingora_http::RequestHeader;
use tokio::sync::OwnedSemaphorePermit;

use super::desk::{Answered, Mark, Verdict};
use super::fence::Fence;
use super::head::{self, Parsed};
use crate::answer::malformed::content_length;
use crate::answer::{Head, malformed};
use crate::proxy::relay::Errand;
use crate::reply::Failure;

/// What becomes of a request.
#[expect(clippy::large_enum_variant, reason = "it is made once a request and looked at at once; a box would cost more")]
pub(super) enum Decision<H> {
    /// Its head is not whole yet.
    Wait,
    /// It is answered.
    Answer(Answer),
    /// It waits.
    Hold(Hold<H>),
    /// It is asked of its process at once.
    Relay(Question),
    /// It is Pingora's, and so is what the proxy is to know of it.
    Pass(Passage, Option<Mark>),
    /// It must not go on.
    Refuse(Refusal),
}

/// How a request is answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// The length of its head, which is all of it.
    pub(super) head_bytes: usize,
    /// Whether the client wants the connection to end.
    pub(super) is_last: bool,
    /// The answer.
    pub(super) answered: Answered,
}

/// How a request waits.
pub(super) struct Hold<H> {
    /// The length of its head, which is all of it.
    pub(super) head_bytes: usize,
    /// Whether the client wants the connection to end.
    pub(super) is_last: bool,
    /// What it waits for.
    pub(super) held: Box<H>,
}

/// How a question is asked.
pub(super) struct Question {
    /// The length of its head, which is all of it.
    pub(super) head_bytes: usize,
    /// Whether the client wants the connection to end.
    pub(super) is_last: bool,
    /// What is asked, and whom.
    pub(super) errand: Box<Errand>,
    /// Its turn, if it has waited.
    pub(super) turn: Option<OwnedSemaphorePermit>,
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

impl Passage {
    /// How a request passes that is a plain head and nothing else.
    pub(super) const fn of_head(head_bytes: usize) -> Self {
        Passage { head_bytes, fence: Fence::Length(0), may_switch: false }
    }
}

impl Refusal {
    /// The refusal of a head that is not whole or cannot be read.
    pub(super) fn of(arrived: &[u8], failure: Failure) -> Self {
        Refusal { failure, head: head::line_alone(arrived).map(Box::new) }
    }
}

/// Decides about the request at the beginning of what has arrived. `consider` is asked about a plain head.
pub(super) fn decide<H>(arrived: &[u8], consider: impl FnOnce(&Head<'_>) -> Verdict<H>) -> Decision<H> {
    let mut room = head::room();
    match head::parse(arrived, &mut room) {
        Parsed::Partial => Decision::Wait,
        Parsed::Broken(failure) => Decision::Refuse(Refusal::of(arrived, failure)),
        Parsed::Whole(head) => decide_whole(&head, consider),
    }
}

fn decide_whole<H>(head: &Head<'_>, consider: impl FnOnce(&Head<'_>) -> Verdict<H>) -> Decision<H> {
    let refused = malformed(*head).or_else(|| (!head::is_holdable(head)).then_some(Failure::Malformed));
    if let Some(failure) = refused {
        return Decision::Refuse(Refusal { failure, head: head::as_pingora(head).map(Box::new) });
    }
    let passage = passage(head);
    let Some(is_last) = plain(head) else { return Decision::Pass(passage, None) };
    match consider(head) {
        Verdict::Answer(answered) => Decision::Answer(Answer { head_bytes: passage.head_bytes, is_last, answered }),
        Verdict::Hold(held) => Decision::Hold(Hold { head_bytes: passage.head_bytes, is_last, held }),
        Verdict::Relay(errand) => {
            Decision::Relay(Question { head_bytes: passage.head_bytes, is_last, errand, turn: None })
        }
        Verdict::Pass(mark) => Decision::Pass(passage, mark),
    }
}

/// Whether the connection ends with a request whose head is plain: it has no body, and nothing in it that one could read
/// in another way. `None` where it is not.
fn plain(head: &Head<'_>) -> Option<bool> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(byte);
    let is_plain = matches!(head.method, "GET" | "HEAD" | "OPTIONS")
        && head.version == Version::HTTP_11
        && head.target.starts_with(b"/")
        && head.target.iter().all(u8::is_ascii_graphic)
        && head.headers.first(&HOST).is_some_and(|host| !host.is_empty() && host.iter().all(is_token))
        && [CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE, EXPECT].iter().all(|name| head.headers.first(name).is_none());
    let connection = head.headers.only(&CONNECTION).ok()?.unwrap_or(b"keep-alive");
    let is_last = connection.eq_ignore_ascii_case(b"close");
    (is_plain && (is_last || connection.eq_ignore_ascii_case(b"keep-alive"))).then_some(is_last)
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
        match decide::<()>(arrived, |_| Verdict::Pass(None)) {
            Decision::Answer(_) | Decision::Hold(_) | Decision::Relay(_) => unreachable!("everything passes"),
            Decision::Wait => Said::Wait,
            Decision::Pass(passage, _) => Said::Pass(passage),
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

    /// Whether an answer is asked for, and the connection ends with it.
    fn asked(head: &str) -> Option<bool> {
        let mut room = head::room();
        let Parsed::Whole(head) = head::parse(head.as_bytes(), &mut room) else { panic!("{head:?}") };
        plain(&head)
    }

    #[test]
    fn only_plain_heads_are_answered() {
        let get = |headers: &str| asked(&format!("GET /a?b HTTP/1.1\r\nHost: a:1\r\n{headers}\r\n"));
        for (headers, is_last) in [
            ("", false),
            ("Connection: keep-alive\r\n", false),
            ("connection: Keep-Alive\r\nAccept: *\r\n", false),
            ("Connection: Close\r\n", true),
        ] {
            assert_eq!(get(headers), Some(is_last), "{headers}");
        }
        for headers in [
            "Content-Length: 0\r\n",
            "Content-Length: 5\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Upgrade: h2c\r\n",
            "Expect: 100-continue\r\n",
            "Connection: close, keep-alive\r\n",
            "Connection: X-Forwarded-For\r\n",
            "Connection: close\r\nConnection: close\r\n",
        ] {
            assert_eq!(get(headers), None, "{headers}");
        }
        for (line, host, expected) in [
            ("HEAD / HTTP/1.1", "[::1]:8008", Some(false)),
            ("OPTIONS /a HTTP/1.1", "example.org", Some(false)),
            ("OPTIONS * HTTP/1.1", "a", None),
            ("POST / HTTP/1.1", "a", None),
            ("GET / HTTP/1.0", "a", None),
            ("GET http://a/ HTTP/1.1", "a", None),
            ("GET /\u{e4} HTTP/1.1", "a", None),
            ("GET / HTTP/1.1", "", None),
            ("GET / HTTP/1.1", "a b", None),
        ] {
            assert_eq!(asked(&format!("{line}\r\nHost: {host}\r\n\r\n")), expected, "{line} {host}");
        }
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
