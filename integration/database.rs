//! Reading Synapse's database: a real PostgreSQL with Synapse's own schema, which is stopped, broken and reconfigured.

mod cluster;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dendron::database::connections::COUNT;
use dendron::database::{Arguments, Database, SchemaError, Settings, State, Unavailable, User};
use dendron::secret::Secret;
use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};
use time::{Duration as TimeSpan, OffsetDateTime};

use crate::Test;
use crate::harness::matrix;
use crate::harness::stack::Stack;
use crate::harness::tls::{Authority, Files};
use crate::harness::{checkout, ensure, ensure_eq};

use cluster::{Cluster, NAME, OWNER};

pub const TESTS: &[Test] = &[
    ("database::synapses_own_users_are_read", |stacks| stacks.on_monolith(synapses_own_users_are_read)),
    ("database::users_are_found_as_synapse_finds_them", |stacks| stacks.on_monolith(users_are_found)),
    ("database::connections_are_made_as_libpq_makes_them", |stacks| stacks.on_monolith(connections_are_made)),
    ("database::an_outage_is_told_at_once", |stacks| stacks.on_monolith(an_outage_is_told_at_once)),
    ("database::an_unknown_schema_is_not_read", |stacks| stacks.on_monolith(an_unknown_schema_is_not_read)),
    ("database::a_standby_is_not_read", |stacks| stacks.on_monolith(a_standby_is_not_read)),
    ("database::the_documented_role_is_enough", |stacks| stacks.on_monolith(the_documented_role_is_enough)),
];

/// How long something may take in the background.
const SOON: Duration = Duration::from_secs(20);
/// How long a question may take that is answered at once.
const AT_ONCE: Duration = Duration::from_millis(200);

/// A database with the runtime that keeps its connections up.
struct Reader {
    runtime: tokio::runtime::Runtime,
    database: Arc<Database>,
}

