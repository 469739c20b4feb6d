//! The stand-in for Synapse: a fast server whose answers have the headers, shapes and sizes of Synapse's, so that what is
//! measured is the way to it and not Synapse itself.
//!
//! - `answers`: what is answered, byte for byte.
//! - `server`: the program, one thread for all of Synapse's processes.
//! - [`handle`]: the suite's end: starting it, and telling it to be slow, dead or silent.
//!
//! It is a process of its own (this program, called with `upstream`), because a process may have only so many open files
//! and both ends of ten thousand long-polls are twice as many.

pub(crate) mod answers;
pub(crate) mod handle;
pub(crate) mod server;

pub(crate) use answers::versions_document;
pub(crate) use handle::Upstream;
