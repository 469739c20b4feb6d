//! Where a body ends: lengths, codings and chunks, each of which two readers could read in two ways.

use super::exchange::Expected::{Broken, Early, Passed, PassedThenEarly, Refused};
use super::exchange::{Exchange, Expected, at_once, cut_off};

/// What must never be seen behind dendron.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
const POST: &[&str] = &["POST /f"];
const TWO: &[&str] = &["POST /f", "GET /second"];

/// The exchanges of this file.
pub fn exchanges() -> Vec<Exchange> {
    [lengths(), codings(), both(), chunks(), pipelines(), hops()].concat()
}

fn post(headers: &str, body: &str) -> String {
    format!("POST /f HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{body}")
}

fn lengths() -> Vec<Exchange> {
    let length = |name, value: &str, expected: Expected| {
        at_once(name, post(&format!("Content-Length: {value}\r\n"), "hello"), expected)
    };
    vec![
        length("length", "5", Passed(POST)),
        length("length in blanks", "\t 5 \t", Passed(POST)),
        length("length with a leading zero", "05", Passed(POST)),
        length("length of one zero and more", "0000000000000000000005", Passed(POST)),
        length("negative length", "-5", Early(400)),
        length("length with a plus", "+5", Early(400)),
        length("hexadecimal length", "0x5", Early(400)),
        length("length with an exponent", "5e0", Early(400)),
        length("length with a fraction", "5.0", Early(400)),
        length("length in two words", "5 5", Early(400)),
        length("empty length", "", Early(400)),
        length("length in letters", "five", Early(400)),
        length("length in foreign digits", "٥", Early(400)),
        length("length with a parameter", "5;q=1", Early(400)),
        length("quoted length", "\"5\"", Early(400)),
        length("length over 64 bits", "99999999999999999999", Early(400)),
        length("list of one length", "5, 5", Refused(400)),
        length("list of two lengths", "5, 6", Early(400)),
        length("list with an empty length", "5,", Early(400)),
        at_once("same length twice", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), Refused(400)),
        at_once("two lengths", post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"), Early(400)),
        at_once(
            "two lengths, one of nothing, and a request",
            post(&format!("Content-Length: 0\r\nContent-Length: {}\r\n", SMUGGLED.len()), SMUGGLED),
            Early(400),
        ),
        cut_off("length that never comes", post("Content-Length: 9223372036854775807\r\n", "hello"), Broken("POST /f")),
        cut_off("body cut short", post("Content-Length: 50\r\n", "hello"), Broken("POST /f")),
        at_once("request as a body", post(&format!("Content-Length: {}\r\n", SMUGGLED.len()), SMUGGLED), Passed(POST)),
        at_once(
            "request as the body of a GET",
            format!("GET /f HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{SMUGGLED}", SMUGGLED.len()),
            Passed(&["GET /f"]),
        ),
        at_once(
            "length spelled with an underscore",
            post(&format!("Content_Length: {}\r\n", SMUGGLED.len()), &format!("\0{SMUGGLED}")),
            PassedThenEarly(POST),
        ),
    ]
}

