//! `./dev run`, as somebody meets it who has just cloned the project. `./dev test` is what runs this.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Test;
use crate::harness::child::Child;
use crate::harness::eventually::eventually;
use crate::harness::http::Client;
use crate::harness::matrix::{User, encoded, expect_ok};
use crate::harness::stacks::Stacks;
use crate::harness::{checkout, dendron, dev_folder, ensure, ensure_eq, processes, program, synapse_python};

pub const TESTS: &[Test] = &[
    ("two_commands::dev_alone_lists_its_commands", dev_alone_lists_its_commands),
    ("two_commands::dev_run_in_a_fresh_clone", dev_run_in_a_fresh_clone),
    ("two_commands::a_normal_user_runs_a_stack", a_normal_user_runs_a_stack),
];

/// How long the first start may take: most of it is the release build, if nobody has made it yet.
const FIRST_START: Duration = Duration::from_secs(1500);
/// How long a start may take when everything is installed and built.
const NEXT_START: Duration = Duration::from_secs(120);
/// How long everything may take to stop in order.
const STOP: Duration = Duration::from_secs(60);
/// How long a short command may take.
const MOMENT: Duration = Duration::from_secs(60);
/// The last line that is printed when all is up.
const UP: &str = "Ctrl-C stops everything.";
/// The last line that is printed when all is down.
const DOWN: &str = "nothing is left running";
/// What a terminal makes of Ctrl-C.
const CTRL_C: &[u8] = b"\x03";
/// The user `nobody` and its group, as Debian numbers them.
const NOBODY: u32 = 65534;

/// What `./dev run` has printed for its user.
struct Introduction {
    client: Client,
    status: Client,
    user: String,
    password: String,
}

fn dev_alone_lists_its_commands(_: &Stacks) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let said = program::run(&checkout().join("dev"), &[], &folder.path().join("dev.out"), MOMENT)?;
    for command in ["run", "test", "lint"] {
        let line = said.lines().find(|line| line.split_whitespace().take(2).eq(["./dev", command]));
        let line = line.ok_or_else(|| format!("no line for {command} in:\n{said}"))?;
        ensure!(line.split_whitespace().count() > 4, "{command} is not explained: {line}");
    }
    for line in said.lines() {
        ensure!(line.starts_with("./dev "), "a line that is no command: {line}");
    }
    Ok(())
}

fn dev_run_in_a_fresh_clone(_: &Stacks) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let clone = fresh_clone(&folder)?;

    let terminal = Terminal::start(&clone, &folder.path().join("first.out"))?;
    let introduction = terminal.wait_until_up()?;
    let user = log_in(&introduction)?;
    let room = user.create_room()?;
    let event = user.say(&room, "1", "hello from a fresh clone")?;
    read_back(&user, &room, &event)?;
    everything_is_supervised(&introduction)?;
    terminal.stop_by_ctrl_c()?;
    nothing_is_left(&clone, &introduction)?;

    // At once again, now without a terminal, as a service would be started; the user and the message are still there.
    let begun = Instant::now();
    let output = folder.path().join("second.out");
    let mut second = start_without_terminal(&clone, &output)?;
    let again = eventually(NEXT_START, || Introduction::read(&output, second.is_running()))?;
    println!("the second start took {} s", begun.elapsed().as_secs());
    let said = std::fs::read_to_string(&output)?;
    for work in ["installing", "Compiling"] {
        ensure!(!said.contains(work), "the second start does work of the first again ({work}):\n{said}");
    }
    ensure_eq!(again.password, introduction.password, "the password of the second start");
    ensure_eq!(again.client.base(), introduction.client.base(), "the address of the second start");
    read_back(&user.through(&again.client), &room, &event)?;
    let ended = second.stop(Signal::TERM)?;
    ensure_eq!(ended.code(), Some(0), "the exit code after SIGTERM");
    ensure!(std::fs::read_to_string(&output)?.trim_end().ends_with(DOWN), "it does not say that all is down");
    nothing_is_left(&clone, &again)
}

