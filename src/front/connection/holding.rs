//! A request that waits: beside its client, which may go, and beside the server, which may stop. It costs the connection
//! what it is, its head as it came, and its place in the books of whoever lets it wait.

use std::sync::Arc;

use pingora_core::apps::HttpServerApp;
use tokio::sync::OwnedSemaphorePermit;

use super::{Connection, Heard, stopped};
use crate::front::decision::{Hold, Question, Whole};
use crate::front::desk::{Desk, Ending, Mark};
use crate::front::head::{self, Parsed};
use crate::proxy::relay::Errand;

impl<A: HttpServerApp + Send + Sync + 'static, D: Desk> Connection<A, D> {
    /// Lets a request wait; why it waits no longer, `None` when its client has gone.
    pub(super) async fn ending(&mut self, held: &mut D::Held) -> Option<Ending> {
        tokio::select! {
            biased;
            () = self.transport.ended() => None,
            ending = self.front.desk.ended(held) => Some(ending),
            () = stopped(&mut self.shutdown) => Some(Ending::Answer),
        }
    }

    /// Does with a request what is to be done when it waits no longer.
    pub(super) async fn release(&mut self, hold: Hold<D::Held>, ending: Option<Ending>) -> Heard<D::Held> {
        let Hold { head_bytes, is_last, held } = hold;
        match ending {
            Some(Ending::Answer) => {
                let answered = self.front.desk.replayed(*held);
                Heard::Answered { is_last: self.answer(head_bytes, answered, is_last) }
            }
            Some(Ending::Pass) => match self.turn().await {
                Some(turn) => self.go_on(head_bytes, is_last, *held, turn).await,
                None => self.gone(*held),
            },
            None => self.gone(*held),
        }
    }

    /// Has a request go on that was woken.
    async fn go_on(
        &mut self,
        head_bytes: usize,
        is_last: bool,
        held: D::Held,
        turn: OwnedSemaphorePermit,
    ) -> Heard<D::Held> {
        let (whole, turn) = (Whole::of_head(head_bytes), Some(turn));
        match self.question(self.front.desk.woken(held)) {
            Ok(errand) => self.relay(Question { whole, is_last, errand, turn }).await,
            Err(mark) => Heard::Request(whole.into(), mark, turn),
        }
    }

    /// The question that has waited, of which this is known.
    fn question(&self, mark: Option<Mark>) -> Result<Box<Errand>, Option<Mark>> {
        let mut room = head::room();
        match head::parse(self.transport.received(), &mut room) {
            Parsed::Whole(head) => self.front.desk.question(&head, self.transport.peer(), mark),
            _ => Err(mark),
        }
    }

    fn gone(&self, held: D::Held) -> Heard<D::Held> {
        self.front.desk.left(held);
        Heard::Gone
    }

    /// The right to begin with the proxy; `None` when the client has gone before it was there.
    async fn turn(&mut self) -> Option<OwnedSemaphorePermit> {
        let woken = Arc::clone(&self.front.woken);
        tokio::select! {
            biased;
            () = self.transport.ended() => None,
            permit = woken.acquire_owned() => permit.ok(),
        }
    }
}
