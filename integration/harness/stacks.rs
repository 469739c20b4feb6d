//! The stacks that tests share. Each is started when a test first asks for it, and stopped when all tests have ended.

use std::sync::{Mutex, OnceLock};

use libtest_mimic::Failed;

use super::stack::Stack;

/// The shared stacks.
#[derive(Default)]
pub struct Stacks {
    monolith: Shared,
    workers: Shared,
}

/// A stack, once it was asked for, or why it could not be started.
#[derive(Default)]
struct Shared(OnceLock<Result<Mutex<Stack>, String>>);

impl Shared {
    fn get(&self, shape: &str) -> Result<&Mutex<Stack>, Failed> {
        let stack = self.0.get_or_init(|| {
            let started = Stack::start(shape, shape, &[]);
            started.map(Mutex::new).map_err(|reason| reason.message().unwrap_or_default().to_owned())
        });
        stack.as_ref().map_err(|reason| format!("the {shape} stack did not start: {reason}").into())
    }
}

impl Stacks {
    /// Runs a test on Synapse as one process.
    pub fn on_monolith(&self, test: impl FnOnce(&mut Stack) -> Result<(), Failed>) -> Result<(), Failed> {
        run(self.monolith.get("monolith")?, test)
    }

    /// Runs a test on Synapse with workers.
    pub fn on_workers(&self, test: impl FnOnce(&mut Stack) -> Result<(), Failed>) -> Result<(), Failed> {
        run(self.workers.get("workers")?, test)
    }
}

fn run(stack: &Mutex<Stack>, test: impl FnOnce(&mut Stack) -> Result<(), Failed>) -> Result<(), Failed> {
    let mut stack = stack.lock().map_err(|_| "an earlier test left the stack in an unknown state")?;
    test(&mut stack)
}
