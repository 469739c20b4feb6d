//! An upstream that misbehaves on purpose: for faults that a real Synapse cannot be made to show.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use libtest_mimic::Failed;

/// What a stub does with a request, whose head it is given. The stream stands behind the head; an error closes it.
type Behaviour = dyn Fn(&str, &mut TcpStream) -> std::io::Result<()> + Send + Sync;

/// A server on a free port that answers health checks and does with everything else as it is told. It ends with its
/// owner.
pub struct Stub {
    address: String,
    is_over: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

/// The answer that most tests are content with.
pub const EMPTY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

impl Stub {
    /// Starts it.
    pub fn start(
        behaviour: impl Fn(&str, &mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Result<Self, Failed> {
        let behaviour: Arc<Behaviour> = Arc::new(behaviour);
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let is_over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&is_over);
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                // A connection's thread ends when dendron closes it.
                let behaviour = Arc::clone(&behaviour);
                std::thread::spawn(move || serve(&stream, &*behaviour));
            }
        });
        Ok(Stub { address, is_over, accepting: Some(accepting) })
    }

    /// Its URL, as a pool names it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // The accepting thread waits for one more connection.
        let _ = TcpStream::connect(&self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn serve(stream: &TcpStream, behaviour: &Behaviour) -> Option<()> {
    let mut reader = BufReader::with_capacity(1, stream.try_clone().ok()?);
    let mut writer = stream.try_clone().ok()?;
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        if head.starts_with("GET /health ") {
            writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK").ok()?;
        } else {
            behaviour(&head, &mut writer).ok()?;
        }
    }
}

/// Reads a body of the length that a head names.
pub fn read_body(head: &str, stream: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    Ok(body)
}
