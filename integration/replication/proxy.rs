//! A proxy before Redis that loses a message, or cuts every connection.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use libtest_mimic::Failed;
use tempfile::TempDir;

/// A proxy on a unix socket of its own.
pub struct Proxy {
    folder: TempDir,
    control: Arc<Control>,
}

#[derive(Default)]
struct Control {
    /// The text in the next message that is to be lost.
    lose: Mutex<Option<String>>,
    lost: AtomicUsize,
    /// Whether connections are refused.
    is_cut: AtomicBool,
    connections: Mutex<Vec<UnixStream>>,
}

impl Proxy {
    /// A proxy before the Redis at `socket`.
    pub fn start(socket: &str) -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        let control = Arc::new(Control::default());
        let listener = UnixListener::bind(folder.path().join("redis.sock"))?;
        let (upstream, own) = (PathBuf::from(socket), Arc::clone(&control));
        // It ends with the program: there are few of these, and each has but one thread for its listener.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let _ = serve(client, &upstream, &own);
            }
        });
        Ok(Proxy { folder, control })
    }

    /// Where it listens, as an address.
    pub fn address(&self) -> String {
        format!("unix:{}", self.folder.path().join("redis.sock").display())
    }

    /// Loses the next message to a subscriber that has this text.
    pub fn lose(&self, text: &str) {
        *self.control.lose.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.to_owned());
    }

    /// How many messages were lost.
    pub fn lost(&self) -> usize {
        self.control.lost.load(Ordering::SeqCst)
    }

    /// Cuts every connection, and lets no new one through.
    pub fn cut(&self) {
        self.control.is_cut.store(true, Ordering::SeqCst);
        for connection in self.control.connections.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.control.is_cut.store(false, Ordering::SeqCst);
    }
}

fn serve(client: UnixStream, upstream: &Path, control: &Arc<Control>) -> std::io::Result<()> {
    if control.is_cut.load(Ordering::SeqCst) {
        return Ok(());
    }
    let server = UnixStream::connect(upstream)?;
    {
        let mut connections = control.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.extend([client.try_clone()?, server.try_clone()?]);
    }
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || std::io::copy(&mut from, &mut to));
    let control = Arc::clone(control);
    thread::spawn(move || relay(server, client, &control));
    Ok(())
}

/// Relays what Redis says, message by message, but for what is to be lost.
fn relay(mut server: UnixStream, mut client: UnixStream, control: &Control) -> std::io::Result<()> {
    let mut pending = Vec::new();
    let mut buffer = [0; 65_536];
    loop {
        let read = server.read(&mut buffer)?;
        if read == 0 {
            return client.shutdown(std::net::Shutdown::Both);
        }
        pending.extend_from_slice(&buffer[..read]);
        while let Some(length) = message_length(&pending) {
            let message: Vec<u8> = pending.drain(..length).collect();
            let text = String::from_utf8_lossy(&message);
            let mut lose = control.lose.lock().unwrap_or_else(PoisonError::into_inner);
            if text.contains("message") && lose.as_ref().is_some_and(|lost| text.contains(lost)) {
                *lose = None;
                control.lost.fetch_add(1, Ordering::SeqCst);
            } else {
                client.write_all(&message)?;
            }
        }
    }
}

/// The bytes of the first whole message of RESP2: a line, a text of a length, or a list of these.
fn message_length(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|end| end == b"\r\n")? + 2;
    let number = || std::str::from_utf8(&bytes[1..line - 2]).ok()?.parse::<i64>().ok();
    match bytes[0] {
        b'$' => {
            let length = usize::try_from(number()?).map_or(line, |text| line + text + 2);
            (bytes.len() >= length).then_some(length)
        }
        b'*' => {
            let mut length = line;
            for _ in 0..number()? {
                length += message_length(&bytes[length..])?;
            }
            Some(length)
        }
        _ => Some(line),
    }
}
