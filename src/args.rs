//! The command line: `dendron run | check | routes`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::Source;

/// Where the configuration is looked for when nothing names it.
const DEFAULT_CONFIG: &str = "/etc/dendron/dendron.yaml";

/// The edge in front of a Synapse homeserver.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What dendron can be told to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve requests until told to stop: at once by SIGINT, gracefully by SIGTERM
    Run(SourceArguments),
    /// Check the configuration and say everything that is wrong with it; exit code 1 if anything is
    Check(SourceArguments),
    /// Print where requests go: the whole table, or one request's way
    Routes(RoutesArguments),
    /// Become a process of Synapse that ends when dendron does
    #[command(hide = true)]
    Launch(LaunchArguments),
}

/// Which configuration is read.
#[derive(Debug, Args)]
pub struct SourceArguments {
    /// Dendron's own file
    #[arg(long, value_name = "FILE", conflicts_with = "synapse")]
    pub config: Option<PathBuf>,
    /// Synapse's homeserver.yaml alone; everything else has its default
    #[arg(long, value_name = "FILE")]
    pub synapse: Option<PathBuf>,
}

impl SourceArguments {
    /// The source that the arguments name.
    pub fn source(&self) -> Source {
        match (&self.config, &self.synapse) {
            (_, Some(homeserver)) => Source::Synapse(homeserver.clone()),
            (Some(file), None) => Source::File(file.clone()),
            (None, None) => Source::File(PathBuf::from(DEFAULT_CONFIG)),
        }
    }
}

/// What `routes` explains.
#[derive(Debug, Args)]
pub struct RoutesArguments {
    /// Which configuration is read.
    #[command(flatten)]
    pub source: SourceArguments,
    /// The method of a request to explain
    #[arg(requires = "target")]
    pub method: Option<String>,
    /// Its target: a path, perhaps with a query
    pub target: Option<String>,
    /// The localpart of the user who asks
    #[arg(long, value_name = "LOCALPART")]
    pub user: Option<String>,
    /// The server that asks
    #[arg(long, value_name = "SERVER", conflicts_with = "user")]
    pub origin: Option<String>,
}

/// What is launched, and for whom.
#[derive(Debug, Args)]
pub struct LaunchArguments {
    /// The process id of the dendron that asks for it
    #[arg(long)]
    pub parent: u32,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    pub command: Vec<OsString>,
}