fn codings() -> Vec<Exchange> {
    let coding = |name, value: &str, expected: Expected| {
        at_once(name, post(&format!("Transfer-Encoding: {value}\r\n"), &format!("0\r\n\r\n{SMUGGLED}")), expected)
    };
    let chunked = |name, value: &str| {
        at_once(name, post(&format!("Transfer-Encoding: {value}\r\n"), "5\r\nhello\r\n0\r\n\r\n"), Passed(POST))
    };
    vec![
        chunked("chunked", "chunked"),
        chunked("chunked in capitals", "CHUNKED"),
        chunked("chunked in blanks", "\tchunked \t"),
        coding("unknown coding", "xchunked", Early(400)),
        coding("chunked is not last", "chunked, identity", Early(400)),
        coding("identity", "identity", Early(400)),
        coding("coding before chunked", "gzip, chunked", Refused(400)),
        coding("chunked twice in a list", "chunked, chunked", Refused(400)),
        coding("empty coding before chunked", ", chunked", Refused(400)),
        coding("empty coding after chunked", "chunked,", Early(400)),
        coding("chunked with a parameter", "chunked;q=1", Early(400)),
        coding("quoted chunked", "\"chunked\"", Early(400)),
        coding("chunked in two words", "chun ked", Early(400)),
        coding("empty coding", "", Early(400)),
        coding("folded coding", "\r\n chunked", Early(400)),
        coding("coding behind a vertical tab", "\x0bchunked", Early(400)),
        at_once(
            "chunked twice",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            Refused(400),
        ),
        at_once(
            "identity, then chunked",
            post("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            Refused(400),
        ),
        at_once(
            "chunked, then identity",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"),
            Early(400),
        ),
        at_once("space before the colon", post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), Early(400)),
        at_once("tab before the colon", post("Transfer-Encoding\t: chunked\r\n", "0\r\n\r\n"), Early(400)),
        at_once(
            "coding spelled with an underscore",
            post("Transfer_Encoding: chunked\r\n", &format!("0\r\n\r\n{SMUGGLED}")),
            PassedThenEarly(POST),
        ),
        at_once(
            "chunked in HTTP/1.0",
            format!("POST /f HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"),
            Early(400),
        ),
    ]
}

fn both() -> Vec<Exchange> {
    let body = format!("0\r\n\r\n{SMUGGLED}");
    let length = format!("Content-Length: {}\r\n", body.len());
    vec![
        at_once("length, then chunked", post(&format!("{length}Transfer-Encoding: chunked\r\n"), &body), Refused(400)),
        at_once("chunked, then length", post(&format!("Transfer-Encoding: chunked\r\n{length}"), &body), Refused(400)),
        at_once(
            "chunked and a length that ends inside of the chunk",
            post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", &format!("1\r\nZ\r\n0\r\n\r\n{SMUGGLED}")),
            Refused(400),
        ),
        at_once(
            "length and a hidden coding",
            post(&format!("{length}Transfer-Encoding: xchunked\r\n"), &body),
            Early(400),
        ),
        at_once(
            "length in small letters and chunked in capitals",
            post(&format!("{}TRANSFER-ENCODING: chunked\r\n", length.to_lowercase()), &body),
            Refused(400),
        ),
    ]
}

fn chunks() -> Vec<Exchange> {
    let chunked =
        |name, body: &str, expected: Expected| at_once(name, post("Transfer-Encoding: chunked\r\n", body), expected);
    let short =
        |name, body: &str, expected: Expected| cut_off(name, post("Transfer-Encoding: chunked\r\n", body), expected);
    let whole = |name, body: &str| at_once(name, post("Transfer-Encoding: chunked\r\n", body), Passed(POST));
    let broken = Broken("POST /f");
    vec![
        whole("extension of a chunk", "5;name=value\r\nhello\r\n0\r\n\r\n"),
        whole("sizes with leading zeros", "005\r\nhello\r\n000\r\n\r\n"),
        whole("trailer", "5\r\nhello\r\n0\r\nX-Trailer: y\r\n\r\n"),
        whole("framing in the trailer", "0\r\nContent-Length: 50\r\nTransfer-Encoding: chunked\r\n\r\n"),
        // Pingora takes these, and writes chunks of its own: what goes on is clean.
        whole("no size", "\r\nhello\r\n0\r\n\r\n"),
        whole("line feed in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
        whole("NUL in an extension", "5;a\0b\r\nhello\r\n0\r\n\r\n"),
        chunked("size over 64 bits", "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n", broken),
        chunked("size of 64 bits", "FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n", broken),
        chunked("size that wraps around", "10000000000000005\r\nhello\r\n0\r\n\r\n", broken),
        chunked("negative size", "-5\r\nhello\r\n0\r\n\r\n", broken),
        chunked("size with a plus", "+5\r\nhello\r\n0\r\n\r\n", broken),
        chunked("size with 0x", "0x5\r\nhello\r\n0\r\n\r\n", broken),
        chunked("size that is no number", "G\r\nhello\r\n0\r\n\r\n", broken),
        chunked("size behind a blank", " 5\r\nhello\r\n0\r\n\r\n", broken),
        chunked("size ended by a line feed", "5\nhello\r\n0\r\n\r\n", broken),
        chunked("size ended by a carriage return", "5\rhello\r\n0\r\n\r\n", broken),
        chunked("extension of 100 KB", &format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(100_000)), broken),
        chunked("chunk longer than its size", "3\r\nhello\r\n0\r\n\r\n", broken),
        chunked("chunk shorter than its size", "6\r\nhello\r\n0\r\n\r\n", broken),
        chunked("chunk ended by a line feed", "5\r\nhello\n0\r\n\r\n", broken),
        short("no last chunk", "5\r\nhello\r\n", broken),
        short("last chunk without its end", "5\r\nhello\r\n0\r\n", broken),
        chunked("trailer of 100 KB", &format!("0\r\nX: {}\r\n\r\n", "x".repeat(100_000)), broken),
    ]
}

