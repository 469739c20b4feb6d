//! What becomes of a request, decided from the bytes of its head, and of its body where that has come with it. Pure: the
//! loop asks, and does what is said.
//!
//! Besides that more is needed, five things can be said: the request is answered, waits, is asked of its process, is
//! refused, or passes to Pingora byte for byte. What is answered, waits or is asked is the desk's to say, which is asked
//! about plain requests alone: for everything unusual in a head Pingora's reading counts, and the filter is asked; and so
//! it is for whatever has a body that is long, or that has not come with the head.

use http::Version;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE};
use pingora_http::RequestHeader;
use tokio::sync::OwnedSemaphorePermit;

use super::desk::{Answered, Mark, Verdict};
use super::fence::Fence;
use super::head::{self, Parsed};
use crate::answer::malformed::content_length;
use crate::answer::{Head, malformed};
use crate::proxy::relay::{Errand, SHORT_BODY_BYTES_MAX};
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
    /// The length of all of it.
    pub(super) bytes: usize,
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
    /// How long it is.
    pub(super) whole: Whole,
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

/// A request that has come as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    /// The length of its head.
    pub(super) head_bytes: usize,
    /// The length of its body.
    pub(super) body_bytes: usize,
}

/// Why a request does not pass.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The reason.
    pub(super) failure: Failure,
    /// Its head as far as it could be read: with its line alone, or not at all.
    pub(super) head: Option<Box<RequestHeader>>,
}

impl Whole {
    /// A request that is a head and nothing else.
    pub(super) const fn of_head(head_bytes: usize) -> Self {
        Whole { head_bytes, body_bytes: 0 }
    }

    /// The length of all of it.
    pub(super) const fn bytes(self) -> usize {
        self.head_bytes + self.body_bytes
    }
}

impl From<Whole> for Passage {
    fn from(Whole { head_bytes, body_bytes }: Whole) -> Self {
        Passage { head_bytes, fence: Fence::Length(body_bytes as u64), may_switch: false }
    }
}

impl Refusal {
    /// The refusal of a head that is not whole or cannot be read.
    pub(super) fn of(arrived: &[u8], failure: Failure) -> Self {
        Refusal { failure, head: head::line_alone(arrived).map(Box::new) }
    }
}

