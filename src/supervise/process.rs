//! One child process: started, watched until it is gone, and signalled only while it is there.
//!
//! One task owns the child. It alone sends signals and it alone reaps, one after the other; so a signal can never reach
//! another process that was given the same number later.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::notify::NotifySocket;
use super::plan::ProcessPlan;
use super::{health, launch, output};
use crate::upstream::Address;

/// How long the last lines of a process that is gone are waited for.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(1);

/// Variables of dendron's own service manager, which mean nothing to its children.
const OWN_VARIABLES: [&str; 5] = ["WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It never ran; the text says why.
    NotStarted(String),
}

/// A process that runs.
#[derive(Debug)]
pub(super) struct Running {
    /// Its number.
    pub(super) pid: u32,
    orders: mpsc::Sender<Order>,
}

/// News of the process with this index.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) index: usize,
    pub(super) news: News,
}

/// What happened to a process.
#[derive(Debug)]
pub(super) enum News {
    /// It says that it is ready, and is healthy.
    Ready,
    /// It says that it is ending.
    Leaving,
    /// It is gone and reaped.
    Exited(Exit),
}

/// What the supervisor wants of a process.
#[derive(Clone, Copy, Debug)]
enum Order {
    Terminate,
    Kill,
}

/// What the task that owns the child knows.
struct Process {
    index: usize,
    child: Child,
    pid: Pid,
    /// Comes whenever some child has ended.
    child_signals: tokio::signal::unix::Signal,
    readers: Vec<JoinHandle<()>>,
    health: Option<Address>,
    socket: Arc<NotifySocket>,
    orders: mpsc::Receiver<Order>,
    events: mpsc::Sender<Event>,
}

/// Starts a process; its news come as events. Must be called on the thread that lives as long as the process shall, and
/// in that thread's Tokio runtime.
pub(super) fn start(
    index: usize,
    plan: &ProcessPlan,
    launcher: &Path,
    socket: Arc<NotifySocket>,
    events: mpsc::Sender<Event>,
) -> io::Result<Running> {
    if let Some(path) = plan.working_directory.as_deref().filter(|path| !path.is_dir()) {
        // Otherwise the same error would seem to mean the program.
        return Err(io::Error::other(format!("its working directory {} is not there", path.display())));
    }
    socket.clear();
    // Before the start, so that no end goes unnoticed.
    let child_signals = signal(SignalKind::child())?;
    let mut child = command(plan, launcher, &socket).spawn()?;
    let readers = vec![
        child.stdout.take().map(|stream| tokio::spawn(output::pass_on(stream, plan.name.clone()))),
        child.stderr.take().map(|stream| tokio::spawn(output::pass_on(stream, plan.name.clone()))),
    ];
    // Should one of these fail, the child is dropped and thereby killed.
    let number = child.id().ok_or_else(|| io::Error::other("it has no process number"))?;
    let pid = i32::try_from(number).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("its process number is out of range"))?;
    let (sender, orders) = mpsc::channel(4);
    let readers = readers.into_iter().flatten().collect();
    let health = plan.health.clone();
    let process = Process { index, child, pid, child_signals, readers, health, socket, orders, events };
    tokio::spawn(process.run());
    Ok(Running { pid: number, orders: sender })
}

impl Running {
    /// Asks the process to end.
    pub(super) fn terminate(&self) {
        self.order(Order::Terminate);
    }

    /// Ends the process, and what it has started in its group.
    pub(super) fn kill(&self) {
        self.order(Order::Kill);
    }

    fn order(&self, order: Order) {
        // Two orders in a process's life fit the queue; and to one that is gone there is nothing to say.
        let _ = self.orders.try_send(order);
    }
}

impl Process {
    async fn run(mut self) {
        self.watch().await;
        let exit = self.reap().await;
        let (index, events) = (self.index, self.events.clone());
        // Nothing of the process is held any more when the supervisor hears of its end, which may be its own end too.
        drop(self);
        let _ = events.send(Event { index, news: News::Exited(exit) }).await;
    }

    /// Follows the process until it has ended.
    async fn watch(&mut self) {
        let health = self.health.take();
        let healthy = async {
            if let Some(address) = &health {
                health::until_healthy(address).await;
            }
        };
        let mut healthy = std::pin::pin!(healthy);
        let mut says_ready = false;
        let mut is_ready = false;
        loop {
            tokio::select! {
                () = ended(self.pid, &mut self.child_signals) => return,
                Some(order) = self.orders.recv() => self.signal(order),
                notice = self.socket.receive() => {
                    says_ready |= notice.ready;
                    if notice.stopping {
                        self.tell(News::Leaving).await;
                    }
                }
                () = &mut healthy, if says_ready && !is_ready => {
                    is_ready = true;
                    self.tell(News::Ready).await;
                }
            }
        }
    }

