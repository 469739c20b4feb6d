//! Request lines and headers: what they may hold, and how much of it.

use std::time::Duration;

use super::exchange::Expected::{Answered, AtMost, Closed, Early, EarlyOrMended, Passed, Refused};
use super::exchange::{Exchange, Expected, Step, at_once, cut_off};

const GET: &[&str] = &["GET /h"];

/// The exchanges of this file.
pub fn exchanges() -> Vec<Exchange> {
    [lines(), targets(), targets_as_bytes(), hosts(), headers(), sizes(), garbage(), connections()].concat()
}

fn with(name: &'static str, headers: &str, expected: Expected) -> Exchange {
    at_once(name, format!("GET /h HTTP/1.1\r\nHost: a\r\n{headers}\r\n"), expected)
}

fn line(name: &'static str, line: &str, expected: Expected) -> Exchange {
    at_once(name, format!("{line}\r\nHost: a\r\n\r\n"), expected)
}

fn lines() -> Vec<Exchange> {
    vec![
        line("plain request", "GET /h HTTP/1.1", Passed(GET)),
        line("no version", "GET /h", Early(400)),
        line("HTTP/0.9", "GET /h HTTP/0.9", Early(400)),
        line("HTTP/1.2", "GET /h HTTP/1.2", Early(400)),
        line("HTTP/2.0", "GET /h HTTP/2.0", Early(400)),
        line("HTTP/3.0", "GET /h HTTP/3.0", Early(400)),
        line("HTTP/11", "GET /h HTTP/11", Early(400)),
        line("version in small letters", "GET /h http/1.1", Early(400)),
        line("another protocol", "GET /h RTSP/1.0", Early(400)),
        line("words in another order", "HTTP/1.1 GET /h", Early(400)),
        line("method in small letters", "get /h HTTP/1.1", Passed(&["get /h"])),
        line("unknown method", "BREW /h HTTP/1.1", Passed(&["BREW /h"])),
        line("method that is no token", "G@T /h HTTP/1.1", Early(400)),
        line("method with a NUL", "G\0T /h HTTP/1.1", Early(400)),
        line("no method", " /h HTTP/1.1", Early(400)),
        line("no target", "GET  HTTP/1.1", Early(400)),
        line("tabs for blanks", "GET\t/h\tHTTP/1.1", Early(400)),
        line("blank after the version", "GET /h HTTP/1.1 ", Early(400)),
        line("blanks before the method", "  GET /h HTTP/1.1", Early(400)),
        line("carriage return in the line", "GET /h\rX: y HTTP/1.1", EarlyOrMended(400, &["GET /h%0DX:%20y"])),
        line("empty lines before", "\r\n\r\nGET /h HTTP/1.1", Passed(GET)),
        line("tunnel", "CONNECT localhost:22 HTTP/1.1", Early(405)),
        at_once("tunnel to the host", "CONNECT a:22 HTTP/1.1\r\nHost: a:22\r\n\r\n", Refused(405)),
        at_once("tunnel to a path", "CONNECT /h HTTP/1.1\r\nHost: a\r\n\r\n", Refused(405)),
        at_once("preface of something", "PRI * HTTP/2.0\r\n\r\nXM\r\n\r\n", Early(400)),
    ]
}

