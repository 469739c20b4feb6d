//! A client's connection: below it the system's or TLS's, above it Pingora's session for one request after the other.
//!
//! It holds what has arrived and belongs to nobody yet, and what is to be sent, in buffers that exist only while there
//! is something in them: an idle connection has none. To a session it gives the bytes of its request up to the
//! [`Fence`]; when the session reads on, to learn whether the client is still there, it is told of an end and of nothing
//! else.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use super::fence::Fence;
use super::socket::Shared;
use crate::proxy::relay::Peer;

/// How much is read at once. The room is on the stack: what arrived is what is kept.
const READ_BYTES: usize = 4096;
/// How much of the requests behind the one that is being served is taken in. Beyond it the client has to wait, and its
/// end is not noticed.
const AHEAD_BYTES_MAX: usize = 16 * 1024;
/// What an answer begins with after which the connection speaks another protocol.
const SWITCHED: &[u8] = b"HTTP/1.1 101 ";

/// A client's connection.
pub(super) struct Transport {
    socket: Shared,
    /// What has arrived and was not given to a session.
    received: BytesMut,
    /// How far the session may read.
    fence: Fence,
    /// Whether the request asks for another protocol: if the answer agrees, the fence falls.
    may_switch: bool,
    /// How long a client may take to let the last of its answer in, before its connection is closed all the same.
    patience: Duration,
}

// === for the loop ===

impl Transport {
    /// A connection of which nothing has been read, and how long the client may take to let in what is sent last.
    pub(super) fn new(inner: Stream, patience: Duration) -> Self {
        let socket = Shared::new(inner);
        Transport { socket, received: BytesMut::new(), fence: Fence::Length(0), may_switch: false, patience }
    }

    /// What has arrived and belongs to no session yet.
    pub(super) fn received(&self) -> &[u8] {
        &self.received
    }

    /// The other end.
    pub(super) fn peer(&self) -> Peer {
        let digest = self.get_socket_digest();
        let address = digest.and_then(|digest| Some(digest.peer_addr()?.as_inet()?.ip()));
        Peer { address, is_encrypted: self.is_encrypted() }
    }

    /// Whether it comes over TLS.
    pub(super) fn is_encrypted(&self) -> bool {
        self.get_ssl_digest().is_some()
    }

    /// Waits for more; returns how much came, 0 at the end. Nothing is lost when the future is dropped.
    pub(super) async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|context| self.poll_fill(context)).await
    }

    /// Takes a head of so many bytes off, for a session that may read on up to the fence.
    pub(super) fn begin(&mut self, head_bytes: usize, fence: Fence, may_switch: bool) -> BytesMut {
        (self.fence, self.may_switch) = (fence, may_switch);
        // What is taken whole keeps its memory to itself.
        if head_bytes == self.received.len() {
            std::mem::take(&mut self.received)
        } else {
            self.received.split_to(head_bytes)
        }
    }

    /// The socket itself, for the turns in which a session has this.
    pub(super) fn socket(&self) -> Shared {
        self.socket.clone()
    }

    /// Waits until the client has let in what a session has left; whether it did in time.
    pub(super) async fn settle(&mut self) -> bool {
        if !self.socket.lock().is_behind() {
            return true;
        }
        let socket = &self.socket;
        matches!(timeout(self.patience, poll_fn(|context| socket.lock().poll_out(context))).await, Ok(Ok(())))
    }

    /// Waits for the end of the client. What it sends meanwhile waits for its turn. Nothing is lost when the future is
    /// dropped.
    pub(super) async fn ended(&mut self) {
        // An error is an end as well.
        let _ = poll_fn(|context| self.poll_end(context)).await;
    }

    /// Gives every byte to whoever reads, for as long as the connection lasts.
    pub(super) fn open(&mut self) {
        self.fence = Fence::Open;
    }

    /// Gives up the memory around what has arrived, for a request that waits.
    pub(super) fn shrink(&mut self) {
        self.received = BytesMut::from(&*self.received);
    }

    /// Takes a head of so many bytes off that no session gets.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.received.advance(bytes.min(self.received.len()));
    }

    /// Adds to what is to be sent, which leaves with the next flush; returns how much there is.
    pub(super) fn put(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let mut socket = self.socket.lock();
        write(&mut socket.to_send);
        socket.to_send.len()
    }

    /// Whether the session has read its request to the end, so that another may follow.
    pub(super) fn is_at_the_fence(&self) -> bool {
        self.fence.is_reached()
    }

    /// Throws away what has arrived; returns how much that was.
    pub(super) fn forget(&mut self) -> usize {
        std::mem::take(&mut self.received).len()
    }

    /// Gives up the memory that is not needed while nothing happens.
    pub(super) fn rest(&mut self) {
        if self.received.is_empty() {
            self.received = BytesMut::new();
        }
        let mut socket = self.socket.lock();
        if socket.to_send.is_empty() {
            socket.to_send = Vec::new();
        }
    }
}

// === for the session ===

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.fence.is_reached() {
            return this.poll_end(context);
        }
        if this.received.is_empty() {
            let before = buffer.filled().len();
            ready!(this.socket.lock().poll_read(context, buffer))?;
            let arrived = &buffer.filled()[before..];
            let count = this.fence.admit(arrived);
            this.received.extend_from_slice(&arrived[count..]);
            buffer.set_filled(before + count);
        } else {
            let room = this.received.len().min(buffer.remaining());
            let count = this.fence.admit(&this.received[..room]);
            buffer.put_slice(&this.received.split_to(count));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.may_switch && bytes.starts_with(SWITCHED) {
            this.fence = Fence::Open;
        }
        this.socket.lock().poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.lock().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.lock().poll_shutdown(context)
    }
}

impl Transport {
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = [const { MaybeUninit::uninit() }; READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut room);
        ready!(self.socket.lock().poll_read(context, &mut buffer))?;
        self.received.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Is ready only when the client has ended. What it sends meanwhile waits for its turn.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.received.len() < AHEAD_BYTES_MAX {
            if ready!(self.poll_fill(context))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Pending
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No byte of a client's.
        formatter.debug_struct("Transport").field("fence", &self.fence).finish_non_exhaustive()
    }
}

#[async_trait]
impl Shutdown for Transport {
    async fn shutdown(&mut self) {
        // Whatever goes wrong: it is the end.
        let _ = timeout(self.patience, poll_fn(|context| self.socket.lock().poll_shutdown(context))).await;
    }
}

// === what only the inner connection knows ===

impl UniqueID for Transport {
    fn id(&self) -> UniqueIDType {
        self.socket.lock().stream.id()
    }
}

impl Ssl for Transport {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.socket.lock().stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.socket.lock().stream.selected_alpn_proto()
    }
}

impl GetTimingDigest for Transport {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.socket.lock().stream.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.socket.lock().stream.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.socket.lock().stream.get_write_pending_time()
    }
}

impl GetProxyDigest for Transport {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.socket.lock().stream.get_proxy_digest()
    }
}

impl GetSocketDigest for Transport {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.socket.lock().stream.get_socket_digest()
    }
}

impl Peek for Transport {}

#[cfg(test)]
mod tests;
