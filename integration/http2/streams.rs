//! What HTTP/2 demands of streams: their states, their numbers, and blocks of headers in several frames.

use super::play::Right::{Body, Ends, Lives, Reset, Status};
use super::play::{FRAME_SIZE_ERROR, PROTOCOL_ERROR, REFUSED_STREAM, Row, STREAM_CLOSED, Step, row, steps};
use crate::harness::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, PING, PRIORITY, RST_STREAM, WINDOW_UPDATE,
    WITH_PRIORITY, frame, head,
};

/// More than may be open at once: 100 by the settings that dendron sends.
const TOO_MANY: u32 = 101;

/// The rows.
pub fn rows() -> Vec<Row> {
    [idle(), half_closed(), closed(), numbers(), blocks()].concat()
}

fn request(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &head("GET", path, &[]))
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])
}

fn idle() -> Vec<Row> {
    let ends = &[Ends(&[PROTOCOL_ERROR])];
    vec![
        row("5.1", "data on an idle stream", frame(DATA, 0, 1, b"x"), ends),
        row("5.1", "a reset of an idle stream", reset(1), ends),
        row("5.1", "a window update of an idle stream", frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]), ends),
        row("5.1", "a continuation of an idle stream", frame(CONTINUATION, END_HEADERS, 1, b""), ends),
    ]
}

/// The client has ended its side, and is not answered yet.
fn half_closed() -> Vec<Row> {
    let held = |more: Vec<u8>| [request(1, "/hold"), more].concat();
    let is_closed = &[Ends(&[STREAM_CLOSED]), Reset(1, &[STREAM_CLOSED])];
    vec![
        row("5.1", "data after the end of a stream", held(frame(DATA, END_STREAM, 1, b"x")), is_closed),
        row("5.1", "headers after the end of a stream", held(request(1, "/h")), is_closed),
        row(
            "5.1",
            "a continuation after the end of a stream",
            held(frame(CONTINUATION, END_HEADERS, 1, b"")),
            &[Ends(&[PROTOCOL_ERROR, STREAM_CLOSED])],
        ),
        row("5.1", "a window update after the end", held(frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])), &[Status(1, 200)]),
        row("5.1", "a priority after the end", held(frame(PRIORITY, 0, 1, &[0; 5])), &[Status(1, 200)]),
        // Another stream shows that the connection goes on.
        row("5.1", "a reset while it is answered", held([reset(1), request(3, "/h")].concat()), &[Status(3, 200)]),
    ]
}

/// Both sides have ended it, or the client has reset it.
fn closed() -> Vec<Row> {
    let answered = |more: Vec<u8>| vec![Step::Send(request(1, "/h")), Step::Answered(1), Step::Send(more)];
    let gone = |more: Vec<u8>| [request(1, "/hold"), reset(1), more].concat();
    let data = frame(DATA, END_STREAM, 1, b"x");
    let is_closed = &[Ends(&[STREAM_CLOSED]), Reset(1, &[STREAM_CLOSED])];
    // A number that was used is also one that may not be used again (5.1.1).
    let is_used = &[Ends(&[STREAM_CLOSED, PROTOCOL_ERROR]), Reset(1, &[STREAM_CLOSED])];
    vec![
        steps("5.1", "data on an answered stream", answered(data.clone()), is_closed),
        steps("5.1", "headers on an answered stream", answered(request(1, "/h")), is_used),
        steps(
            "5.1",
            "a reset of an answered stream",
            answered([reset(1), request(3, "/h")].concat()),
            &[Status(3, 200)],
        ),
        steps(
            "5.1",
            "a window update of an answered stream",
            answered([frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]), request(3, "/h")].concat()),
            &[Status(3, 200)],
        ),
        steps("5.1", "a priority of an answered stream", answered(frame(PRIORITY, 0, 1, &[0; 5])), &[Lives]),
        row("5.1", "data on a stream that was reset", gone(data), is_closed),
        row("5.1", "headers on a stream that was reset", gone(request(1, "/h")), is_used),
    ]
}

fn numbers() -> Vec<Row> {
    let ends = &[Ends(&[PROTOCOL_ERROR])];
    let many = (0..TOO_MANY).flat_map(|number| request(number * 2 + 1, "/hold")).collect();
    let last = TOO_MANY * 2 - 1;
    vec![
        row("5.1.1", "an even number", request(2, "/h"), ends),
        row("5.1.1", "a number below the last", [request(5, "/hold"), request(3, "/h")].concat(), ends),
        row("5.1.1", "numbers that are left out", [request(7, "/h"), request(21, "/h")].concat(), &[Status(21, 200)]),
        row("5.1.1", "no stream", request(0, "/h"), ends),
        row("5.1.2", "more streams than may be", many, &[Reset(last, &[REFUSED_STREAM, PROTOCOL_ERROR])]),
    ]
}

/// A block of headers is one whole, whatever the number of its frames; and what stands around it in the first.
fn blocks() -> Vec<Row> {
    let block = head("GET", "/h", &[]);
    let begun = |more: Vec<u8>| [frame(HEADERS, END_STREAM, 1, &block[..10]), more].concat();
    let rest = |stream| frame(CONTINUATION, END_HEADERS, stream, &block[10..]);
    let pieces = block[10..].chunks(20).flat_map(|piece| frame(CONTINUATION, 0, 1, piece));
    let pieces = pieces.chain(frame(CONTINUATION, END_HEADERS, 1, b"")).collect();
    let whole = |flags, payload: &[u8]| frame(HEADERS, END_STREAM | END_HEADERS | flags, 1, payload);
    let itself = [&[0, 0, 0, 1, 0], &block[..]].concat();
    let ends = &[Ends(&[PROTOCOL_ERROR])];
    let padded = [&[4], &block[..], &[0; 4]].concat();
    vec![
        row("4.3", "a block in several frames", begun(pieces), &[Body(1, "{}")]),
        row("4.3", "an unknown frame within a block", begun([frame(0x99, 0, 1, b""), rest(1)].concat()), ends),
        row("6.2", "data within a block", begun(frame(DATA, 0, 1, b"x")), ends),
        row("6.2", "another stream's headers within a block", begun(request(3, "/h")), ends),
        row("6.2", "a ping within a block", begun(frame(PING, 0, 0, &[0; 8])), ends),
        row("6.10", "a continuation of another stream", begun(rest(3)), ends),
        row("6.10", "a continuation on no stream", begun(rest(0)), ends),
        row(
            "6.10",
            "a continuation of what has ended",
            [request(1, "/hold"), rest(1)].concat(),
            &[Ends(&[PROTOCOL_ERROR, STREAM_CLOSED])],
        ),
        row("6.2", "padded headers", whole(PADDED, &padded), &[Body(1, "{}")]),
        row("6.2", "padding longer than the headers", whole(PADDED, &[&[200], &block[..]].concat()), ends),
        row(
            "6.2",
            "headers with a priority",
            whole(WITH_PRIORITY, &[&[0, 0, 0, 3, 9], &block[..]].concat()),
            &[Status(1, 200)],
        ),
        row(
            "6.2",
            "headers too short for their priority",
            whole(WITH_PRIORITY, &[0; 4]),
            &[Ends(&[PROTOCOL_ERROR, FRAME_SIZE_ERROR]), Reset(1, &[FRAME_SIZE_ERROR])],
        ),
        // The older RFC 7540 (5.3.1) has a stream error here; the newer one has no priorities any more.
        row(
            "5.3",
            "a stream that waits for itself",
            whole(WITH_PRIORITY, &itself),
            &[Status(1, 200), Reset(1, &[PROTOCOL_ERROR])],
        ),
    ]
}
