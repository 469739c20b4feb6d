//! The bytes of a connection before the front: whatever passes, Pingora must read as the same head, and must find its end
//! where the front does.
//!
//! On stable Rust: `RUSTC_BOOTSTRAP=1 cargo fuzz run front_head --sanitizer none -- -dict=fuzz/front_head.dict`.
#![no_main]

use std::cell::OnceCell;

use dendron::front::agreement::{Outcome, play};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
}

fuzz_target!(|bytes: &[u8]| {
    let outcome = RUNTIME.with(|runtime| {
        let runtime = runtime.get_or_init(|| Builder::new_current_thread().enable_time().build().unwrap());
        runtime.block_on(play(bytes)).unwrap()
    });
    // What is left for the next request is the end of what came.
    if let Outcome::Next(rest) = outcome {
        assert!(bytes.ends_with(&rest));
    }
});
