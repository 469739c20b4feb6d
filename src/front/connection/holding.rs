//! A request that waits: beside its client, which may go, and beside the server, which may stop. It costs the connection
//! what it is, its head as it came, and its place in the books of whoever lets it wait.

use std::sync::Arc;

use pingora_core::apps::HttpServerApp;
use tokio::sync::OwnedSemaphorePermit;

use super::{Connection, Heard, stopped};
use crate::front::decision::{Hold, Passage};
use crate::front::desk::{Desk, Ending};

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
                Some(turn) => Heard::Request(Passage::of_head(head_bytes), self.front.desk.woken(*held), Some(turn)),
                None => self.gone(*held),
            },
            None => self.gone(*held),
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