/// PostgreSQL refuses to run as root, so a stack does one thing for root and another for everybody else. The rest of
/// the suite shows what it does for whoever runs the suite; this shows the other one, if root does.
fn a_normal_user_runs_a_stack(_: &Stacks) -> Result<(), Failed> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: the suite is run by a normal user, so every other test shows this");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    // The way into it, and the folder of the stack.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711))?;
    let stack = folder.path().join("stack");
    std::fs::create_dir(&stack)?;
    chown(&stack, Some(NOBODY), Some(NOBODY))?;

    let script = checkout().join("scripts/stack.py");
    let (python, number) = (synapse_python(), NOBODY.to_string());
    // The signal at the death of this program is asked for again, because a change of the user takes it back.
    let as_nobody = ["--reuid", &number, "--regid", &number, "--clear-groups", "--pdeathsig", "INT"];
    let reach = ["test", "-x", path_text(dendron()), "-a", "-x", path_text(&python), "-a", "-r", path_text(&script)];
    let probe = Command::new("setpriv").args(as_nobody).args(reach).current_dir("/").status()?;
    if !probe.success() {
        println!("skipped: the user `nobody` cannot reach {} or what it needs", checkout().display());
        return Ok(());
    }
    let arguments = ["run", "--dir", path_text(&stack), "--shape", "monolith", "--dendron", path_text(dendron())];
    let arguments = [&as_nobody[..], &[path_text(&python), path_text(&script)], &arguments].concat();
    let output = folder.path().join("nobody.out");
    let mut running = Child::start("a stack of nobody's", Path::new("setpriv"), &arguments, &output)?;
    let introduction = eventually(NEXT_START, || Introduction::read(&output, running.is_running()))?;
    log_in(&introduction)?;
    for process in processes::of_folder(&stack) {
        let owner = std::fs::metadata(format!("/proc/{}", process.id)).map(|data| data.uid());
        ensure!(owner.as_ref().is_ok_and(|owner| *owner == NOBODY), "{process:?} belongs to {owner:?}");
    }
    let ended = running.stop(Signal::INT)?;
    ensure_eq!(ended.code(), Some(0), "the exit code");
    nothing_is_left(&stack, &introduction)
}

/// A clone of what is committed. It shares with the checkout what takes minutes to make and is made from pinned files:
/// Synapse's Python environment, which `./dev` checks against its own list of requirements and makes anew if that is
/// another one, and the folder that cargo builds in.
fn fresh_clone(folder: &TempDir) -> Result<PathBuf, Failed> {
    let clone = folder.path().join("dendron");
    let arguments = ["clone", "--quiet", path_text(checkout()), path_text(&clone)];
    program::run(Path::new("git"), &arguments, &folder.path().join("clone.out"), MOMENT)?;
    std::fs::create_dir(clone.join(".dev"))?;
    std::os::unix::fs::symlink(std::fs::canonicalize(dev_folder().join("venv"))?, clone.join(".dev/venv"))?;
    Ok(clone)
}

/// The folder in which cargo has built this test's dendron, some `target/debug/dendron`.
fn cargo_target() -> PathBuf {
    dendron().ancestors().nth(2).unwrap_or_else(|| checkout()).to_owned()
}

/// What cargo has told this program of its package, which somebody who types a command has not in his environment: a build
/// under `./dev run` would take it for a change, and build again what is there.
fn told_by_cargo() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    names.filter(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")).collect()
}

/// `./dev run` in a terminal of its own.
struct Terminal {
    process: Process,
    output: PathBuf,
}

impl Terminal {
    fn start(clone: &Path, output: &Path) -> Result<Self, Failed> {
        let log = File::create(output)?;
        let mut command = Command::new("setpriv");
        // `script` makes a terminal, types into it what it is given, and ends with the exit code of what ran there; with
        // `exec` that is the command itself, and not a shell that Ctrl-C has ended too.
        command.args(["--pdeathsig", "TERM", "script", "--quiet", "--flush", "--return"]);
        command.args(["--command", "exec ./dev run", "/dev/null"]);
        command.current_dir(clone).env("CARGO_TARGET_DIR", cargo_target()).env("SHELL", "/bin/sh");
        for name in told_by_cargo() {
            command.env_remove(name);
        }
        command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        Ok(Terminal { process: command.spawn()?, output: output.to_owned() })
    }

    fn wait_until_up(&self) -> Result<Introduction, Failed> {
        let runs = || processes::command_of(self.process.id()).is_some();
        eventually(FIRST_START, || Introduction::read(&self.output, runs()))
    }

    /// Types Ctrl-C, which the terminal turns into a signal for everything in its foreground, as it does for a person.
    fn stop_by_ctrl_c(mut self) -> Result<(), Failed> {
        // It stays open: to end the input would be to type Ctrl-D.
        let mut keyboard = self.process.stdin.take().ok_or("the terminal has no keyboard")?;
        keyboard.write_all(CTRL_C)?;
        let ended = eventually(STOP, || {
            let said = std::fs::read_to_string(&self.output)?;
            Ok(self.process.try_wait()?.ok_or_else(|| format!("still running after Ctrl-C; it said:\n{said}"))?)
        })?;
        drop(keyboard);
        let said = std::fs::read_to_string(&self.output)?;
        ensure_eq!(ended.code(), Some(0), "the exit code after Ctrl-C; it said:\n{said}\n");
        ensure!(said.trim_end().ends_with(DOWN), "it does not say that all is down:\n{said}");
        Ok(())
    }
}

