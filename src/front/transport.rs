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
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::{SslDigest, TlsRef};
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::fence::Fence;

/// How much is read at once. The room is on the stack: what arrived is what is kept.
const READ_BYTES: usize = 4096;
/// How much of the requests behind the one that is being served is taken in. Beyond it the client has to wait, and its
/// end is not noticed.
const AHEAD_BYTES_MAX: usize = 16 * 1024;
/// Up to here bytes wait for those that follow them, so that an answer's head and body leave together.
const SEND_BYTES: usize = 4096;
/// The most that is copied to leave together.
const SEND_BYTES_MAX: usize = 16 * 1024;
/// What an answer begins with after which the connection speaks another protocol.
const SWITCHED: &[u8] = b"HTTP/1.1 101 ";

/// A client's connection.
pub(super) struct Transport {
    inner: Stream,
    /// What has arrived and was not given to a session.
    received: BytesMut,
    /// How far the session may read.
    fence: Fence,
    /// Whether the request asks for another protocol: if the answer agrees, the fence falls.
    may_switch: bool,
    /// What is to be sent, and how much of it has been.
    to_send: Vec<u8>,
    sent: usize,
}

// === for the loop ===

impl Transport {
    /// A connection of which nothing has been read.
    pub(super) fn new(inner: Stream) -> Self {
        let received = BytesMut::new();
        Transport { inner, received, fence: Fence::Length(0), may_switch: false, to_send: Vec::new(), sent: 0 }
    }

    /// What has arrived and belongs to no session yet.
    pub(super) fn received(&self) -> &[u8] {
        &self.received
    }

