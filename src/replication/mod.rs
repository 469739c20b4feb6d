//! What Synapse tells its workers over Redis, as typed changes.
//!
//! Every process of Synapse publishes what it has written, so that the others can drop what they have cached and wake who
//! waits. Dendron listens to the same channel and turns each line into a [`Change`]: in which stream, by which writer, up
//! to which position, and whom it can concern. Whatever is not understood, and whatever may have been missed, concerns
//! everybody.
//!
//! Pure, in the order in which a line goes through them:
//! - [`command`]: one line, read.
//! - [`field`]: a row's JSON.
//! - [`stream`]: the table of streams, each with its rule; [`stream::caches`] for the stream that is several in one.
//! - [`positions`]: what was seen of each writer, and what was not.
//! - [`sequencer`]: these joined: lines in, changes out.
//! - [`liveness`]: when to ask Synapse for its positions, and when silence has lasted too long.
//! - [`change`]: what comes out.
//!
//! With I/O:
//! - [`settings`]: how Redis is reached.
//! - [`connection`]: a connection to it.
//! - [`follower`]: the connection kept, its lines sequenced, its state published and counted.
//!
//! Not here: what a change means for a waiting request, who is in which room, and which of an answer's positions a change
//! lies behind. The reader of [`Feed::events`]'s channel knows that.

pub mod change;
pub mod command;
pub mod connection;
mod counts;
pub mod field;
pub mod follower;
pub mod liveness;
pub mod positions;
pub mod sequencer;
mod session;
pub mod settings;
pub mod stream;

pub use change::{Change, Concerns, Doubt, Gap};
pub use follower::{Event, Feed, Follower, Outbox, Reason, State};
pub use positions::WriterPosition;
pub use settings::Settings;
pub use stream::Stream;
