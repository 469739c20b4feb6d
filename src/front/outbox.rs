//! Answers that are on their way: written one behind the other, and sent together when there is nothing more to answer.
//! What became of a request is told only when its answer has left.

use std::time::Duration;

use http::Method;
use pingora_core::protocols::http::date::get_cached_date;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::desk::{Answered, Desk};
use super::transport::Transport;
use super::wire::{self, Manner};

/// The most answers that wait for each other.
const TOGETHER_MAX: usize = 32;
/// The most bytes that do; one answer may be longer.
const TOGETHER_BYTES_MAX: usize = 16 * 1024;

/// Answers that have not left yet.
#[derive(Default)]
pub(super) struct Outbox(Vec<Answered>);

impl Outbox {
    /// Writes an answer behind the others.
    pub(super) fn put(&mut self, transport: &mut Transport, answered: Answered, is_last: bool) {
        let is_bodiless = answered.method == Method::HEAD;
        let manner = Manner { is_bodiless, is_last, date: get_cached_date() };
        transport.put(|bytes| wire::write(bytes, &answered.reply, &manner));
        self.0.push(answered);
    }

    /// Whether it is time to send what is there.
    pub(super) fn is_full(&self, transport: &mut Transport) -> bool {
        self.0.len() >= TOGETHER_MAX || transport.put(|_| ()) >= TOGETHER_BYTES_MAX
    }

    /// Sends what is there; the client has so much time to take it. Whether it did.
    pub(super) async fn send(&mut self, transport: &mut Transport, desk: &impl Desk, time: Duration) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let has_left = matches!(timeout(time, transport.flush()).await, Ok(Ok(())));
        // The memory goes with them: most connections are not answered here for long.
        for answered in std::mem::take(&mut self.0) {
            desk.answered(answered, has_left);
        }
        has_left
    }
}
