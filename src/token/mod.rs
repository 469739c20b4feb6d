//! Access token → caller: who is behind a token that a request carries.
//!
//! - [`hash`]: all that is kept of a token.
//! - [`store`]: what is known of tokens, in bounded memory, and how it is forgotten.
//!
//! Not here yet: who asks Synapse about a token that is not known, and who sees logins and logouts pass by.

pub mod hash;
pub mod store;

pub use hash::{TokenHash, TokenHasher};
pub use store::{Caller, CallerKind, Tokens};
