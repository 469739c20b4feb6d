//! What dendron itself asks of Synapse, apart from the requests that it forwards.
//!
//! - [`client`]: one question to one process, and its answer.
//! - [`target`]: a listener of Synapse's that is in no pool.
//!
//! Not here: the checks of health (`upstream`), which have to meet what a new connection meets.

pub mod client;
pub mod target;

pub use client::{Answer, AskError, Client, Question};
pub use target::{Target, Transport};
