//! The text of a bcrypt hash, decided as the crate `bcrypt` decides it; the first byte is the length of a password that
//! comes before it.
//!
//! On stable Rust: `RUSTC_BOOTSTRAP=1 cargo fuzz run bcrypt_hash --sanitizer none -- -dict=fuzz/bcrypt_hash.dict`.
#![no_main]

use bcrypt::HashParts;
use bcrypt_lanes::Hash;
use libfuzzer_sys::fuzz_target;

/// Beyond it one hash takes too long to try many.
const COST_MAX: u32 = 5;

fuzz_target!(|data: &[u8]| {
    let Some((length, rest)) = data.split_first() else { return };
    let (password, text) = rest.split_at(rest.len().min(usize::from(*length)));
    let Ok(text) = std::str::from_utf8(text) else { return };
    let hash = Hash::parse(text);
    let usual = text.parse::<HashParts>().ok().filter(|parts| {
        let same = parts.to_string()[3..] == text[3..];
        same && (4..=31).contains(&parts.get_cost()) && !text.starts_with("$2x$")
    });
    assert_eq!(hash.as_ref().map(Hash::cost).ok(), usual.map(|parts| parts.get_cost()));
    if let Ok(hash) = hash
        && hash.cost() <= COST_MAX
    {
        assert_eq!(hash.verify(password), bcrypt::verify(password, text).expect("the crate reads it"));
    }
});
