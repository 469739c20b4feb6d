//! Checks passwords against bcrypt hashes, up to four at once in one thread: some three and a half times as many in a
//! second as one after the other.
//!
//! # What bcrypt is
//!
//! A hash of passwords that is slow by design, so that who steals hashes cannot try many passwords (Provos and Mazières,
//! *A Future-Adaptable Password Scheme*, 1999). It is the key schedule of the cipher Blowfish, over and over. Blowfish's
//! state is 18 subkeys and four boxes of 256 words, filled with the digits of pi. To *expand* a key is to mix it into the
//! subkeys, then to encrypt 521 blocks in a row, each the one before it encrypted, and to replace the state by them word
//! for word. bcrypt expands password and salt together once, then password and salt in turns, 2^cost times each; at last
//! it encrypts a fixed text 64 times under the state. That text is the hash.
//!
//! A hash is written as `$2b$12$`, 22 characters of salt and 31 of hash, in a base64 with an alphabet of its own: a
//! [`struct@Hash`].
//!
//! # Why lanes are faster
//!
//! A block has 16 rounds, and a round is four look-ups in the boxes and four additions that need the round before. So a
//! core that could do some five instructions at once waits twelve cycles for the chain of one round, of which sixteen
//! instructions are the work. Nothing within one hash can be done meanwhile: that is bcrypt's point. But another hash can.
//! Here each password that is checked has a *lane*, a state of its own, and a round is done for all lanes before the next
//! round is done for any. With four lanes the core is busy at nearly every cycle, and four checks together take hardly
//! longer than one. The four states, 17 KiB, stay in the core's first cache.
//!
//! It makes nobody's hash weaker: whoever attacks hashes has done this for years.
//!
//! # How lanes are used
//!
//! [`Lanes`] has what is being checked in one thread. Each lane has a salt and a cost of its own, ends by itself, and is
//! free at once for the next password: nobody waits for the slowest. [`Lanes::turn`] goes on by a few iterations of all
//! lanes, tens of microseconds each; between turns one may come ([`Lanes::push`]) or be given up ([`Lanes::take_if`]).
//! One lane alone is as fast as bcrypt is without lanes, so nobody waits for company.
//!
//! How many lanes are best depends on the core: [`LaneCount::measure`] finds out.
//!
//! ```
//! use bcrypt_lanes::{Hash, LaneCount, Lanes};
//!
//! let hash = Hash::parse("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW")?;
//! let mut lanes = Lanes::new(LaneCount::MAX);
//! lanes.push(b"U*U", &hash, "right");
//! lanes.push(b"u*u", &hash, "wrong");
//! while !lanes.is_empty() {
//!     lanes.turn(4, |who, matches| assert_eq!(matches, who == "right"));
//! }
//! # Ok::<(), bcrypt_lanes::NotAHash>(())
//! ```
//!
//! # What is kept secret
//!
//! A lane is wiped when it ends, is given up or is dropped, and hashes are compared in constant time. Which box entries
//! are read depends on the password, as always with bcrypt.
//!
//! # How it is built
//!
//! The time goes into `kernel.rs`, which wants to be optimised for speed: the workspace says so for this crate in every
//! profile, and its functions are not generic in what the caller chooses, so that they are compiled here. With
//! `-C target-cpu=native` on a processor with AVX-512, or with `opt-level = "s"`, the compiler makes four lanes slower
//! than three; `cargo bench --bench lanes` fails then, and a program that measures uses three.

mod count;
mod hash;
mod kernel;
mod lanes;
mod tables;

pub use count::{LaneCount, Miscalculated};
pub use hash::{Hash, NotAHash};
pub use lanes::Lanes;
