//! The life of an HTTP/1 connection: a head is awaited, decided about, and answered, passed on or refused, until the
//! client goes, is too slow, or the server stops.
//!
//! - `holding`: a request that waits.

mod holding;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::{Shutdown, Stream};
use pingora_core::server::ShutdownWatch;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Front;
use super::decision::{Decision, Hold, Passage, Question, Refusal, decide};
use super::desk::{Answered, Desk, Mark};
use super::head;
use super::http2;
use super::outbox::Outbox;
use super::refusal::{refuse, until_heard};
use super::socket::Shared;
use super::transport::Transport;
use crate::reply::Failure;

/// How long a connection may take to be closed.
const CLOSE: Duration = Duration::from_secs(5);
/// What a session is told of the time between requests. It is the front that waits for the next one, so that this is only
/// to say that there may be one.
const KEEPALIVE_SECONDS: u64 = 60;
/// For how long at most a request that was woken keeps others from beginning. One that was woken for nothing waits on at
/// Synapse, which is not what the bound is for.
const WOKEN_TIME: Duration = Duration::from_millis(250);

/// A client's connection and what serves it.
pub(super) struct Connection<A, D> {
    pub(super) front: Arc<Front<A, D>>,
    pub(super) transport: Box<Transport>,
    shutdown: ShutdownWatch,
    /// Answers that have not left yet.
    outbox: Outbox,
    /// How many requests may still come.
    left: u32,
}

/// What came of waiting for a head.
pub(super) enum Heard<H> {
    /// A request that may pass, and what the proxy is to know of it; its turn, if it has waited.
    Request(Passage, Option<Mark>, Option<OwnedSemaphorePermit>),
    /// One that waits.
    Held(Hold<H>),
    /// One that is asked of its process.
    Relayed(Question),
    /// One that is answered, and the answer is in the outbox; whether it was the last one.
    Answered { is_last: bool },
    /// A client that speaks HTTP/2 without being asked.
    Http2,
    /// One that may not, and when it began.
    Refused(Instant, Refusal),
    /// Nothing that could be answered: the client has gone or was silent, or the server stops.
    Nothing,
    /// That the client has gone, to which nothing is owed.
    Gone,
}