    /// The address at the other end; `None` for a unix socket.
    pub(super) fn peer(&self) -> Option<IpAddr> {
        let digest = self.inner.get_socket_digest()?;
        digest.peer_addr().and_then(|address| address.as_inet()).map(|address| address.ip())
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
    pub(super) fn skip(&mut self, head_bytes: usize) {
        self.received.advance(head_bytes.min(self.received.len()));
    }

    /// What is to be sent, to add to it. It leaves with the next flush.
    pub(super) fn outgoing(&mut self) -> &mut Vec<u8> {
        &mut self.to_send
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
        if self.to_send.is_empty() {
            self.to_send = Vec::new();
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
            ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
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
        if this.to_send.len() >= SEND_BYTES {
            ready!(this.poll_send(context))?;
        }
        if this.to_send.is_empty() && bytes.len() >= SEND_BYTES {
            return Pin::new(&mut this.inner).poll_write(context, bytes);
        }
        let count = bytes.len().min(SEND_BYTES_MAX - this.to_send.len());
        this.to_send.extend_from_slice(&bytes[..count]);
        if this.to_send.len() >= SEND_BYTES
            && let Poll::Ready(Err(error)) = this.poll_send(context)
        {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(context))?;
        Pin::new(&mut this.inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(context))?;
        Pin::new(&mut this.inner).poll_shutdown(context)
    }
}

impl Transport {
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = [const { MaybeUninit::uninit() }; READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.inner).poll_read(context, &mut buffer))?;
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

    /// Hands over to the system what is to be sent.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.to_send.len() {
            let count = ready!(Pin::new(&mut self.inner).poll_write(context, &self.to_send[self.sent..]))?;
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

impl Drop for Transport {
    fn drop(&mut self) {
        // A session that closes does not flush what it has written.
        if !self.to_send.is_empty() {
            let _ = Pin::new(self).poll_flush(&mut Context::from_waker(Waker::noop()));
        }
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
        // The inner one ends TLS as it must be ended, so it has to be asked itself.
        if AsyncWriteExt::flush(self).await.is_ok() {
            Shutdown::shutdown(&mut *self.inner).await;
        }
    }
}

// === what only the inner connection knows ===

impl UniqueID for Transport {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for Transport {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.inner.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl GetTimingDigest for Transport {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.inner.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.inner.get_write_pending_time()
    }
}

impl GetProxyDigest for Transport {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }
}

impl GetSocketDigest for Transport {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }
}

impl Peek for Transport {}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};

    use super::*;

    /// A connection with its client.
    fn connected() -> (Transport, DuplexStream) {
        let (server, client) = duplex(1 << 20);
        (Transport::new(Box::new(server)), client)
    }

    /// What one read gives; `None` where it has to wait.
    fn read_now(transport: &mut Transport) -> Option<Vec<u8>> {
        let mut room = [0; 64];
        let mut buffer = ReadBuf::new(&mut room);
        match Pin::new(transport).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer) {
            Poll::Ready(read) => {
                read.unwrap();
                Some(buffer.filled().to_vec())
            }
            Poll::Pending => None,
        }
    }

    fn received_now(client: &mut DuplexStream) -> Vec<u8> {
        let mut room = vec![0; 1 << 18];
        let mut buffer = ReadBuf::new(&mut room);
        let _ = Pin::new(client).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer);
        buffer.filled().to_vec()
    }

    #[tokio::test]
    async fn a_session_gets_its_request_and_the_next_one_the_rest() {
        let (mut transport, mut client) = connected();
        client.write_all(b"HEADhel").await.unwrap();
        transport.fill().await.unwrap();
        assert_eq!(&transport.begin(4, Fence::Length(5), false)[..], b"HEAD");
        assert_eq!(read_now(&mut transport).as_deref(), Some(&b"hel"[..]));
        assert_eq!(read_now(&mut transport), None);
        assert!(!transport.is_at_the_fence());
        client.write_all(b"loNEXT").await.unwrap();
        assert_eq!(read_now(&mut transport).as_deref(), Some(&b"lo"[..]));
        assert!(transport.is_at_the_fence());
        // The session looks whether the client is there, and sees nothing of what it sends.
        client.write_all(b" AND").await.unwrap();
        for _ in 0..3 {
            assert_eq!(read_now(&mut transport), None);
        }
        assert_eq!(transport.received(), b"NEXT AND");
        assert_eq!(&transport.begin(8, Fence::Length(0), false)[..], b"NEXT AND");
    }

    #[tokio::test]
    async fn an_end_is_seen_behind_bytes_that_wait() {
        let (mut transport, mut client) = connected();
        client.write_all(b"HEADNEXT").await.unwrap();
        transport.fill().await.unwrap();
        transport.begin(4, Fence::Length(0), false);
        assert_eq!(read_now(&mut transport), None);
        drop(client);
        assert_eq!(read_now(&mut transport), Some(Vec::new()));
        assert_eq!(read_now(&mut transport), Some(Vec::new()), "an end stays one");
    }

    #[tokio::test]
    async fn what_is_taken_in_ahead_is_bounded() {
        let (mut transport, mut client) = connected();
        transport.begin(0, Fence::Length(0), false);
        client.write_all(&[b'x'; 10 * AHEAD_BYTES_MAX]).await.unwrap();
        assert_eq!(read_now(&mut transport), None);
        assert!((AHEAD_BYTES_MAX..AHEAD_BYTES_MAX + READ_BYTES).contains(&transport.received().len()));
    }

    #[tokio::test]
    async fn chunks_that_are_broken_are_all_the_session_s() {
        let (mut transport, mut client) = connected();
        transport.begin(0, Fence::CHUNKS, false);
        client.write_all(b"\r\nhello\r\n0\r\n\r\nNEXT").await.unwrap();
        assert_eq!(read_now(&mut transport).as_deref(), Some(&b"\r\nhello\r\n0\r\n\r\nNEXT"[..]));
        assert!(!transport.is_at_the_fence());
    }

    #[tokio::test]
    async fn the_fence_falls_with_another_protocol_and_with_nothing_else() {
        for (may_switch, answer, passes) in [
            (true, "HTTP/1.1 101 Switching Protocols\r\n\r\n", true),
            (true, "HTTP/1.1 200 OK\r\n\r\n", false),
            (false, "HTTP/1.1 101 Switching Protocols\r\n\r\n", false),
        ] {
            let (mut transport, mut client) = connected();
            transport.begin(0, Fence::Length(0), may_switch);
            client.write_all(b"frame").await.unwrap();
            assert_eq!(read_now(&mut transport), None, "{answer}");
            transport.write_all(answer.as_bytes()).await.unwrap();
            assert_eq!(read_now(&mut transport).is_some(), passes, "{may_switch} {answer}");
        }
    }

    #[tokio::test]
    async fn small_writes_leave_together_and_large_ones_at_once() {
        let (mut transport, mut client) = connected();
        transport.write_all(b"head").await.unwrap();
        transport.write_all(b"body").await.unwrap();
        assert_eq!(received_now(&mut client), b"");
        transport.flush().await.unwrap();
        assert_eq!(received_now(&mut client), b"headbody");
        transport.write_all(b"head").await.unwrap();
        transport.write_all(&[b'x'; 100_000]).await.unwrap();
        assert_eq!(received_now(&mut client).len(), 100_004);
        transport.rest();
        assert_eq!((transport.to_send.capacity(), transport.received.capacity()), (0, 0));
        // What was written is not lost with the connection.
        transport.write_all(b"last").await.unwrap();
        drop(transport);
        let mut last = String::new();
        client.read_to_string(&mut last).await.unwrap();
        assert_eq!(last, "last");
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_stops_the_writer() {
        let (server, mut client) = duplex(1000);
        let mut transport = Transport::new(Box::new(server));
        let writing = tokio::spawn(async move {
            for _ in 0..100 {
                transport.write_all(&[b'x'; 999]).await.unwrap();
            }
            transport.flush().await.unwrap();
        });
        let mut count = 0;
        let mut room = [0; 77];
        while count < 99_900 {
            count += client.read(&mut room).await.unwrap();
        }
        writing.await.unwrap();
    }
}