    /// SIGTERM goes to the process alone, which knows best how to end what it started; SIGKILL to its whole group.
    fn signal(&self, order: Order) {
        let sent = match order {
            Order::Terminate => kill_process(self.pid, Signal::TERM),
            Order::Kill => kill_process(self.pid, Signal::KILL).and(self.kill_group()),
        };
        if let Err(error) = sent {
            tracing::warn!(pid = self.pid.as_raw_pid(), %error, "cannot signal a process");
        }
    }

    /// The group has the process's own number, which is not given away before the process is reaped.
    fn kill_group(&self) -> rustix::io::Result<()> {
        kill_process_group(self.pid, Signal::KILL)
    }

    /// Takes the ended process's status, after ending what it left behind in its group: that would hold its listeners.
    async fn reap(&mut self) -> Exit {
        // Fails when nothing is left, or when the process has moved to a group of its own making.
        let _ = self.kill_group();
        let exit = match self.child.wait().await {
            Ok(status) => Exit::from(status),
            Err(error) => Exit::NotStarted(format!("its end could not be read: {error}")),
        };
        for reader in &mut self.readers {
            // A process outside the group may hold the stream open for ever.
            if tokio::time::timeout(OUTPUT_TIMEOUT, &mut *reader).await.is_err() {
                reader.abort();
            }
        }
        exit
    }

    async fn tell(&self, news: News) {
        // Nobody listens only when the supervisor is gone, and then the child is killed as this is dropped.
        let _ = self.events.send(Event { index: self.index, news }).await;
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, signal) => Exit::Signal(signal.unwrap_or_default()),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(formatter, "exit code {code}"),
            Exit::Signal(signal) => write!(formatter, "signal {signal}"),
            Exit::NotStarted(reason) => write!(formatter, "not started: {reason}"),
        }
    }
}

/// Returns once the child has ended, and leaves it unreaped.
async fn ended(pid: Pid, child_signals: &mut tokio::signal::unix::Signal) {
    let look = || waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT);
    while let Ok(None) = look() {
        child_signals.recv().await;
    }
}

fn command(plan: &ProcessPlan, launcher: &Path, socket: &NotifySocket) -> tokio::process::Command {
    let mut command = tokio::process::Command::from(launch::command_line(launcher, &plan.command));
    for name in OWN_VARIABLES {
        command.env_remove(name);
    }
    command.envs(&plan.environment).env("NOTIFY_SOCKET", socket.path());
    if let Some(path) = &plan.working_directory {
        command.current_dir(path);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own, so that Ctrl-C in dendron's terminal does not reach it: the supervisor decides the order.
    command.process_group(0).kill_on_drop(true);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeMap;
    use std::ffi::OsStr;

    use super::super::notify::Folder;

    #[test]
    fn ends_are_told() {
        let table = [
            (Exit::from(ExitStatus::from_raw(0)), "exit code 0"),
            (Exit::from(ExitStatus::from_raw(3 << 8)), "exit code 3"),
            (Exit::from(ExitStatus::from_raw(9)), "signal 9"),
            (Exit::NotStarted("no such file".to_owned()), "not started: no such file"),
        ];
        for (exit, expected) in table {
            assert_eq!(exit.to_string(), expected);
        }
    }

    #[tokio::test]
    async fn the_environment_is_the_plans_and_the_socket_is_the_supervisors() {
        let directory = tempfile::tempdir().expect("makes a folder");
        let socket = Folder::open(directory.path()).and_then(|folder| folder.bind(0)).expect("binds");
        let variables = [("PYTHONPATH", "/opt"), ("NOTIFY_SOCKET", "/somewhere/else")];
        let plan = ProcessPlan {
            name: "main".to_owned(),
            command: vec!["/bin/true".to_owned()],
            working_directory: Some(directory.path().to_owned()),
            environment: BTreeMap::from(variables.map(|(name, value)| (name.to_owned(), value.to_owned()))),
            health: None,
            main: true,
        };
        let command = command(&plan, Path::new("/usr/bin/dendron"), &socket);
        let command = command.as_std();
        let value = |name: &str| command.get_envs().find(|(found, _)| *found == name).map(|(_, value)| value);
        assert_eq!(value("PYTHONPATH"), Some(Some(OsStr::new("/opt"))));
        assert_eq!(value("NOTIFY_SOCKET"), Some(Some(socket.path().as_os_str())));
        assert_eq!(value("WATCHDOG_USEC"), Some(None), "is taken away");
        assert_eq!(command.get_current_dir(), Some(directory.path()));
    }
}
