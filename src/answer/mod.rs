//! Answers that need no Synapse. Each part answers or hands the request on; the order of the lines in [`answer`] is the
//! order in which they are asked.
//!
//! - [`head`]: a request's head, as the decisions see it.
//! - [`login`]: logins with a password; not asked by [`answer`], because it waits for others.
//! - [`malformed`](mod@malformed): heads that must not go on, whatever they ask for; asked first of all.
//! - [`private`]: paths that are not offered on the listener.
//! - [`too_large`]: uploads that are larger than Synapse takes.
//!
//! Not here yet: syncs and the near-static endpoints, which are forwarded.

pub mod head;
pub mod login;
pub mod malformed;
pub mod private;
pub mod too_large;

use http::HeaderMap;

use crate::endpoint::Class;
use crate::exchange::Ended;
use crate::reply::Reply;

pub use head::{Head, Headers};
pub use malformed::malformed;
pub use private::Offer;
pub use too_large::BodyLimits;

/// The first answer that a part gives, and why the request ends with it. `None` sends the request on to Synapse.
pub fn answer(class: Class, headers: &HeaderMap, offer: Offer, limits: BodyLimits) -> Option<(Reply, Ended)> {
    private::answer(class, offer).or_else(|| too_large::answer(class, headers, limits))
}