/// Decides about the request at the beginning of what has arrived. `consider` is asked about a plain one that is all there,
/// by its head and its body.
pub(super) fn decide<H>(arrived: &[u8], consider: impl FnOnce(&Head<'_>, &[u8]) -> Verdict<H>) -> Decision<H> {
    let mut room = head::room();
    match head::parse(arrived, &mut room) {
        Parsed::Partial => Decision::Wait,
        Parsed::Broken(failure) => Decision::Refuse(Refusal::of(arrived, failure)),
        Parsed::Whole(head) => decide_whole(&head, arrived, consider),
    }
}

fn decide_whole<H>(
    head: &Head<'_>,
    arrived: &[u8],
    consider: impl FnOnce(&Head<'_>, &[u8]) -> Verdict<H>,
) -> Decision<H> {
    let refused = malformed(*head).or_else(|| (!head::is_holdable(head)).then_some(Failure::Malformed));
    if let Some(failure) = refused {
        return Decision::Refuse(Refusal { failure, head: head::as_pingora(head).map(Box::new) });
    }
    let passage = passage(head);
    let Some(Plain { is_last, body_bytes }) = plain(head) else { return Decision::Pass(passage, None) };
    let whole = Whole { head_bytes: passage.head_bytes, body_bytes };
    let Some(body) = arrived.get(whole.head_bytes..whole.bytes()) else { return Decision::Pass(passage, None) };
    match consider(head, body) {
        Verdict::Answer(answered) => Decision::Answer(Answer { bytes: whole.bytes(), is_last, answered }),
        Verdict::Hold(held) => Decision::Hold(Hold { head_bytes: whole.head_bytes, is_last, held }),
        Verdict::Relay(errand) => Decision::Relay(Question { whole, is_last, errand, turn: None }),
        Verdict::Pass(mark) => Decision::Pass(passage, mark),
    }
}

/// What a plain head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plain {
    /// Whether the connection ends with the request.
    is_last: bool,
    /// The length of its body.
    pub(super) body_bytes: usize,
}

/// What a head says that is plain: there is nothing in it that one could read in another way, and no long body to come.
/// `None` where it is not.
pub(super) fn plain(head: &Head<'_>) -> Option<Plain> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(byte);
    let is_plain = head.version == Version::HTTP_11
        && head.target.starts_with(b"/")
        && head.target.iter().all(u8::is_ascii_graphic)
        && head.headers.first(&HOST).is_some_and(|host| !host.is_empty() && host.iter().all(is_token))
        && [TRANSFER_ENCODING, UPGRADE, EXPECT].iter().all(|name| head.headers.first(name).is_none());
    let body_bytes = plain_length(head)?;
    let connection = head.headers.only(&CONNECTION).ok()?.unwrap_or(b"keep-alive");
    let is_last = connection.eq_ignore_ascii_case(b"close");
    (is_plain && (is_last || connection.eq_ignore_ascii_case(b"keep-alive"))).then_some(Plain { is_last, body_bytes })
}

/// The length of the body: none where nobody expects one, else as it is said once and in the usual form.
fn plain_length(head: &Head<'_>) -> Option<usize> {
    let said = head.headers.only(&CONTENT_LENGTH).ok()?;
    match (head.method, said) {
        ("GET" | "HEAD" | "OPTIONS", None) => Some(0),
        ("PUT" | "POST", Some(said)) => {
            let length = usize::try_from(content_length(said)?).ok()?;
            let is_usual = said.len() == 1 || !said.starts_with(b"0");
            (is_usual && length <= SHORT_BODY_BYTES_MAX).then_some(length)
        }
        _ => None,
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
        match decide::<()>(arrived, |_, _| Verdict::Pass(None)) {
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

    /// What a plain head says of the connection's end, and of its body's length.
    fn asked(head: &str) -> Option<(bool, usize)> {
        let mut room = head::room();
        let Parsed::Whole(head) = head::parse(head.as_bytes(), &mut room) else { panic!("{head:?}") };
        plain(&head).map(|plain| (plain.is_last, plain.body_bytes))
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
            assert_eq!(get(headers), Some((is_last, 0)), "{headers}");
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
            ("HEAD / HTTP/1.1", "[::1]:8008", Some((false, 0))),
            ("OPTIONS /a HTTP/1.1", "example.org", Some((false, 0))),
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
    fn a_short_body_is_plain_where_one_is_expected() {
        let most = SHORT_BODY_BYTES_MAX.to_string();
        let more = (SHORT_BODY_BYTES_MAX + 1).to_string();
        let table = [
            ("PUT", "0", Some(0)),
            ("POST", "5", Some(5)),
            ("PUT", &most, Some(SHORT_BODY_BYTES_MAX)),
            ("PUT", &more, None),
            ("PUT", "99999999999999999999", None),
            ("PUT", "05", None),
            ("PUT", "00", None),
            ("GET", "0", None),
            ("DELETE", "5", None),
            ("PATCH", "5", None),
        ];
        for (method, length, expected) in table {
            for (connection, is_last) in [("", false), ("Connection: close\r\n", true)] {
                let head = format!("{method} /a HTTP/1.1\r\nHost: a\r\n{connection}Content-Length: {length}\r\n\r\n");
                assert_eq!(asked(&head), expected.map(|length| (is_last, length)), "{head}");
            }
        }
        assert_eq!(asked("PUT /a HTTP/1.1\r\nHost: a\r\n\r\n"), None);
    }

    #[test]
    fn a_body_is_looked_at_when_it_has_come_with_its_head() {
        let head = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
        let table = [("", None), ("hell", None), ("hello", Some("hello")), ("helloGET / HTTP", Some("hello"))];
        for (behind, expected) in table {
            let mut seen = None;
            let decision = decide::<()>(format!("{head}{behind}").as_bytes(), |_, body| {
                seen = Some(String::from_utf8(body.to_vec()).unwrap());
                Verdict::Pass(None)
            });
            assert_eq!(seen.as_deref(), expected, "{behind:?}");
            let passage = Passage { head_bytes: head.len(), fence: Fence::Length(5), may_switch: false };
            assert!(matches!(decision, Decision::Pass(found, None) if found == passage), "{behind:?}");
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
