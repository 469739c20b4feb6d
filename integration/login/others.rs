//! Homeservers that really log people in otherwise: a Synapse of its own for each, on SQLite, with dendron before it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use libtest_mimic::Failed;

use super::cases::{Case, Expect, LOGIN, Reply, password_body};
use super::compare_with;
use super::edge::{Edge, changed};
use crate::harness::child::Child;
use crate::harness::eventually::eventually;
use crate::harness::http::Client;
use crate::harness::matrix::{PASSWORD, User};
use crate::harness::stack::{Stack, free_address};
use crate::harness::stacks::Stacks;
use crate::harness::{checkout, ensure, synapse_python};
use Reply::{Refused, User as Known};

/// How long a Synapse may take to start on a new SQLite database.
const START: Duration = Duration::from_secs(90);
/// What only a Synapse beside a stack has; the first of its settings are the stack's.
const BESIDE: &str = "redis: null\ninstance_map: null\n";
const MODULE: &str = "modules: [{module: provider.Provider, config: {}}]\n";
const INVALID: Reply = Refused(403, "M_FORBIDDEN", "Invalid username or password");

/// A homeserver, its settings, whether people can register there, and how logins end.
type Other = (&'static str, &'static str, bool, fn(&str) -> Vec<Case>);

const OTHERS: [Other; 5] = [
    ("module", MODULE, true, with_a_module),
    (
        "module-alone",
        "modules: [{module: provider.Provider, config: {}}]\npassword_config: {localdb_enabled: false}\n",
        true,
        with_a_module_alone,
    ),
    ("no-passwords-of-its-own", "password_config: {localdb_enabled: false}\n", true, without_passwords_of_its_own),
    ("no-passwords", "password_config: {enabled: false}\n", true, without_passwords),
    (
        "elsewhere",
        "password_config: {enabled: false}\nenable_registration: false\nenable_registration_without_verification: false\n\
         matrix_authentication_service: {enabled: true, endpoint: 'http://127.0.0.1:9/', secret: hush-mas}\n",
        false,
        without_logins,
    ),
];

pub fn homeservers_that_log_in_otherwise(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        let mut faults = Vec::new();
        for (name, settings, has_registration, cases) in OTHERS {
            let other = Synapse::start(stack, name, settings)?;
            let user = if has_registration {
                User::register(&Client::new(&format!("http://{}", other.address)), "other")?.localpart().to_owned()
            } else {
                String::new()
            };
            let mut edge = Edge::start(stack, &format!("login-other-{name}"), &other.changes)?;
            let found = compare_with(stack, &other.address, &mut edge, &cases(&user))?;
            faults.extend(found.faults.into_iter().map(|fault| format!("{name}: {fault}")));
        }
        ensure!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
        Ok(())
    })
}

/// A Synapse beside a stack's, which ends with its owner.
pub struct Synapse {
    /// `HOST:PORT`.
    pub address: String,
    /// What makes the stack's homeserver.yaml its own.
    pub changes: String,
    _process: Child,
}

impl Synapse {
    /// Starts one with these settings besides those that keep it apart.
    pub fn start(stack: &Stack, name: &str, settings: &str) -> Result<Self, Failed> {
        let folder = stack.subfolder(&format!("synapse-{name}"))?;
        let address = free_address()?;
        let port = address.rsplit(':').next().unwrap_or_default();
        let file = |name: &str| folder.join(name).display().to_string();
        let changes = format!(
            "listeners: [{{port: {port}, bind_addresses: ['127.0.0.1'], type: http, x_forwarded: true, \
             resources: [{{names: [client, health]}}]}}]\n\
             database: {{name: sqlite3, args: {{database: '{}'}}}}\npid_file: '{}'\n{BESIDE}{settings}",
            file("homeserver.db"),
            file("homeserver.pid"),
        );
        let homeserver = std::fs::read_to_string(stack.text(&["synapse", "homeserver"]))?;
        // Its log must not go where the stack's own Synapse writes.
        let quiet = changed(&changed(&homeserver, &changes)?, "log_config: null")?;
        let config = folder.join("homeserver.yaml");
        std::fs::write(&config, quiet)?;
        let modules = format!("PYTHONPATH={}", modules().display());
        let python = synapse_python();
        let arguments = [&modules, text(&python), "-m", "synapse.app.homeserver", "-c", text(&config)];
        let output = folder.join("synapse.out");
        let mut process = Child::start("synapse", Path::new("env"), &arguments, &output)?;
        let client = Client::new(&format!("http://{address}"));
        eventually(START, || match client.get("/health") {
            Ok(answer) if answer.status == 200 => Ok(()),
            _ if !process.is_running() => {
                let said = std::fs::read_to_string(&output).unwrap_or_default();
                Err(format!("{name} has ended; it said:\n{said}").into())
            }
            _ => Err(format!("{name} does not answer").into()),
        })?;
        Ok(Synapse { address, changes, _process: process })
    }
}

