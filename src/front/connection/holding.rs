//! A request that waits: beside its client, which may go, and beside the server, which may stop. It costs the connection
//! what it is, its head as it came, and its place in the books of whoever lets it wait.

use std::sync::Arc;

use pingora_core::apps::HttpServerApp;
use tokio::sync::OwnedSemaphorePermit;

use super::{Connection, stopped};
use crate::front::decision::Hold;
use crate::front::desk::{Desk, Ending, Mark};

/// Why a request waits no longer.
pub(super) enum Released {
    /// It is answered, and the answer is in the outbox; whether it was the connection's last.
    Answered { is_last: bool },
    /// It goes on to the proxy, which is to know this, and it is its turn.
    Woken(Option<Mark>, OwnedSemaphorePermit),
    /// Its client has gone.
    Gone,
}

impl<A: HttpServerApp + Send + Sync + 'static, D: Desk> Connection<A, D> {
    /// Lets a request wait.
    pub(super) async fn hold(&mut self, hold: Hold<D::Held>) -> Released {
        let Hold { passage, is_last, mut held } = hold;
        self.transport.shrink();
        match self.ending(&mut held).await {
            Some(Ending::Answer) => {
                let answered = self.front.desk.replayed(*held);
                Released::Answered { is_last: self.answer(passage.head_bytes, answered, is_last) }
            }
            Some(Ending::Pass) => match self.turn().await {
                Some(turn) => Released::Woken(self.front.desk.woken(*held), turn),
                None => self.gone(*held),
            },
            None => self.gone(*held),
        }
    }

    fn gone(&self, held: D::Held) -> Released {
        self.front.desk.left(held);
        Released::Gone
    }

    /// Why the request waits no longer; `None` when its client has gone.
    async fn ending(&mut self, held: &mut D::Held) -> Option<Ending> {
        tokio::select! {
            biased;
            () = self.transport.ended() => None,
            ending = self.front.desk.ended(held) => Some(ending),
            () = stopped(&mut self.shutdown) => Some(Ending::Answer),
        }
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
