//! When rows of replication are heard by somebody who does nothing but listen at Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{punctual, rows};
use crate::fault::{Outcome, wrong};

/// How often the listener looks whether it is to end.
const LOOKS_UP: Duration = Duration::from_millis(200);

/// A listener for the rows that hold some text.
pub(crate) struct Heard {
    rows: Receiver<Instant>,
    /// Whether it is on time whatever else there is to do on the machine.
    pub(crate) is_punctual: bool,
    is_over: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl Heard {
    /// Listens to a channel of the Redis at a socket.
    pub(crate) fn listen(channel_name: &str, socket: &str, text: &str) -> Outcome<Self> {
        let connection = rows::connect(socket)?;
        connection.set_read_timeout(Some(LOOKS_UP)).map_err(rows::fault)?;
        let ((sender, rows), (begun, has_begun)) = (channel(), channel());
        let is_over = Arc::new(AtomicBool::new(false));
        let (name, text, until) = (channel_name.to_owned(), text.to_owned(), Arc::clone(&is_over));
        let listener = std::thread::spawn(move || listen(connection, &name, &text, &begun, &sender, &until));
        let mut heard = Heard { rows, is_punctual: false, is_over, listener: Some(listener) };
        heard.is_punctual = has_begun.recv().map_err(|_| wrong("nobody listens at Redis"))?;
        Ok(heard)
    }

    /// When the next row was heard, if that was or is within some time from now.
    pub(crate) fn next(&self, patience: Duration) -> Outcome<Instant> {
        self.rows.recv_timeout(patience).map_err(|_| wrong("a row of replication that was to come has not come"))
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(listener) = self.listener.take() {
            // It has nothing left to say.
            let _ = listener.join();
        }
    }
}

/// A subscription ends with what was borrowed for it, so that all of it is here.
fn listen(
    mut connection: redis::Connection,
    name: &str,
    text: &str,
    begun: &Sender<bool>,
    rows: &Sender<Instant>,
    is_over: &AtomicBool,
) {
    let is_punctual = punctual::go_first();
    let mut subscription = connection.as_pubsub();
    if subscription.subscribe(name).is_err() || begun.send(is_punctual).is_err() {
        return;
    }
    while !is_over.load(Ordering::Relaxed) {
        let Ok(message) = subscription.get_message() else { continue };
        let heard = Instant::now();
        let is_meant = message.get_payload::<String>().is_ok_and(|line| line.contains(text));
        if is_meant && rows.send(heard).is_err() {
            return;
        }
    }
}
