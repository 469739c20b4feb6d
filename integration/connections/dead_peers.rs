//! Clients that are gone without a word, as phones are: the system asks each connection's other end now and then, and
//! ends the connection when nobody answers.
//!
//! To wait for that takes minutes, so what is looked at is what dendron has told the system of a connection that it has
//! accepted: the very socket, borrowed from its process.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use libtest_mimic::Failed;
use rustix::net::sockopt;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::{QUICK, answer};
use crate::harness::alone::{Alone, Edge};
use crate::harness::stub::{EMPTY, Stub};
use crate::harness::{ensure, ensure_eq};

/// How long a client may be gone until it is noticed.
const NOTICED: Duration = Duration::from_secs(120);

pub fn they_are_asked_for() -> Result<(), Failed> {
    let stub = Stub::start(|_, stream| stream.write_all(EMPTY))?;
    for front in ["on", "off"] {
        let settings = format!("pools: {{main: ['{}']}}\nfront: {front}\n", stub.url());
        let edge = Edge::with_listener("", &settings, Alone::start)?;
        let mut client = TcpStream::connect(("127.0.0.1", edge.port))?;
        client.write_all(QUICK.as_bytes())?;
        answer(&mut client)?;
        let socket = other_end(&client, edge.dendron.id())?;
        ensure!(sockopt::socket_keepalive(&socket)?, "nobody asks, with the front {front}");
        let asked = sockopt::tcp_keepidle(&socket)? + sockopt::tcp_keepintvl(&socket)? * sockopt::tcp_keepcnt(&socket)?;
        ensure_eq!(asked, NOTICED, "until a silent client is given up, with the front {front}");
        // What is on its way to a client stops the asking, and would be sent again for a quarter of an hour.
        let sent = Duration::from_millis(sockopt::tcp_user_timeout(&socket)?.into());
        ensure_eq!(sent, NOTICED, "until one is given up that takes nothing, with the front {front}");
    }
    Ok(())
}

/// The socket that a process has at the other end of a connection.
fn other_end(client: &TcpStream, process: u32) -> Result<TcpStream, Failed> {
    let address = client.local_addr()?;
    let id = i32::try_from(process).ok().and_then(Pid::from_raw).ok_or("no process id")?;
    let handle = pidfd_open(id, PidfdFlags::empty())?;
    for entry in std::fs::read_dir(format!("/proc/{process}/fd"))? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.parse().ok()).ok_or("no descriptor")?;
        // Some are closed before they are looked at, and some are no sockets.
        let Ok(descriptor) = pidfd_getfd(&handle, number, PidfdGetfdFlags::empty()) else { continue };
        let socket = TcpStream::from(descriptor);
        if socket.peer_addr().is_ok_and(|peer| peer == address) {
            return Ok(socket);
        }
    }
    Err(format!("process {process} has no connection with {address}").into())
}
