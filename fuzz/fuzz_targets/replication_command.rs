//! Lines of Synapse's replication stream, one after the other.
//!
//! On stable Rust: `RUSTC_BOOTSTRAP=1 cargo fuzz run replication_command --sanitizer none`.
#![no_main]

use std::sync::Arc;
use std::time::Instant;

use dendron::replication::change::Concerns;
use dendron::replication::command::{Command, parse};
use dendron::replication::sequencer::Sequencer;
use dendron::token::TokenHasher;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut sequencer = Sequencer::new(Arc::new(TokenHasher::with_key([0; 32])));
    let mut changes = Vec::new();
    for line in text.lines() {
        changes.clear();
        sequencer.line(line, Instant::now(), &mut changes);
        // What is not understood concerns everybody, and what dendron writes it reads again.
        let command = parse(line);
        if matches!(command, Command::Unknown { .. } | Command::Malformed { .. }) {
            assert!(changes.iter().all(|change| matches!(change.concerns, Concerns::Everybody(_))));
            assert!(!changes.is_empty());
        }
        if let Some(written) = command.line() {
            assert_eq!(parse(&written), command);
        }
        assert!(!format!("{changes:?}").contains("syt_fuzz"));
    }
});
