//! Where and with what the numbers were made.

use std::path::Path;
use std::process::Command;

/// What a reader must know to make the same again.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) commit: String,
    pub(crate) processor: String,
    pub(crate) kernel: String,
    pub(crate) memory: String,
    pub(crate) versions: Vec<String>,
    pub(crate) command: String,
}

impl Machine {
    /// Looks around. What cannot be found is empty.
    pub(crate) fn look(dendron: &Path) -> Self {
        let dendron = dendron.to_string_lossy().into_owned();
        let commit = said("git", &["log", "-1", "--format=%h of %cs"]);
        let is_changed = !said("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty();
        let versions = [
            (dendron.as_str(), "--version"),
            ("haproxy", "-v"),
            ("nginx", "-v"),
            ("wrk", "-v"),
            ("h2load", "--version"),
        ];
        Machine {
            date: said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
            commit: if is_changed { format!("{commit}, with changes") } else { commit },
            processor: processor(),
            kernel: said("uname", &["-sr"]),
            memory: memory(),
            versions: versions.iter().map(|(program, argument)| said(program, &[argument])).collect(),
            command: std::env::args().skip(1).filter(|word| word != "--bench").collect::<Vec<_>>().join(" "),
        }
    }
}

/// The first line that a program says.
fn said(program: &str, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output() else { return String::new() };
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let count = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{count} cores of {}", model.trim_start_matches([' ', '\t', ':']))
}

fn memory() -> String {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
    let kilobytes: u64 = total.trim().trim_end_matches(" kB").parse().unwrap_or_default();
    format!("{} GB", kilobytes / 1_000_000)
}
