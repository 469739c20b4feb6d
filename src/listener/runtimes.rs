//! How many tasks live in the runtimes that serve connections: a task that never ends would be seen here.
//!
//! Pingora makes the runtimes itself, one for each service, and hands them to nobody. So each is noticed when it first
//! serves a connection. Not here: the runtimes of the admin listener and of background services, whose tasks are few.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;

/// The runtimes that have served a connection. Cloning it clones a handle.
#[derive(Clone, Debug, Default)]
pub struct Runtimes(Arc<Mutex<Vec<Handle>>>);

impl Runtimes {
    /// Takes note of the runtime that this is called on.
    pub fn notice(&self) {
        let Ok(current) = Handle::try_current() else { return };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.iter().any(|handle| handle.id() == current.id()) {
            known.push(current);
        }
    }

    /// How many tasks live in them.
    pub fn tasks(&self) -> usize {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().map(|handle| handle.metrics().num_alive_tasks()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_of_every_runtime_are_counted_once() {
        let runtimes = Runtimes::default();
        runtimes.notice();
        assert_eq!(runtimes.tasks(), 0, "here is no runtime");
        let build = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (one, other) = (build(), build());
        for runtime in [&one, &other, &one] {
            runtime.block_on(async { runtimes.notice() });
        }
        let tasks = [one.spawn(std::future::pending::<()>()), other.spawn(std::future::pending())];
        assert_eq!(runtimes.tasks(), 2);
        for task in tasks {
            task.abort();
            assert!(one.block_on(task).is_err());
        }
        // A task that was waited for is forgotten a moment later.
        let begun = std::time::Instant::now();
        while runtimes.tasks() > 0 && begun.elapsed().as_secs() < 10 {
            std::thread::yield_now();
        }
        assert_eq!(runtimes.tasks(), 0);
    }
}