impl<A: HttpServerApp + Send + Sync + 'static, D: Desk> Connection<A, D> {
    /// A connection of which nothing has been read.
    pub(super) fn new(front: Arc<Front<A, D>>, transport: Transport, shutdown: ShutdownWatch) -> Self {
        let left = front.requests.get();
        Connection { front, transport: Box::new(transport), shutdown, outbox: Outbox::default(), left }
    }

    /// Serves it to its end.
    #[expect(clippy::manual_async_fn, reason = "an async function would have room for the connection twice")]
    pub(super) fn serve(mut self) -> impl Future<Output = ()> + Send {
        async move {
            // Browsers connect ahead of need, so a new connection may be silent for longer than a head may take.
            let mut patience = self.front.times.silence;
            loop {
                // Whether it waits for a request or with one, that is done in the same room. All else stands in boxes, so
                // that a connection which waits has no room for it.
                if self.transport.received().is_empty() && !(self.send().await && self.is_spoken_to(patience).await) {
                    return Box::pin(self.close()).await;
                }
                let heard = match self.hear().await {
                    Heard::Held(mut hold) => {
                        self.transport.shrink();
                        let ending = self.ending(&mut hold.held).await;
                        Box::pin(self.release(hold, ending)).await
                    }
                    Heard::Relayed(question) => Box::pin(self.relay(question)).await,
                    heard => heard,
                };
                let may_go_on = matches!(heard, Heard::Answered { is_last: false }) && self.has_room();
                if !may_go_on {
                    match Box::pin(self.follow(heard)).await {
                        Some(served) => self = served,
                        None => return,
                    }
                }
                patience = self.front.times.idle;
            }
        }
    }

    /// Does what follows from what was heard. `None` when the connection has ended with it.
    async fn follow(mut self, heard: Heard<D::Held>) -> Option<Self> {
        match heard {
            Heard::Request(passage, mark, turn) => return self.pass(passage, mark, turn).await,
            Heard::Answered { is_last: false } if self.take_turns().await => return Some(self),
            Heard::Answered { is_last: true } => self.end().await,
            Heard::Http2 => self.hand_over().await,
            Heard::Refused(begun, refusal) => self.refuse(begun, refusal).await,
            Heard::Gone => {}
            Heard::Answered { .. } | Heard::Held(_) | Heard::Relayed(_) | Heard::Nothing => self.close().await,
        }
        None
    }

    /// Waits for a head of which something has come, once for all the rest. Whoever has to wait, or to do something else,
    /// sends first what is in the outbox.
    async fn hear(&mut self) -> Heard<D::Held> {
        let begun = Instant::now();
        let mut seen = 0;
        loop {
            let heard = self.look(seen, begun);
            if let Some(Heard::Answered { .. }) = heard {
                return heard.unwrap_or(Heard::Nothing);
            }
            if !self.send().await {
                return Heard::Nothing;
            }
            if let Some(heard) = heard {
                return heard;
            }
            seen = self.transport.received().len();
            match timeout_at(begun + self.front.times.head, self.transport.fill()).await {
                Ok(Ok(1..)) => {}
                Ok(_) => return Heard::Nothing,
                Err(_) => return Heard::Refused(begun, Refusal::of(self.transport.received(), Failure::TooSlow)),
            }
        }
    }

    /// Looks for a whole head in what has arrived, unless nothing can have changed behind the first `seen` bytes.
    fn look(&mut self, seen: usize, begun: Instant) -> Option<Heard<D::Held>> {
        let arrived = self.transport.received();
        if !head::is_news(arrived, seen) {
            return None;
        }
        if self.is_new() && head::is_http2(arrived)? {
            return Some(Heard::Http2);
        }
        match decide(arrived, |head, body| self.front.desk.consider(head, body, self.transport.peer())) {
            Decision::Wait => None,
            Decision::Answer(answer) => {
                let is_last = self.answer(answer.bytes, answer.answered, answer.is_last);
                Some(Heard::Answered { is_last })
            }
            Decision::Hold(hold) => Some(Heard::Held(hold)),
            Decision::Relay(question) => Some(Heard::Relayed(question)),
            Decision::Pass(passage, mark) => Some(Heard::Request(passage, mark, None)),
            Decision::Refuse(refusal) => Some(Heard::Refused(begun, refusal)),
        }
    }

    /// Whether the connection has had no request yet, and what it speaks was not agreed on.
    fn is_new(&self) -> bool {
        self.left == self.front.requests.get() && !self.transport.is_encrypted()
    }

    /// Speaks HTTP/2 with the client.
    async fn hand_over(mut self) {
        self.transport.open();
        http2::serve(self.front, self.transport as Stream, self.shutdown).await;
    }

    /// Takes a request off, and puts its answer into the outbox; whether that is the connection's last.
    pub(super) fn answer(&mut self, bytes: usize, answered: Answered, is_last: bool) -> bool {
        let is_last = is_last || self.is_at_its_last();
        self.take_off(bytes);
        self.outbox.put(&mut self.transport, answered, is_last);
        is_last
    }

    /// Whether the connection ends with the request at hand in any case.
    pub(super) fn is_at_its_last(&self) -> bool {
        self.left <= 1 || *self.shutdown.borrow()
    }

    /// Takes a request of so many bytes off.
    pub(super) fn take_off(&mut self, bytes: usize) {
        self.transport.skip(bytes);
        self.left = self.left.saturating_sub(1);
    }

    /// Sends what is in the outbox; whether the client took it.
    async fn send(&mut self) -> bool {
        self.outbox.send(&mut self.transport, &self.front.desk, self.front.times.silence).await
    }

    /// Whether more answers may wait for those that follow them.
    fn has_room(&mut self) -> bool {
        !self.outbox.is_full(&mut self.transport)
    }

    /// Lets others come to their turn now and then, however fast this client asks. Whether it takes its answers.
    async fn take_turns(&mut self) -> bool {
        let has_left = self.send().await;
        tokio::task::yield_now().await;
        has_left
    }

    /// Tells the client that its request is refused, with the last answer.
    async fn refuse(mut self, begun: Instant, refusal: Refusal) {
        let Front { desk, times, .. } = &*self.front;
        refuse(&mut self.transport, desk, times.silence, begun, refusal).await;
    }

    /// Ends the connection.
    async fn close(mut self) {
        let _ = timeout(CLOSE, Shutdown::shutdown(&mut *self.transport)).await;
    }

    /// Ends the connection behind its last answer.
    async fn end(mut self) {
        if !self.send().await {
            return;
        }
        if self.transport.received().is_empty() {
            self.close().await;
        } else {
            // Whoever has sent more may be sending still.
            until_heard(&mut self.transport).await;
        }
    }

    /// Whether the client says something before its time is over and before the server stops.
    async fn is_spoken_to(&mut self, patience: Duration) -> bool {
        self.transport.rest();
        tokio::select! {
            biased;
            filled = self.transport.fill() => matches!(filled, Ok(1..)),
            () = sleep(patience) => false,
            () = stopped(&mut self.shutdown) => false,
        }
    }

    /// Has the proxy serve one request. `None` when the connection carries no other. The turn is that of a request which
    /// has waited.
    async fn pass(mut self, passage: Passage, mark: Option<Mark>, turn: Option<OwnedSemaphorePermit>) -> Option<Self> {
        let socket = self.transport.socket();
        let head = self.transport.begin(passage.head_bytes, passage.fence, passage.may_switch);
        self.left = self.left.saturating_sub(1);
        let mut session = ServerSession::new_http1(self.transport as Stream);
        session.set_keepalive(Some(KEEPALIVE_SECONDS));
        if self.left == 0 || *self.shutdown.borrow() {
            // Keep-alive itself is switched on again by what the head says.
            session.set_keepalive_reuses_remaining(Some(0));
        }
        session.set_pipelined_prefix(head);
        session.set_connection_user_context(mark);
        let serving = in_turns(self.front.proxy.process_new_http(session, &self.shutdown), socket);
        let reused = match turn {
            None => serving.await,
            turn => Box::pin(in_turn(serving, turn)).await,
        };
        let (stream, _settings) = reused?.consume();
        let mut transport = stream.into_any().downcast::<Transport>().ok()?;
        if !transport.settle().await {
            return None;
        }
        // Were the body's end another one for Pingora than for the front, nothing behind it could be trusted.
        transport.is_at_the_fence().then_some(Connection { transport, ..self })
    }
}

/// What a session does, in turns at the end of which its answers leave.
fn in_turns<F: Future + Unpin>(mut serving: F, socket: Shared) -> impl Future<Output = F::Output> + Unpin {
    poll_fn(move |context| socket.take_turn(context, |context| Pin::new(&mut serving).poll(context)))
}

/// Waits for a request's end. Its turn, if it has one, is given back then, or soon.
pub(super) async fn in_turn<T>(mut serving: impl Future<Output = T> + Unpin, turn: Option<OwnedSemaphorePermit>) -> T {
    if turn.is_some()
        && let Ok(ended) = timeout(WOKEN_TIME, &mut serving).await
    {
        return ended;
    }
    drop(turn);
    serving.await
}

/// Waits until the server stops.
pub(super) async fn stopped(shutdown: &mut ShutdownWatch) {
    // Whoever could tell is gone: that is the end as well.
    let _ = shutdown.wait_for(|is_ending| *is_ending).await;
}

#[cfg(test)]
mod tests;
