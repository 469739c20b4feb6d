//! Quiet syncs: "nothing has happened that concerns this user since this token".
//!
//! Most syncs are long-polls on which nothing happens. The gate keeps the last *empty* answer that Synapse gave to such a
//! request. When the client comes back from exactly there, and nothing has touched the user since, the request waits
//! here: a change that might concern the user wakes it, and it is forwarded; when its time is over, Synapse's own answer
//! is given again. No answer is made here, and no request of its own.
//!
//! To wake too often only costs what it cost before. To wake too late is what must not happen; every doubt forwards.
//!
//! - [`settings`], [`mode`]: `sync:` in dendron.yaml, and the switch.
//! - [`desk`]: all of it, or why there is none.
//! - [`parking`]: where the front and the filters come with a sync, and what becomes of it.
//! - [`eligible`]: which requests could be parked at all.
//! - [`empty`], [`watched`]: which answers say nothing, and how they are seen.
//! - [`declined`]: why a sync is forwarded.
//! - [`presence`], [`online`]: parked users do not look offline.
//! - [`poll`]: a sync, as the gate sees it.
//! - [`verdict`]: what the gate says of it.
//! - [`waiting`]: one that is parked, as whoever holds its connection sees it.
//! - [`gate`]: the gate, and its one lock.
//! - [`state`]: whether it is live.
//! - [`kept`]: Synapse's empty answers.

pub mod declined;
pub mod desk;
pub mod eligible;
pub mod empty;
pub mod gate;
pub mod kept;
pub mod mode;
pub mod online;
pub mod parking;
pub mod poll;
pub mod presence;
pub mod settings;
pub mod state;
pub mod verdict;
pub mod waiting;
pub mod watched;

pub use gate::{Gate, Limits, Watch};
pub use kept::KeptAnswer;
pub use poll::{Poll, PollHasher, PollKey, PollKind};
pub use state::State;
pub use verdict::{Ending, REMAINING_MIN, Reason, Seen, Verdict, WakeReason};
pub use waiting::Parked;
