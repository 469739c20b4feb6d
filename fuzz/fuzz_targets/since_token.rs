//! A token of a sync.
//!
//! On stable Rust: `RUSTC_BOOTSTRAP=1 cargo fuzz run since_token --sanitizer none`.
#![no_main]

use dendron::quiet::since::SyncToken;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let token = SyncToken::parse(text);
    // What stands before a `pos` says nothing of the streams.
    assert_eq!(SyncToken::parse_sliding(&format!("7/{text}")), token);
    let Ok(token) = token else { return };
    // An older layout is the newer one with nothing in the fields that it has not.
    if text.split('_').count() < token.fields().len() {
        assert_eq!(SyncToken::parse(&format!("{text}_0")), Ok(token));
    }
});
