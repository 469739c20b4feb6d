//! What the stand-in answers, byte for byte: made once, at the start.
//!
//! Sizes are those of usual answers of a homeserver: a sync with one message is some two kilobytes, a page of messages
//! six, a profile a hundred bytes. As Synapse does, JSON is sent in chunks and media with a length.

use std::fmt::Write;

/// The version that the stand-in claims to be.
const SERVER: &str = "Synapse/1.150.0";
/// How much of a download is sent at once.
pub(super) const PIECE_BYTES: usize = 64 * 1024;

/// What a request is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// JSON of the kind at a place of [`JSON`].
    Json(usize),
    /// The same, when the long-polls are released.
    Held(usize),
    /// So many bytes of media.
    Media(u64),
    /// What health checks want.
    Health,
    /// The answer to a preflight.
    Preflight,
}

/// How large the document is that tells versions.
const VERSIONS_BYTES: usize = 2_300;
/// How a path's answer is known: by a part of the path; and how many bytes it has.
const JSON: [(&str, usize); 16] = [
    ("/sync", 1_900),
    ("/events", 900),
    ("/messages", 6_000),
    ("/members", 8_000),
    ("/state_ids", 9_000),
    ("/backfill", 7_000),
    ("/hierarchy", 3_000),
    ("/context/", 4_000),
    ("/publicRooms", 5_000),
    ("/pushrules", 3_500),
    ("/capabilities", 700),
    ("/event/", 800),
    ("/relations/", 1_200),
    ("/devices", 400),
    ("/versions", VERSIONS_BYTES),
    // Anything else: an id, a profile, a setting.
    ("", 120),
];

/// The answers of one process, ready to be sent.
pub(super) struct Answers {
    json: Vec<Vec<u8>>,
    health: Vec<u8>,
    preflight: Vec<u8>,
    media_head: String,
    /// A part of any download.
    pub(super) piece: Vec<u8>,
}

impl Answers {
    /// The answers of the process with this name, which it tells in a header.
    pub(super) fn of(process: &str) -> Self {
        let common = format!("Server: {SERVER}\r\nDate: Sun, 29 Nov 2026 08:00:00 GMT\r\nX-Served-By: {process}\r\n");
        let cors = "Access-Control-Allow-Origin: *\r\n\
                    Access-Control-Allow-Methods: GET, HEAD, POST, PUT, DELETE, OPTIONS\r\n\
                    Access-Control-Allow-Headers: X-Requested-With, Content-Type, Authorization, Date\r\n\
                    Access-Control-Expose-Headers: Synapse-Trace-Id, Server\r\n";
        let ok = format!("HTTP/1.1 200 OK\r\n{common}");
        let json = JSON.iter().map(|(_, bytes)| {
            let body = body(*bytes);
            let head = format!(
                "{ok}Transfer-Encoding: chunked\r\nContent-Type: application/json\r\n\
                 Cache-Control: no-cache, no-store, must-revalidate\r\n{cors}\r\n"
            );
            format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).into_bytes()
        });
        let health = format!("{ok}Content-Type: text/html\r\nContent-Length: 2\r\n\r\nOK");
        let preflight = format!("HTTP/1.1 204 No Content\r\n{common}{cors}\r\n");
        let media_head = format!(
            "{ok}Content-Type: application/octet-stream\r\nCache-Control: public,max-age=86400,s-maxage=86400\r\n\
             Cross-Origin-Resource-Policy: cross-origin\r\n{cors}"
        );
        Answers {
            json: json.collect(),
            health: health.into_bytes(),
            preflight: preflight.into_bytes(),
            media_head,
            piece: vec![0x5a; PIECE_BYTES],
        }
    }

    /// The bytes of an answer; of media only the head.
    pub(super) fn bytes(&self, shape: Shape, into: &mut Vec<u8>) {
        match shape {
            Shape::Json(place) | Shape::Held(place) => {
                into.extend_from_slice(self.json.get(place).map(Vec::as_slice).unwrap_or_default());
            }
            Shape::Health => into.extend_from_slice(&self.health),
            Shape::Preflight => into.extend_from_slice(&self.preflight),
            Shape::Media(bytes) => {
                into.extend_from_slice(self.media_head.as_bytes());
                into.extend_from_slice(format!("Content-Length: {bytes}\r\n\r\n").as_bytes());
            }
        }
    }
}

/// What a request is answered with. A media id such as `size-1048576` says how large it is.
pub(crate) fn shape(method: &str, target: &str) -> Shape {
    if method == "OPTIONS" {
        return Shape::Preflight;
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if path == "/health" {
        return Shape::Health;
    }
    if method == "GET" && path.contains("/media/download/") {
        let size = path.rsplit_once("/size-").and_then(|(_, size)| size.parse().ok());
        return Shape::Media(size.unwrap_or(2_048));
    }
    let place = JSON.iter().position(|(part, _)| path.contains(part)).unwrap_or(JSON.len() - 1);
    if query.contains("timeout=30000") { Shape::Held(place) } else { Shape::Json(place) }
}

/// The document that tells versions, for those who answer it themselves.
pub(crate) fn versions_document() -> String {
    body(VERSIONS_BYTES)
}

/// JSON that looks like events, of about so many bytes.
fn body(bytes: usize) -> String {
    let mut text = String::from("{\"next_batch\":\"s12_34_56\",\"chunk\":[");
    let mut number = 0;
    while text.len() + 64 < bytes {
        let _ = write!(text, "{{\"event_id\":\"event{number:06}\",\"body\":\"how do you do\"}},");
        number += 1;
    }
    text.push_str("null]}");
    text
}
