//! The stacks that tests share. Each is started when a test first asks for it, and stopped when all tests have ended.

use std::process::Command;
use std::sync::{Mutex, OnceLock};

use libtest_mimic::Failed;

use super::stack::Stack;
use super::synapse_python;

/// The shared stacks.
#[derive(Default)]
pub struct Stacks {
    monolith: Shared,
    workers: Shared,
    limited: Shared,
}

/// A stack, once it was asked for, or why it could not be started.
#[derive(Default)]
struct Shared(OnceLock<Result<Mutex<Stack>, String>>);

impl Shared {
    /// The stack of this name and shape; `more` are further arguments of `stack.py prepare`.
    fn get(&self, name: &str, shape: &str, more: &[&str]) -> Result<&Mutex<Stack>, Failed> {
        let stack = self.0.get_or_init(|| {
            let started = Stack::start(name, shape, more);
            started.map(Mutex::new).map_err(|reason| reason.message().unwrap_or_default().to_owned())
        });
        stack.as_ref().map_err(|reason| format!("the {name} stack did not start: {reason}").into())
    }
}

impl Stacks {
    /// Runs a test on Synapse as one process.
    pub fn on_monolith(&self, test: impl FnOnce(&mut Stack) -> Result<(), Failed>) -> Result<(), Failed> {
        run(self.monolith.get("monolith", "monolith", &[])?, test)
    }

    /// Runs a test on Synapse with workers.
    pub fn on_workers(&self, test: impl FnOnce(&mut Stack) -> Result<(), Failed>) -> Result<(), Failed> {
        run(self.workers.get("workers", "workers", &[])?, test)
    }

    /// Runs a test on Synapse as one process that others call over a unix socket, that limits logins as it does by default, and that takes signed tokens for
    /// logins too where it can: its package `authlib` is installed only where somebody has asked for it.
    pub fn on_limited(&self, test: impl FnOnce(&mut Stack) -> Result<(), Failed>) -> Result<(), Failed> {
        let more: &[&str] = if has_authlib() { &["--limited-logins", "--jwt"] } else { &["--limited-logins"] };
        run(self.limited.get("limited", "monolith-unix", more)?, test)
    }
}

/// Whether Synapse's Python has what logins by signed token need.
pub fn has_authlib() -> bool {
    let found = Command::new(synapse_python()).args(["-c", "import authlib"]).output();
    found.is_ok_and(|found| found.status.success())
}

fn run(stack: &Mutex<Stack>, test: impl FnOnce(&mut Stack) -> Result<(), Failed>) -> Result<(), Failed> {
    let mut stack = stack.lock().map_err(|_| "an earlier test left the stack in an unknown state")?;
    test(&mut stack)
}
