//! Large bodies, up and down.

use std::io;

use super::plain::Connection;
use crate::fault::{Doing, Outcome, wrong};

static PIECE: [u8; 64 * 1024] = [0x5a; 64 * 1024];

/// Which way a body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Down,
    Up,
}

/// Moves a body of so many bytes so many times, over as many connections at once as said; returns the number of failures.
pub(crate) fn run(port: u16, way: Way, bytes: u64, times: usize, connections: usize) -> Outcome<u64> {
    std::thread::scope(|scope| {
        let one = move || -> io::Result<u64> {
            let mut connection = Connection::open(port)?;
            let mut failures = 0;
            for _ in 0..times / connections {
                failures += u64::from(!moves(&mut connection, way, bytes)?);
            }
            Ok(failures)
        };
        let threads: Vec<_> = (0..connections).map(|_| scope.spawn(one)).collect();
        let mut failures = 0;
        for thread in threads {
            failures += thread.join().map_err(|_| wrong("a transfer's thread has failed"))?.doing("a transfer")?;
        }
        Ok(failures)
    })
}

/// Whether one body arrived whole.
fn moves(connection: &mut Connection, way: Way, bytes: u64) -> io::Result<bool> {
    let token = "Authorization: Bearer syt_YWxpY2U_abcdefghijklmnopqrst_0aBcDe";
    match way {
        Way::Down => {
            let path = format!("/_matrix/client/v1/media/download/example.org/size-{bytes}");
            let answer =
                connection.ask(format!("GET {path} HTTP/1.1\r\nHost: example.org\r\n{token}\r\n\r\n").as_bytes())?;
            Ok(answer.status == 200 && answer.body_bytes == bytes)
        }
        Way::Up => {
            let head = format!(
                "POST /_matrix/media/v3/upload HTTP/1.1\r\nHost: example.org\r\n{token}\r\n\
                 Content-Type: application/octet-stream\r\nContent-Length: {bytes}\r\n\r\n"
            );
            connection.send(head.as_bytes())?;
            let mut left = bytes;
            while left > 0 {
                let part = PIECE.len().min(usize::try_from(left).unwrap_or(PIECE.len()));
                connection.send(&PIECE[..part])?;
                left -= part as u64;
            }
            Ok(connection.answer()?.status == 200)
        }
    }
}
