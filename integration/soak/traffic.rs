//! The clients of the soak: each does one thing again and again, at a modest pace, until the end is wished.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use serde_json::json;

use super::tally::Tally;
use crate::harness::http::{Answer, Client};
use crate::harness::http2::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Http2, MAGIC, Next, RST_STREAM, SETTINGS, frame, head, setting,
    status,
};
use crate::harness::matrix::{User, encoded};
use crate::harness::tls::Authority;

/// How large a body is.
pub const BODY_BYTES: usize = 1 << 20;
/// How long a silent server is listened to.
const PATIENCE: Duration = Duration::from_secs(40);
const UPLOAD: &str = "/_matrix/media/v3/upload";
const WHOAMI: &str = "/_matrix/client/v3/account/whoami";
/// What has no body and no other surprise.
const READS: [&str; 5] = [
    "/_matrix/client/versions",
    WHOAMI,
    "/_matrix/client/v3/joined_rooms",
    "/_matrix/client/v3/capabilities",
    "/_matrix/client/v3/devices",
];
/// What nobody should send. Each must be refused.
const BAD: [&str; 6] = [
    "\u{1}\u{2}\u{3}\r\n\r\n",
    "GET /_matrix/client/versions HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "POST /_matrix/client/v3/login HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "GET nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /_matrix/client/v3/sync HTTP/1.1\r\nHost: a\r\nBroken header\r\n\r\n",
    "GET /_matrix/client/versions HTTP/9.9\r\nHost: a\r\n\r\n",
];

/// Where the clients play, and what they have left behind.
pub struct Scene {
    /// The address of the listener without TLS.
    pub address: String,
    pub tls_port: u16,
    pub authority: Authority,
    pub user: User,
    pub room: String,
    pub tally: Tally,
    /// Whether the clients go on.
    pub wanted: AtomicBool,
    /// Where the last sync ended.
    pub since: Mutex<String>,
    /// The uploads that were confirmed: the media, and what was put into it.
    pub uploads: Mutex<Vec<(String, u32)>>,
    /// The messages that were confirmed.
    pub messages: Mutex<Vec<String>>,
}

/// A kind of client, the pause after each of its rounds, and a round, which is given its number.
type Kind = (&'static str, Duration, fn(&Scene, &User, u32));

/// All of them.
pub const CLIENTS: [Kind; 10] = [
    ("reads", Duration::from_millis(200), read),
    ("sends", Duration::from_millis(700), send),
    ("uploads", Duration::from_secs(4), upload),
    ("downloads", Duration::from_secs(2), download),
    ("polls", Duration::from_millis(100), poll),
    ("slow ones", Duration::from_secs(1), dawdle),
    ("aborts", Duration::from_millis(500), abort),
    ("TLS", Duration::from_millis(800), encrypted),
    ("HTTP/2", Duration::from_secs(1), http2),
    ("bad ones", Duration::from_millis(700), bad),
];

impl Scene {
    /// Plays one kind of client until the end is wished. `rounds` goes on counting from one call to the next.
    pub fn play(&self, (_, pause, round): Kind, rounds: &mut u32) {
        // A client of its own is a connection of its own.
        let user = self.user.through(&Client::new(self.user.client.base()));
        while self.wanted.load(Ordering::Relaxed) {
            round(self, &user, *rounds);
            *rounds += 1;
            std::thread::sleep(pause);
        }
    }

    /// An upload that was confirmed, by any number.
    fn any_upload(&self, number: u32) -> Option<(String, u32)> {
        let uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (number as usize).checked_rem(uploads.len())?;
        uploads.get(place).cloned()
    }

    /// Sends bytes over a connection of its own, and returns all that comes.
    fn raw(&self, bytes: &[u8]) -> Result<Vec<u8>, Failed> {
        let mut stream = self.connect()?;
        stream.write_all(bytes)?;
        read_all(&mut stream)
    }

    fn connect(&self) -> Result<TcpStream, Failed> {
        let stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Counts the whole answer to a raw request, whose head ends and whose body has a length.
    fn count_raw(&self, client: &'static str, begun: Instant, answer: Result<Vec<u8>, Failed>) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.tally.bad(client, begun, error.message().unwrap_or("it broke off")),
        };
        let head = String::from_utf8_lossy(&answer[..answer.len().min(1000)]).into_owned();
        match status_of(&answer) {
            Some(200) if is_whole(&answer) => self.tally.good(client),
            Some(code) if (400..500).contains(&code) => self.tally.fault(client, &head),
            _ => self.tally.bad(client, begun, &head),
        }
    }
}

/// The bytes of the upload of a number.
pub fn body_of(number: u32) -> Vec<u8> {
    let mut state = number.wrapping_mul(2_654_435_761) | 1;
    let next = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()
    });
    next.take(BODY_BYTES / 4).flatten().collect()
}

/// Where the media of an upload is got.
pub fn download_of(media: &str) -> String {
    format!("/_matrix/client/v1/media/download/{media}")
}

