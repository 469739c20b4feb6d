//! A process that a test started. It is ended by its own id when its owner is dropped, and by the system when the test
//! program is killed.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child as Process, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};

/// How long a process may take to end before it is killed.
const STOP: Duration = Duration::from_secs(40);

/// A running process.
pub struct Child {
    name: String,
    process: Process,
}

impl Child {
    /// Starts a program with its output in a file. It is interrupted when this program dies.
    pub fn start(name: &str, program: &Path, arguments: &[&str], output: &Path) -> Result<Self, Failed> {
        let log = File::create(output)?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "INT", "--"]).arg(program).args(arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let process = command.spawn().map_err(|error| format!("cannot start {name}: {error}"))?;
        Ok(Child { name: name.to_owned(), process })
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// Sends a signal, if the process still runs.
    pub fn signal(&mut self, signal: Signal) {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        if let (true, Some(pid)) = (self.is_running(), pid) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits for the end.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus, Failed> {
        let begun = Instant::now();
        while begun.elapsed() < within {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!("{} did not end within {} s", self.name, within.as_secs()).into())
    }

    /// Ends the process, gently if it lets itself be ended.
    pub fn stop(&mut self, signal: Signal) -> Result<ExitStatus, Failed> {
        self.signal(signal);
        let ended = self.wait(STOP);
        if ended.is_err() {
            self.signal(Signal::KILL);
            let _ = self.process.wait();
        }
        ended
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.stop(Signal::TERM);
    }
}
