//! A way to a server that can be cut and mended: to its client the server is down, though it runs.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use libtest_mimic::Failed;

/// The way.
pub struct Relay {
    address: String,
    target: String,
    running: Option<Running>,
}

struct Running {
    is_over: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    accepting: JoinHandle<()>,
}

impl Relay {
    /// A way to `target`, an address with a port.
    pub fn start(target: &str) -> Result<Self, Failed> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let running = Some(run(listener, target.to_owned()));
        Ok(Relay { address, target: target.to_owned(), running })
    }

    /// Its URL, as a pool names it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends every connection and takes no more.
    pub fn cut(&mut self) {
        let Some(running) = self.running.take() else { return };
        running.is_over.store(true, Ordering::Relaxed);
        // The accepting thread waits for one more connection.
        let _ = TcpStream::connect(&self.address);
        let _ = running.accepting.join();
        let streams = running.streams.lock().map(|mut streams| std::mem::take(&mut *streams)).unwrap_or_default();
        streams.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    }

    /// Takes connections again.
    pub fn mend(&mut self) -> Result<(), Failed> {
        self.running = Some(run(TcpListener::bind(&self.address)?, self.target.clone()));
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.cut();
    }
}

fn run(listener: TcpListener, target: String) -> Running {
    let (is_over, streams) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let (ended, kept) = (Arc::clone(&is_over), Arc::clone(&streams));
    let accepting = std::thread::spawn(move || {
        for near in listener.incoming().flatten() {
            if ended.load(Ordering::Relaxed) {
                return;
            }
            let Ok(far) = TcpStream::connect(&target) else { continue };
            for (from, to) in [(&near, &far), (&far, &near)] {
                let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
                std::thread::spawn(move || copy(from, to));
            }
            if let Ok(mut kept) = kept.lock() {
                kept.extend([near, far]);
            }
        }
    });
    Running { is_over, streams, accepting }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut bytes = [0; 8192];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
