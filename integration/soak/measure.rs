//! What a running dendron holds: memory, descriptors, threads and tasks.

use libtest_mimic::Failed;

use crate::harness::http::Client;
use crate::harness::metrics::Metrics;

/// What it holds at a time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Resident memory in megabytes.
    pub memory: f64,
    /// Open descriptors.
    pub descriptors: f64,
    /// Threads.
    pub threads: f64,
    /// Tasks of the runtimes that serve clients.
    pub tasks: f64,
    /// Connections of clients.
    pub clients: f64,
    /// Requests with a connection to Synapse.
    pub requests: f64,
}

/// How much more of each there may be in the end than in the beginning. Of clients and requests there is none.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    pub memory: f64,
    pub descriptors: f64,
    pub threads: f64,
    pub tasks: f64,
}

impl Sample {
    /// Measures the process of this id, which is the dendron of this admin listener.
    pub fn take(id: u32, admin: &Client) -> Result<Self, Failed> {
        let metrics = Metrics::scrape(admin)?;
        let sum = |name: &str| metrics.sum(name, &[]);
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let field = |name: &str| -> Result<f64, Failed> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
            Ok(line.ok_or_else(|| format!("no {name} in the status of process {id}"))?.parse()?)
        };
        Ok(Sample {
            memory: field("VmRSS:")? / 1024.0,
            descriptors: std::fs::read_dir(format!("/proc/{id}/fd"))?.count() as f64,
            threads: field("Threads:")?,
            tasks: sum("dendron_tasks"),
            clients: sum("dendron_connections"),
            requests: sum("dendron_upstream_connections"),
        })
    }

    /// The larger of two, value by value.
    pub fn most(self, other: Self) -> Self {
        Sample {
            memory: self.memory.max(other.memory),
            descriptors: self.descriptors.max(other.descriptors),
            threads: self.threads.max(other.threads),
            tasks: self.tasks.max(other.tasks),
            clients: self.clients.max(other.clients),
            requests: self.requests.max(other.requests),
        }
    }

    /// The rows of a table: name, this value, the others' values, and by how much the last may exceed the first.
    pub fn rows(first: Self, most: Self, last: Self, tolerance: Tolerance) -> [Row; 6] {
        let row = |name, of: fn(&Sample) -> f64, tolerance| Row {
            name,
            first: of(&first),
            most: of(&most),
            last: of(&last),
            tolerance,
        };
        [
            row("resident memory, MB", |sample| sample.memory, tolerance.memory),
            row("descriptors", |sample| sample.descriptors, tolerance.descriptors),
            row("threads", |sample| sample.threads, tolerance.threads),
            row("tasks", |sample| sample.tasks, tolerance.tasks),
            row("clients", |sample| sample.clients, 0.0),
            row("requests at Synapse", |sample| sample.requests, 0.0),
        ]
    }
}

/// One line of the table.
pub struct Row {
    pub name: &'static str,
    pub first: f64,
    pub most: f64,
    pub last: f64,
    pub tolerance: f64,
}

impl Row {
    /// Whether the end is as the beginning was.
    pub fn holds(&self) -> bool {
        self.last <= self.first + self.tolerance
    }
}
