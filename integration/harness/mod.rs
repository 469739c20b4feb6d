//! What the tests stand on.
//!
//! - [`stacks`]: the real stacks, started when first asked for and shared.
//! - [`stub`]: an upstream that misbehaves, where the real one cannot be made to.
//! - [`stack`]: one of them: databases, dendron, and the Synapse that it starts.
//! - [`alone`]: a dendron without a stack, with a configuration of the test's own.
//! - [`child`]: a process that a test started, which never outlives it.
//! - [`federated`]: a stack that other homeservers can reach.
//! - [`fronted`]: whether a dendron has the front.
//! - [`http`]: requests, as a client library makes them and as raw bytes.
//! - [`http2`]: HTTP/2 frame by frame.
//! - [`matrix`]: a Matrix user.
//! - [`metrics`]: what dendron counts.
//! - [`numbers`]: chance that can be had again.
//! - [`program`]: a program that a test runs to its end.
//! - [`processes`]: what runs on this machine.
//! - [`tls`]: an authority of the tests' own, and what it signs.
//! - [`eventually`]: waiting, with a bound.

pub mod alone;
pub mod child;
pub mod eventually;
pub mod federated;
pub mod fronted;
pub mod http;
pub mod http2;
pub mod matrix;
pub mod metrics;
pub mod numbers;
pub mod processes;
pub mod program;
pub mod stack;
pub mod stacks;
pub mod stub;
pub mod tls;

use std::path::{Path, PathBuf};

/// Fails a test with a message.
macro_rules! fail {
    ($($message:tt)*) => { return Err(libtest_mimic::Failed::from(format!($($message)*))) };
}

/// Fails a test unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)*) => {
        match $condition {
            true => {}
            false => $crate::harness::fail!($($message)*),
        }
    };
}

/// Fails a test unless two values are equal.
macro_rules! ensure_eq {
    ($left:expr, $right:expr, $($message:tt)*) => {{
        let (left, right) = (&$left, &$right);
        if left != right {
            $crate::harness::fail!("{}: {left:?} is not {right:?}", format!($($message)*))
        }
    }};
}

pub(crate) use {ensure, ensure_eq, fail};

/// The checkout.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder into which `./dev` installs, and below which stacks are made.
pub fn dev_folder() -> PathBuf {
    std::env::var_os("DENDRON_DEV").map_or_else(|| checkout().join(".dev"), PathBuf::from)
}

/// The dendron that is tested.
pub fn dendron() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_dendron"))
}

/// Synapse's Python.
pub fn synapse_python() -> PathBuf {
    dev_folder().join("venv/bin/python")
}

/// The Python of a Synapse that is 30 releases older.
pub fn older_synapse_python() -> PathBuf {
    dev_folder().join("venv-older/bin/python")
}
