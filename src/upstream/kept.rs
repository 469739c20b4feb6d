//! Connections to one process that are kept for the next request.
//!
//! Nobody watches them. Whether the process has closed one is seen when it is taken, or at the next sweep: the runtime has
//! been told by then, so that this costs no call of the system.
//!
//! Not here: the connections of Pingora's proxy, which keeps its own.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use pingora_core::protocols::Stream;
use tokio::io::{AsyncRead, ReadBuf};

/// The most that are kept for a process, however many there may be.
const KEPT_MAX: usize = 512;

/// Connections that wait for a request. The last one that was used is the first to be used again.
#[derive(Debug)]
pub struct Kept {
    streams: Mutex<VecDeque<(Stream, Instant)>>,
    most: AtomicUsize,
}

impl Default for Kept {
    /// None, and room for many.
    fn default() -> Self {
        Kept { streams: Mutex::default(), most: AtomicUsize::new(KEPT_MAX) }
    }
}

impl Kept {
    /// Keeps no more than so many from now on.
    pub fn limit(&self, most: usize) {
        self.most.store(most.min(KEPT_MAX), Ordering::Relaxed);
    }

    /// One that has waited for less than `idle` and that the process has not closed.
    pub fn take(&self, idle: Duration, now: Instant) -> Option<Stream> {
        loop {
            let (mut stream, since) = self.lock().pop_back()?;
            if now.saturating_duration_since(since) < idle && is_silent(&mut stream) {
                return Some(stream);
            }
        }
    }

    /// Keeps one on which nothing is under way. If there are too many, the one that has waited longest is closed.
    pub fn keep(&self, stream: Stream, now: Instant) {
        let mut kept = self.lock();
        kept.push_back((stream, now));
        while kept.len() > self.most.load(Ordering::Relaxed) {
            kept.pop_front();
        }
    }

    /// Closes those that have waited for `idle`, or that the process has closed. To be called now and then.
    pub fn sweep(&self, idle: Duration, now: Instant) {
        self.lock().retain_mut(|(stream, since)| now.saturating_duration_since(*since) < idle && is_silent(stream));
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Stream, Instant)>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the process says nothing, not even that it has closed.
fn is_silent(stream: &mut Stream) -> bool {
    let mut byte = [0];
    let mut context = Context::from_waker(Waker::noop());
    Pin::new(stream).poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_pending()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const IDLE: Duration = Duration::from_secs(45);

    fn connection() -> (Stream, DuplexStream) {
        let (own, other) = duplex(64);
        (Box::new(own), other)
    }

    #[tokio::test]
    async fn what_the_process_has_closed_or_spoken_on_is_not_used_again() {
        let (kept, now) = (Kept::default(), Instant::now());
        let [(good, _good), (closed, other), (spoken, mut speaker)] = [(); 3].map(|()| connection());
        for stream in [good, closed, spoken] {
            kept.keep(stream, now);
        }
        drop(other);
        speaker.write_all(b"x").await.unwrap();
        assert_eq!(kept.count(), 3);
        assert!(kept.take(IDLE, now).is_some());
        assert_eq!((kept.count(), kept.take(IDLE, now).is_none()), (0, true));
    }

    #[tokio::test]
    async fn what_has_waited_too_long_is_closed_and_so_is_what_is_too_much() {
        let (kept, begun) = (Kept::default(), Instant::now());
        let mut others = Vec::new();
        for _ in 0..KEPT_MAX + 10 {
            let (stream, other) = connection();
            kept.keep(stream, begun);
            others.push(other);
        }
        assert_eq!(kept.count(), KEPT_MAX);
        drop(others.pop());
        kept.sweep(IDLE, begun + IDLE / 2);
        assert_eq!(kept.count(), KEPT_MAX - 1);
        let (stream, _other) = connection();
        kept.keep(stream, begun + IDLE);
        kept.sweep(IDLE, begun + IDLE);
        assert_eq!(kept.count(), 1);
        assert!(kept.take(IDLE, begun + IDLE * 2).is_none());
        kept.limit(0);
        let (stream, _other) = connection();
        kept.keep(stream, begun);
        assert_eq!(kept.count(), 0);
    }
}
