//! What HTTP/2 demands of requests: their compression, their pseudo-headers, their bodies and trailers.

use super::play::Right::{Body, Ends, Reset, Status};
use super::play::{COMPRESSION_ERROR, PROTOCOL_ERROR, Right, Row, Step, row, steps};
use crate::harness::http2::{DATA, END_HEADERS, END_STREAM, HEADERS, SETTINGS, block, frame, head, setting, text};

type Header = (&'static str, &'static str);

const METHOD: Header = (":method", "GET");
const SCHEME: Header = (":scheme", "https");
const AUTHORITY: Header = (":authority", "localhost");
const PATH: Header = (":path", "/h");
/// A request that is malformed (8.1.1): its stream is reset, or it is answered with 400 before that. An error of a stream
/// may be taken for one of the connection (5.4.1).
const MALFORMED: &[Right] = &[Reset(1, &[PROTOCOL_ERROR]), Status(1, 400), Ends(&[PROTOCOL_ERROR])];

/// The rows.
pub fn rows() -> Vec<Row> {
    [compression(), pseudo_headers(), headers(), bodies()].concat()
}

fn request(block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, 1, block)
}

fn compression() -> Vec<Row> {
    let plain = head("GET", "/h", &[]);
    let after = |more: &[u8]| request(&[&plain[..], more].concat());
    let wrong = |name, bytes| row("4.3 and RFC 7541", name, bytes, &[Ends(&[COMPRESSION_ERROR])]);
    let good = |name, bytes, stream| row("4.3 and RFC 7541", name, bytes, &[Status(stream, 200)]);
    // `x-kept: kept` goes into the table by the first request, and is number 62 in the second (RFC 7541, 2.3.3).
    let kept = [&[0x40][..], &text("x-kept"), &text("kept")].concat();
    let uses_table = [after(&kept), frame(HEADERS, END_STREAM | END_HEADERS, 3, &[&plain[..], &[0xbe]].concat())];
    vec![
        wrong("the index zero", after(&[0x80])),
        wrong("an index behind the table", after(&[0xbe])),
        wrong("a name's index behind the table", after(&[0x7e, 1, b'x'])),
        wrong("a table over its limit", request(&[&[0x3f, 0xe2, 0x1f][..], &plain].concat())),
        wrong("a table that changes after a header", after(&[0x20])),
        wrong("Huffman's code with its own end in it", after(&[0, 0x84, 0xff, 0xff, 0xff, 0xff, 1, b'x'])),
        wrong("Huffman's code with zeros at its end", after(&[0, 1, b'x', 0x81, 0x18])),
        wrong("Huffman's code with a byte too many", after(&[0, 1, b'x', 0x82, 0x1f, 0xff])),
        wrong("a number without an end", after(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f])),
        wrong("a header that is cut off", after(&[0, 5, b'x'])),
        good("a table of size zero", request(&[&[0x20][..], &plain].concat()), 1),
        good("a header from the table", uses_table.concat(), 3),
        good("a header that is never kept", after(&[0x10, 1, b'x', 1, b'y']), 1),
    ]
}

fn pseudo_headers() -> Vec<Row> {
    let with = |section, name, headers: &[Header], right: &[_]| row(section, name, request(&block(headers)), right);
    let wrong = |name, headers: &[Header]| with("8.3", name, headers, MALFORMED);
    vec![
        wrong("no method", &[SCHEME, AUTHORITY, PATH]),
        wrong("no scheme", &[METHOD, AUTHORITY, PATH]),
        wrong("no path", &[METHOD, SCHEME, AUTHORITY]),
        wrong("an empty path", &[METHOD, SCHEME, AUTHORITY, (":path", "")]),
        wrong("a path without a slash", &[METHOD, SCHEME, AUTHORITY, (":path", "h")]),
        wrong("two methods", &[METHOD, METHOD, SCHEME, AUTHORITY, PATH]),
        wrong("two schemes", &[METHOD, SCHEME, SCHEME, AUTHORITY, PATH]),
        wrong("two paths", &[METHOD, SCHEME, AUTHORITY, PATH, PATH]),
        wrong("two authorities", &[METHOD, SCHEME, AUTHORITY, AUTHORITY, PATH]),
        wrong("a pseudo-header after a header", &[METHOD, SCHEME, AUTHORITY, ("x", "y"), PATH]),
        wrong("a pseudo-header that nobody knows", &[METHOD, SCHEME, AUTHORITY, PATH, (":wonder", "x")]),
        wrong("the pseudo-header of an answer", &[METHOD, SCHEME, AUTHORITY, PATH, (":status", "200")]),
        wrong("a user in the authority", &[METHOD, SCHEME, (":authority", "user@localhost"), PATH]),
        with("8.3.1", "a host and no authority", &[METHOD, SCHEME, PATH, ("host", "localhost")], &[Status(1, 200)]),
        with(
            "8.3.1",
            "the server's own options",
            &[(":method", "OPTIONS"), SCHEME, AUTHORITY, (":path", "*")],
            &[Status(1, 200), Status(1, 400), Status(1, 404)],
        ),
        with(
            "8.5",
            "a tunnel with a path",
            &[(":method", "CONNECT"), SCHEME, AUTHORITY, PATH],
            &[Reset(1, &[PROTOCOL_ERROR]), Status(1, 400), Status(1, 405)],
        ),
    ]
}