/// The folder of the module.
fn modules() -> PathBuf {
    checkout().join("integration/login")
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

fn with_a_module(user: &str) -> Vec<Case> {
    let mut cases = with_a_module_alone(user);
    let device = format!(r#"{{"type":"m.login.password","user":"{user}","password":"{PASSWORD}","device_id":"SPAM"}}"#);
    // The user's own password is as good as ever, now.
    cases.retain(|case| case.body != password_body(user, PASSWORD));
    cases.push(case(&password_body(user, PASSWORD), None));
    cases.push(case(device.as_bytes(), Some(Refused(403, "M_FORBIDDEN", "Login was blocked by the server"))));
    cases
}

fn with_a_module_alone(user: &str) -> Vec<Case> {
    let address = |address: &str, password: &str| {
        format!(r#"{{"type":"m.login.password","medium":"email","address":"{address}","password":"{password}"}}"#)
    };
    let known = Some(Known("@provided:localhost"));
    vec![
        case(&password_body("provided", "hush-provided"), known),
        case(&password_body("PROVIDED", "hush-provided"), known),
        case(&password_body("@provided:localhost", "hush-provided"), known),
        case(&password_body("provided", "hush-other"), Some(INVALID)),
        case(&password_body("nobody", "hush-provided"), Some(INVALID)),
        case(address("provided@example.org", "hush-provided").as_bytes(), known),
        case(address("provided@example.org", "hush-other").as_bytes(), Some(INVALID)),
        case(&password_body(user, "wrong"), Some(INVALID)),
        case(&password_body(user, PASSWORD), Some(INVALID)),
        flows(),
    ]
}

fn without_passwords_of_its_own(user: &str) -> Vec<Case> {
    let unknown = Some(Refused(400, "M_UNKNOWN", "Unknown login type m.login.password"));
    vec![
        case(&password_body(user, PASSWORD), unknown),
        case(&password_body(user, "wrong"), unknown),
        case(&password_body("nobody", "wrong"), unknown),
        flows(),
    ]
}

fn without_passwords(user: &str) -> Vec<Case> {
    let off = Some(Refused(400, "M_UNKNOWN", "Password login has been disabled."));
    vec![
        case(&password_body(user, PASSWORD), off),
        case(&password_body(user, "wrong"), off),
        case(br#"{"type":"m.login.password"}"#, off),
        case(br#"{"type":"m.login.token","token":"no"}"#, Some(Refused(403, "M_FORBIDDEN", "Invalid login token"))),
        flows(),
    ]
}

fn without_logins(_user: &str) -> Vec<Case> {
    let nowhere = Some(Refused(404, "M_UNRECOGNIZED", "Unrecognized request"));
    vec![
        case(&password_body("anybody", PASSWORD), nowhere),
        case(b"", nowhere),
        Case { reply: nowhere, ..flows() },
        Case { target: LOGIN.replace("login", "refresh"), ..case(br#"{"refresh_token":"a"}"#, nowhere) },
    ]
}

fn case(body: &[u8], reply: Option<Reply>) -> Case {
    Case::new(body, reply, Some(Expect::Forwarded))
}

/// What is offered.
fn flows() -> Case {
    Case { method: "GET", body: Vec::new(), headers: String::new(), ..Case::new(b"", None, None) }
}
