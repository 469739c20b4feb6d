//! Configurations in which the edge must not decide: it knows too little of what Synapse would do. Dendron is told of
//! them by a homeserver.yaml of its own, while Synapse goes on as it was: what dendron forwards succeeds, and what it
//! would decide by itself shows in the access log.

use std::net::TcpListener;

use libtest_mimic::Failed;

use super::cases::{Case, Expect, password_body};
use super::edge::Edge;
use super::forwarder::{Forwarder, State};
use super::users;
use super::{compare_through, shape_of_login, synapse_address};
use crate::harness::eventually::{SOON, eventually};
use crate::harness::stack::Stack;
use crate::harness::stacks::Stacks;
use crate::harness::{checkout, ensure, ensure_eq, program, synapse_python};
use std::time::{Duration, Instant};

/// How long a login may take while the database is not there: nothing may wait for it.
const AT_ONCE: Duration = Duration::from_secs(2);
/// How long a login may take while the database says nothing.
const SOON_ENOUGH: Duration = Duration::from_secs(10);

/// Settings that mean that the edge cannot know what Synapse does, and the name of the case.
const CHANGES: [(&str, &str); 22] = [
    ("a module", "modules: [{module: example.Module, config: {}}]"),
    ("a password provider", "password_providers: [{module: example.Provider, config: {}}]"),
    ("no passwords of its own", "password_config: {localdb_enabled: false}"),
    ("no passwords", "password_config: {enabled: false}"),
    ("passwords for what is dangerous alone", "password_config: {enabled: only_for_reauth}"),
    (
        "approval of new users",
        "experimental_features: {msc3866: {enabled: true, require_approval_for_new_accounts: true}}",
    ),
    (
        "logins elsewhere",
        "matrix_authentication_service: {enabled: true, endpoint: 'http://127.0.0.1:9/', secret: hush-mas}",
    ),
    (
        "logins elsewhere, as it was configured earlier",
        "experimental_features: {msc3861: {enabled: true, issuer: 'http://127.0.0.1:9/', client_id: a, \
         client_auth_method: client_secret_basic, client_secret: hush-a, admin_token: hush-b}}",
    ),
    ("an older spam checker", "spam_checker: {module: example.Checker, config: {}}"),
    ("SQLite", "database: {name: sqlite3, args: {database: /nonexistent/homeserver.db}}"),
    ("no replication listener", "listeners: [{ONLY}]\ninstance_map: null"),
    (
        "a replication listener that nobody answers at",
        "listeners: [{ONLY}, {CLOSED}]\ninstance_map: {main: {CLOSED_AT}}",
    ),
    ("a wrong replication secret", "worker_replication_secret_path: null\nworker_replication_secret: hush-replication"),
    ("no replication secret", "worker_replication_secret_path: null"),
    ("no such database", "{DATABASE:synapse:nothing:SOCKETS}"),
    ("no such user of the database", "{DATABASE:stranger:synapse:SOCKETS}"),
    ("no rights in the database", "{DATABASE:nobody:synapse:SOCKETS}"),
    ("no PostgreSQL", "{DATABASE:synapse:synapse:/nonexistent}"),
    ("an empty database", "{DATABASE:synapse:empty:SOCKETS}"),
    ("a schema of the future", "{DATABASE:synapse:unheard:SOCKETS}"),
    ("a column of another name", "{DATABASE:synapse:renamed:SOCKETS}"),
    ("a column of another type", "{DATABASE:synapse:retyped:SOCKETS}"),
];

pub fn what_is_not_known_is_forwarded(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        users::make(stack)?;
        let output = stack.folder().join("databases-beside.out");
        if !output.exists() {
            let script = checkout().join("integration/login/databases.py");
            let arguments = [script.to_str().unwrap_or_default(), stack.folder().to_str().unwrap_or_default()];
            program::run(&synapse_python(), &arguments, &output, Duration::from_secs(60))?;
        }
        let mut faults = Vec::new();
        // Held, so that nobody begins to answer there.
        let closed = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        for (number, (name, changes)) in CHANGES.iter().enumerate() {
            let changes = filled(stack, changes, closed)?;
            let mut edge = Edge::start(stack, &format!("login-declining-{number}"), &changes)?;
            until_synapse_is_known(&edge)?;
            let found = compare_through(stack, &mut edge, &logins())?;
            faults.extend(found.faults.into_iter().map(|fault| format!("{name}: {fault}")));
        }
        ensure!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
        Ok(())
    })
}

/// Waits until whoever answers what is no login says that it is Synapse: in the first moment dendron does not know its
/// name.
fn until_synapse_is_known(edge: &Edge) -> Result<(), Failed> {
    eventually(SOON, || {
        let answer = shape_of_login(&edge.address, b"", "first")?;
        ensure!(answer.headers.iter().any(|(name, _)| name == "server"), "no Server: {answer:?}");
        Ok(())
    })
}

