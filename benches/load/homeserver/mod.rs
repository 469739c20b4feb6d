//! A real homeserver: PostgreSQL, Redis, and Synapse in one process, with dendron before it. What dendron saves can be
//! seen only there.
//!
//! - [`stack`]: the databases and Synapse.
//! - [`edge`]: a dendron before them.
//! - [`users`]: who they are, and in which rooms.
//! - [`call`]: one request with its answer in JSON.

pub(crate) mod call;
pub(crate) mod edge;
pub(crate) mod stack;
pub(crate) mod users;