impl Reader {
    fn new(named: &[(&str, &str)]) -> Result<Self, Failed> {
        let mut arguments = Arguments::default();
        for (key, value) in named {
            match *key {
                "password" => arguments.password = Some(Secret::new(*value)),
                key => drop(arguments.named.insert(key.to_owned(), (*value).to_owned())),
            }
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let database = Arc::new(Database::new(Settings::read(&arguments, |_| None)?, COUNT));
        runtime.spawn(Arc::clone(&database).run());
        Ok(Reader { runtime, database })
    }

    /// A reader by the cluster's socket.
    fn of(cluster: &Cluster) -> Result<Self, Failed> {
        let (sockets, port) = (cluster.sockets(), cluster.port.to_string());
        let host = sockets.to_str().unwrap_or_default();
        let reader = Reader::new(&[("host", host), ("port", &port), ("user", OWNER), ("dbname", NAME)])?;
        reader.state_when(|state| *state != State::Connecting)?;
        Ok(reader)
    }

    /// The state as soon as it is like this.
    fn state_when(&self, is_wanted: impl Fn(&State) -> bool) -> Result<State, Failed> {
        let begun = Instant::now();
        loop {
            let state = State::clone(&self.database.state());
            if is_wanted(&state) {
                return Ok(state);
            }
            ensure!(begun.elapsed() < SOON, "the state remains {state:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn wait_until_ready(&self) -> Result<(), Failed> {
        self.state_when(|state| matches!(state, State::Ready { .. })).map(drop)
    }

    fn user(&self, user_id: &str) -> Result<Option<User>, Unavailable> {
        self.wait(self.database.user(user_id))
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }
}

fn synapses_own_users_are_read(stack: &mut Stack) -> Result<(), Failed> {
    let alice = matrix::User::register(&stack.client(), "database")?;
    let port = stack.facts["database"]["port"].to_string();
    let (host, user, name) = (
        stack.text(&["database", "socket_folder"]),
        stack.text(&["database", "user"]),
        stack.text(&["database", "name"]),
    );
    let reader = Reader::new(&[("host", &host), ("port", &port), ("user", &user), ("database", &name)])?;
    reader.wait_until_ready()?;
    for id in [alice.user_id.clone(), alice.user_id.to_uppercase()] {
        let found = reader.user(&id)?.ok_or("Synapse's user is not found")?;
        ensure_eq!(found.id, alice.user_id, "{id}");
        let hash = found.password_hash.ok_or("the user has no hash")?;
        ensure!(hash.expose().starts_with("$2"), "the hash is no bcrypt");
        ensure!(!found.deactivated && !found.locked && found.approved, "{id}");
    }
    Ok(())
}

fn users_are_found(stack: &mut Stack) -> Result<(), Failed> {
    let cluster = Cluster::copy_of(stack)?;
    cluster.sql(
        "INSERT INTO users (name, password_hash) VALUES ('@alice:hs', 'a'), ('@Bob:hs', 'b'), ('@carol:hs', 'c'),
            ('@Carol:hs', 'C'), ('@ÄGON:hs', 'ä'), ('@frank:hs', ''), ('@dave:hs', NULL);
         UPDATE users SET deactivated = 1 WHERE name = '@dave:hs';
         UPDATE users SET locked = TRUE WHERE name = '@Bob:hs';
         UPDATE users SET approved = FALSE WHERE name = '@frank:hs';
         UPDATE users SET approved = NULL WHERE name = '@alice:hs';
         INSERT INTO user_threepids (user_id, medium, address, validated_at, added_at)
            VALUES ('@alice:hs', 'email', 'alice@example.com', 1, 1)",
    )?;
    let reader = Reader::of(&cluster)?;
    let user = |id: &str, hash: Option<&str>| User {
        id: id.to_owned(),
        password_hash: hash.map(Secret::new),
        deactivated: id == "@dave:hs",
        locked: id == "@Bob:hs",
        approved: id != "@frank:hs",
    };
    let table = [
        ("@alice:hs", Some(user("@alice:hs", Some("a")))),
        ("@ALICE:hs", Some(user("@alice:hs", Some("a")))),
        ("@bob:HS", Some(user("@Bob:hs", Some("b")))),
        // Of several the exact one, or none.
        ("@carol:hs", Some(user("@carol:hs", Some("c")))),
        ("@Carol:hs", Some(user("@Carol:hs", Some("C")))),
        ("@CAROL:hs", None),
        // Synapse's collation knows the case of ASCII alone.
        ("@ÄGON:HS", Some(user("@ÄGON:hs", Some("ä")))),
        ("@ägon:hs", None),
        ("@frank:hs", Some(user("@frank:hs", None))),
        ("@dave:hs", Some(user("@dave:hs", None))),
        ("@nobody:hs", None),
        ("", None),
        ("' OR '' = '", None),
        ("%", None),
    ];
    for (id, expected) in table {
        ensure_eq!(reader.user(id)?, expected, "{id}");
    }
    let table = [
        ("email", "alice@example.com", Some("@alice:hs")),
        ("email", "Alice@example.com", None),
        ("msisdn", "alice@example.com", None),
    ];
    for (medium, address, expected) in table {
        let found = reader.wait(reader.database.threepid_owner(medium, address))?;
        ensure_eq!(found.as_deref(), expected, "{medium} {address}");
    }
    // PostgreSQL knows no such text; the connection is none the worse.
    ensure!(reader.user("@a\0:hs").is_err(), "a zero byte was taken");
    reader.wait_until_ready()?;
    Ok(())
}

/// What comes of an attempt to connect.
#[derive(Debug, PartialEq)]
enum Outcome {
    WithTls,
    WithoutTls,
    /// The reason has these words in it.
    Refused(&'static str),
}

fn connections_are_made(stack: &mut Stack) -> Result<(), Failed> {
    use Outcome::{Refused, WithTls, WithoutTls};
    let mut cluster = Cluster::copy_of(stack)?;
    let authority = prepare_tls(&mut cluster)?;
    let folder = tempfile::tempdir()?;
    let stranger = Authority::new(folder.path())?.file;
    let closed = crate::harness::alone::free_port()?.to_string();
    let two_ports = format!("{closed},{}", cluster.port);
    let (port, sockets) = (cluster.port.to_string(), cluster.sockets().to_str().unwrap_or_default().to_owned());
    let tcp = [("host", "localhost"), ("port", &port), ("dbname", NAME), ("user", "any"), ("password", "right")];
    let full = ("sslmode", "verify-full");
    let ca = ("sslmode", "verify-ca");
    let (root, stranger) = (("sslrootcert", path_text(&authority.file)), ("sslrootcert", path_text(&stranger)));
    let (renamed, address) = (("host", "a.example"), ("hostaddr", "127.0.0.1"));
    let table: &[(&[(&str, &str)], Outcome)] = &[
        (&[("host", &sockets), ("user", OWNER), ("password", "")], WithoutTls),
        (&[("host", &sockets), ("user", OWNER), full], WithoutTls),
        (&[("sslmode", "disable")], WithoutTls),
        (&[("sslmode", "disable"), ("password", "")], Refused("asks for a password")),
        (&[("password", "wrong")], Refused("password authentication failed")),
        (&[("sslmode", "allow")], WithoutTls),
        (&[("sslmode", "prefer")], WithTls),
        (&[("sslmode", "require")], WithTls),
        (&[("sslmode", "require"), ("channel_binding", "require")], WithTls),
        (&[("sslmode", "require"), stranger], Refused("certificate")),
        (&[("user", "tls"), ("sslmode", "disable")], Refused("no encryption")),
        (&[("user", "tls"), ("sslmode", "allow")], WithTls),
        (&[("user", "plain"), ("sslmode", "prefer")], WithoutTls),
        (&[("user", "plain"), ("sslmode", "require")], Refused("SSL encryption")),
        (&[full, root], WithTls),
        (&[full], Refused("sslrootcert")),
        (&[full, stranger], Refused("certificate")),
        (&[renamed, address, ca, root], WithTls),
        (&[renamed, address, ca, stranger], Refused("certificate")),
        (&[renamed, address, full, root], Refused("certificate")),
        (&[("host", "127.0.0.1,localhost"), ("port", &two_ports)], WithTls),
    ];
    for (more, expected) in table {
        let mut named = tcp.to_vec();
        for (key, value) in *more {
            named.retain(|(known, _)| known != key);
            named.push((*key, *value));
        }
        let case = format!("{named:?}");
        let found = outcome(&cluster, &named)?;
        let fits = match (&found, expected) {
            (Err(reason), Refused(words)) => reason.contains(words),
            (Ok(found), expected) => found == expected,
            (Err(_), _) => false,
        };
        ensure!(fits, "{case}: {found:?} instead of {expected:?}");
    }
    Ok(())
}

/// Makes one attempt, and asks the server what came of it.
fn outcome(cluster: &Cluster, named: &[(&str, &str)]) -> Result<Result<Outcome, String>, Failed> {
    let reader = Reader::new(named)?;
    match reader.state_when(|state| *state != State::Connecting)? {
        State::Unavailable(reason) => Ok(Err(reason.to_string())),
        _ => {
            let using = "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)";
            let uses_tls = cluster.sql(&format!("{using} WHERE application_name = 'dendron'"))?;
            match uses_tls.as_str() {
                "t" => Ok(Ok(Outcome::WithTls)),
                "f" => Ok(Ok(Outcome::WithoutTls)),
                other => Err(format!("the server says of TLS: {other:?}").into()),
            }
        }
    }
}

/// Gives the cluster a certificate, and roles that may connect with or without TLS.
fn prepare_tls(cluster: &mut Cluster) -> Result<Authority, Failed> {
    use std::os::unix::fs::PermissionsExt;

    let folder = cluster.path("tls");
    std::fs::create_dir(&folder)?;
    let authority = Authority::new(&folder)?;
    let files = Files::new(&folder, "server");
    authority.sign(&files, OffsetDateTime::now_utc() + TimeSpan::days(1))?;
    std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(0o600))?;
    let rules = "local all all trust\n\
        hostssl all tls 127.0.0.1/32 scram-sha-256\n\
        hostnossl all plain 127.0.0.1/32 scram-sha-256\n\
        host all any 127.0.0.1/32 scram-sha-256\n";
    std::fs::write(cluster.path("data/pg_hba.conf"), rules)?;
    for role in ["any", "tls", "plain"] {
        cluster.sql(&format!("CREATE ROLE \"{role}\" LOGIN PASSWORD 'right'; GRANT {OWNER} TO \"{role}\""))?;
    }
    let settings =
        [("ssl", "on"), ("ssl_cert_file", path_text(&files.certificate)), ("ssl_key_file", path_text(&files.key))];
    for (name, value) in settings {
        cluster.sql(&format!("ALTER SYSTEM SET {name} = '{value}'"))?;
    }
    cluster.hand_over()?;
    cluster.stop()?;
    cluster.start()?;
    Ok(authority)
}

fn an_outage_is_told_at_once(stack: &mut Stack) -> Result<(), Failed> {
    let mut cluster = Cluster::copy_of(stack)?;
    cluster.sql("INSERT INTO users (name, password_hash) VALUES ('@alice:hs', 'a')")?;
    let reader = Reader::of(&cluster)?;
    reader.wait_until_ready()?;
    for _ in 0..2 {
        cluster.stop()?;
        reader.state_when(|state| matches!(state, State::Unavailable(Unavailable::NotConnected(_))))?;
        for _ in 0..20 {
            let begun = Instant::now();
            let reason = reader.user("@alice:hs").err().ok_or("somebody was found without a database")?;
            ensure!(matches!(reason, Unavailable::NotConnected(_)), "{reason}");
            ensure!(begun.elapsed() < AT_ONCE, "the question waited {:?}", begun.elapsed());
            std::thread::sleep(Duration::from_millis(20));
        }
        ensure_eq!(reader.database.live(), 0, "connections without a server");
        cluster.start()?;
        reader.wait_until_ready()?;
        ensure!(reader.user("@alice:hs")?.is_some(), "the user is not found after a restart");
    }
    a_hanging_server_holds_up_one_question(&cluster, &reader)
}

/// The processes that serve dendron's connections are stopped, so that nothing is refused and nothing answered.
fn a_hanging_server_holds_up_one_question(cluster: &Cluster, reader: &Reader) -> Result<(), Failed> {
    let begun = Instant::now();
    while reader.database.live() < COUNT {
        ensure!(begun.elapsed() < SOON, "{} connections stand", reader.database.live());
        std::thread::sleep(Duration::from_millis(20));
    }
    let pids = cluster.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'dendron'")?;
    let pids: Vec<Pid> = pids.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect();
    ensure_eq!(pids.len(), COUNT, "dendron's connections");
    pids.iter().try_for_each(|pid| kill_process(*pid, Signal::STOP))?;
    let mut answers = Vec::new();
    for _ in 0..=COUNT {
        answers.push(reader.user("@alice:hs"));
    }
    pids.iter().try_for_each(|pid| kill_process(*pid, Signal::CONT))?;
    let silent = answers.iter().filter(|answer| **answer == Err(Unavailable::Silent)).count();
    ensure!((1..=COUNT).contains(&silent), "{answers:?}");
    // The connections were given up, so that others were made or the question was told so.
    ensure!(answers.last().is_some_and(|last| *last != Err(Unavailable::Silent)), "{answers:?}");
    reader.wait_until_ready()?;
    ensure!(reader.user("@alice:hs")?.is_some(), "the user is not found after the server hung");
    Ok(())
}

fn an_unknown_schema_is_not_read(stack: &mut Stack) -> Result<(), Failed> {
    let cluster = Cluster::copy_of(stack)?;
    cluster.sql("INSERT INTO users (name) VALUES ('@alice:hs')")?;
    let missing = |column: &str| SchemaError::Missing(column.to_owned());
    let table = [
        (
            "ALTER TABLE users RENAME locked TO bolted",
            missing("users.locked"),
            "ALTER TABLE users RENAME bolted TO locked",
        ),
        (
            "ALTER TABLE user_threepids RENAME TO threepids",
            missing("user_threepids.user_id"),
            "ALTER TABLE threepids RENAME TO user_threepids",
        ),
        (
            "ALTER TABLE users ALTER approved TYPE smallint USING 1",
            SchemaError::Type { column: "users.approved".to_owned(), found: "int2".to_owned() },
            "ALTER TABLE users ALTER approved TYPE boolean USING TRUE",
        ),
        (
            "UPDATE schema_version SET version = 95",
            SchemaError::Version { version: 95 },
            "UPDATE schema_version SET version = 94",
        ),
        (
            "UPDATE schema_version SET version = 72",
            SchemaError::Version { version: 72 },
            "UPDATE schema_version SET version = 94",
        ),
    ];
    for (harm, expected, remedy) in table {
        cluster.sql(harm)?;
        let reader = Reader::of(&cluster)?;
        let reason = Unavailable::Schema(expected);
        ensure_eq!(State::clone(&reader.database.state()), State::Unavailable(reason.clone()), "{harm}");
        ensure_eq!(reader.user("@alice:hs"), Err(reason), "{harm}");
        cluster.sql(remedy)?;
        reader.wait_until_ready()?;
        ensure!(reader.user("@alice:hs")?.is_some(), "{remedy}: the user is not found");
    }
    // While connections stand, the first question that fails makes them look again.
    let reader = Reader::of(&cluster)?;
    reader.wait_until_ready()?;
    cluster.sql("ALTER TABLE users RENAME locked TO bolted")?;
    ensure!(reader.user("@alice:hs").is_err(), "a user was read out of an unknown table");
    let expected = State::Unavailable(Unavailable::Schema(missing("users.locked")));
    reader.state_when(|state| *state == expected)?;
    Ok(())
}

fn a_standby_is_not_read(stack: &mut Stack) -> Result<(), Failed> {
    let mut cluster = Cluster::copy_of(stack)?;
    cluster.sql("INSERT INTO users (name) VALUES ('@alice:hs')")?;
    cluster.stop()?;
    std::fs::write(cluster.path("data/standby.signal"), "")?;
    cluster.hand_over()?;
    cluster.start()?;
    let reader = Reader::of(&cluster)?;
    let expected = Unavailable::Schema(SchemaError::Standby);
    ensure_eq!(State::clone(&reader.database.state()), State::Unavailable(expected.clone()), "a standby's state");
    ensure_eq!(reader.user("@alice:hs"), Err(expected), "a standby's answer");
    cluster.sql("SELECT pg_promote()")?;
    reader.wait_until_ready()?;
    ensure!(reader.user("@alice:hs")?.is_some(), "the user is not found at the new primary");
    Ok(())
}

/// The statements stand in the module's documentation.
fn the_documented_role_is_enough(stack: &mut Stack) -> Result<(), Failed> {
    let cluster = Cluster::copy_of(stack)?;
    cluster.sql("INSERT INTO users (name, password_hash) VALUES ('@alice:hs', 'a')")?;
    // What only parked syncs read is not in the copy, since its triggers need half of Synapse's database.
    cluster.sql(
        "CREATE TABLE current_state_events (room_id text, type text, state_key text, membership text);
         CREATE TABLE local_current_membership (room_id text, user_id text, membership text);
         CREATE TABLE device_lists_changes_in_room (room_id text, stream_id bigint);
         CREATE TABLE instance_map (instance_id integer, instance_name text);
         CREATE TABLE stream_positions (stream_name text, instance_name text, stream_id bigint);",
    )?;
    let source = std::fs::read_to_string(checkout().join("src/database/mod.rs"))?;
    let (_, grants) = source.split_once("```sql").ok_or("the documentation has no statements")?;
    let (grants, _) = grants.split_once("```").ok_or("the statements do not end")?;
    let grants: Vec<&str> = grants.lines().map(|line| line.trim_start_matches("//!")).collect();
    ensure!(grants.len() > 5, "{grants:?}");
    cluster.sql(&grants.join("\n"))?;

    let (sockets, port) = (cluster.sockets(), cluster.port.to_string());
    let arguments = [("host", path_text(&sockets)), ("port", &port), ("user", "dendron"), ("dbname", NAME)];
    let reader = Reader::new(&arguments)?;
    reader.wait_until_ready()?;
    ensure!(reader.user("@ALICE:hs")?.is_some(), "the user is not found");
    ensure_eq!(reader.wait(reader.database.threepid_owner("email", "a@b"))?, None, "an address");
    for more in ["SELECT creation_ts FROM users", "UPDATE users SET locked = TRUE", "DELETE FROM users"] {
        ensure!(cluster.sql_as("dendron", more).is_err(), "the role may do more: {more}");
    }
    for column in ["users.locked", "user_threepids.medium", "schema_version.version"] {
        let (table, name) = column.split_once('.').ok_or("no table")?;
        cluster.sql(&format!("REVOKE SELECT ({name}) ON {table} FROM dendron"))?;
        let expected = State::Unavailable(Unavailable::Schema(SchemaError::NotAllowed(column.to_owned())));
        let found = Reader::new(&arguments)?.state_when(|state| *state != State::Connecting)?;
        ensure_eq!(found, expected, "{column}");
        cluster.sql(&format!("GRANT SELECT ({name}) ON {table} TO dendron"))?;
    }
    Ok(())
}

fn path_text(path: &std::path::Path) -> &str {
    path.to_str().unwrap_or_default()
}
