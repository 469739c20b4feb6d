//! What takes more than one look: windows that hold data back, the server's own settings, and its good-bye.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};

use super::edge::{Edge, HELD, LARGE_BYTES};
use super::play::FLOW_CONTROL_ERROR;
use crate::harness::eventually::SOON;
use crate::harness::http2::{
    ACK, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, Http2, MAGIC, Next, PING, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, frame, head, setting, status,
};
use crate::harness::{ensure, ensure_eq};

/// For how long nothing comes where nothing may.
const SILENCE: Duration = Duration::from_millis(300);
/// For how long a client may be silent before the dendron that is told so.
pub const SILENT: Duration = Duration::from_secs(1);
/// The window that everything begins with, and the largest frame (RFC 9113, 6.5.2 and 6.9.2).
const WINDOW: usize = 65_535;
const FRAME_MAX: usize = 16_384;

/// A connection on which settings were sent.
fn connect(edge: &Edge, settings: &[(u16, u32)]) -> Result<Http2, Failed> {
    let mut client = Http2::connect(&edge.authority, edge.tls_port)?;
    let all: Vec<u8> = [(1, 0)].iter().chain(settings).flat_map(|(name, value)| setting(*name, *value)).collect();
    client.send(&[MAGIC, &frame(SETTINGS, 0, 0, &all)].concat());
    Ok(client)
}

fn get(path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, 1, &head("GET", path, &[]))
}

fn update(stream: u32, bytes: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

/// Reads until a silence, the end of stream 1 or that of the connection; confirms settings and pings on the way.
fn read(client: &mut Http2, silence: Duration) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Next::Frame(frame) = client.next(silence) {
        if matches!(frame.kind, SETTINGS | PING) && frame.flags & ACK == 0 {
            let payload = if frame.kind == PING { &frame.payload[..] } else { b"" };
            client.send(&crate::harness::http2::frame(frame.kind, ACK, 0, payload));
        }
        let is_end = frame.stream == 1 && matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0;
        frames.push(frame);
        if is_end {
            break;
        }
    }
    frames
}

fn data_bytes(frames: &[Frame]) -> usize {
    frames.iter().filter(|frame| frame.kind == DATA).map(|frame| frame.payload.len()).sum()
}

/// Sections 5.2 and 6.9: no more data comes than the client has allowed, on the stream and on the connection.
pub fn windows_hold_data_back(edge: &Edge) -> Result<(), Failed> {
    let mut client = connect(edge, &[(4, 0)])?;
    client.send(&get("/large"));
    let frames = read(&mut client, SILENCE);
    ensure!(frames.iter().any(|frame| frame.kind == HEADERS), "no head while the window is shut: {frames:?}");
    ensure_eq!(data_bytes(&frames), 0, "data while the window is shut");
    client.send(&update(1, 10));
    ensure_eq!(data_bytes(&read(&mut client, SILENCE)), 10, "data after a window update of 10");
    client.send(&frame(SETTINGS, 0, 0, &setting(4, 5)));
    ensure_eq!(data_bytes(&read(&mut client, SILENCE)), 5, "data after settings that let the window grow by 5");
    // Now it is the connection that holds it back.
    client.send(&update(1, 1 << 20));
    let frames = read(&mut client, SILENCE);
    ensure_eq!(data_bytes(&frames), WINDOW - 15, "data while the connection's window is the first one");
    let largest = frames.iter().map(|frame| frame.payload.len()).max();
    ensure!(largest <= Some(FRAME_MAX), "a frame of {largest:?} bytes");
    client.send(&update(0, 1 << 20));
    ensure_eq!(data_bytes(&read(&mut client, SOON)), LARGE_BYTES - WINDOW, "the rest");
    Ok(())
}

