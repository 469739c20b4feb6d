//! The supervisor with real processes: small Python programs that say ready, end or die as a test wants.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::*;
use crate::upstream::Address;

/// Writes what it does to the journal. `ready` says that it is ready, `stubborn` ignores SIGTERM, `slow` takes its time to
/// end, `fork` leaves a process behind, and `exit` ends at once with code 3.
const CHILD: &str = r#"
import os, signal, socket, subprocess, sys, time

name, wishes = sys.argv[1], sys.argv[2:]

def write(word):
    with open("journal", "a") as journal:
        journal.write(f"{word} {name}\n")

def end(*_):
    write("stop")
    time.sleep(1 if "slow" in wishes else 0)
    write("gone")
    os._exit(0)

signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in wishes else end)
write("start")
print(f"{name} runs")
if "fork" in wishes:
    left_behind = subprocess.Popen(["sleep", "60"])
    with open(f"{name}.left", "w") as file:
        file.write(f"{left_behind.pid}\n")
if "exit" in wishes:
    sys.exit(3)
if "ready" in wishes:
    write("ready")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.connect(os.environ["NOTIFY_SOCKET"])
        notify.sendall(b"READY=1\nMAINPID=%d" % os.getpid())
while True:
    time.sleep(60)
"#;

/// A folder in which the processes run and write.
struct Stage {
    directory: TempDir,
}

