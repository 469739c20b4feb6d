//! The users that log in: `users.py` makes them, once in each stack.

use std::path::Path;
use std::time::Duration;

use libtest_mimic::Failed;

use crate::harness::stack::Stack;
use crate::harness::{checkout, program, synapse_python};

/// How long making all of them may take.
const MAKING: Duration = Duration::from_secs(60);

/// A password of which bcrypt reads the first 72 bytes.
pub const LONG: &str = "hush-long-01234567890123456789012345678901234567890123456789012345678901234567890123456789";
/// The same with another end.
pub const LONG_TOO: &str =
    "hush-long-01234567890123456789012345678901234567890123456789012345678901 and what nobody reads";
/// A password whose 72nd byte is the first of a character of two.
pub const LONG_UNICODE: &str = "hush-uml-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxäöü";
/// The same with another second byte in that character.
pub const LONG_UNICODE_TOO: &str = "hush-uml-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxë";
/// A password that is another text in its normal form.
pub const UNICODE: &str = "hush-\u{fb01}nd \u{2460}\u{c5}";
/// The same password in other characters: its normal form, with its last letter taken apart.
pub const UNICODE_TOO: &str = "hush-find 1A\u{30a}";

/// Makes the users of a stack unless they are there.
pub fn make(stack: &Stack) -> Result<(), Failed> {
    let output = stack.folder().join("users.out");
    if output.exists() {
        return Ok(());
    }
    let script = checkout().join("integration/login/users.py");
    let arguments = [text(&script), text(stack.folder())];
    program::run(&synapse_python(), &arguments, &output, MAKING).map(drop)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
