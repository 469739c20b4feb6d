//! When systemd kills the unit that this process runs in: what its files say, read as far as is needed for that.
//!
//! `dendron check` runs in the unit itself as its `ExecStartPre=`. Elsewhere nothing is known, and nothing is told. What
//! `DefaultTimeoutStopSec=` of systemd's own configuration says is not looked for.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where units are, the strongest first (systemd.unit(5)).
const FOLDERS: [&str; 4] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"];
/// What systemd takes when a unit says nothing.
const DEFAULT: Duration = Duration::from_secs(90);
/// No unit's file is larger.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// How long the unit of this process may take to stop. `None` if it is in no unit, or may take for ever.
pub(super) fn stop_timeout() -> Option<Duration> {
    let unit = unit_of(&fs::read_to_string("/proc/self/cgroup").ok()?)?;
    let found = FOLDERS.iter().map(|folder| Path::new(folder).join(&unit)).find_map(|path| read(&path))?;
    let drop_ins = drop_ins(&unit).into_iter().filter_map(|path| read(&path));
    timeout_of(std::iter::once(found).chain(drop_ins))
}

/// The service in the line of the unified hierarchy: `0::/system.slice/dendron.service`.
fn unit_of(groups: &str) -> Option<String> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/system.slice/"))?;
    let unit = path.split('/').next()?;
    unit.ends_with(".service").then(|| unit.to_owned())
}

/// The drop-ins in the order in which they are read: by name, whatever their folder.
fn drop_ins(unit: &str) -> Vec<PathBuf> {
    let folders = FOLDERS.iter().map(|folder| Path::new(folder).join(format!("{unit}.d")));
    let entries = folders.filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    paths.sort_by(|one, other| one.file_name().cmp(&other.file_name()));
    paths
}

fn read(path: &Path) -> Option<String> {
    let is_small = fs::metadata(path).ok()?.len() <= FILE_BYTES_MAX;
    is_small.then(|| fs::read_to_string(path).ok())?
}

/// What these files say, the last one being right.
fn timeout_of(texts: impl IntoIterator<Item = String>) -> Option<Duration> {
    let mut timeout = Some(DEFAULT);
    for text in texts {
        for line in text.lines().map(str::trim) {
            let Some((name, value)) = line.split_once('=') else { continue };
            if matches!(name.trim(), "TimeoutStopSec" | "TimeoutSec") {
                timeout = span(value.trim());
            }
        }
    }
    timeout
}

/// A span of time in systemd's way (systemd.time(7)): numbers with units, without one seconds. `None` for no limit, and
/// for what is not understood.
fn span(text: &str) -> Option<Duration> {
    const UNITS: [(&[&str], u64); 5] = [
        (&["ms", "msec"], 1),
        (&["", "s", "sec", "second", "seconds"], 1_000),
        (&["m", "min", "minute", "minutes"], 60_000),
        (&["h", "hr", "hour", "hours"], 3_600_000),
        (&["d", "day", "days"], 86_400_000),
    ];
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, behind) = rest.split_at(digits);
        let behind = behind.trim_start();
        let letters = behind.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, behind) = behind.split_at(letters);
        let (_, milliseconds) = UNITS.iter().find(|(names, _)| names.contains(&unit))?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*milliseconds)?)?;
        rest = behind.trim_start();
    }
    (total > 0).then(|| Duration::from_millis(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_read_as_systemd_reads_it() {
        let table = [
            ("60", Some(60_000)),
            ("90s", Some(90_000)),
            ("1min 30s", Some(90_000)),
            ("1min30", Some(90_000)),
            ("2 min", Some(120_000)),
            ("500ms", Some(500)),
            ("infinity", None),
            ("0", None),
            ("", None),
            ("5 parsecs", None),
            ("99999999999999999999", None),
            ("99999999999999999d", None),
        ];
        for (text, expected) in table {
            assert_eq!(span(text), expected.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn the_last_word_is_right() {
        let table: [(&[&str], Option<u64>); 6] = [
            (&["[Service]\nExecStart=/bin/true\n"], Some(90)),
            (&["[Service]\nTimeoutStopSec=60\n"], Some(60)),
            (&["[Service]\n# TimeoutStopSec=60\nTimeoutSec = 2min\n"], Some(120)),
            (&["[Service]\nTimeoutStopSec=60\n", "[Service]\nTimeoutStopSec=5\n"], Some(5)),
            (&["[Service]\nTimeoutStopSec=60\n", "[Service]\nTimeoutStopSec=infinity\n"], None),
            (&["[Service]\nTimeoutStartSec=60\n"], Some(90)),
        ];
        for (texts, expected) in table {
            let texts = texts.iter().map(ToString::to_string);
            assert_eq!(timeout_of(texts.clone()), expected.map(Duration::from_secs), "{:?}", texts.collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_unit_is_in_the_unified_hierarchy() {
        let table = [
            ("0::/system.slice/dendron.service\n", Some("dendron.service")),
            ("1:name=systemd:/\n0::/system.slice/dendron.service/sub\n", Some("dendron.service")),
            ("0::/user.slice/user-1000.slice/session-2.scope\n", None),
            ("0::/system.slice/docker-1.scope\n", None),
            ("0::/\n", None),
            ("", None),
        ];
        for (groups, expected) in table {
            assert_eq!(unit_of(groups).as_deref(), expected, "{groups:?}");
        }
    }
}