fn read(scene: &Scene, user: &User, number: u32) {
    let begun = Instant::now();
    let target = READS[number as usize % READS.len()];
    scene.tally.answer("reads", begun, user.get(target));
}

/// A message, sent until it is confirmed, as clients do: always with the same transaction.
fn send(scene: &Scene, user: &User, number: u32) {
    let target = format!("/_matrix/client/v3/rooms/{}/send/m.room.message/t{number}", encoded(&scene.room));
    let body = json!({ "msgtype": "m.text", "body": format!("message {number}") });
    insist(
        "sends",
        scene,
        || user.send("PUT", &target, &body),
        |_| {
            let mut messages = scene.messages.lock().unwrap_or_else(PoisonError::into_inner);
            messages.push(format!("message {number}"));
        },
    );
}

fn upload(scene: &Scene, user: &User, number: u32) {
    let body = body_of(number);
    let authorization = format!("Bearer {}", user.token);
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/octet-stream")];
    insist(
        "uploads",
        scene,
        || user.client.send("POST", UPLOAD, &headers, &body),
        |answer| {
            let answer = answer.json();
            let media = answer["content_uri"].as_str().unwrap_or_default().trim_start_matches("mxc://").to_owned();
            scene.uploads.lock().unwrap_or_else(PoisonError::into_inner).push((media, number));
        },
    );
}

/// Asks until the answer is good, for as long as a process may take to restart.
fn insist(client: &'static str, scene: &Scene, ask: impl Fn() -> Result<Answer, Failed>, then: impl FnOnce(Answer)) {
    let first = Instant::now();
    while first.elapsed() < Duration::from_secs(60) {
        let begun = Instant::now();
        if let Some(answer) = scene.tally.answer(client, begun, ask()) {
            return then(answer);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    scene.tally.fault(client, "it was never confirmed");
}

fn download(scene: &Scene, user: &User, number: u32) {
    let Some((media, content)) = scene.any_upload(number) else { return };
    let begun = Instant::now();
    if let Some(answer) = scene.tally.answer("downloads", begun, user.get(&download_of(&media)))
        && answer.body != body_of(content)
    {
        scene.tally.fault("downloads", &format!("{media} came with other bytes, {} of them", answer.body.len()));
    }
}

/// A sync that goes on from the last one and waits: for a message, or for its own end.
fn poll(scene: &Scene, user: &User, number: u32) {
    let since = scene.since.lock().unwrap_or_else(PoisonError::into_inner).clone();
    // A presence that changes with every request would be news for every poll.
    let mut target = format!("/_matrix/client/v3/sync?set_presence=offline&timeout={}", 500 + number % 5 * 700);
    if !since.is_empty() {
        target.push_str(&format!("&since={}", encoded(&since)));
    }
    let begun = Instant::now();
    if let Some(answer) = scene.tally.answer("polls", begun, user.get(&target)) {
        let next = answer.json()["next_batch"].as_str().unwrap_or_default().to_owned();
        *scene.since.lock().unwrap_or_else(PoisonError::into_inner) = next;
    }
}

/// By turns one that sends its head in pieces, and one that takes its answer in pieces.
fn dawdle(scene: &Scene, user: &User, number: u32) {
    let begun = Instant::now();
    let pause = || std::thread::sleep(Duration::from_millis(40));
    let play = || -> Result<Vec<u8>, Failed> {
        let mut stream = scene.connect()?;
        if number.is_multiple_of(2) {
            for piece in request(user, WHOAMI).as_bytes().chunks(8) {
                stream.write_all(piece)?;
                pause();
            }
            return read_all(&mut stream);
        }
        let target = scene.any_upload(number).map_or_else(|| WHOAMI.to_owned(), |(media, _)| download_of(&media));
        stream.write_all(request(user, &target).as_bytes())?;
        let mut answer = Vec::new();
        let mut piece = vec![0; 32 * 1024];
        loop {
            match stream.read(&mut piece)? {
                0 => return Ok(answer),
                length => answer.extend_from_slice(&piece[..length]),
            }
            pause();
        }
    };
    scene.count_raw("slow ones", begun, play());
}

/// Clients that go away: in a long-poll, in an upload, in a download, in a head.
fn abort(scene: &Scene, user: &User, number: u32) {
    let half = "x".repeat(BODY_BYTES / 2);
    let text = match number % 4 {
        0 => {
            let since = scene.since.lock().unwrap_or_else(PoisonError::into_inner).clone();
            request(user, &format!("/_matrix/client/v3/sync?timeout=20000&since={}", encoded(&since)))
        }
        1 => format!(
            "POST {UPLOAD} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Length: {BODY_BYTES}\r\n\r\n{half}",
            user.token
        ),
        2 => request(user, &scene.any_upload(number).map_or_else(String::new, |(media, _)| download_of(&media))),
        _ => "GET /_matrix/client/v3/sync HTTP/1.1\r\nHost: loc".to_owned(),
    };
    let begun = Instant::now();
    let play = || -> Result<(), Failed> {
        let mut stream = scene.connect()?;
        stream.write_all(text.as_bytes())?;
        std::thread::sleep(Duration::from_millis(150));
        Ok(())
    };
    match play() {
        Ok(()) => scene.tally.good("aborts"),
        Err(error) => scene.tally.bad("aborts", begun, error.message().unwrap_or("it broke off")),
    }
}

/// A new handshake for each request.
fn encrypted(scene: &Scene, user: &User, number: u32) {
    let begun = Instant::now();
    let play = || -> Result<Vec<u8>, Failed> {
        let mut connection = scene.authority.connect(scene.tls_port)?;
        connection.write_all(request(user, READS[number as usize % READS.len()]).as_bytes())?;
        read_all(&mut connection)
    };
    scene.count_raw("TLS", begun, play());
}

/// Eight streams at once, one of which is reset, and a good-bye.
fn http2(scene: &Scene, user: &User, number: u32) {
    let begun = Instant::now();
    let reset = number % 8 * 2 + 1;
    match eight_streams(scene, user, reset) {
        Ok(statuses) => {
            for (stream, code) in statuses {
                match code {
                    Some(200) => scene.tally.good("HTTP/2"),
                    _ if stream == reset => scene.tally.good("HTTP/2"),
                    code => scene.tally.bad("HTTP/2", begun, &format!("stream {stream}: {code:?}")),
                }
            }
        }
        Err(error) => scene.tally.bad("HTTP/2", begun, error.message().unwrap_or("it broke off")),
    }
}

/// The statuses of the streams that were answered whole.
fn eight_streams(scene: &Scene, user: &User, reset: u32) -> Result<Vec<(u32, Option<u16>)>, Failed> {
    let mut client = Http2::connect(&scene.authority, scene.tls_port)?;
    let authorization = format!("Bearer {}", user.token);
    // Without a table the statuses can be read.
    let mut bytes = [MAGIC, &frame(SETTINGS, 0, 0, &setting(1, 0))].concat();
    for (number, stream) in (1..16).step_by(2).enumerate() {
        let block = head("GET", READS[number % READS.len()], &[("authorization", &authorization)]);
        bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, &block));
    }
    bytes.extend(frame(RST_STREAM, 0, reset, &8_u32.to_be_bytes()));
    client.send(&bytes);
    let mut statuses: Vec<(u32, Option<u16>)> = vec![(reset, None)];
    let mut open = 7;
    while open > 0 {
        let frame = match client.next(PATIENCE) {
            Next::Frame(frame) => frame,
            Next::Silence => return Err(format!("silence while {open} streams are open: {statuses:?}").into()),
            Next::End => return Err(format!("an end while {open} streams are open: {statuses:?}").into()),
        };
        if frame.kind == GOAWAY {
            return Err(format!("a good-bye with {:?}", frame.payload).into());
        }
        if frame.stream == reset {
            continue;
        }
        if frame.kind == HEADERS {
            statuses.push((frame.stream, status(&frame.payload)));
        }
        let is_end = matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0;
        open -= usize::from(is_end || frame.kind == RST_STREAM);
    }
    client.send(&frame(GOAWAY, 0, 0, &[0; 8]));
    Ok(statuses)
}

