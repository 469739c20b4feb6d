//! What a parked sync costs, plain, over TLS, and over HTTP/2; and all of them, as many as the descriptors allow.
//!
//! `DENDRON_PARKED=50000` is the long form: as many plain ones as that, if there can be so many connections.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use libtest_mimic::Failed;

use super::edge::{Edge, poll, settled};
use crate::harness::ensure;
use crate::harness::http2::{END_HEADERS, END_STREAM, HEADERS, PREFACE, frame, head};
use crate::harness::matrix::User;
use crate::harness::stack::Stack;

const USERS: usize = 40;
/// As many as one user may have parked.
const EACH: usize = 64;
/// For how many milliseconds they wait: longer than it takes to open all of them.
const TIMEOUT: u128 = 110_000;
/// What one may cost, in kilobytes: 3.5 and 14.2 when it was measured. HAProxy's held long-poll has 4.6, and 21.7 over TLS.
const PLAIN_MAX: f64 = 3.8;
const ENCRYPTED_MAX: f64 = 15.0;
/// The same over HTTP/2, each on a connection of its own: 25.1 when it was measured, nearly all of it the connection's.
const HTTP2_MAX: f64 = 30.0;
/// What they may leave behind when they have gone, in bytes.
const LEFT_MAX: f64 = 30e6;
/// How long the allocator keeps what nobody has any more, in case that somebody comes: ten seconds, and a while.
const KEPT: Duration = Duration::from_secs(13);
/// What they may leave behind after that time, in bytes.
const KEPT_MAX: f64 = 20e6;
/// What all of the long form may take, in bytes.
const ALL_MAX: f64 = 200e6;

impl Edge {
    fn memory(&self) -> Result<f64, Failed> {
        self.number("dendron_resident_memory_bytes")
    }

    /// What each of the polls costs in kilobytes, on connections that are opened like this; and how many bytes are left so long
    /// after all have gone. A quarter of them is parked before, because the first ones also pay for what a process has once.
    fn cost<C: Write>(
        &self,
        polls: &[Vec<u8>],
        after: Duration,
        open: impl Fn() -> Result<C, Failed>,
    ) -> Result<(f64, f64), Failed> {
        drop(self.hold(polls, 2, &open)?);
        self.expect_parked(0)?;
        let before = self.memory()?;
        let first = self.hold(polls, EACH / 4, &open)?;
        let with_first = self.memory()?;
        let held = self.hold(polls, EACH - EACH / 4, &open)?;
        let each = (self.memory()? - with_first) / 1024.0 / held.len() as f64;
        drop((first, held));
        self.expect_parked(0)?;
        std::thread::sleep(after);
        Ok((each, self.memory()? - before))
    }

    /// Parks so many of each poll.
    fn hold<C: Write>(
        &self,
        polls: &[Vec<u8>],
        each: usize,
        open: impl Fn() -> Result<C, Failed>,
    ) -> Result<Vec<C>, Failed> {
        let parked = self.number("dendron_sync_parked")? as usize;
        let mut held = Vec::new();
        for poll in polls {
            for _ in 0..each {
                let mut connection = open()?;
                connection.write_all(poll)?;
                connection.flush()?;
                held.push(connection);
            }
        }
        self.expect_parked(parked + held.len())?;
        Ok(held)
    }

    /// A poll of each user that is sure to be parked.
    fn polls(&self, users: &[User]) -> Result<Vec<Vec<u8>>, Failed> {
        std::thread::scope(|scope| {
            let settling = users.iter().map(|user| {
                let user = user.through(&self.client());
                scope.spawn(move || Ok(poll(&user, &settled(&user)?, TIMEOUT)))
            });
            let settling: Vec<_> = settling.collect();
            settling.into_iter().map(|settling| settling.join().map_err(|_| "it panicked")?).collect()
        })
    }
}

