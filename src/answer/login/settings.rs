//! `login` in dendron.yaml.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::Deserialize;

use super::limits::Store;

/// How logins are answered.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct LoginSettings {
    /// Whether they are answered here at all, where nothing speaks against it.
    pub enabled: bool,
    /// How many threads check passwords, each several side by side; one less than there are cores if not given.
    pub threads: Option<NonZeroUsize>,
    /// How many logins may wait for such a thread.
    pub queue: NonZeroUsize,
    /// Where the limits are kept.
    pub limits: Store,
    /// As whom the users' database is read; as Synapse if not given.
    pub database_role: Option<DatabaseRole>,
}

/// A role of dendron's own in Synapse's database.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct DatabaseRole {
    /// Its name.
    pub user: String,
    /// The file that its password is in, if it needs one.
    pub password_path: Option<PathBuf>,
}

/// At Synapse's usual cost five seconds of work for one thread with four lanes, and sixteen for one with a single lane.
const QUEUE: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// The most threads: as many cores as a large machine has. Each takes a stack.
pub const THREADS_MAX: usize = 256;
/// The most logins that may wait: each holds a connection and a body, and in the longest wait that there is
/// (`hashing::WAIT_MAX`) no machine comes that far.
pub const QUEUE_MAX: usize = 16_384;

impl Default for LoginSettings {
    fn default() -> Self {
        LoginSettings { enabled: true, threads: None, queue: QUEUE, limits: Store::default(), database_role: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_written() {
        let read = |text: &str| serde_yaml::from_str::<LoginSettings>(text);
        assert_eq!(read("{}").unwrap(), LoginSettings::default());
        let all = read("{enabled: false, threads: 3, queue: 10, limits: redis}").unwrap();
        assert_eq!((all.enabled, all.threads.map(NonZeroUsize::get), all.queue.get()), (false, Some(3), 10));
        assert_eq!((all.limits, read("{limits: memory}").unwrap().limits), (Store::Redis, Store::Memory));
        for wrong in ["{threads: 0}", "{queue: 0}", "{limits: disk}", "{thread: 1}"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