impl Stage {
    /// The launcher is `sh launch --parent PID -- COMMAND…`, which reads the file `launch` in the working directory, which
    /// makes this test program do what dendron's subcommand does. So nothing outlives a test that fails.
    fn new() -> Stage {
        let directory = tempfile::tempdir().expect("makes a folder");
        std::fs::write(directory.path().join("child.py"), CHILD).expect("writes");
        let own_program = std::env::current_exe().expect("has a path");
        let script = format!(
            "parent=$2; shift 3; exec '{}' --ignored --exact supervise::tests::as_the_launcher --nocapture -- $parent \"$@\"",
            own_program.display()
        );
        std::fs::write(directory.path().join("launch"), script).expect("writes");
        Stage { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn start(&self, processes: Vec<ProcessPlan>) -> Supervisor {
        Supervisor::start(plan(self.path(), processes), PathBuf::from("/bin/sh")).expect("starts")
    }

    fn journal(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path().join("journal")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn plan(directory: &Path, processes: Vec<ProcessPlan>) -> Plan {
    let in_directory = |process| ProcessPlan { working_directory: Some(directory.to_owned()), ..process };
    Plan {
        processes: processes.into_iter().map(in_directory).collect(),
        stop_timeout: Duration::from_secs(10),
        runtime_directory: directory.join("run"),
    }
}

/// A process that runs the program above; the one that is named `main` is the main process.
fn process(name: &str, wishes: &[&str]) -> ProcessPlan {
    let words = ["python3", "child.py", name].into_iter().chain(wishes.iter().copied());
    ProcessPlan {
        name: name.to_owned(),
        command: words.map(str::to_owned).collect(),
        working_directory: None,
        environment: BTreeMap::new(),
        health: None,
        main: name == "main",
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn pid_of(supervisor: &Supervisor, index: usize) -> Pid {
    let number = supervisor.status()[index].pid.expect("runs");
    Pid::from_raw(i32::try_from(number).expect("fits")).expect("is no zero")
}

fn pid_in(path: &Path) -> Option<Pid> {
    std::fs::read_to_string(path).ok()?.strip_suffix('\n')?.parse().ok().and_then(Pid::from_raw)
}

/// Whether the process is there and more than a remainder that its parent has not read yet.
fn is_alive(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

#[test]
fn main_starts_first_and_ends_last() {
    let stage = Stage::new();
    let slow = &["ready", "slow"];
    let supervisor = stage.start(vec![process("sync1", slow), process("main", &["ready"]), process("sync2", slow)]);
    eventually("all are ready", || supervisor.ready());
    let journal = stage.journal();
    assert_eq!(journal[..2], ["start main", "ready main"]);
    let pids: Vec<Pid> = (0..3).map(|index| pid_of(&supervisor, index)).collect();
    for pid in &pids {
        assert_eq!(rustix::process::getpgid(Some(*pid)).expect("is there"), *pid, "a group of its own");
    }
    supervisor.stop();
    let journal = stage.journal();
    let position = |line: &str| journal.iter().position(|found| found == line).expect(line);
    assert!(position("stop sync1").max(position("stop sync2")) < position("gone sync1").min(position("gone sync2")));
    assert!(position("gone sync1").max(position("gone sync2")) < position("stop main"));
    for (status, pid) in supervisor.status().iter().zip(pids) {
        assert_eq!((status.state, status.pid, status.restarts), (ProcessState::Stopped, None, 0), "{}", status.name);
        assert_eq!(status.last_exit, Some(Exit::Code(0)), "{}", status.name);
        assert!(!Path::new(&format!("/proc/{}", pid.as_raw_pid())).exists(), "{} is reaped", status.name);
    }
    // A second call finds nothing to do.
    supervisor.stop();
}

#[test]
fn one_that_dies_is_started_again_and_the_others_are_left_alone() {
    let stage = Stage::new();
    let supervisor = stage.start(vec![process("main", &["ready"]), process("sync1", &["ready"])]);
    eventually("all are ready", || supervisor.ready());
    let (main, worker) = (pid_of(&supervisor, 0), pid_of(&supervisor, 1));
    let died = Instant::now();
    kill_process(main, Signal::KILL).expect("is there");
    eventually("main is started again", || supervisor.status()[0].restarts == 1);
    assert!(died.elapsed() >= Duration::from_millis(500));
    assert_eq!(supervisor.status()[0].last_exit, Some(Exit::Signal(9)));
    eventually("all are ready again", || supervisor.ready());
    assert_ne!(pid_of(&supervisor, 0), main);
    assert_eq!(pid_of(&supervisor, 1), worker);
    assert_eq!(supervisor.status()[1].restarts, 0);
    supervisor.stop();
}

#[test]
fn one_that_ends_at_once_is_not_started_at_once_and_workers_wait() {
    let stage = Stage::new();
    let supervisor = stage.start(vec![process("main", &["exit"]), process("sync1", &["ready"])]);
    eventually("main waits", || supervisor.status()[0].state == ProcessState::Backoff);
    eventually("main is started again", || supervisor.status()[0].restarts == 1);
    assert_eq!(supervisor.status()[0].last_exit, Some(Exit::Code(3)));
    eventually("main waits", || supervisor.status()[0].state == ProcessState::Backoff);
    assert_eq!(supervisor.status()[1].state, ProcessState::Waiting);
    assert!(!supervisor.ready());
    supervisor.stop();
    assert_eq!(stage.journal(), ["start main", "start main"]);
}

#[test]
fn one_that_ignores_sigterm_is_killed_after_the_timeout() {
    let stage = Stage::new();
    let mut plan = plan(stage.path(), vec![process("main", &["ready", "stubborn"])]);
    plan.stop_timeout = Duration::from_millis(400);
    let supervisor = Supervisor::start(plan, PathBuf::from("/bin/sh")).expect("starts");
    eventually("it is ready", || supervisor.ready());
    let asked = Instant::now();
    supervisor.stop();
    assert!(asked.elapsed() >= Duration::from_millis(400));
    assert_eq!(supervisor.status()[0].last_exit, Some(Exit::Signal(9)));
}

#[test]
fn what_a_process_leaves_behind_is_ended() {
    let stage = Stage::new();
    let supervisor = stage.start(vec![process("main", &["fork", "ready"])]);
    eventually("it is ready", || supervisor.ready());
    let left_behind = pid_in(&stage.path().join("main.left")).expect("wrote it");
    assert!(is_alive(left_behind));
    kill_process(pid_of(&supervisor, 0), Signal::KILL).expect("is there");
    eventually("the process left behind is gone", || !is_alive(left_behind));
    supervisor.stop();
}

#[test]
fn ready_needs_the_process_and_its_health() {
    let stage = Stage::new();
    let socket = stage.path().join("health.sock");
    let health = Some(Address::Unix(socket.clone()));
    let supervisor = stage.start(vec![ProcessPlan { health, ..process("main", &["ready"]) }]);
    eventually("it says that it is ready", || stage.journal().contains(&"ready main".to_owned()));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(supervisor.status()[0].state, ProcessState::Starting);
    let listener = UnixListener::bind(&socket).expect("binds");
    let (mut stream, _) = listener.accept().expect("accepts");
    let mut request = [0; 20];
    stream.read_exact(&mut request).expect("reads");
    assert_eq!(&request, b"GET /health HTTP/1.1");
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nOK").expect("writes");
    eventually("it is ready", || supervisor.ready());
    supervisor.stop();
}

#[test]
fn what_cannot_be_started_is_told_and_tried_again() {
    let stage = Stage::new();
    let missing = ProcessPlan { command: vec!["/nonexistent/program".to_owned()], ..process("main", &[]) };
    let supervisor = stage.start(vec![missing]);
    eventually("it is tried again", || supervisor.status()[0].restarts > 0);
    assert_eq!(supervisor.status()[0].last_exit, Some(Exit::Code(127)));
    supervisor.stop();

    let mut plan = plan(stage.path(), vec![process("main", &[])]);
    plan.processes[0].working_directory = Some(stage.path().join("missing"));
    let supervisor = Supervisor::start(plan, PathBuf::from("/bin/sh")).expect("starts");
    eventually("it is tried again", || supervisor.status()[0].restarts > 0);
    let exit = supervisor.status()[0].last_exit.clone().expect("failed");
    assert!(exit.to_string().contains("/missing is not there"), "{exit}");
    supervisor.stop();
}

#[test]
fn a_plan_is_run_once_and_a_wrong_one_is_refused() {
    let stage = Stage::new();
    let supervisor = stage.start(vec![process("main", &[])]);
    let second = Supervisor::start(plan(stage.path(), vec![]), PathBuf::from("/bin/sh"));
    assert!(matches!(second, Err(Error::InUse { .. })));
    supervisor.stop();
    let mut far_away = plan(stage.path(), vec![process("main", &[])]);
    far_away.runtime_directory = stage.path().join("x".repeat(120));
    let started = Supervisor::start(far_away, PathBuf::from("/bin/sh"));
    assert!(matches!(started, Err(Error::Socket { .. })), "a socket's path has 107 bytes at most");
    let empty = ProcessPlan { command: vec![], ..process("main", &[]) };
    let third = Supervisor::start(plan(stage.path(), vec![empty]), PathBuf::from("/bin/sh"));
    assert!(matches!(third, Err(Error::NoCommand { process }) if process == "main"));
}

#[test]
fn without_a_handle_everything_ends() {
    let stage = Stage::new();
    let supervisor = stage.start(vec![process("main", &["ready"]), process("sync1", &["ready"])]);
    eventually("all are ready", || supervisor.ready());
    let pids = [pid_of(&supervisor, 0), pid_of(&supervisor, 1)];
    drop(supervisor);
    eventually("all are gone", || !pids.into_iter().any(is_alive));
    assert_eq!(stage.journal().last().map(String::as_str), Some("gone main"));
}

#[test]
fn processes_end_with_a_supervisor_that_is_killed() {
    let stage = Stage::new();
    let mut supervisor = Command::new(std::env::current_exe().expect("has a path"))
        .args(["--ignored", "--exact", "supervise::tests::as_a_supervisor", "--nocapture", "--"])
        .arg(stage.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let pids = stage.path().join("pids");
    eventually("all are ready", || pids.exists());
    let pids = std::fs::read_to_string(pids).expect("reads");
    let pids: Vec<Pid> = pids.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect();
    assert_eq!(pids.len(), 2);
    assert!(pids.iter().copied().all(is_alive));
    supervisor.kill().expect("is there");
    supervisor.wait().expect("is reaped");
    eventually("all are gone", || !pids.iter().copied().any(is_alive));
    // Killed, they said no goodbye.
    assert!(!stage.journal().iter().any(|line| line.starts_with("stop")));
}

#[test]
#[ignore = "a part of other tests, as a process of its own"]
fn as_a_supervisor() {
    let directory = arguments().pop().map(PathBuf::from).expect("is given a folder");
    let processes = vec![process("main", &["ready"]), process("sync1", &["ready", "stubborn"])];
    let supervisor = Supervisor::start(plan(&directory, processes), PathBuf::from("/bin/sh")).expect("starts");
    eventually("all are ready", || supervisor.ready());
    let pids = [pid_of(&supervisor, 0), pid_of(&supervisor, 1)].map(|pid| pid.as_raw_pid().to_string());
    std::fs::write(directory.join("unfinished"), pids.join(" ")).expect("writes");
    std::fs::rename(directory.join("unfinished"), directory.join("pids")).expect("renames");
    std::thread::sleep(Duration::from_secs(60));
    supervisor.stop();
}

#[test]
#[ignore = "a part of other tests, as a process of its own"]
fn as_the_launcher() {
    let arguments = arguments();
    let (parent, command) = arguments.split_first().expect("is given a parent");
    let parent = parent.to_str().and_then(|parent| parent.parse().ok()).expect("is a number");
    let error = launch::launch(parent, command);
    std::process::exit(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 });
}

/// What a test was given for itself.
fn arguments() -> Vec<OsString> {
    std::env::args_os().skip_while(|argument| argument != "--").skip(1).collect()
}
