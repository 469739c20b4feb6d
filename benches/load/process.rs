//! Programs that the suite starts, and ends.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use crate::fault::{Doing, Outcome, wrong};

/// How long a program may take to end before it is killed.
const END: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_millis(20);

/// A program that runs. It ends when this is dropped.
pub(crate) struct Running {
    name: String,
    child: Child,
    /// Where it says what is wrong with it.
    log: Option<PathBuf>,
}

impl Running {
    /// Starts a program with its output in a file.
    pub(crate) fn start(name: &str, command: &mut Command, log: &Path) -> Outcome<Self> {
        let output = File::create(log).doing(format!("creating {}", log.display()))?;
        let errors = output.try_clone().doing("sharing a file")?;
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        Ok(Running {
            name: name.to_owned(),
            child: child.doing(format!("starting {name}"))?,
            log: Some(log.to_owned()),
        })
    }

    /// Takes over a child that was started elsewhere.
    pub(crate) fn adopt(name: &str, child: Child) -> Self {
        Running { name: name.to_owned(), child, log: None }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until something is so, as long as the program runs.
    pub(crate) fn wait_until(&mut self, what: &str, patience: Duration, is_so: impl Fn() -> bool) -> Outcome<()> {
        let begun = Instant::now();
        while !is_so() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(wrong(format!("{} has ended with {status} before it {what}:\n{}", self.name, self.said())));
            }
            if begun.elapsed() > patience {
                return Err(wrong(format!("{} has not {what} in {patience:?}:\n{}", self.name, self.said())));
            }
            std::thread::sleep(TICK);
        }
        Ok(())
    }
}

impl Running {
    fn said(&self) -> String {
        self.log.as_ref().and_then(|log| std::fs::read_to_string(log).ok()).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // A child that has ended already was waited for, so its number is still its own.
        if let (Some(id), Ok(None)) = (id, self.child.try_wait()) {
            let _ = kill_process(id, Signal::TERM);
        }
        let begun = Instant::now();
        while begun.elapsed() < END {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(TICK);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Allows this process and those that it starts as many open files as may be; returns how many.
pub(crate) fn raise_descriptors_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX))
}
