//! The streams of Synapse, and whom a row of each can concern.
//!
//! [`TABLE`] has one row for each stream. A rule reads a row's fields and says whom it concerns, or `None` for a row of
//! another shape than it knows; more fields than it knows are no reason to doubt, because Synapse adds them at the end.
//! A stream that is not in the table concerns everybody.
//!
//! - `rules`: the rules but one.
//! - [`caches`]: the stream on which cache invalidations travel, and with them ended tokens and used keys.

pub mod caches;
mod rules;

use super::change::Concerns;
use super::field::Field;
use crate::token::TokenHasher;

/// A stream of Synapse (`STREAMS_MAP` in `replication/tcp/streams/__init__.py`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// Events, and changes of rooms' current state.
    Events,
    /// Old events, which no sync returns.
    Backfill,
    /// Presence of users.
    Presence,
    /// Presence on its way to other servers.
    PresenceFederation,
    /// Who is typing; counted in memory.
    Typing,
    /// Read receipts.
    Receipts,
    /// Push rules.
    PushRules,
    /// Pushers.
    Pushers,
    /// Caches that no longer hold.
    Caches,
    /// Devices and their keys.
    DeviceLists,
    /// To-device messages.
    ToDevice,
    /// What is on its way to other servers.
    Federation,
    /// Account data and tags.
    AccountData,
    /// Profiles.
    ProfileUpdates,
    /// Sticky events.
    StickyEvents,
    /// Subscriptions to threads.
    ThreadSubscriptions,
    /// Rooms whose whole state has arrived.
    UnPartialStatedRoom,
    /// Events whose whole state has arrived.
    UnPartialStatedEvent,
    /// Media that nobody may see.
    QuarantinedMedia,
    /// A stream that this build does not know.
    Unknown,
}

/// A stream's row in the table.
pub struct Rule {
    /// The stream.
    pub stream: Stream,
    /// Its name in the protocol.
    pub name: &'static str,
    /// Whether its positions tell what was missed. Those of `caches` repeat and go back, because its writers read beyond
    /// the position that they tell (`get_all_updated_caches` in Synapse's `storage/databases/main/cache.py`). Those of
    /// `backfill` are told from the last one back, since old events are counted downwards
    /// (`get_all_new_backfill_event_rows` in `events_worker.py` there); what is missed of them concerns nobody.
    pub is_counted: bool,
    /// Whom a row concerns.
    of_row: OfRow,
}

/// Whom a row concerns, given what makes a hash of an access token.
type OfRow = fn(&[Field<'_>], &TokenHasher) -> Option<Concerns>;

const fn counted(stream: Stream, name: &'static str, of_row: OfRow) -> Rule {
    Rule { stream, name, is_counted: true, of_row }
}

const fn uncounted(stream: Stream, name: &'static str, of_row: OfRow) -> Rule {
    Rule { stream, name, is_counted: false, of_row }
}

/// Every stream that Synapse 1.163 has, in the order of [`Stream`].
pub const TABLE: [Rule; 19] = [
    counted(Stream::Events, "events", |row, _| rules::events(row)),
    uncounted(Stream::Backfill, "backfill", |row, _| rules::backfill(row)),
    counted(Stream::Presence, "presence", |row, _| rules::presence(row)),
    counted(Stream::PresenceFederation, "presence_federation", |row, _| rules::nobody(row, 2)),
    counted(Stream::Typing, "typing", |row, _| rules::typing(row)),
    counted(Stream::Receipts, "receipts", |row, _| rules::receipts(row)),
    counted(Stream::PushRules, "push_rules", |row, _| rules::user(row, 1)),
    counted(Stream::Pushers, "pushers", |row, _| rules::nobody(row, 4)),
    uncounted(Stream::Caches, "caches", caches::concerns),
    counted(Stream::DeviceLists, "device_lists", |row, _| rules::device_lists(row)),
    counted(Stream::ToDevice, "to_device", |row, _| rules::to_device(row)),
    counted(Stream::Federation, "federation", |row, _| rules::nobody(row, 2)),
    counted(Stream::AccountData, "account_data", |row, _| rules::user(row, 3)),
    counted(Stream::ProfileUpdates, "profile_updates", |row, _| rules::profile_updates(row)),
    counted(Stream::StickyEvents, "sticky_events", |row, _| rules::room(row, 2)),
    counted(Stream::ThreadSubscriptions, "thread_subscriptions", |row, _| rules::user(row, 3)),
    counted(Stream::UnPartialStatedRoom, "un_partial_stated_room", |row, _| rules::room(row, 1)),
    counted(Stream::UnPartialStatedEvent, "un_partial_stated_event", |row, _| rules::nobody(row, 1)),
    counted(Stream::QuarantinedMedia, "quarantined_media", |row, _| rules::nobody(row, 3)),
];

// === impl Stream ===

impl Stream {
    /// Every stream, the unknown one included.
    pub const ALL: [Stream; TABLE.len() + 1] = {
        let mut all = [Stream::Unknown; TABLE.len() + 1];
        let mut place = 0;
        while place < TABLE.len() {
            all[place] = TABLE[place].stream;
            place += 1;
        }
        all
    };

    /// The stream of this name.
    pub fn of_name(name: &str) -> Stream {
        TABLE.iter().find(|rule| rule.name == name).map_or(Stream::Unknown, |rule| rule.stream)
    }

    /// The stream's place in [`Stream::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its rule; `None` for the unknown one.
    pub fn rule(self) -> Option<&'static Rule> {
        TABLE.get(self.index())
    }

    /// Its name in the protocol, and in metrics.
    pub fn name(self) -> &'static str {
        self.rule().map_or("unknown", |rule| rule.name)
    }

    /// Whether its positions tell what was missed. Those of an unknown one are taken to.
    pub fn is_counted(self) -> bool {
        self.rule().is_none_or(|rule| rule.is_counted)
    }
}

// === impl Rule ===

impl Rule {
    /// Whom a row concerns; `None` if it is of another shape than the rule knows.
    pub fn concerns(&self, row: &[Field<'_>], hasher: &TokenHasher) -> Option<Concerns> {
        (self.of_row)(row, hasher)
    }
}

#[cfg(test)]
mod tests;
