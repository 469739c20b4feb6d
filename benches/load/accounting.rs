//! What a process has cost, from the kernel's own accounting: its time on a processor and its memory, those of its
//! children included.
//!
//! Time on a processor is the main figure of the suite: on a machine that others use as well, how long something took
//! says little, and how much of a processor it took says nearly all.

use std::ops::Add;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};

use crate::fault::{Doing, Outcome, wrong};

/// What a process and its children have used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Time on a processor, in the program and in the system for it.
    pub(crate) cpu: Duration,
    /// Memory that is resident now.
    pub(crate) resident_bytes: u64,
}

impl Add for Usage {
    type Output = Usage;

    fn add(self, other: Usage) -> Usage {
        Usage { cpu: self.cpu + other.cpu, resident_bytes: self.resident_bytes + other.resident_bytes }
    }
}

/// The places behind the name in `/proc/PID/stat` (proc(5)).
const PARENT: usize = 1;
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;
const RESIDENT_PAGES: usize = 21;

/// What a process and its children have used. A child that has ended is forgotten, so there should be none.
pub(crate) fn usage(root: u32) -> Outcome<Usage> {
    let own = stat(root).ok_or_else(|| wrong(format!("process {root} is gone")))?;
    let mut whole = of(&own);
    for entry in std::fs::read_dir("/proc").doing("reading /proc")?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if let Some(fields) = stat(id).filter(|fields| fields.get(PARENT) == Some(&u64::from(root))) {
            whole = whole + of(&fields);
        }
    }
    Ok(whole)
}

/// The numbers behind a process's name; what is no number counts as 0.
fn stat(id: u32) -> Option<Vec<u64>> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name may hold anything, even a bracket.
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(|field| field.parse().unwrap_or_default()).collect())
}

fn of(fields: &[u64]) -> Usage {
    let field = |place: usize| fields.get(place).copied().unwrap_or_default();
    let ticks = field(USER_TICKS) + field(SYSTEM_TICKS);
    Usage {
        cpu: Duration::from_millis(ticks * 1_000 / clock_ticks_per_second().max(1)),
        resident_bytes: field(RESIDENT_PAGES) * page_size() as u64,
    }
}
