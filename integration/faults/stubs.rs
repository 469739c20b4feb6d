//! Processes that are no Synapse and fail as they are told, and that remember what reached them.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Error, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libtest_mimic::Failed;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
use tempfile::TempDir;

use crate::harness::alone::free_port;
use crate::harness::stub::{Stub, read_body};

/// What a stub does with a request, once it has read it whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It answers 200. So it does with every request for which it was told nothing.
    Answer,
    /// It closes the connection.
    Break,
}

/// A request that a stub has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which stub it was.
    pub stub: usize,
    pub method: String,
    pub body_bytes: usize,
}

/// Some stubs with one script: whoever gets the next request does the next act. Health checks are no requests.
pub struct Stubs {
    plan: Arc<Mutex<Plan>>,
    stubs: Vec<Stub>,
}

#[derive(Default)]
struct Plan {
    acts: VecDeque<Act>,
    seen: Vec<Seen>,
}

impl Stubs {
    /// Starts stubs.
    pub fn start(count: usize) -> Result<Self, Failed> {
        let plan = Arc::new(Mutex::new(Plan::default()));
        let stubs = (0..count).map(|number| {
            let plan = Arc::clone(&plan);
            Stub::start(move |head, stream| act(&plan, number, head, stream))
        });
        Ok(Stubs { stubs: stubs.collect::<Result<_, _>>()?, plan })
    }

    /// The addresses, as a configuration has them.
    pub fn addresses(&self) -> Vec<String> {
        self.stubs.iter().map(Stub::url).collect()
    }

    /// Sets what is done with the next requests, and forgets what was seen.
    pub fn script(&self, acts: &[Act]) {
        *lock(&self.plan) = Plan { acts: acts.iter().copied().collect(), seen: Vec::new() };
    }

    /// What was seen since then.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.plan).seen.clone()
    }
}

/// A process whose listener keeps hardly any connection that is not accepted yet, and that accepts one after the other
/// without haste, the first after a while. Whatever it is asked, its answer is an empty object. It ends with its owner.
pub struct Crowded {
    /// The address, as a configuration has it.
    pub address: String,
    _folder: TempDir,
    is_over: Arc<AtomicBool>,
}

impl Crowded {
    /// Starts it at a unix socket.
    pub fn at_unix_socket() -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("socket");
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(&path)?)?;
        Crowded::listen(socket, Duration::ZERO, format!("unix:{}", path.display()), folder)
    }

    /// Starts it at a port.
    pub fn at_port(after: Duration) -> Result<Self, Failed> {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
        let port = free_port()?;
        rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
        Crowded::listen(socket, after, format!("http://127.0.0.1:{port}"), tempfile::tempdir()?)
    }

    fn listen(socket: OwnedFd, after: Duration, address: String, folder: TempDir) -> Result<Self, Failed> {
        rustix::net::listen(&socket, 1)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&is_over);
        std::thread::spawn(move || {
            std::thread::sleep(after);
            // It ends with the next connection, or with the program.
            while let Ok(connection) = rustix::net::accept(&socket)
                && !ended.load(Ordering::Relaxed)
            {
                let _ = answer_once(File::from(connection));
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Ok(Crowded { address, _folder: folder, is_over })
    }
}

impl Drop for Crowded {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

fn answer_once(mut connection: File) -> std::io::Result<()> {
    let mut head = String::new();
    let mut reader = BufReader::with_capacity(1, connection.try_clone()?);
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head)? > 0 {}
    read_body(&head, &mut connection)?;
    connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
}

/// The error with which a stub closes a connection without an answer.
pub fn broken() -> Error {
    Error::from(ErrorKind::ConnectionAborted)
}

fn act(plan: &Mutex<Plan>, stub: usize, head: &str, stream: &mut TcpStream) -> std::io::Result<()> {
    let body_bytes = read_body(head, stream)?.len();
    let method = head.split(' ').next().unwrap_or_default().to_owned();
    let mut plan = lock(plan);
    plan.seen.push(Seen { stub, method, body_bytes });
    if plan.acts.pop_front() == Some(Act::Break) {
        return Err(broken());
    }
    // So that every connection of dendron's is a fresh one, and counts as one when it breaks.
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

fn lock(plan: &Mutex<Plan>) -> MutexGuard<'_, Plan> {
    plan.lock().unwrap_or_else(PoisonError::into_inner)
}