impl Drop for Terminal {
    /// Closes the terminal, as somebody does who closes its window; what runs in it is told so, and stops.
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            let pid = i32::try_from(self.process.id()).ok().and_then(rustix::process::Pid::from_raw);
            if let Some(pid) = pid {
                let _ = rustix::process::kill_process(pid, Signal::TERM);
            }
            let _ = self.process.wait();
        }
    }
}

/// `./dev run` as the leader of a group of its own, which has no terminal.
fn start_without_terminal(clone: &Path, output: &Path) -> Result<Child, Failed> {
    let target = format!("CARGO_TARGET_DIR={}", path_text(&cargo_target()));
    let unset: Vec<String> = told_by_cargo().iter().map(|name| format!("--unset={name}")).collect();
    let mut arguments: Vec<&str> = unset.iter().map(String::as_str).collect();
    let command = clone.join("dev");
    arguments.extend([&target, path_text(&command), "run"]);
    // `env` sets the variables, and becomes the command.
    Child::start("./dev run", Path::new("env"), &arguments, output)
}

impl Introduction {
    fn read(output: &Path, runs: bool) -> Result<Self, Failed> {
        let said = std::fs::read_to_string(output)?;
        ensure!(said.contains(UP), "not up; running: {runs}; it said:\n{said}");
        let after = |word: &str| {
            let line = said.lines().find(|line| line.split_whitespace().next() == Some(word));
            let value = line.and_then(|line| line.split_whitespace().nth(1));
            value.map(str::to_owned).ok_or_else(|| format!("no {word} in:\n{said}"))
        };
        let status = after("status")?;
        ensure!(said.contains("curl -s "), "no line to try in:\n{said}");
        Ok(Introduction {
            client: Client::new(&after("clients")?),
            status: Client::new(status.strip_suffix("/status").ok_or_else(|| format!("{status} is no status"))?),
            user: after("user")?,
            password: after("password")?,
        })
    }
}

fn log_in(introduction: &Introduction) -> Result<User, Failed> {
    let login = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": introduction.user },
        "password": introduction.password,
    });
    let client = &introduction.client;
    let answer = client.send("POST", "/_matrix/client/v3/login", &[], login.to_string().as_bytes())?;
    let answer = expect_ok(&answer, "login")?;
    let field = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    ensure_eq!(field("user_id"), introduction.user, "who is logged in");
    Ok(User {
        client: client.clone(),
        user_id: field("user_id"),
        device_id: field("device_id"),
        token: field("access_token"),
    })
}

fn read_back(user: &User, room: &str, event: &str) -> Result<(), Failed> {
    let target = format!("/_matrix/client/v3/rooms/{}/messages?dir=b&limit=5", encoded(room));
    let page = expect_ok(&user.get(&target)?, "messages")?;
    let events = page["chunk"].as_array().cloned().unwrap_or_default();
    let found = events.iter().find(|found| found["event_id"] == event);
    ensure_eq!(found.map(|found| &found["content"]["body"]), Some(&json!("hello from a fresh clone")), "the message");
    Ok(())
}

/// Main, two workers for syncs and one for the rest, started by dendron and all ready.
fn everything_is_supervised(introduction: &Introduction) -> Result<(), Failed> {
    let status = expect_ok(&introduction.status.get("/status")?, "/status")?;
    let processes = status["supervised"].as_array().cloned().unwrap_or_default();
    let states: Vec<(&Value, &Value)> = processes.iter().map(|known| (&known["name"], &known["state"])).collect();
    let ready = json!("ready");
    let names = ["main", "sync1", "sync2", "generic1"].map(Value::from);
    for name in &names {
        ensure!(states.contains(&(name, &ready)), "{name} is not ready in {states:?}");
    }
    ensure_eq!(states.len(), names.len(), "supervised processes: {states:?}");
    Ok(())
}

/// When the command has ended all is gone, without any further wait.
fn nothing_is_left(folder: &Path, introduction: &Introduction) -> Result<(), Failed> {
    let left = processes::of_folder(folder);
    ensure!(left.is_empty(), "these are left running: {left:?}");
    let answer = introduction.client.get("/_matrix/client/versions");
    ensure!(answer.is_err(), "{} still answers", introduction.client.base());
    Ok(())
}

fn path_text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
