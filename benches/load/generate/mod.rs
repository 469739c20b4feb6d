//! Generators of load. Those that others keep well are taken where they can do the job; the rest is here.
//!
//! - [`wrk`]: as many requests as go, over kept or new connections.
//! - [`h2load`]: the same over HTTP/2.
//! - [`paced`]: requests at a fixed rate, and how late each was answered.
//! - [`polls`]: connections that hold a long-poll each.
//! - [`waiting`]: connections that wait for something else, or for nothing.
//! - [`storm`]: the same request from many at once, again and again.
//! - [`devices`]: devices that sync and have nothing to hear.
//! - [`rows`]: a replication stream.
//! - [`heard`]: when rows of one are heard by who only listens.
//! - [`tap`]: when syncs pass on their way to Synapse.
//! - [`punctual`]: threads that are on time to see it.
//! - [`transfers`]: large bodies, up and down.
//! - [`handshakes`]: new TLS sessions, one after the other.
//! - [`plain`]: one request and its answer, which the others are made of.

pub(crate) mod devices;
pub(crate) mod h2load;
pub(crate) mod handshakes;
pub(crate) mod heard;
pub(crate) mod paced;
pub(crate) mod plain;
pub(crate) mod polls;
pub(crate) mod punctual;
pub(crate) mod rows;
pub(crate) mod storm;
pub(crate) mod tap;
pub(crate) mod transfers;
pub(crate) mod waiting;
pub(crate) mod wrk;
