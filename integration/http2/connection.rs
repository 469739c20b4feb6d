//! What HTTP/2 demands of a connection: its beginning, frames and their sizes, settings, pings, good-byes, windows.

use super::play::Right::{Body, Ends, Lives, Reset, Status};
use super::play::{FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, PROTOCOL_ERROR, Row, opening, row};
use crate::harness::http2::{
    ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, MAGIC, PADDED, PING, PRIORITY, PUSH_PROMISE, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, frame, head, setting,
};

/// The rows.
pub fn rows() -> Vec<Row> {
    [beginnings(), sizes(), settings(), pings_and_goodbyes(), windows()].concat()
}

/// A plain request on a stream.
fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &head("GET", "/h", &[]))
}

fn beginnings() -> Vec<Row> {
    let opened = |name, opening: Vec<u8>, right: &[_]| Row { opening, ..row("3.4", name, Vec::new(), right) };
    let no_settings = [MAGIC, &frame(PING, 0, 0, &[0; 8])].concat();
    let request_first = [MAGIC, &get(1), &frame(SETTINGS, 0, 0, b"")].concat();
    let wrong = b"PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00".to_vec();
    vec![
        opened("a preface that is wrong", wrong, &[Ends(&[PROTOCOL_ERROR])]),
        opened("a ping before the settings", no_settings, &[Ends(&[PROTOCOL_ERROR])]),
        opened("a request before the settings", request_first, &[Ends(&[PROTOCOL_ERROR])]),
        opened("only the preface", opening(), &[Lives]),
        row("3.4", "a request right after the preface", get(1), &[Body(1, "{}")]),
    ]
}

fn sizes() -> Vec<Row> {
    let large = vec![0; 16_385];
    let post = frame(HEADERS, END_HEADERS, 1, &head("POST", "/h", &[]));
    let too_large = [&post[..], &frame(DATA, END_STREAM, 1, &large)].concat();
    let largest = [&post[..], &frame(DATA, END_STREAM, 1, &large[..16_384])].concat();
    let unknown = |stream, size| [frame(0x99, 0xff, stream, &large[..size]), get(1)].concat();
    let mut reserved = get(1);
    reserved[5] |= 0x80;
    vec![
        row("4.1", "the reserved bit of a stream's number", reserved, &[Status(1, 200)]),
        row("4.1", "an unknown frame on no stream", unknown(0, 10), &[Status(1, 200)]),
        row("4.1", "an unknown frame on an idle stream", unknown(1, 0), &[Status(1, 200)]),
        row("4.1", "flags that nobody knows", frame(PING, 0xfe, 0, &[7; 8]), &[Lives]),
        row("4.2", "data as large as may be", largest, &[Status(1, 200)]),
        row(
            "4.2",
            "data over the largest size",
            too_large,
            &[Ends(&[FRAME_SIZE_ERROR]), Reset(1, &[FRAME_SIZE_ERROR])],
        ),
        row(
            "4.2",
            "headers over the largest size",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &large),
            &[Ends(&[FRAME_SIZE_ERROR])],
        ),
        row("4.2", "settings over the largest size", frame(SETTINGS, 0, 0, &large), &[Ends(&[FRAME_SIZE_ERROR])]),
        row("6.1", "data on no stream", frame(DATA, 0, 0, b"x"), &[Ends(&[PROTOCOL_ERROR])]),
        row(
            "6.1",
            "padding as long as the data",
            [&post[..], &frame(DATA, PADDED, 1, b"\x06hello")].concat(),
            &[Ends(&[PROTOCOL_ERROR])],
        ),
        row(
            "6.1",
            "padded data",
            [&post[..], &frame(DATA, PADDED | END_STREAM, 1, b"\x02hello\0\0")].concat(),
            &[Body(1, "hello")],
        ),
        row(
            "6.3",
            "a priority of four bytes",
            [get(1), frame(PRIORITY, 0, 3, &[0; 4])].concat(),
            &[Reset(3, &[FRAME_SIZE_ERROR]), Ends(&[FRAME_SIZE_ERROR])],
        ),
        row("6.3", "a priority on no stream", frame(PRIORITY, 0, 0, &[0; 5]), &[Ends(&[PROTOCOL_ERROR])]),
        row(
            "6.3",
            "a priority of an idle stream",
            [frame(PRIORITY, 0, 5, &[0; 5]), get(1)].concat(),
            &[Status(1, 200)],
        ),
        row(
            "6.4",
            "a reset of three bytes",
            [get(1), frame(RST_STREAM, 0, 1, &[0; 3])].concat(),
            &[Ends(&[FRAME_SIZE_ERROR])],
        ),
        row("6.4", "a reset of no stream", frame(RST_STREAM, 0, 0, &[0; 4]), &[Ends(&[PROTOCOL_ERROR])]),
        row(
            "6.6",
            "a promise by a client",
            frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]),
            &[Ends(&[PROTOCOL_ERROR])],
        ),
    ]
}

