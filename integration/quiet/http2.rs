//! Parked over HTTP/2: each stream by itself.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use time::OffsetDateTime;

use super::SECOND;
use super::device::{Device, expect_parked_at};
use crate::harness::alone::{Alone, Folder, free_port};
use crate::harness::http::Client;
use crate::harness::http2::{DATA, END_HEADERS, END_STREAM, HEADERS, Http2, Next, PREFACE, RST_STREAM, frame, head};
use crate::harness::matrix::User;
use crate::harness::stack::Stack;
use crate::harness::tls::{Authority, Files};
use crate::harness::{ensure, ensure_eq};

/// The code by which a client gives a stream up (RFC 9113, 7).
const CANCEL: [u8; 4] = [0, 0, 0, 8];

pub fn streams_are_parked_apart(stack: &mut Stack) -> Result<(), Failed> {
    let [port, tls_port, admin] = [free_port()?, free_port()?, free_port()?];
    let folder = Folder::with(&[])?;
    let authority = Authority::new(&folder.path(""))?;
    authority.sign(&Files::new(&folder.path(""), "edge"), OffsetDateTime::now_utc() + SECOND * 86_400)?;
    let homeserver = stack.text(&["synapse", "homeserver"]);
    let config = format!(
        "listeners:\n- address: '127.0.0.1:{port}'\n- address: '127.0.0.1:{tls_port}'\n  \
         tls: {{certificate: edge.pem, key: edge.key}}\nadmin: {{address: '127.0.0.1:{admin}'}}\n\
         synapse: {{config: ['{homeserver}']}}\ntrusted_proxies: ['127.0.0.1']\n"
    );
    folder.write("dendron.yaml", &config)?;
    let _dendron = Alone::start(&folder.path("dendron.yaml"), admin, &folder.path("output"))?;
    let admin = Client::new(&format!("http://127.0.0.1:{admin}"));

    let user = User::register(&stack.client(), "streams")?;
    let mut device = Device::at(&user, &format!("127.0.0.1:{port}"));
    // So that nothing is to be told of the user's own presence meanwhile.
    device.is_invisible = true;
    device.settle()?;
    let empty = device.poll(Duration::ZERO).answer()?;
    let authorization = format!("Bearer {}", user.token);
    let get = |stream, timeout| {
        let headers = [("authorization", authorization.as_str()), ("user-agent", "")];
        frame(HEADERS, END_STREAM | END_HEADERS, stream, &head("GET", &device.target(timeout), &headers))
    };
    let mut connection = Http2::connect(&authority, tls_port)?;
    let begun = Instant::now();
    connection.send(&[PREFACE, &get(1, 3 * SECOND), &get(3, 30 * SECOND), &get(5, 30 * SECOND)].concat());
    expect_parked_at(&admin, 3)?;
    connection.send(&frame(RST_STREAM, 0, 3, &CANCEL));
    expect_parked_at(&admin, 2)?;
    let answer = body(&mut connection, 1)?;
    ensure_eq!(String::from_utf8_lossy(&answer), empty.text(), "the answer on the first stream");
    ensure!(begun.elapsed() >= 3 * SECOND, "it took {:?}", begun.elapsed());
    expect_parked_at(&admin, 1)?;
    drop(connection);
    expect_parked_at(&admin, 0)
}

/// The body on a stream, once it has ended.
fn body(connection: &mut Http2, stream: u32) -> Result<Vec<u8>, Failed> {
    let mut body = Vec::new();
    loop {
        match connection.next(10 * SECOND) {
            Next::Frame(frame) if frame.stream == stream && frame.kind == DATA => {
                body.extend_from_slice(&frame.payload);
                if frame.flags & END_STREAM != 0 {
                    return Ok(body);
                }
            }
            Next::Frame(_) => {}
            Next::Silence | Next::End => return Err("the stream has no end".into()),
        }
    }
}
