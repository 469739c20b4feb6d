//! A request that waits: beside its client, which may go, and beside the server, which may stop. It costs the connection
//! what it is, its head as it came, and its place in the books of whoever lets it wait.

use std::sync::Arc;

use pingora_core::apps::HttpServerApp;
use tokio::sync::OwnedSemaphorePermit;

use super::{Connection, stopped};
use crate::front::decision::Hold;
use crate::front::desk::{Desk, Ending};

impl<A: HttpServerApp + Send + Sync + 'static, D: Desk> Connection<A, D> {
    /// Lets a request wait, then answers it or has the proxy serve it. `None` when the connection carries no other.
    pub(super) async fn hold(mut self, hold: Hold<D::Held>) -> Option<Self> {
        let Hold { passage, is_last, mut held } = hold;
        self.transport.shrink();
        match self.ending(&mut held).await {
            None => {
                self.front.desk.left(*held);
                None
            }
            Some(Ending::Answer) => {
                let answered = self.front.desk.replayed(*held);
                if self.answer(passage.head_bytes, answered, is_last) {
                    self.end().await;
                    return None;
                }
                Some(self)
            }
            Some(Ending::Pass) => {
                let Some(permit) = self.turn().await else {
                    self.front.desk.left(*held);
                    return None;
                };
                let mark = self.front.desk.woken(*held);
                self.pass(passage, Some(mark), Some(permit)).await
            }
        }
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
