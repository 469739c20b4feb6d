//! The life of one request over HTTP/2: it is answered, held, asked of its process, or handed to the proxy, as one over
//! HTTP/1 is. While it waits, it costs its head and its place in the books.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use http::Method;
use http::request::Parts as RequestHead;
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::HttpSession;
use pingora_core::server::ShutdownWatch;
use pingora_http::ResponseHeader;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::question::{as_http1, settle};
use crate::exchange::Ended;
use crate::front::Front;
use crate::front::answer::Fields;
use crate::front::asking::{Begun, Cut, ask, receive};
use crate::front::connection::{in_turn, stopped};
use crate::front::desk::{Answered, Desk, Ending, Mark, Refused, Verdict};
use crate::front::fence::Fence;
use crate::front::relay::failed;
use crate::proxy::head_of;
use crate::proxy::held::Found;
use crate::proxy::relay::{Errand, Peer, Unanswered};
use crate::reply::{Failure, Reply};

/// A request, its client and what serves it.
pub(super) struct Request<A, D> {
    front: Arc<Front<A, D>>,
    session: HttpSession,
    peer: Peer,
    shutdown: ShutdownWatch,
    /// When its head had come.
    begun: Instant,
}

impl<A: HttpServerApp + Send + Sync + 'static, D: Desk> Request<A, D> {
    /// A request whose head has come.
    pub(super) fn new(front: Arc<Front<A, D>>, mut session: HttpSession, peer: Peer, shutdown: ShutdownWatch) -> Self {
        session.set_write_timeout(Some(front.times.silence));
        Request { front, session, peer, shutdown, begun: Instant::now() }
    }

    /// Gives it up, because there are too many.
    pub(super) fn reject(&mut self) {
        self.session.shutdown();
    }

    /// Serves it to its end, when its place among the connection's requests is free again.
    #[expect(clippy::manual_async_fn, reason = "an async function would have room for the request twice")]
    pub(super) fn serve(mut self, place: OwnedSemaphorePermit) -> impl Future<Output = ()> + Send {
        async move {
            let _place = place;
            // All but the waiting stands in boxes, so that a request which waits has no room for it.
            let verdict = Box::pin(self.considered()).await;
            match verdict {
                None => {}
                Some(Verdict::Answer(answered)) => Box::pin(self.answer(answered)).await,
                Some(Verdict::Hold(mut held)) => {
                    let ending = self.ending(&mut held).await;
                    Box::pin(self.release(*held, ending)).await;
                }
                Some(Verdict::Relay(errand)) => Box::pin(self.relay(errand, None)).await,
                Some(Verdict::Pass(mark)) => Box::pin(self.pass(mark, None)).await,
            }
        }
    }

    /// What becomes of it; `None` where it has ended already.
    async fn considered(&mut self) -> Option<Verdict<D::Held>> {
        let pass = Some(Verdict::Pass(None));
        let Some(length) = settle(self.session.req_header_mut()) else { return pass };
        let is_taken = match length {
            0 => self.session.is_body_empty(),
            _ => self.front.desk.may_ask(&as_http1(self.session.req_header())),
        };
        if !is_taken {
            return pass;
        }
        match self.body(length).await {
            Ok(body) => Some(self.front.desk.consider(&as_http1(self.session.req_header()), &body, self.peer)),
            Err(failure) => {
                self.refuse(failure).await;
                None
            }
        }
    }

    /// Waits for the whole body. Pingora keeps it as well, should it have to send it on. The error is why it has not come;
    /// `None` there if the client has gone.
    async fn body(&mut self, length: usize) -> Result<Vec<u8>, Option<Failure>> {
        let mut body = Vec::with_capacity(length);
        if length == 0 {
            return Ok(body);
        }
        self.session.enable_retry_buffering();
        loop {
            match timeout(self.front.times.silence, self.session.read_body_bytes()).await {
                Ok(Ok(Some(part))) => body.extend_from_slice(&part),
                Ok(Ok(None)) => return Ok(body),
                Ok(Err(_)) => return Err(None),
                Err(_) => return Err(Some(Failure::TooSlow)),
            }
        }
    }

    /// Tells the client why it is refused; `None` where it has gone.
    async fn refuse(&mut self, failure: Option<Failure>) {
        let begun = self.begun;
        let reply = failure.map(|failure| failure.reply());
        let sent = match &reply {
            Some(reply) if self.send(reply, false).await => Some(reply.body.len()),
            _ => None,
        };
        let head: &RequestHead = self.session.req_header();
        let failure = failure.unwrap_or(Failure::TooSlow);
        self.front.desk.refused(Refused { begun, peer: self.peer.address, head: Some(head), failure, sent });
    }

    async fn answer(&mut self, answered: Answered) {
        let has_left = self.send(&answered.reply, answered.method == Method::HEAD).await;
        self.front.desk.answered(answered, has_left);
    }

    /// Sends an answer of dendron's own; whether it is on its way.
    async fn send(&mut self, reply: &Reply, is_head: bool) -> bool {
        let Ok(head) = head_of(reply) else { return false };
        let is_bodiless = is_head || reply.body.is_empty();
        self.session.write_response_header(head, is_bodiless).is_ok()
            && (is_bodiless || self.session.write_body(reply.body.clone(), true).await.is_ok())
    }

    /// Lets it wait; why it waits no longer, `None` when its client has gone.
    async fn ending(&mut self, held: &mut D::Held) -> Option<Ending> {
        tokio::select! {
            biased;
            _ = self.session.idle() => None,
            ending = self.front.desk.ended(held) => Some(ending),
            () = stopped(&mut self.shutdown) => Some(Ending::Answer),
        }
    }

    /// Does what is to be done when it waits no longer.
    async fn release(mut self, held: D::Held, ending: Option<Ending>) {
        match ending {
            Some(Ending::Answer) => {
                let answered = self.front.desk.replayed(held);
                self.answer(answered).await;
            }
            Some(Ending::Pass) => match self.turn().await {
                Some(turn) => self.go_on(held, turn).await,
                None => self.front.desk.left(held),
            },
            None => self.front.desk.left(held),
        }
    }

    /// The right to go on; `None` when the client has gone before it was there.
    async fn turn(&mut self) -> Option<OwnedSemaphorePermit> {
        let woken = Arc::clone(&self.front.woken);
        tokio::select! {
            biased;
            _ = self.session.idle() => None,
            permit = woken.acquire_owned() => permit.ok(),
        }
    }

    /// Goes on when it was woken.
    async fn go_on(self, held: D::Held, turn: OwnedSemaphorePermit) {
        let mark = self.front.desk.woken(held);
        match self.front.desk.question(&as_http1(self.session.req_header()), self.peer, mark) {
            Ok(errand) => self.relay(errand, Some(turn)).await,
            Err(mark) => self.pass(mark, Some(turn)).await,
        }
    }

    /// Asks its process, and passes the answer on.
    async fn relay(mut self, mut errand: Box<Errand>, turn: Option<OwnedSemaphorePermit>) {
        // Requests that came together are all read first and leave together then: see `upstream_request_filter`.
        tokio::task::yield_now().await;
        let asked = {
            let form = Fields { is_bodiless: errand.method == Method::HEAD };
            let asking = pin!(ask(&self.front.desk, &mut errand, &form));
            tokio::select! {
                biased;
                _ = self.session.idle() => None,
                asked = in_turn(asking, turn) => Some(asked),
            }
        };
        match asked {
            None => self.front.desk.relayed(*errand, Ended::ClientGone, None),
            Some(Ok(begun)) => self.pass_on(errand, begun).await,
            Some(Err(Unanswered::Retry)) => self.pass(Some(errand as Mark), None).await,
            Some(Err(Unanswered::Failed(failure))) => self.answer(failed(*errand, failure)).await,
        }
    }

    /// Passes an answer on that has begun.
    async fn pass_on(mut self, mut errand: Box<Errand>, begun: Begun<pingora_core::Result<Box<ResponseHeader>>>) {
        let Begun { mut stream, head, written, mut received } = begun;
        self.front.desk.answers(&mut errand, head.status, &received.split_to(head.bytes));
        let mut fence = head.fence;
        let passed = match written {
            Ok(written) => self.pass_parts(&mut errand, written, &mut stream, &mut fence, &mut received).await,
            Err(_) => Err(Cut::BrokenOff),
        };
        if passed.is_err() {
            self.session.shutdown();
        }
        // What a process has said beyond its answer belongs to nobody.
        let kept = (passed.is_ok() && head.stays_open && received.is_empty()).then_some(stream);
        self.front.desk.relayed(*errand, passed.map_or_else(Ended::from, |()| Ended::Complete), kept);
    }

    /// Passes the head on, and the body from what has come of it to its end. What is left in `received` stood behind the end.
    async fn pass_parts(
        &mut self,
        errand: &mut Errand,
        head: Box<ResponseHeader>,
        stream: &mut Stream,
        fence: &mut Fence,
        received: &mut BytesMut,
    ) -> Result<(), Cut> {
        if fence.is_reached() {
            self.front.desk.heard_out(errand);
        }
        self.session.write_response_header(head, fence.is_reached()).map_err(|_| Cut::ClientGone)?;
        while !fence.is_reached() {
            let part = fence.take(received);
            if fence.is_open() {
                return Err(Cut::BrokenOff);
            }
            self.front.desk.overhears(errand, &part);
            if fence.is_reached() {
                self.front.desk.heard_out(errand);
            }
            if !part.is_empty() || fence.is_reached() {
                self.session.write_body(part, fence.is_reached()).await.map_err(|_| Cut::ClientGone)?;
            }
            if fence.is_reached() {
                break;
            }
            tokio::select! {
                biased;
                _ = self.session.idle() => return Err(Cut::ClientGone),
                read = timeout(errand.patience(), receive(stream, received)) => match read {
                    Ok(Ok(1..)) => {}
                    Ok(_) => return Err(Cut::BrokenOff),
                    Err(_) => return Err(Cut::Silent),
                },
            }
        }
        Ok(())
    }

    /// Has the proxy serve it. The turn is that of a request which has waited.
    async fn pass(mut self, mark: Option<Mark>, turn: Option<OwnedSemaphorePermit>) {
        if let Some(mark) = mark {
            self.session.req_header_mut().extensions_mut().insert(Found::new(mark));
        }
        let session = ServerSession::new_http2(self.session);
        in_turn(self.front.proxy.process_new_http(session, &self.shutdown), turn).await;
    }
}