fn bad(scene: &Scene, _: &User, number: u32) {
    let begun = Instant::now();
    let text = BAD[number as usize % BAD.len()];
    match scene.raw(text.as_bytes()) {
        Ok(answer) => match status_of(&answer) {
            None => scene.tally.good("bad ones"),
            Some(code) if (400..500).contains(&code) => scene.tally.good("bad ones"),
            Some(code) => scene.tally.fault("bad ones", &format!("{code} to {text:?}")),
        },
        // An end without a word is an answer as well.
        Err(_) if begun.elapsed() < PATIENCE => scene.tally.good("bad ones"),
        Err(error) => scene.tally.fault("bad ones", error.message().unwrap_or("silence")),
    }
}

/// A request that asks for the end of the connection.
fn request(user: &User, target: &str) -> String {
    let token = &user.token;
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n")
}

fn read_all(stream: &mut impl Read) -> Result<Vec<u8>, Failed> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => Ok(answer),
        // An end without the good-bye of TLS; whether the answer is whole is seen by its length.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(answer),
        Err(error) => Err(error.into()),
    }
}

fn status_of(answer: &[u8]) -> Option<u16> {
    let line = answer.strip_prefix(b"HTTP/1.1 ")?;
    std::str::from_utf8(line.get(..3)?).ok()?.parse().ok()
}

/// Whether an answer has its whole body: as many bytes as its head names, or the last chunk.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let body = &answer[end + 4..];
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    length.map_or_else(|| body.ends_with(b"0\r\n\r\n"), |length| length == body.len())
}