fn targets() -> Vec<Exchange> {
    vec![
        line("asterisk of OPTIONS", "OPTIONS * HTTP/1.1", Passed(&["OPTIONS *"])),
        line("asterisk of GET", "GET * HTTP/1.1", Refused(400)),
        line("target without a slash", "GET h HTTP/1.1", Refused(400)),
        line("private path without a slash", "GET x_synapse/admin/v1/x HTTP/1.1", Early(400)),
        line("private path as a name", "GET x_synapse HTTP/1.1", Refused(400)),
        line("query alone", "GET ?h HTTP/1.1", Refused(400)),
        line("percent without digits", "GET /h% HTTP/1.1", Passed(&["GET /h%"])),
        line("percent with letters", "GET /h%zz HTTP/1.1", Passed(&["GET /h%zz"])),
        line("encoded NUL", "GET /h%00 HTTP/1.1", Passed(&["GET /h%00"])),
        line("encoded end of a line", "GET /h%0d%0aX:%20y HTTP/1.1", Passed(&["GET /h%0d%0aX:%20y"])),
        line("fragment", "GET /h#f HTTP/1.1", Refused(400)),
        line("steps up", "GET /../../h HTTP/1.1", Passed(&["GET /../../h"])),
        line("two slashes", "GET //h HTTP/1.1", Passed(&["GET //h"])),
        line("backslash", "GET /\\h HTTP/1.1", Passed(&["GET /\\h"])),
        line("private path behind two slashes", "GET //_synapse/admin/v1/x HTTP/1.1", Answered(404)),
        line("private path before a fragment", "GET /_synapse/admin#/v1/x HTTP/1.1", Refused(400)),
        line("absolute form", "GET http://a/h HTTP/1.1", Passed(&["GET http://a/h"])),
        line("absolute form of another scheme", "GET ftp://a/h HTTP/1.1", Refused(400)),
        line("absolute form of another host", "GET http://b/h HTTP/1.1", Early(400)),
        line("absolute form with a user", "GET http://u@a/h HTTP/1.1", Early(400)),
        line("absolute form of a private path", "GET http://a/_synapse/replication/x HTTP/1.1", Answered(404)),
        at_once("absolute form and no host", "GET http://a/h HTTP/1.1\r\n\r\n", Refused(400)),
        line("blank in the target", "GET /h h HTTP/1.1", EarlyOrMended(400, &["GET /h%20h"])),
        line("two versions", "GET /h HTTP/1.1 HTTP/1.1", Early(400)),
        line("quotes and brackets", "GET /h\"<> HTTP/1.1", Early(400)),
        line("NUL in the target", "GET /h\0h HTTP/1.1", EarlyOrMended(400, &["GET /h%00h"])),
        line("escape in the target", "GET /h\x1bh HTTP/1.1", EarlyOrMended(400, &["GET /h%1Bh"])),
        line("delete in the target", "GET /h\x7fh HTTP/1.1", EarlyOrMended(400, &["GET /h%7Fh"])),
    ]
}

