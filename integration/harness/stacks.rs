//! The stacks that tests share. Each is started when a test first asks for it, and stopped when all tests have ended.

use std::path::Path;
use std::sync::{Mutex, OnceLock};

use libtest_mimic::Failed;

use super::stack::Stack;
use super::{older_synapse_python, synapse_python};

/// The shared stacks.
#[derive(Default)]
pub struct Stacks {
    monolith: Shared,
    workers: Shared,
    limited: Shared,
    older: Shared,
}

/// A stack, once it was asked for, or why it could not be started.
#[derive(Default)]
struct Shared(OnceLock<Result<Mutex<Stack>, String>>);

impl Shared {
    /// The stack of this name and shape, with this Python's Synapse; `more` are further arguments of `stack.py prepare`.
    fn get(&self, python: &Path, name: &str, shape: &str, more: &[&str]) -> Result<&Mutex<Stack>, Failed> {
        let stack = self.0.get_or_init(|| {
            let started = Stack::start_on(python, name, shape, more);
            started.map(Mutex::new).map_err(|reason| reason.message().unwrap_or_default().to_owned())
        });
        stack.as_ref().map_err(|reason| format!("the {name} stack did not start: {reason}").into())
    }
}

impl Stacks {
    /// Runs a test on Synapse as one process.
    pub fn on_monolith(&self, test: impl FnOnce(&mut Stack) -> Result<(), Failed>) -> Result<(), Failed> {
        run(self.monolith.get(&synapse_python(), "monolith", "monolith", &[])?, test)
    }

    /// Runs a test on an older Synapse as one process.
    pub fn on_older(&self, test: impl FnOnce(&mut Stack) -> Result<(), Failed>) -> Result<(), Failed> {
        run(self.older.get(&older_synapse_python(), "older", "monolith", &[])?, test)
    }

    /// Runs a test on Synapse with workers.
    pub fn on_workers(&self, test: impl FnOnce(&mut Stack) -> Result<(), Failed>) -> Result<(), Failed> {
        run(self.workers.get(&synapse_python(), "workers", "workers", &[])?, test)
    }

    /// Runs a test on Synapse as one process that others call over a unix socket, that limits logins as it does by
    /// default, and that takes signed tokens for logins too.
    pub fn on_limited(&self, test: impl FnOnce(&mut Stack) -> Result<(), Failed>) -> Result<(), Failed> {
        run(self.limited.get(&synapse_python(), "limited", "monolith-unix", &["--limited-logins", "--jwt"])?, test)
    }
}

fn run(stack: &Mutex<Stack>, test: impl FnOnce(&mut Stack) -> Result<(), Failed>) -> Result<(), Failed> {
    let mut stack = stack.lock().map_err(|_| "an earlier test left the stack in an unknown state")?;
    test(&mut stack)
}
