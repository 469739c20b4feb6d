//! A connection's first bytes, as far as the PROXY header goes.
//!
//! On stable Rust: `RUSTC_BOOTSTRAP=1 cargo fuzz run proxy_protocol --sanitizer none`.
#![no_main]

use dendron::listener::proxy_protocol::{HEADER_BYTES_MAX, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = parse(bytes);
    if let Ok(Some(header)) = whole {
        assert!(header.length <= bytes.len() && header.length <= HEADER_BYTES_MAX, "{header:?}");
        // The header is the same whatever comes behind it, and is not there before its last byte.
        assert_eq!(parse(&bytes[..header.length]), whole);
        assert_eq!(parse(&bytes[..header.length - 1]), Ok(None));
    }
    if whole == Ok(None) {
        assert!(bytes.len() < HEADER_BYTES_MAX, "nobody would wait for the end of it");
    }
});
