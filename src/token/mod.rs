//! Access token → caller: who is behind a token that a request carries.
//!
//! Pure:
//! - [`hash`]: all that is kept of a token.
//! - [`caller`]: who is behind one.
//! - [`store`]: what is known of tokens, in bounded memory, and how it is forgotten.
//! - [`whoami`]: what Synapse's answer to `/account/whoami` tells.
//! - [`grant`]: what an answer tells that gives a token.
//! - [`passing`]: what it means for tokens that a request has succeeded.
//!
//! Joined:
//! - [`questions`]: the tokens that Synapse is to be asked about.
//! - [`callers`]: all of it together, as the rest of the program has it.
//! - [`asker`]: the background task that asks.
//!
//! Three rules:
//! - Nobody waits: a caller is known or not, and a question is for the next request.
//! - **Synapse is asked only about a token that it has just taken.** Whoever tries tokens must not be able to double
//!   Synapse's work with them.
//! - A token is *believed* only while Synapse's replication stream is followed, since nothing else tells when one ends.
//!   Without Redis it is known whose a token is, which is enough to choose a process by, and nothing is answered.
//!
//! `/account/whoami` itself is not answered here. It could be only for a token that the database has, unexpired and used
//! before, of a user who is not locked and whose account has not expired; and the answer must leave the traces in
//! Synapse (`user_ips`, a device's last use) that Synapse's own would. Dendron reads no tokens from the database, and a
//! rotated token goes without a word on the stream, so this cannot be proved of any token.
//!
//! Not here: the requests that pass by (`proxy`), and what is read from the stream (`server`).

pub mod asker;
pub mod caller;
pub mod callers;
pub mod grant;
pub mod hash;
pub mod passing;
pub mod questions;
pub mod store;
pub mod whoami;

pub use asker::Asker;
pub use caller::{Caller, CallerKind};
pub use callers::{Callers, Forget};
pub use hash::{TokenHash, TokenHasher};
pub use questions::Visitor;
pub use store::Tokens;
