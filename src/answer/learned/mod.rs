//! The near-static answers: what Synapse says the same to everybody is learned from Synapse itself, kept fresh in the
//! background, and given again word for word, also while Synapse is down.
//!
//! - `item`: which answers these are, and how each is asked for.
//! - `wanted`: which of them a request asks for.
//! - [`document`]: one learned answer.
//! - [`shelf`]: all of them: what is fresh, what is due, what is dropped.
//! - [`keeper`]: the background task that asks.
//! - `written`: documents of dendron.yaml in the place of learned ones.
//!
//! Not here: anything that differs from user to user, and any text of Synapse's: what was not learned is forwarded.

pub mod document;
mod item;
pub mod keeper;
pub mod shelf;
mod wanted;
mod written;

use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::StatusCode;
use prometheus::{IntCounter, IntCounterVec};

use super::AnswerSettings;
use super::Asked;
use super::missing_token;
use crate::reply::Reply;

pub use document::{Document, is_lasting};
pub use item::Item;
pub use keeper::Keeper;
pub use shelf::Shelf;
use written::Written;

/// What requests are answered from.
pub struct Answers {
    shelf: ArcSwap<Shelf>,
    written: Written,
    /// Which items are given to those who ask, in the order of [`Item::ALL`].
    given: [bool; Item::ALL.len()],
    /// How often each item was given, in the order of [`Item::ALL`].
    counts: [IntCounter; Item::ALL.len()],
}

impl Answers {
    /// Nothing is learned yet. `counts` is by the name of the answer. Logins need the client's well-known document,
    /// perhaps, also where it is not given to those who ask for it.
    pub fn new(settings: &AnswerSettings, logins_need_it: bool, counts: &IntCounterVec, now: Instant) -> Self {
        let wanted = |item| settings.learns(item) || logins_need_it && item == Item::WellKnownClient;
        let shelf = Shelf::new(wanted, settings.age_max, now);
        let counter = |name: &str| counts.with_label_values(&[name]);
        Answers {
            shelf: ArcSwap::from_pointee(shelf),
            written: Written::new(settings, counter),
            given: Item::ALL.map(|item| settings.learns(item)),
            counts: Item::ALL.map(|item| counter(item.name())),
        }
    }

    /// Answers a request, if its answer is known.
    pub fn answer(&self, asked: &Asked<'_>, now: Instant) -> Option<Reply> {
        if let Some(reply) = self.written.answer(asked) {
            return Some(reply);
        }
        let item = wanted::wanted(asked).or_else(|| missing_token::wanted(asked))?;
        let reply = self.shelf.load().reply(item, now).filter(|_| self.given[item.index()])?;
        self.counts[item.index()].inc();
        Some(reply)
    }

    /// What Synapse's `/.well-known/matrix/client` says, if it is known.
    pub fn well_known_client(&self, now: Instant) -> Option<Bytes> {
        let reply = self.shelf.load().reply(Item::WellKnownClient, now)?;
        (reply.status == StatusCode::OK).then_some(reply.body)
    }
}
