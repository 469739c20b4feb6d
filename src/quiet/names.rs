//! Rooms, users, devices and tokens as the ledger knows them: by 64 bits of a keyed hash.
//!
//! Two that share a hash are taken for one, so that what happens to one is taken to happen to both. That is only ever
//! too much, and nobody outside can find such two without the key.

use std::hash::{BuildHasher, RandomState};

use crate::token::TokenHash;

/// What a name is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(u64);

/// Makes [`Name`]s, under a key of its own.
#[derive(Clone, Debug, Default)]
pub struct Namer(RandomState);

/// What is hashed; the kind is part of it.
#[derive(Hash)]
enum Named<'name> {
    Room(&'name str),
    User(&'name str),
    Device(&'name str, &'name str),
    Token(TokenHash),
}

impl Namer {
    /// A room's.
    pub fn room(&self, room: &str) -> Name {
        Name(self.0.hash_one(Named::Room(room)))
    }

    /// A user's.
    pub fn user(&self, user: &str) -> Name {
        Name(self.0.hash_one(Named::User(user)))
    }

    /// A user's device's; without one, the user's.
    pub fn device(&self, user: &str, device: Option<&str>) -> Name {
        device.map_or_else(|| self.user(user), |device| Name(self.0.hash_one(Named::Device(user, device))))
    }

    /// A token's.
    pub fn token(&self, token: TokenHash) -> Name {
        Name(self.0.hash_one(Named::Token(token)))
    }
}

// === impl Name ===

impl Name {
    /// Its bits.
    pub const fn bits(self) -> u64 {
        self.0
    }
}
