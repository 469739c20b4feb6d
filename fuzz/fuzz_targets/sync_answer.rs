//! The body of an answer to a sync.
//!
//! On stable Rust: `RUSTC_BOOTSTRAP=1 cargo fuzz run sync_answer --sanitizer none`.
#![no_main]

use dendron::quiet::eligible::Protocol;
use dendron::quiet::empty::{Content, look};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

fuzz_target!(|body: &[u8]| {
    for (protocol, position, keys) in [
        (Protocol::Sync, "next_batch", 4),
        (Protocol::Sliding, "pos", 4),
    ] {
        let content = look(protocol, body);
        assert_eq!(look(protocol, body), content);
        let Content::Empty(empty) = content else { continue };
        // Whatever is empty is an object with a position, has few keys, and no room.
        let answer: Map<String, Value> = serde_json::from_slice(body).expect("JSON");
        assert_eq!(answer[position], *empty.next);
        assert!(answer.len() <= keys && body.len() <= protocol.empty_bytes_max());
        let rooms = answer.get("rooms").and_then(Value::as_object);
        assert!(rooms.is_none_or(Map::is_empty));
    }
});