fn pipelines() -> Vec<Exchange> {
    let second = "GET /second HTTP/1.1\r\nHost: a\r\n\r\n";
    vec![
        at_once("second after a length", post("Content-Length: 5\r\n", &format!("hello{second}")), Passed(TWO)),
        at_once(
            "second after chunks",
            post("Transfer-Encoding: chunked\r\n", &format!("5\r\nhello\r\n0\r\n\r\n{second}")),
            Passed(TWO),
        ),
        at_once("second after no body", post("", second), Passed(TWO)),
        at_once("second after a close", post("Connection: close\r\n", SMUGGLED), Passed(POST)),
        at_once(
            "garbage after a body",
            post("Content-Length: 5\r\n", "hello\0\x01\x02\r\n\r\n"),
            PassedThenEarly(POST),
        ),
        at_once("second of a refused one", format!("GET /f HTTP/1.1\r\n\r\n{SMUGGLED}"), Refused(400)),
        at_once("second of HTTP/1.0", format!("GET /f HTTP/1.0\r\nHost: a\r\n\r\n{SMUGGLED}"), Passed(&["GET /f"])),
        at_once(
            "second of a private path",
            format!("POST /_synapse/replication/x HTTP/1.1\r\nHost: a\r\nContent-Length: 47\r\n\r\n{SMUGGLED}"),
            Refused(404),
        ),
    ]
}

fn hops() -> Vec<Exchange> {
    let with = |name, headers: &str, expected: Expected| {
        at_once(name, format!("GET /f HTTP/1.1\r\nHost: a\r\n{headers}\r\n"), expected)
    };
    let passed = Passed(&["GET /f"]);
    let second = "GET /second HTTP/1.1\r\nHost: a\r\n\r\n";
    let both = Passed(&["GET /f", "GET /second"]);
    let upgrade = "Connection: Upgrade\r\nUpgrade: ";
    vec![
        with("nominated X-Forwarded-For", "Connection: X-Forwarded-For, X-Request-Id\r\n", Refused(400)),
        with("nominated host", "Connection: Host\r\n", Refused(400)),
        at_once("nominated length", post("Connection: Content-Length\r\nContent-Length: 5\r\n", "hello"), Passed(POST)),
        at_once(
            "nominated coding",
            post("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
            Passed(POST),
        ),
        with("old proxy's header", "Proxy-Connection: keep-alive\r\nKeep-Alive: timeout=1\r\nTE: trailers\r\n", passed),
        at_once(
            "upgrade with a pipelined request",
            format!("GET /f HTTP/1.1\r\nHost: a\r\n{upgrade}foo\r\n\r\n{second}"),
            both,
        ),
        at_once(
            "WebSocket upgrade with a pipelined request",
            format!("GET /f HTTP/1.1\r\nHost: a\r\n{upgrade}websocket\r\n\r\n{second}"),
            both,
        ),
        at_once(
            "upgrade to HTTP/2",
            format!("GET /f HTTP/1.1\r\nHost: a\r\nHTTP2-Settings: AAMAAABk\r\n{upgrade}h2c\r\n\r\n"),
            passed,
        ),
        at_once("expected continue", post("Expect: 100-continue\r\nContent-Length: 5\r\n", "hello"), Passed(POST)),
        at_once("expected wonder", post("Expect: a-wonder\r\nContent-Length: 5\r\n", "hello"), Passed(POST)),
    ]
}
