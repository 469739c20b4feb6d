//! A PostgreSQL of a test's own, which it may stop, break and reconfigure. What Synapse keeps in it is a copy of the
//! real schema.

use std::path::{Path, PathBuf};
use std::time::Duration;

use libtest_mimic::Failed;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::alone::free_port;
use crate::harness::child::Child;
use crate::harness::eventually::{SOON, eventually};
use crate::harness::program::run;
use crate::harness::stack::Stack;

/// How long a program of PostgreSQL's may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where Debian keeps the server's programs.
const PROGRAMS: &str = "/usr/lib/postgresql";
/// The tables that are copied.
const TABLES: [&str; 4] = ["users", "user_threepids", "schema_version", "schema_compat_version"];

/// The role that owns everything.
pub const OWNER: &str = "owner";
/// The database.
pub const NAME: &str = "synapse";

/// A PostgreSQL.
pub struct Cluster {
    folder: TempDir,
    pub port: u16,
    server: Option<Child>,
}

impl Cluster {
    /// Makes a cluster with a copy of the schema that Synapse made in a stack, and starts it.
    pub fn copy_of(stack: &Stack) -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        let mut cluster = Cluster { folder, port: free_port()?, server: None };
        std::fs::create_dir(cluster.path("sockets"))?;
        cluster.hand_over()?;
        let data = cluster.path("data");
        let arguments = ["--auth=trust", "--no-sync", "--locale=C", "--encoding=UTF8", "--username", OWNER, "-D"];
        cluster.run_as_server("initdb", &[&arguments[..], &[text(&data)]].concat())?;
        cluster.start()?;
        cluster.sql_in("postgres", &format!("CREATE DATABASE {NAME} TEMPLATE template0"))?;
        let dump = cluster.path("schema.sql");
        let fact = |key: &str| match &stack.facts["database"][key] {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let (host, port, user, name) = (fact("socket_folder"), fact("port"), fact("user"), fact("name"));
        let mut arguments = vec!["--host", &host, "--port", &port, "--username", &user, "--file", text(&dump)];
        arguments.extend(["--no-owner", "--dbname", &name]);
        TABLES.iter().for_each(|table| arguments.extend(["--table", table]));
        run(&program("pg_dump")?, &arguments, &cluster.path("pg_dump.out"), PATIENCE)?;
        cluster.psql(NAME, OWNER, &["--file", text(&dump)])?;
        cluster.sql("DELETE FROM users; DELETE FROM user_threepids")?;
        Ok(cluster)
    }

    /// Starts it.
    pub fn start(&mut self) -> Result<(), Failed> {
        let port = self.port.to_string();
        let (data, sockets) = (self.path("data"), format!("unix_socket_directories={}", self.sockets().display()));
        let program = program("postgres")?;
        let arguments = ["-D", text(&data), "-p", &port, "-c", &sockets, "-c", "listen_addresses=127.0.0.1"];
        let output = self.path("postgres.out");
        self.server = Some(match as_postgres() {
            false => Child::start("postgres", &program, &arguments, &output)?,
            true => {
                // The signal at this program's death is forgotten when the user changes, so it is asked for again.
                let user = ["--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--pdeathsig", "INT", "--"];
                let arguments = [&user[..], &[text(&program)], &arguments[..]].concat();
                Child::start("postgres", Path::new("setpriv"), &arguments, &output)?
            }
        });
        eventually(SOON, || self.sql_in("postgres", "SELECT 1").map(drop))
    }

    /// Stops it: its clients are sent away.
    pub fn stop(&mut self) -> Result<(), Failed> {
        match self.server.take() {
            Some(mut server) => server.stop(Signal::INT).map(drop),
            None => Ok(()),
        }
    }

    /// The folder of its socket.
    pub fn sockets(&self) -> PathBuf {
        self.path("sockets")
    }

    /// A file in the cluster's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Gives all files to the user that PostgreSQL runs as.
    pub fn hand_over(&self) -> Result<(), Failed> {
        if as_postgres() {
            let arguments = ["-R", "postgres:postgres", text(self.folder.path())];
            run(Path::new("chown"), &arguments, &std::env::temp_dir().join("dendron-chown.out"), PATIENCE)?;
        }
        Ok(())
    }

    /// Runs statements as the owner; returns the rows, a line each.
    pub fn sql(&self, statements: &str) -> Result<String, Failed> {
        self.sql_in(NAME, statements)
    }

    /// Runs statements as another role.
    pub fn sql_as(&self, role: &str, statements: &str) -> Result<String, Failed> {
        self.psql(NAME, role, &["--command", statements])
    }

    fn sql_in(&self, database: &str, statements: &str) -> Result<String, Failed> {
        self.psql(database, OWNER, &["--command", statements])
    }

    fn psql(&self, database: &str, role: &str, more: &[&str]) -> Result<String, Failed> {
        let (sockets, port) = (self.sockets(), self.port.to_string());
        let plain = ["--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--set", "ON_ERROR_STOP=1"];
        let place = ["--host", text(&sockets), "--port", &port, "--username", role, "--dbname", database];
        let said = run(&program("psql")?, &[&plain[..], &place, more].concat(), &self.path("psql.out"), PATIENCE)?;
        Ok(said.trim().to_owned())
    }

    fn run_as_server(&self, name: &str, arguments: &[&str]) -> Result<(), Failed> {
        let program = program(name)?;
        let output = self.path(&format!("{name}.out"));
        if !as_postgres() {
            return run(&program, arguments, &output, PATIENCE).map(drop);
        }
        let user = ["--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--"];
        run(Path::new("setpriv"), &[&user[..], &[text(&program)], arguments].concat(), &output, PATIENCE).map(drop)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

/// Whether PostgreSQL has to run as its own user: it refuses to run as root.
fn as_postgres() -> bool {
    rustix::process::geteuid().is_root()
}

fn program(name: &str) -> Result<PathBuf, Failed> {
    let versions = std::fs::read_dir(PROGRAMS)?.flatten().map(|entry| entry.path().join("bin").join(name));
    let mut found: Vec<PathBuf> = versions.filter(|path| path.exists()).collect();
    found.sort();
    found.pop().ok_or_else(|| format!("PostgreSQL's {name} is not installed").into())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