/// Section 6.9.2: a window can become less than nothing, and must be made good first.
pub fn a_window_can_be_overdrawn(edge: &Edge) -> Result<(), Failed> {
    let mut client = connect(edge, &[(4, 1000)])?;
    client.send(&get("/large"));
    ensure_eq!(data_bytes(&read(&mut client, SILENCE)), 1000, "data with a window of 1000");
    client.send(&frame(SETTINGS, 0, 0, &setting(4, 400)));
    client.send(&update(1, 600));
    ensure_eq!(data_bytes(&read(&mut client, SILENCE)), 0, "data while the window is only made good");
    client.send(&update(1, 7));
    ensure_eq!(data_bytes(&read(&mut client, SILENCE)), 7, "data after that");
    Ok(())
}

/// Section 6.9: what is taken of an upload is given back, so that it goes on.
pub fn uploads_are_given_windows(edge: &Edge) -> Result<(), Failed> {
    const BYTES: usize = 1 << 20;
    let mut client = connect(edge, &[])?;
    client.send(&frame(HEADERS, END_HEADERS, 1, &head("POST", "/length", &[])));
    let (mut stream, mut connection) = (WINDOW as i64, WINDOW as i64);
    let mut sent = 0;
    while sent < BYTES {
        while stream.min(connection) > 0 && sent < BYTES {
            let length = (stream.min(connection) as usize).min(FRAME_MAX).min(BYTES - sent);
            sent += length;
            let flags = if sent == BYTES { END_STREAM } else { 0 };
            client.send(&frame(DATA, flags, 1, &vec![7; length]));
            stream -= length as i64;
            connection -= length as i64;
        }
        let frame = match client.next(SOON) {
            Next::Frame(frame) => frame,
            next => return Err(format!("{next:?} after {sent} bytes").into()),
        };
        let value = frame.payload.get(..4).and_then(|value| value.try_into().ok()).map_or(0, u32::from_be_bytes);
        match (frame.kind, frame.stream) {
            (WINDOW_UPDATE, 0) => connection += i64::from(value),
            (WINDOW_UPDATE, 1) => stream += i64::from(value),
            // A first window of another size counts for this stream too.
            (SETTINGS, 0) => {
                let windows = frame.payload.chunks(6).filter(|setting| setting[..2] == [0, 4]);
                let value =
                    windows.filter_map(|setting| setting[2..].try_into().ok()).map(u32::from_be_bytes).next_back();
                stream += value.map_or(0, |value| i64::from(value) - WINDOW as i64);
            }
            _ => {}
        }
    }
    let frames = read(&mut client, SOON);
    let body: Vec<u8> =
        frames.iter().filter(|frame| frame.kind == DATA).flat_map(|frame| &frame.payload).copied().collect();
    ensure_eq!(String::from_utf8_lossy(&body), BYTES.to_string(), "the bytes that arrived");

    Ok(())
}

/// Section 6.9.1: who sends on although the window is used up is stopped. Nobody takes the body there, so soon it is.
pub fn who_ignores_windows_is_stopped(edge: &Edge) -> Result<(), Failed> {
    const MOST: usize = 16 << 20;
    let mut client = connect(edge, &[])?;
    client.send(&frame(HEADERS, END_HEADERS, 1, &head("POST", "/hold", &[])));
    let mut sent = 0;
    while sent < MOST {
        client.send(&frame(DATA, 0, 1, &[7; FRAME_MAX]).repeat(16));
        sent += 16 * FRAME_MAX;
        // Where the client is faster than the server, that has the last word all the same.
        let patience = if sent < MOST { Duration::ZERO } else { SOON };
        while let Next::Frame(frame) = client.next(patience) {
            // Either ends in the code.
            if matches!(frame.kind, GOAWAY | RST_STREAM) {
                ensure!(frame.payload.ends_with(&FLOW_CONTROL_ERROR.to_be_bytes()), "it is stopped by {frame:?}");
                return Ok(());
            }
        }
    }
    Err(format!("nothing is said to who sends {sent} bytes").into())
}