fn settings() -> Vec<Row> {
    let set =
        |name, number, value, right: &[_]| row("6.5.2", name, frame(SETTINGS, 0, 0, &setting(number, value)), right);
    vec![
        row("6.5", "settings on a stream", frame(SETTINGS, 0, 1, b""), &[Ends(&[PROTOCOL_ERROR])]),
        row("6.5", "settings of five bytes", frame(SETTINGS, 0, 0, &[0; 5]), &[Ends(&[FRAME_SIZE_ERROR])]),
        row(
            "6.5",
            "a confirmation with settings",
            frame(SETTINGS, ACK, 0, &setting(3, 1)),
            &[Ends(&[FRAME_SIZE_ERROR])],
        ),
        set("pushes of another number", 2, 2, &[Ends(&[PROTOCOL_ERROR])]),
        set("a window over its limit", 4, 1 << 31, &[Ends(&[FLOW_CONTROL_ERROR])]),
        set("frames smaller than may be", 5, 16_383, &[Ends(&[PROTOCOL_ERROR])]),
        set("frames larger than may be", 5, 1 << 24, &[Ends(&[PROTOCOL_ERROR])]),
        set("a setting that nobody knows", 0xbeef, 7, &[Lives]),
        set("no streams for the server", 3, 0, &[Lives]),
    ]
}

fn pings_and_goodbyes() -> Vec<Row> {
    let parting = [get(1), frame(GOAWAY, 0, 0, &[0; 8])].concat();
    vec![
        row("6.7", "a ping", Vec::new(), &[Lives]),
        row("6.7", "a ping on a stream", frame(PING, 0, 1, &[0; 8]), &[Ends(&[PROTOCOL_ERROR])]),
        row("6.7", "a ping of seven bytes", frame(PING, 0, 0, &[0; 7]), &[Ends(&[FRAME_SIZE_ERROR])]),
        row("6.7", "an answer to no ping", frame(PING, ACK, 0, &[0; 8]), &[Lives]),
        row("6.8", "a good-bye on a stream", frame(GOAWAY, 0, 1, &[0; 8]), &[Ends(&[PROTOCOL_ERROR])]),
        row("6.8", "a good-bye of seven bytes", frame(GOAWAY, 0, 0, &[0; 7]), &[Ends(&[FRAME_SIZE_ERROR])]),
        // The connection may end after the answer.
        row("6.8", "a good-bye while a request is answered", parting, &[Status(1, 200), Ends(&[0])]),
    ]
}

fn windows() -> Vec<Row> {
    let update = |stream, bytes: &[u8]| frame(WINDOW_UPDATE, 0, stream, bytes);
    let most = 0x7fff_ffff_u32.to_be_bytes();
    let held = frame(HEADERS, END_STREAM | END_HEADERS, 1, &head("GET", "/hold", &[]));
    let after = |bytes: Vec<u8>| [held.clone(), bytes].concat();
    // A stream's window has grown by one already when the settings let all windows grow by the most.
    let by_settings = after([update(1, &[0, 0, 0, 1]), frame(SETTINGS, 0, 0, &setting(4, 0x7fff_ffff))].concat());
    vec![
        row("6.9", "a window update of three bytes", update(0, &[0; 3]), &[Ends(&[FRAME_SIZE_ERROR])]),
        row("6.9", "a window update of nothing", update(0, &[0; 4]), &[Ends(&[PROTOCOL_ERROR])]),
        row(
            "6.9",
            "a window update of nothing on a stream",
            after(update(1, &[0; 4])),
            &[Reset(1, &[PROTOCOL_ERROR]), Ends(&[PROTOCOL_ERROR])],
        ),
        row("6.9.1", "a connection's window that overflows", update(0, &most), &[Ends(&[FLOW_CONTROL_ERROR])]),
        row(
            "6.9.1",
            "a stream's window that overflows",
            after(update(1, &most)),
            &[Reset(1, &[FLOW_CONTROL_ERROR]), Ends(&[FLOW_CONTROL_ERROR])],
        ),
        row("6.9.2", "a window that settings let overflow", by_settings, &[Ends(&[FLOW_CONTROL_ERROR])]),
    ]
}
