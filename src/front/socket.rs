//! What a connection sends and receives on, the system's or TLS's, and what is still to be sent.
//!
//! Pingora's session flushes an answer's head, each part of its body, and its end: four calls of the system where one
//! would do, and each costs more than all the rest of the request. So while the task of the connection is in a *turn* with
//! a session, what is flushed is only marked, and leaves at the end of that turn, whatever the session waits for then.
//! Outside of a turn a flush sends at once.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use pingora_core::protocols::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Up to here bytes wait for those that follow them, so that an answer's head and body leave together.
const SEND_BYTES: usize = 4096;
/// The most that is copied to leave together.
const SEND_BYTES_MAX: usize = 16 * 1024;

/// A socket that the connection's task and a session share. Nobody waits while it is locked.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Socket>>);

/// A client's end.
pub(super) struct Socket {
    pub(super) stream: Stream,
    /// What is to be sent, and how much of it has been.
    pub(super) to_send: Vec<u8>,
    sent: usize,
    /// Whether the connection's task is in a turn, at the end of which it sends.
    in_turn: bool,
    /// Whether what is here is to leave at the end of the turn.
    is_flushed: bool,
    /// Why the last turn could not send, until somebody is told.
    fault: Option<io::Error>,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(stream: Stream) -> Self {
        let socket = Socket { stream, to_send: Vec::new(), sent: 0, in_turn: false, is_flushed: false, fault: None };
        Shared(Arc::new(Mutex::new(socket)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Socket> {
        // Each call leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Polls what a session does, as a turn: at its end all that was flushed leaves.
    pub(super) fn take_turn<T>(&self, context: &mut Context<'_>, turn: impl FnOnce(&mut Context<'_>) -> T) -> T {
        self.lock().in_turn = true;
        let outcome = turn(context);
        self.lock().end_turn(context);
        outcome
    }
}

// === impl Socket ===

impl Socket {
    pub(super) fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.tell_fault()?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }

    /// Takes bytes to be sent. What is small waits for a flush or for more.
    pub(super) fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.tell_fault()?;
        if self.to_send.len() >= SEND_BYTES && self.to_send.len() + bytes.len() > SEND_BYTES_MAX {
            ready!(self.poll_send(context))?;
        }
        if self.to_send.is_empty() && bytes.len() >= SEND_BYTES {
            return Pin::new(&mut self.stream).poll_write(context, bytes);
        }
        let count = bytes.len().min(SEND_BYTES_MAX - self.to_send.len());
        self.to_send.extend_from_slice(&bytes[..count]);
        if self.to_send.len() == SEND_BYTES_MAX
            && let Poll::Ready(Err(error)) = self.poll_send(context)
        {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(count))
    }

    /// Sends everything; in a turn, at the end of it.
    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tell_fault()?;
        if self.in_turn && !self.to_send.is_empty() {
            self.is_flushed = true;
            return Poll::Ready(Ok(()));
        }
        self.poll_out(context)
    }

    /// Sends everything, also what TLS has of it, and says no more to the client.
    pub(super) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    /// Sends everything, also what TLS has of it.
    pub(super) fn poll_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.is_flushed = false;
        Poll::Ready(Ok(()))
    }

    /// Whether something was flushed that the client has had no room for yet.
    pub(super) fn is_behind(&self) -> bool {
        self.is_flushed
    }

    fn end_turn(&mut self, context: &mut Context<'_>) {
        self.in_turn = false;
        if self.is_flushed
            && let Poll::Ready(Err(error)) = self.poll_out(context)
        {
            // The session waits for something else. It is told as soon as it reads or writes.
            (self.fault, self.is_flushed) = (Some(error), false);
            context.waker().wake_by_ref();
        }
    }

    fn tell_fault(&mut self) -> io::Result<()> {
        self.fault.take().map_or(Ok(()), Err)
    }

    /// Hands over to the system what is to be sent.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.to_send.len() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, &self.to_send[self.sent..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += count;
        }
        self.to_send.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A session that closes does not flush what it has written.
        if !self.to_send.is_empty() {
            let _ = self.poll_out(&mut Context::from_waker(Waker::noop()));
        }
    }
}