/// What any client could send, all of which Synapse is to answer.
fn logins() -> Vec<Case> {
    let mut bodies = vec![
        password_body("l-plain", "hush-plain"),
        password_body("l-plain", "wrong"),
        password_body("L-TWIN", "hush-lower-twin"),
        password_body("nobody", "wrong"),
        password_body("l-locked", "hush-locked"),
        password_body("l-dead", "hush-dead"),
        br#"{"type":"m.login.password","medium":"email","address":"plain@example.org","password":"hush-plain"}"#
            .to_vec(),
        br#"{"type":"m.login.password","user":"l-plain","password":"hush-plain","refresh_token":true}"#.to_vec(),
        br#"{"type":"m.login.token","token":"no"}"#.to_vec(),
    ];
    let mut cases: Vec<Case> = bodies.drain(..).map(|body| Case::new(&body, None, Some(Expect::Forwarded))).collect();
    for body in ["", "{}", r#"{"type":"m.login.password"}"#] {
        cases.push(Case::new(body.as_bytes(), None, None));
    }
    // What is offered does not depend on what dendron believes either.
    cases.push(Case { method: "GET", body: Vec::new(), headers: String::new(), ..Case::new(b"", None, None) });
    cases
}

/// Changes with the stack's own addresses in them.
fn filled(stack: &Stack, changes: &str, closed: u16) -> Result<String, Failed> {
    let address = synapse_address(stack);
    let port = address.rsplit(':').next().unwrap_or_default();
    let listener = |port: &str, resources: &str| {
        format!(
            "{{port: {port}, bind_addresses: ['127.0.0.1'], type: http, x_forwarded: true, \
             resources: [{{names: [{resources}]}}]}}"
        )
    };
    let changes = changes
        .replace("{ONLY}", &listener(port, "client, federation, media, openid, static, health, metrics"))
        .replace("{CLOSED}", &listener(&closed.to_string(), "replication"))
        .replace("{CLOSED_AT}", &format!("{{host: 127.0.0.1, port: {closed}}}"));
    let Some(place) = changes.strip_prefix("{DATABASE:").and_then(|rest| rest.strip_suffix('}')) else {
        return Ok(changes);
    };
    let parts: Vec<&str> = place.split(':').collect();
    let [user, name, folder] = parts[..] else { return Err(format!("no place of a database: {changes}").into()) };
    let sockets = stack.text(&["database", "socket_folder"]);
    Ok(database(user, name, if folder == "SOCKETS" { &sockets } else { folder }))
}

/// The setting for a database at another place.
fn database(user: &str, name: &str, folder: &str) -> String {
    format!(
        "database: {{name: psycopg2, args: {{host: '{folder}', port: 5432, user: {user}, dbname: {name}, cp_max: 5}}}}"
    )
}

/// PostgreSQL goes away and comes back while dendron serves; Synapse's own way to it stays.
pub fn a_database_that_stops_delays_no_login(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        users::make(stack)?;
        let sockets = stack.text(&["database", "socket_folder"]);
        let short = tempfile::tempdir()?;
        let forwarder = Forwarder::start(short.path(), format!("{sockets}/.s.PGSQL.5432").as_ref())?;
        let folder = short.path().to_str().unwrap_or_default();
        let mut edge = Edge::answering(stack, "login-database", &database("synapse", "synapse", folder))?;
        let mut logins = Logins { edge: &edge.address, names: Vec::new() };
        let phases = [
            (State::Passing, Duration::from_secs(60), Some(Expect::Edge)),
            (State::Gone, AT_ONCE, Some(Expect::Forwarded)),
            (State::Passing, Duration::from_secs(60), None),
            (State::Silent, SOON_ENOUGH, Some(Expect::Forwarded)),
            (State::Passing, Duration::from_secs(60), None),
        ];
        for (state, within, expected) in phases {
            forwarder.set(state);
            for _ in 0..4 {
                logins.good(within, expected)?;
            }
        }
        // In the end everything is as it was.
        eventually(SOON, || logins.good(AT_ONCE, None))?;
        logins.good(AT_ONCE, Some(Expect::Edge))?;
        let names = logins.names;
        let answers = edge.stop()?;
        let faults: Vec<String> = names.iter().filter_map(|(name, expected)| answers.fault(name, *expected)).collect();
        ensure!(faults.is_empty(), "{}", faults.join("\n"));
        Ok(())
    })
}

/// Logins, each with a name of its own.
struct Logins<'edge> {
    edge: &'edge str,
    names: Vec<(String, Option<Expect>)>,
}

impl Logins<'_> {
    /// A good login and a wrong one succeed and fail as ever, within this time each.
    fn good(&mut self, within: Duration, expected: Option<Expect>) -> Result<(), Failed> {
        for (password, status) in [("hush-plain", " 200"), ("wrong", " 403")] {
            let name = format!("database-{}", self.names.len());
            let begun = Instant::now();
            let answer = shape_of_login(self.edge, &password_body("l-plain", password), &name)?;
            ensure!(answer.status.contains(status), "{password}: {answer:?}");
            ensure!(begun.elapsed() < within, "a login took {} ms", begun.elapsed().as_millis());
            self.names.push((name, expected));
        }
        ensure_eq!(self.names.len() % 2, 0, "logins come in pairs");
        Ok(())
    }
}