fn headers() -> Vec<Row> {
    let with =
        |section, name, more: &[Header], right: &[_]| row(section, name, request(&head("GET", "/h", more)), right);
    let wrong = |section, name, more: &[Header]| with(section, name, more, MALFORMED);
    let cookies = request(&head("GET", "/cookies", &[("cookie", "a=b"), ("cookie", "c=d"), ("cookie", "e=f")]));
    vec![
        wrong("8.2.1", "a name in capitals", &[("X-Name", "y")]),
        wrong("8.2.1", "a blank in a name", &[("x y", "z")]),
        wrong("8.2.1", "an empty name", &[("", "z")]),
        wrong("8.2.1", "a colon in a name", &[("x:y", "z")]),
        wrong("8.2.1", "the end of a line in a value", &[("x", "a\r\nb: c")]),
        wrong("8.2.1", "a NUL in a value", &[("x", "a\0b")]),
        wrong("8.2.1", "a blank before a value", &[("x", " y")]),
        wrong("8.2.1", "a blank after a value", &[("x", "y\t")]),
        wrong("8.2.2", "a connection header", &[("connection", "keep-alive")]),
        wrong("8.2.2", "a keep-alive header", &[("keep-alive", "5")]),
        wrong("8.2.2", "a proxy-connection header", &[("proxy-connection", "keep-alive")]),
        wrong("8.2.2", "a coding", &[("transfer-encoding", "chunked")]),
        wrong("8.2.2", "an upgrade", &[("upgrade", "h2c")]),
        wrong("8.2.2", "a TE of another kind", &[("te", "trailers, deflate")]),
        with("8.2.2", "a TE of trailers", &[("te", "trailers")], &[Status(1, 200)]),
        row("8.2.3", "cookies in pieces", cookies, &[Body(1, "a=b; c=d; e=f")]),
    ]
}

fn bodies() -> Vec<Row> {
    let post = |more: &[Header]| frame(HEADERS, END_HEADERS, 1, &head("POST", "/h", more));
    let data = |flags, bytes: &[u8]| frame(DATA, flags, 1, bytes);
    let trailers = |flags, headers: &[Header]| frame(HEADERS, END_HEADERS | flags, 1, &block(headers));
    let all = |frames: &[Vec<u8>]| frames.concat();
    let wrong = |section, name, bytes| row(section, name, bytes, MALFORMED);
    let five: &[Header] = &[("content-length", "5")];
    let expects: &[Header] = &[("content-length", "5"), ("expect", "100-continue")];
    let ended = request(&head("POST", "/h", five));
    vec![
        row("8.1", "a body", all(&[post(five), data(END_STREAM, b"hello")]), &[Body(1, "hello")]),
        row("8.1", "a body without a length", all(&[post(&[]), data(END_STREAM, b"hello")]), &[Body(1, "hello")]),
        row(
            "8.1",
            "a body in pieces",
            all(&[post(five), data(0, b"he"), data(0, b""), data(END_STREAM, b"llo")]),
            &[Body(1, "hello")],
        ),
        row(
            "8.1",
            "trailers",
            all(&[post(five), data(0, b"hello"), trailers(END_STREAM, &[("x", "y")])]),
            &[Body(1, "hello")],
        ),
        wrong("8.1", "trailers without an end", all(&[post(&[]), data(0, b"hello"), trailers(0, &[("x", "y")])])),
        wrong("8.1", "a pseudo-header in trailers", all(&[post(&[]), data(0, b"x"), trailers(END_STREAM, &[METHOD])])),
        wrong("8.1.1", "a length without a body", ended),
        wrong("8.1.1", "a body shorter than its length", all(&[post(five), data(END_STREAM, b"hell")])),
        wrong("8.1.1", "a body longer than its length", all(&[post(five), data(END_STREAM, b"hello!")])),
        wrong("8.1.1", "a length that is none", request(&head("POST", "/h", &[("content-length", "five")]))),
        wrong(
            "8.1.1",
            "two lengths",
            request(&head("POST", "/h", &[("content-length", "0"), ("content-length", "5")])),
        ),
        steps(
            "8.1",
            "a body that is asked for",
            vec![Step::Send(post(expects)), Step::Continue(1), Step::Send(data(END_STREAM, b"hello"))],
            &[Body(1, "hello")],
        ),
        row("8.1", "an answer without a body", request(&head("HEAD", "/h", &[])), &[Body(1, "")]),
        row(
            "6.5.3",
            "settings while a body comes",
            all(&[post(five), frame(SETTINGS, 0, 0, &setting(4, 70_000)), data(END_STREAM, b"hello")]),
            &[Body(1, "hello")],
        ),
    ]
}
