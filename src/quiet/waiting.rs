//! The place of one parked sync, as whoever holds its connection sees it.

use std::sync::Arc;
use std::time::Instant;

use super::kept::KeptAnswer;
use super::verdict::{Ending, WakeReason};

/// A sync that waits. When it is dropped, it waits no longer, and nothing of it is left.
#[derive(Debug)]
pub struct Parked {
    deadline: Instant,
    answer: Arc<KeptAnswer>,
}

impl Parked {
    /// When the client's timeout ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The answer that is given then.
    pub fn answer(&self) -> &Arc<KeptAnswer> {
        &self.answer
    }

    /// Waits until the sync is woken or its time is over. It may be dropped and asked again.
    pub async fn ended(&mut self) -> Ending {
        tokio::time::sleep_until(self.deadline.into()).await;
        Ending::Wake(WakeReason::NotLive, self.deadline.saturating_duration_since(Instant::now()))
    }
}
