//! `dendron launch`: the hidden subcommand that makes a process end together with dendron.
//!
//! The kernel can signal a process when its parent ends, even if the parent was killed outright. A process must ask for
//! that itself, and between fork and exec Rust runs no code without `unsafe`. So dendron starts itself, and this asks and
//! then becomes the command. Exec keeps the request, unless the command's file gives it another user or capabilities.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// The subcommand's name.
pub const SUBCOMMAND: &str = "launch";

/// The path by which a running program starts itself. It stays right when the file has been replaced by an upgrade, and
/// so it is also sure to be the same version.
pub fn own_program() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// Becomes `command`, which the kernel kills when the thread of `parent_pid` that started this process ends. Returns only
/// if that is impossible.
///
/// The signal is SIGKILL: nobody is left who would end a process that takes no notice of SIGTERM.
pub fn launch(parent_pid: u32, command: &[OsString]) -> io::Error {
    let Some((program, arguments)) = command.split_first() else {
        return io::Error::new(io::ErrorKind::InvalidInput, "no command was given");
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    // The parent may have ended before the request was made; then no signal comes.
    if getppid().map(Pid::as_raw_pid) != i32::try_from(parent_pid).ok() {
        return io::Error::other("the supervisor has ended already");
    }
    let error = Command::new(program).args(arguments).exec();
    io::Error::new(error.kind(), format!("cannot run {}: {error}", program.display()))
}

/// The command line that makes `launcher` do the above for this process.
pub(super) fn command_line(launcher: &Path, command: &[String]) -> Command {
    let mut line = Command::new(launcher);
    line.arg(SUBCOMMAND).arg("--parent").arg(std::process::id().to_string()).arg("--").args(command);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_command_and_a_parent_that_is_gone_are_refused() {
        assert_eq!(launch(1, &[]).kind(), io::ErrorKind::InvalidInput);
        let not_the_parent = std::process::id();
        let error = launch(not_the_parent, &[OsString::from("/bin/true")]);
        set_parent_process_death_signal(None).expect("the test itself wants no signal");
        assert_eq!(error.to_string(), "the supervisor has ended already");
    }

    #[test]
    fn the_command_line_ends_the_options_before_the_command() {
        let line = command_line(Path::new("/usr/bin/dendron"), &["python3".to_owned(), "-c".to_owned()]);
        let own_pid = std::process::id().to_string();
        let arguments: Vec<_> = line.get_args().map(|argument| argument.to_string_lossy()).collect();
        assert_eq!(arguments, ["launch", "--parent", own_pid.as_str(), "--", "python3", "-c"]);
    }
}