fn targets_as_bytes() -> Vec<Exchange> {
    let bytes = |name, path: &[u8], expected| {
        at_once(name, [b"GET /h", path, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat(), expected)
    };
    vec![
        bytes("UTF-8 as it is", "✓".as_bytes(), Passed(&["GET /h\u{e2}\u{9c}\u{93}"])),
        bytes("no UTF-8", b"\xff\xfe", Early(400)),
        bytes("UTF-8 that is too long", b"\xc0\xaf", Early(400)),
    ]
}

fn hosts() -> Vec<Exchange> {
    let host = |name, host: &str, expected| at_once(name, format!("GET /h HTTP/1.1\r\n{host}\r\n"), expected);
    vec![
        host("no host", "", Refused(400)),
        host("empty host", "Host:\r\n", Passed(GET)),
        host("two hosts", "Host: a\r\nHost: b\r\n", Early(400)),
        host("same host twice", "Host: a\r\nHost: a\r\n", Early(400)),
        host("host with a user", "Host: u@a\r\n", Early(400)),
        host("host behind a NUL", "Host: a\0b\r\n", Early(400)),
        host("folded host", "Host:\r\n a\r\n", Early(400)),
        host("host with a blank before the colon", "Host : a\r\n", Early(400)),
        at_once("no host in HTTP/1.0", "GET /h HTTP/1.0\r\n\r\n", Passed(GET)),
    ]
}

fn headers() -> Vec<Exchange> {
    let raw = |name, value: &[u8], expected| {
        at_once(name, [b"GET /h HTTP/1.1\r\nHost: a\r\nX: ", value, b"\r\n\r\n"].concat(), expected)
    };
    vec![
        with("folded header", "X: a\r\n b\r\n", Early(400)),
        with("header folded by a tab", "X: a\r\n\tb\r\n", Early(400)),
        with("carriage return in a value", "X: a\rY: b\r\n", Early(400)),
        with("NUL in a value", "X: a\0b\r\n", Early(400)),
        with("NUL in a name", "X\0: a\r\n", Early(400)),
        with("escape in a value", "X: \x1b[31m\r\n", Early(400)),
        with("delete in a value", "X: a\x7f\r\n", Early(400)),
        with("tab in a value", "X: a\tb\r\n", Passed(GET)),
        with("empty value", "X:\r\n", Passed(GET)),
        with("empty name", ": a\r\n", Early(400)),
        with("no colon", "X\r\n", Early(400)),
        with("blank in a name", "X Y: a\r\n", Early(400)),
        with("brackets in a name", "X(Y): a\r\n", Early(400)),
        with("name that is not ASCII", "Ä: a\r\n", Early(400)),
        raw("bytes over ASCII in a value", b"\xe4\xff", Passed(GET)),
        at_once("line feeds for ends of lines", "GET /h HTTP/1.1\nHost: a\n\n", Refused(400)),
        at_once("line feed after the line", "GET /h HTTP/1.1\nHost: a\r\n\r\n", Refused(400)),
        with("line feed in a value", "X: a\nY: b\r\n", Refused(400)),
        at_once("line feed for the empty line", "GET /h HTTP/1.1\r\nHost: a\r\n\n", Refused(400)),
        at_once("blank before the first header", "GET /h HTTP/1.1\r\n X: a\r\nHost: a\r\n\r\n", Early(400)),
        cut_off("carriage returns for ends of lines", "GET /h HTTP/1.1\rHost: a\r\r", Early(400)),
    ]
}

fn sizes() -> Vec<Exchange> {
    let many = |count: usize, size: usize| {
        (0..count).map(|number| format!("X{number}: {}\r\n", "x".repeat(size))).collect::<String>()
    };
    let path = |bytes: usize| format!("GET /{} HTTP/1.1", "x".repeat(bytes));
    vec![
        with("header of 15 KB", &many(1, 15_000), Passed(GET)),
        with("header of 31 KB", &many(1, 31_000), Passed(GET)),
        with("header of 33 KB", &many(1, 33_000), Refused(431)),
        with("header of 100 KB", &many(1, 100_000), Refused(431)),
        with("50 headers of 1 KB", &many(50, 1_000), Refused(431)),
        with("200 headers", &many(200, 10), Passed(GET)),
        with("300 headers", &many(300, 10), Early(431)),
        with("1,000 headers", &many(1_000, 100), Early(431)),
        with("header of 2 MB", &many(1, 2_000_000), Early(431)),
        with("name of 70 KB", &format!("{}: a\r\n", "x".repeat(70_000)), Early(431)),
        line("path of 40 KB", &path(40_000), Refused(431)),
        line("path of 80 KB", &path(80_000), Early(431)),
        line("path of 1 MB", &path(1_000_000), Early(431)),
        line("path of 2 MB", &path(2_000_000), Early(431)),
        line("method of 40 KB", &format!("{} /h HTTP/1.1", "X".repeat(40_000)), Refused(431)),
        cut_off("head without an end", format!("GET /h HTTP/1.1\r\nX: {}", "x".repeat(50_000)), Early(431)),
    ]
}

fn garbage() -> Vec<Exchange> {
    vec![
        cut_off("nothing", "", Closed),
        cut_off("empty lines", "\r\n\r\n\r\n\r\n", Closed),
        cut_off("one letter", "G", Closed),
        cut_off("half a line", "GET /h HT", Closed),
        cut_off("NULs", vec![0; 4096], Early(400)),
        cut_off("all bytes", (0..=255).collect::<Vec<u8>>(), Early(400)),
        cut_off("greeting of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), Early(400)),
        cut_off("greeting of SSH", "SSH-2.0-OpenSSH_9.2\r\n\r\n", Early(400)),
        cut_off("greeting of mail", "EHLO example.org\r\n\r\n", Early(400)),
        cut_off("PROXY protocol", "PROXY TCP4 6.6.6.6 7.7.7.7 1 2\r\nGET /h HTTP/1.1\r\nHost: a\r\n\r\n", Early(400)),
        cut_off("text of 64 KB", "x".repeat(65_536), Early(431)),
    ]
}

fn connections() -> Vec<Exchange> {
    let steps = |name, steps: Vec<Step>, expected| Exchange { name, steps, expected };
    let send = |text: &str| Step::Send(text.as_bytes().to_vec());
    let moment = || Step::Wait(Duration::from_millis(20));
    let head = "GET /h HTTP/1.1\r\nHost: a\r\n\r\n";
    let slow: Vec<Step> =
        head.bytes().flat_map(|byte| [Step::Send(vec![byte]), Step::Wait(Duration::from_millis(2))]).collect();
    let body = "POST /h HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    vec![
        steps("byte by byte", slow, Passed(GET)),
        steps("head in two parts", vec![send("GET /h HTTP/1.1\r"), moment(), send("\nHost: a\r\n\r\n")], Passed(GET)),
        steps(
            "body after the head",
            vec![send(body), moment(), send("he"), moment(), send("llo")],
            Passed(&["POST /h"]),
        ),
        steps("reset at once", vec![Step::Reset], Closed),
        steps("reset in the head", vec![send("GET /h HTTP/1.1\r\nHo"), moment(), Step::Reset], Closed),
        steps("reset after the head", vec![send(head), Step::Reset], AtMost("GET /h")),
        steps("reset in the body", vec![send(body), moment(), send("he"), Step::Reset], AtMost("POST /h")),
        steps("half-close after a request", vec![send(head), Step::HalfClose], AtMost("GET /h")),
    ]
}