/// A body that stops coming is waited for as long as a client may be silent, and then refused; other streams go on.
pub fn a_body_that_stops_is_given_up(edge: &Edge) -> Result<(), Failed> {
    let mut client = connect(edge, &[])?;
    let post = head("POST", "/length", &[("content-length", "10")]);
    client.send(&[frame(HEADERS, END_HEADERS, 1, &post), frame(DATA, 0, 1, b"he")].concat());
    let begun = Instant::now();
    let frames = read(&mut client, SILENT * 3);
    let answer = frames.iter().find(|frame| frame.kind == HEADERS && frame.stream == 1);
    ensure_eq!(answer.and_then(|frame| status(&frame.payload)), Some(408), "{frames:?}");
    ensure!(begun.elapsed() >= SILENT, "after {:?}", begun.elapsed());
    client.send(&frame(HEADERS, END_STREAM | END_HEADERS, 3, &head("GET", "/", &[])));
    let frames = read(&mut client, SOON);
    let answer = frames.iter().find(|frame| frame.kind == HEADERS && frame.stream == 3);
    ensure_eq!(answer.and_then(|frame| status(&frame.payload)), Some(200), "another stream: {frames:?}");
    Ok(())
}

fn goodbye_of(frames: &[Frame]) -> Option<u32> {
    let goodbye = frames.iter().rfind(|frame| frame.kind == GOAWAY)?;
    goodbye.payload.get(4..8)?.try_into().ok().map(u32::from_be_bytes)
}

/// Sections 3.4, 6.5 and 8.4: the server's settings come first, are such as may be, and the client's are confirmed.
pub fn the_server_begins_with_settings(edge: &Edge) -> Result<(), Failed> {
    let mut client = connect(edge, &[(3, 7)])?;
    let frames = read(&mut client, SILENCE);
    let first = frames.first().ok_or("nothing came")?;
    ensure!((first.kind, first.flags, first.stream) == (SETTINGS, 0, 0), "the first frame is {first:?}");
    ensure_eq!(first.payload.len() % 6, 0, "the length of the settings");
    let value = |name: u16| {
        let of = first.payload.chunks(6).find(|setting| setting[..2] == name.to_be_bytes())?;
        of[2..].try_into().ok().map(u32::from_be_bytes)
    };
    ensure!(value(2).unwrap_or(0) == 0, "the server announces that it may be pushed to");
    ensure!(value(3).is_some_and(|streams| (100..=1000).contains(&streams)), "streams at once: {:?}", value(3));
    ensure!(value(4).is_none_or(|window| window <= i32::MAX as u32), "the first window: {:?}", value(4));
    ensure!(value(5).is_none_or(|size| (16_384..1 << 24).contains(&size)), "frames: {:?}", value(5));
    ensure!(value(6).is_some_and(|size| size <= 1 << 20), "headers: {:?}", value(6));
    let confirmed = frames.iter().filter(|frame| frame.kind == SETTINGS && frame.flags & ACK != 0);
    ensure_eq!(confirmed.map(|frame| frame.payload.len()).collect::<Vec<_>>(), [0], "confirmations");
    Ok(())
}

/// Section 6.8: when dendron stops, it says so, answers what was asked before, and ends the connection.
pub fn a_stop_is_a_goodbye(edge: Edge) -> Result<(), Failed> {
    let mut client = connect(&edge, &[])?;
    client.send(&get("/hold"));
    std::thread::sleep(HELD / 5);
    let id = i32::try_from(edge.dendron.id()).ok().and_then(Pid::from_raw).ok_or("no process id")?;
    let begun = Instant::now();
    kill_process(id, Signal::TERM)?;
    let frames = read(&mut client, HELD / 2);
    ensure_eq!(goodbye_of(&frames), Some(0), "the code of the good-bye that comes before the answer");
    ensure!(!frames.iter().any(|frame| frame.kind == HEADERS), "it came only with the answer");
    let frames = read(&mut client, SOON);
    let codes: Vec<_> =
        frames.iter().filter(|frame| frame.kind == HEADERS).map(|frame| status(&frame.payload)).collect();
    ensure_eq!(codes, [Some(200)], "the answer to what was asked before");
    let left = read(&mut client, SOON);
    ensure!(left.iter().all(|frame| matches!(frame.kind, PING | GOAWAY | WINDOW_UPDATE)), "after the answer: {left:?}");
    ensure!(begun.elapsed() < HELD + Duration::from_secs(5), "the end took {:?}", begun.elapsed());
    Ok(())
}
