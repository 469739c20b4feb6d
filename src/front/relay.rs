//! A question, or a request with a short body, that is asked of its process without the proxy, and its answer, which passes
//! to the client byte for byte behind its head.
//!
//! Until the answer has begun, the question can still become the proxy's. From then on it is the client's alone: what
//! breaks off breaks off for the client, too.

use std::pin::pin;

use bytes::BytesMut;
use http::Method;
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::date::get_cached_date;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::asking::{Begun, Cut, ask, receive};
use super::connection::{Connection, Heard, in_turn};
use super::decision::Question;
use super::desk::{Answered, Desk, Mark};
use super::fence::Fence;
use super::wire::Manner;
use crate::exchange::{AnsweredBy, Ended};
use crate::proxy;
use crate::proxy::relay::{Errand, Unanswered};
use crate::reply::Failure;

impl<A: HttpServerApp + Send + Sync + 'static, D: Desk> Connection<A, D> {
    /// Asks a question, and passes the answer on.
    pub(super) async fn relay(&mut self, question: Question) -> Heard<D::Held> {
        let Question { whole, is_last, mut errand, turn } = question;
        // Requests that came together are all read first and leave together then: see `upstream_request_filter`.
        tokio::task::yield_now().await;
        let is_last = is_last || self.is_at_its_last();
        let manner = Manner { is_bodiless: errand.method == Method::HEAD, is_last, date: get_cached_date() };
        let asked = {
            let asking = pin!(ask(&self.front.desk, &mut errand, &manner));
            tokio::select! {
                biased;
                () = self.transport.ended() => None,
                asked = in_turn(asking, turn) => Some(asked),
            }
        };
        let Some(asked) = asked else {
            self.front.desk.relayed(*errand, Ended::ClientGone, None);
            return Heard::Gone;
        };
        match asked {
            Ok(begun) => self.pass_on(whole.bytes(), is_last, errand, begun).await,
            Err(Unanswered::Retry) => Heard::Request(whole.into(), Some(errand as Mark), None),
            Err(Unanswered::Failed(failure)) => {
                let answered = failed(*errand, failure);
                Heard::Answered { is_last: self.answer(whole.bytes(), answered, true) }
            }
        }
    }

    /// Passes an answer on that has begun.
    async fn pass_on(
        &mut self,
        bytes: usize,
        is_last: bool,
        mut errand: Box<Errand>,
        begun: Begun<Vec<u8>>,
    ) -> Heard<D::Held> {
        let Begun { mut stream, head, written: text, mut received } = begun;
        self.take_off(bytes);
        self.front.desk.answers(&mut errand, head.status, &received.split_to(head.bytes));
        self.transport.put(|out| out.extend_from_slice(&text));
        let mut fence = head.fence;
        let passed = self.pass_body(&mut errand, &mut stream, &mut fence, &mut received).await;
        let has_more = !received.is_empty();
        let ended = passed.map_or_else(Ended::from, |()| Ended::Complete);
        let is_complete = ended == Ended::Complete;
        // What a process has said beyond its answer belongs to nobody.
        let kept = (is_complete && head.stays_open && !has_more).then_some(stream);
        self.front.desk.relayed(*errand, ended, kept);
        if is_complete { Heard::Answered { is_last } } else { Heard::Gone }
    }

    /// Passes a body on, from what has come of it to its end, and sees to it that it leaves. What is left in `received`
    /// stood behind the end.
    async fn pass_body(
        &mut self,
        errand: &mut Errand,
        stream: &mut Stream,
        fence: &mut Fence,
        received: &mut BytesMut,
    ) -> Result<(), Cut> {
        let time = self.front.times.silence;
        loop {
            let part = fence.follow(received, |data| self.front.desk.overhears(errand, data));
            if fence.is_open() {
                return Err(Cut::BrokenOff);
            }
            let part = received.split_to(part);
            if fence.is_reached() {
                self.front.desk.heard_out(errand);
            }
            let sent = timeout(time, async {
                self.transport.write_all(&part).await?;
                self.transport.flush().await
            });
            sent.await.ok().and_then(Result::ok).ok_or(Cut::ClientGone)?;
            if fence.is_reached() {
                return Ok(());
            }
            drop(part);
            tokio::select! {
                biased;
                () = self.transport.ended() => return Err(Cut::ClientGone),
                read = timeout(errand.patience(), receive(stream, received)) => match read {
                    Ok(Ok(1..)) => {}
                    Ok(_) => return Err(Cut::BrokenOff),
                    Err(_) => return Err(Cut::Silent),
                },
            }
        }
    }
}

/// A question that has failed, as it is told and answered.
pub(super) fn failed(errand: Errand, failure: Failure) -> Answered {
    let Errand { mut exchange, method, .. } = errand;
    let reply = failure.reply();
    exchange.status = failure.status().as_u16();
    exchange.bytes_out = if method == Method::HEAD { 0 } else { reply.body.len() as u64 };
    (exchange.answered_by, exchange.ended) = (AnsweredBy::Edge, proxy::ended(Some(failure)));
    Answered { exchange, method, reply }
}

#[cfg(test)]
pub(super) mod tests;
