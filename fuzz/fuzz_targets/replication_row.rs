//! A row of each stream.
//!
//! On stable Rust: `RUSTC_BOOTSTRAP=1 cargo fuzz run replication_row --sanitizer none`.
#![no_main]

use dendron::replication::field::row;
use dendron::replication::stream::TABLE;
use dendron::token::TokenHasher;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|json: &str| {
    let Some(mut fields) = row(json) else { return };
    let hasher = TokenHasher::with_key([0; 32]);
    for rule in &TABLE {
        let concerns = rule.concerns(&fields, &hasher);
        // Fields that are added at the end change nothing of what was understood.
        if concerns.is_some() {
            fields.push(dendron::replication::field::Field::Null);
            assert_eq!(rule.concerns(&fields, &hasher), concerns, "{}", rule.name);
            fields.pop();
        }
    }
});
