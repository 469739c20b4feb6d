//! Quiet syncs: "nothing has happened that concerns this user since this token".
//!
//! Most syncs are long-polls on which nothing happens. The gate keeps the last *empty* answer that Synapse gave to such a
//! request. When the client comes back from exactly there, and nothing has touched the user since, the request waits
//! here: a change that might concern the user wakes it, and it is forwarded; when its time is over, Synapse's own answer
//! is given again. No answer is made here, and no request of its own.
//!
//! To wake too often only costs what it cost before. To wake too late is what must not happen; every doubt forwards.
//!
//! The core, pure, in the order in which one leads to the next:
//! - [`poll`]: a sync, as the gate sees it; [`verdict`]: what the gate says of it.
//! - [`since`]: a token's positions; [`writers`]: who writes where; [`marks`]: whether a token covers what happened.
//! - [`names`]: rooms and people, as 64 bits; [`ledger`]: when each was last touched.
//! - [`members`]: who is in which room; [`lookups`]: changes of which the database has to say whom they concern.
//! - [`kept`]: Synapse's empty answers; [`trust`]: whether one may be kept.
//! - [`parked`]: who waits.
//! - [`gaps`]: what the stream should have told; [`misses`]: answers that nobody expected.
//! - [`book`]: these joined; `changes`: what a change does to them; [`schedule`]: what is to be asked, and when.
//! - [`state`], [`counts`]: how the gate is doing.
//!
//! Around it, with I/O:
//! - [`gate`]: the one lock around the book; [`waiting`]: a parked sync, as whoever holds its connection sees it.
//! - `loads`: questions to the database.
//!
//! Between it and HTTP:
//! - [`settings`], [`mode`]: `sync:` in dendron.yaml, and the switch.
//! - [`desk`]: all of it, or why there is none.
//! - [`parking`]: where the front and the filters come with a sync, and what becomes of it.
//! - [`eligible`]: which requests could be parked at all.
//! - [`empty`], [`watched`]: which answers say nothing, and how they are seen.
//! - [`declined`]: why a sync is forwarded.
//! - [`presence`], [`online`]: parked users do not look offline.

pub mod book;
mod changes;
pub mod counts;
pub mod declined;
pub mod desk;
pub mod eligible;
pub mod empty;
pub mod gaps;
pub mod gate;
pub mod kept;
pub mod ledger;
mod loads;
pub mod lookups;
pub mod marks;
pub mod members;
pub mod misses;
pub mod mode;
pub mod names;
pub mod online;
pub mod parked;
pub mod parking;
pub mod poll;
pub mod presence;
pub mod schedule;
pub mod settings;
pub mod since;
pub mod state;
pub mod trust;
pub mod verdict;
pub mod waiting;
pub mod watched;
pub mod writers;

pub use book::Watch;
pub use counts::{Counts, Sizes};
pub use gate::{Gate, Limits};
pub use kept::KeptAnswer;
pub use poll::{Poll, PollHasher, PollKey, PollKind};
pub use state::State;
pub use verdict::{Ending, REMAINING_MIN, Reason, SESSION_ENDING, Seen, Verdict, WakeReason};
pub use waiting::Parked;
