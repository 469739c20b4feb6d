//! A server that says it is Synapse, of a version that can be changed. It counts what it is asked, and says the count: what
//! is learned says the same one twice.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use libtest_mimic::Failed;

/// The server. It ends with its owner.
pub struct Impostor {
    address: String,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    version: Mutex<String>,
    asked: AtomicUsize,
    is_over: AtomicBool,
}

impl Impostor {
    /// Starts it with this `Server` header.
    pub fn start(version: &str) -> Result<Self, Failed> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let shared = Arc::new(Shared {
            version: Mutex::new(version.to_owned()),
            asked: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || serve(&stream, &shared));
            }
        });
        Ok(Impostor { address, shared, accepting: Some(accepting) })
    }

    /// Its URL, as a pool names it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Another `Server` header from now on.
    pub fn become_version(&self, version: &str) {
        if let Ok(mut current) = self.shared.version.lock() {
            version.clone_into(&mut current);
        }
    }

    /// How often it was asked for anything but its health.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        // The accepting thread waits for one more connection.
        let _ = TcpStream::connect(&self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream.try_clone().ok()?;
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let version = shared.version.lock().ok()?.clone();
        if head.starts_with("GET /health ") {
            write!(writer, "HTTP/1.1 200 OK\r\nServer: {version}\r\nContent-Length: 2\r\n\r\nOK").ok()?;
            continue;
        }
        let count = shared.asked.fetch_add(1, Ordering::Relaxed);
        let body = format!("{{\"version\":\"{version}\",\"count\":{count}}}");
        if head.starts_with("OPTIONS ") {
            write!(writer, "HTTP/1.1 204 No Content\r\nServer: {version}\r\nX-Count: {count}\r\n").ok()?;
            writer.write_all(b"Content-Length: 0\r\n\r\n").ok()?;
        } else {
            let length = body.len();
            write!(writer, "HTTP/1.1 200 OK\r\nServer: {version}\r\nContent-Length: {length}\r\n\r\n{body}").ok()?;
        }
    }
}
