//! Optional: starts, watches and stops Synapse's own processes.
//!
//! - [`settings`]: `supervise:` in dendron.yaml
//! - [`plan`]: what is to run
//! - `schedule`: what is done when; pure
//! - `watch`: the thread that does it
//! - `process`: one child, from its start until it is reaped
//! - [`launch`]: the hidden subcommand by which a child ends with dendron
//! - `notify`, `health`: how a child says, and shows, that it is ready
//! - `output`: what a child writes
//!
//! Main is started first, the workers when it is ready. One that dies is started again, after a wait that grows. On stop
//! the workers end first. Nothing is signalled that was not started here. Deliberately not here: a process that runs but
//! does not answer is left alone, and nothing is started twice to be replaced without a gap.

mod health;
pub mod launch;
mod notify;
mod output;
pub mod plan;
mod process;
mod schedule;
pub mod settings;
mod watch;

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::SystemTime;

pub use output::LOG_TARGET;
pub use plan::{Plan, ProcessPlan};
pub use process::Exit;
pub use schedule::ProcessState;
pub use settings::Settings;

/// The running supervisor. Clones are handles of the same one.
///
/// When the last handle is dropped everything is stopped as by [`Supervisor::stop`], with nobody waiting for it.
#[derive(Clone, Debug)]
pub struct Supervisor {
    shared: Arc<Shared>,
    stop: Arc<tokio::sync::watch::Sender<bool>>,
}

/// One process as the status page and the metrics show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessStatus {
    /// Its name in the plan.
    pub name: String,
    /// Whether it is Synapse's main process.
    pub main: bool,
    /// Its number while it runs.
    pub pid: Option<u32>,
    /// What it is doing.
    pub state: ProcessState,
    /// Since when it is doing that.
    pub since: SystemTime,
    /// How often it was started again.
    pub restarts: u64,
    /// How it ended the last time.
    pub last_exit: Option<Exit>,
}

/// Why the supervisor cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder for the sockets cannot be made or locked.
    #[error("cannot use the folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another user could speak in the processes' names.
    #[error("{} is not a folder of the user that runs dendron", path.display())]
    FolderOfOthers {
        /// The folder.
        path: PathBuf,
    },
    /// Two supervisors would run two Synapses on one database.
    #[error("another dendron supervises Synapse from the folder {}", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A process's socket cannot be made; its path may be too long.
    #[error("cannot make the socket {}: {source}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A process has an empty command.
    #[error("the process {process} has no command")]
    NoCommand {
        /// The process's name.
        process: String,
    },
    /// The supervisor's thread cannot be started.
    #[error("cannot start the supervisor's thread: {0}")]
    Thread(io::Error),
}

/// What the supervisor's thread and the handles share.
#[derive(Debug, Default)]
struct Shared {
    /// A lock, because it is written a few times in a process's life and read by the status page only.
    board: Mutex<Board>,
    finished: Condvar,
}

#[derive(Debug, Default)]
struct Board {
    processes: Vec<ProcessStatus>,
    finished: bool,
}

/// Says that the thread has ended, however it ended.
struct Finish(Arc<Shared>);

impl Supervisor {
    /// Starts the plan's processes and returns at once; [`Supervisor::status`] tells how far they are.
    ///
    /// `launcher` is the program that has the subcommand [`launch::SUBCOMMAND`], which is [`launch::own_program`]. To be
    /// called after dendron has gone to the background, if it does: threads do not outlive a fork.
    ///
    /// # Errors
    ///
    /// When the runtime directory cannot be used or is in use, or a command is empty. That a program cannot be run is no
    /// error here: it is logged, and tried again.
    pub fn start(plan: Plan, launcher: PathBuf) -> Result<Supervisor, Error> {
        let shared = Arc::new(Shared::default());
        let (stop, stop_receiver) = tokio::sync::watch::channel(false);
        let (answer, prepared) = mpsc::sync_channel(1);
        let finish = Finish(Arc::clone(&shared));
        // The processes are killed when this thread ends (see `launch`), so it is theirs alone, for all of their life.
        let body = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let prepare = |runtime: &tokio::runtime::Runtime| {
                let _context = runtime.enter();
                watch::Watch::new(plan, launcher, Arc::clone(&finish.0))
            };
            let watch = runtime.map_err(Error::Thread).and_then(|runtime| Ok((prepare(&runtime)?, runtime)));
            match watch {
                Ok((watch, runtime)) => {
                    let _ = answer.send(Ok(()));
                    runtime.block_on(watch.run(stop_receiver));
                }
                Err(error) => _ = answer.send(Err(error)),
            }
            drop(finish);
        };
        std::thread::Builder::new().name("supervise".to_owned()).spawn(body).map_err(Error::Thread)?;
        let gone = || Err(Error::Thread(io::Error::other("it ended at once")));
        prepared.recv().unwrap_or_else(|_| gone())?;
        Ok(Supervisor { shared, stop: Arc::new(stop) })
    }

    /// Every process, in the plan's order.
    pub fn status(&self) -> Vec<ProcessStatus> {
        self.shared.board().processes.clone()
    }

    /// Whether every process is ready.
    pub fn ready(&self) -> bool {
        self.shared.board().processes.iter().all(|process| process.state == ProcessState::Ready)
    }

    /// Ends every process, workers first, and returns when all are gone: after at most twice the plan's stop timeout, if
    /// the kernel can end them. It blocks, and so is nothing for an asynchronous task.
    pub fn stop(&self) {
        self.stop.send_replace(true);
        let running = |board: &mut Board| !board.finished;
        let gone = self.shared.finished.wait_while(self.shared.board(), running);
        drop(gone.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Shared {
    fn show(&self, processes: Vec<ProcessStatus>) {
        self.board().processes = processes;
    }

    /// A holder that panicked cannot have left the board half written.
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        self.0.board().finished = true;
        self.0.finished.notify_all();
    }
}
