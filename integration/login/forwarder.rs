//! Stands between dendron and PostgreSQL, so that the database can go away for dendron alone.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use libtest_mimic::Failed;

/// How often what is passed on looks at the state.
const GLANCE: Duration = Duration::from_millis(50);

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// What comes goes on.
    Passing,
    /// All connections are closed, and new ones as well.
    Gone,
    /// Connections stand, and nothing goes on.
    Silent,
}

/// A forwarder, which ends with its owner.
pub struct Forwarder {
    path: PathBuf,
    state: Arc<AtomicU8>,
    is_over: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Forwarder {
    /// Listens in a folder under PostgreSQL's own name, and passes on to the socket `to`.
    pub fn start(folder: &Path, to: &Path) -> Result<Self, Failed> {
        let path = folder.join(".s.PGSQL.5432");
        let listener = UnixListener::bind(&path)?;
        let state = Arc::new(AtomicU8::new(State::Passing as u8));
        let is_over = Arc::new(AtomicBool::new(false));
        let (its_state, its_end, to) = (Arc::clone(&state), Arc::clone(&is_over), to.to_owned());
        let accepting = std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if its_end.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(server) = UnixStream::connect(&to) else { continue };
                let ways = [(client.try_clone(), server.try_clone()), (server.try_clone(), client.try_clone())];
                for (from, to) in ways {
                    let (Ok(from), Ok(to)) = (from, to) else { continue };
                    let (state, is_over) = (Arc::clone(&its_state), Arc::clone(&its_end));
                    std::thread::spawn(move || pass(from, to, &state, &is_over));
                }
            }
        });
        Ok(Forwarder { path, state, is_over, accepting: Some(accepting) })
    }

    /// What becomes of connections from now on.
    pub fn set(&self, state: State) {
        self.state.store(state as u8, Ordering::Relaxed);
        // Longer than it takes until all have looked.
        std::thread::sleep(GLANCE * 3);
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // The accepting thread waits for one more connection.
        let _ = UnixStream::connect(&self.path);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// Passes on in one direction until an end closes or the state says so.
fn pass(mut from: UnixStream, mut to: UnixStream, state: &AtomicU8, is_over: &AtomicBool) {
    let mut buffer = [0; 16 << 10];
    let _ = from.set_read_timeout(Some(GLANCE));
    loop {
        let now = state.load(Ordering::Relaxed);
        if is_over.load(Ordering::Relaxed) || now == State::Gone as u8 {
            break;
        }
        if now == State::Silent as u8 {
            std::thread::sleep(GLANCE);
            continue;
        }
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) if to.write_all(&buffer[..length]).is_ok() => {}
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            _ => break,
        }
    }
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Both);
}