pub fn they_cost_little(stack: &mut Stack) -> Result<(), Failed> {
    super::raise_own_limit()?;
    if let Some(wished) = std::env::var("DENDRON_PARKED").ok().and_then(|wished| wished.parse().ok()) {
        return all_of_them(stack, wished);
    }
    let users = users(stack, USERS)?;
    // Each in a process of its own: memory that one has given back would hide what the next one takes.
    let measure = |name: &str, settings: &str| -> Result<(f64, f64), Failed> {
        let edge = Edge::start(stack, name, settings)?;
        let polls = edge.polls(&users)?;
        let plain = || Ok(TcpStream::connect(("127.0.0.1", edge.port))?);
        match name {
            "encrypted" => edge.cost(&polls[..USERS / 2], Duration::ZERO, || edge.authority.connect(edge.tls_port)),
            "http2" => edge.cost(&polls.iter().map(|poll| over_http2(poll)).collect::<Vec<_>>(), KEPT, plain),
            _ => edge.cost(&polls, Duration::ZERO, plain),
        }
    };
    let (plain, left) = measure("plain", "front: on\n")?;
    let (encrypted, left_encrypted) = measure("encrypted", "front: on\n")?;
    let (http2, kept) = measure("http2", "front: on\n")?;
    let (without, _) = measure("without", "front: off\n")?;
    println!(
        "a parked sync costs {plain:.1} KB, over TLS {encrypted:.1} KB, over HTTP/2 {http2:.1} KB, \
         without the front {without:.1} KB"
    );
    let is_little = plain < PLAIN_MAX && encrypted < ENCRYPTED_MAX && http2 < HTTP2_MAX;
    ensure!(is_little && plain * 3.0 < without, "that is too much");
    ensure!(left.max(left_encrypted) < LEFT_MAX, "{left} and {left_encrypted} bytes are left when all have gone");
    ensure!(kept < KEPT_MAX, "{kept} bytes of those over HTTP/2 are kept for good");
    Ok(())
}

/// The same request over HTTP/2, on a connection of its own.
fn over_http2(request: &[u8]) -> Vec<u8> {
    let request = String::from_utf8_lossy(request);
    let mut lines = request.lines();
    let target = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    let headers: Vec<(String, &str)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .filter(|(name, _)| name != "host")
        .collect();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    [PREFACE, &frame(HEADERS, END_STREAM | END_HEADERS, 1, &head("GET", target, &headers))].concat()
}

fn users(stack: &Stack, count: usize) -> Result<Vec<User>, Failed> {
    (0..count).map(|number| User::register(&stack.client(), &format!("parked{number}"))).collect()
}

/// Parks as many as are wished for, or as there can be connections, and says what they take in quarters.
fn all_of_them(stack: &Stack, wished: usize) -> Result<(), Failed> {
    let edge = Edge::start(stack, "all", "front: on\n")?;
    let limit = edge.number("dendron_connections_limit")? as usize;
    let count = (wished.min(limit.saturating_sub(2 * EACH)) / (4 * EACH) * 4).max(4);
    println!("{wished} are wished for, and there may be {limit} connections");
    let users = users(stack, count)?;
    let before = edge.memory()?;
    let mut held = Vec::new();
    println!("{:>8}{:>12}{:>16}", "parked", "MB", "KB for each");
    println!("{:>8}{:>12.1}", 0, before / 1e6);
    for quarter in users.chunks(count / 4) {
        let polls = edge.polls(quarter)?;
        held.extend(edge.hold(&polls, EACH, || Ok(TcpStream::connect(("127.0.0.1", edge.port))?))?);
        let memory = edge.memory()?;
        let each = (memory - before) / 1024.0 / held.len() as f64;
        println!("{:>8}{:>12.1}{:>16.2}", held.len(), memory / 1e6, each);
    }
    let memory = edge.memory()?;
    drop(held);
    edge.expect_parked(0)?;
    let left = edge.memory()? - before;
    println!("{:>8}{:>12.1}", 0, (before + left) / 1e6);
    std::thread::sleep(KEPT);
    let kept = edge.memory()? - before;
    println!("{:>8}{:>12.1}  after {} s", 0, (before + kept) / 1e6, KEPT.as_secs());
    ensure!(memory < ALL_MAX, "all together take {memory} bytes");
    ensure!(left < LEFT_MAX, "{left} bytes are left when all have gone");
    ensure!(kept < KEPT_MAX, "{kept} bytes are kept for good");
    Ok(())
}
