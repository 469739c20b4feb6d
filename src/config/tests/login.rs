//! Whether logins are answered at the edge, by what Synapse's files say.

use super::super::login::{Forwarded, Writer, login};
use super::super::{Source, load};
use super::{HOMESERVER, folder, load_files};
use crate::answer::login::reasons::Reason;
use crate::secret::Secret;
use crate::synapse::Transport;

const POSTGRES: &str = "database: {name: psycopg2, args: {user: synapse, password: hunter2, host: /run/postgresql}}\n";
const SOCKET: &str = "- {path: /run/main.sock, type: http, resources: [{names: [replication]}]}\n";

/// A homeserver.yaml without a listener for replication.
fn alone() -> String {
    HOMESERVER.lines().filter(|line| !line.contains("replication")).map(|line| format!("{line}\n")).collect()
}

/// What becomes of logins: who writes, or the reasons' names.
fn outcome(dendron: &str, homeserver: &str) -> Result<Writer, String> {
    let dendron = format!("synapse: {{config: [homeserver.yaml]}}\n{dendron}");
    let files = [("dendron.yaml", dendron.as_str()), ("homeserver.yaml", homeserver)];
    let (config, _) = load_files(&files).expect("a good configuration");
    match login(&config, |_| None) {
        Ok(plan) => Ok(plan.writer),
        Err(forwarded) => Err(forwarded.reasons.iter().map(|reason| reason.name()).collect::<Vec<_>>().join(" ")),
    }
}

#[test]
fn logins_are_answered_where_users_and_a_writer_are_known() {
    let homeserver = format!("{HOMESERVER}{SOCKET}{POSTGRES}");
    let own = Writer::Replication {
        address: "unix:/run/main.sock".parse().expect("an address"),
        transport: Transport::Plain,
        secret: None,
    };
    assert_eq!(outcome("", &homeserver), Ok(own));
    // Where workers look for it, it is asked.
    let map = "instance_map: {main: {host: 10.0.0.1, port: 9093, tls: true}}\n";
    let mapped = Writer::Replication {
        address: "10.0.0.1:9093".parse().expect("an address"),
        transport: Transport::Tls,
        secret: None,
    };
    assert_eq!(outcome("", &format!("{homeserver}{map}")), Ok(mapped));
    let jwt = "jwt_config: {enabled: true, algorithm: HS256, secret: s}\n";
    let outcome = outcome("", &format!("{}{POSTGRES}{jwt}", alone()));
    assert!(matches!(outcome, Ok(Writer::Jwt(_))), "{outcome:?}");
}

#[test]
fn one_thing_against_it_is_enough() {
    let table = [
        ("login: {enabled: no}\n", "", "switched_off"),
        ("", "modules: [{module: a.B}]\n", "modules"),
        ("", "password_providers: [{module: a.B}]\n", "modules"),
        ("", "ldap_config: {enabled: true}\n", "modules"),
        ("", "spam_checker: {module: a.B}\n", "modules"),
        ("", "password_config: {enabled: false}\n", "password_login_off"),
        ("", "password_config: {enabled: only_for_reauth}\n", "password_login_off"),
        ("", "password_config: {localdb_enabled: false}\n", "local_database_off"),
        (
            "",
            "matrix_authentication_service: {enabled: true, secret: s, endpoint: 'http://127.0.0.1:8090'}\n",
            "delegated_auth password_login_off",
        ),
        (
            "",
            "experimental_features: {msc3866: {enabled: true, require_approval_for_new_accounts: true}}\n",
            "approval_required",
        ),
        ("", "rc_login: {address: {per_second: 0}}\n", "unusable_limits"),
    ];
    for (dendron, homeserver, expected) in table {
        let homeserver = format!("{HOMESERVER}{POSTGRES}{homeserver}");
        assert_eq!(outcome(dendron, &homeserver), Err(expected.to_owned()), "{dendron}{homeserver}");
    }
    let sqlite = "database: {name: sqlite3}\n";
    assert_eq!(outcome("", &format!("{HOMESERVER}{sqlite}")), Err("no_postgres".to_owned()));
    assert_eq!(outcome("", &format!("{}{POSTGRES}", alone())), Err("no_writer".to_owned()));
    // Approval that nobody requires, and LDAP that is not on, speak against nothing.
    let harmless = "experimental_features: {msc3866: {enabled: true}}\nldap_config: {enabled: false}\n";
    assert!(outcome("", &format!("{HOMESERVER}{POSTGRES}{harmless}")).is_ok());
}

#[test]
fn the_administrator_is_told_why() {
    let said = |dendron: &str, files: &[(&str, &str)]| {
        let files = [&[("dendron.yaml", dendron)], files].concat();
        let (config, _) = load_files(&files).expect("a good configuration");
        login(&config, |_| None).map(|_| ()).expect_err("forwarded").to_string()
    };
    assert_eq!(said("pools: {main: ['http://127.0.0.1:1']}", &[]), Reason::SynapseUnknown.explanation());
    let homeserver = format!("{}database: {{name: psycopg2, args: {{service: x}}}}\n", alone());
    let said = said("synapse: {config: [homeserver.yaml]}", &[("homeserver.yaml", &homeserver)]);
    let writer = Reason::NoWriter.explanation();
    assert_eq!(said, format!("the database's argument service is not supported; {writer}"));
}

#[test]
fn the_database_can_be_read_in_a_role_of_its_own() {
    let homeserver = format!("{HOMESERVER}{POSTGRES}");
    let plan = |dendron: &str, files: &[(&str, &str)]| {
        let dendron = format!("synapse: {{config: [homeserver.yaml]}}\n{dendron}");
        let own = [("dendron.yaml", dendron.as_str()), ("homeserver.yaml", homeserver.as_str())];
        let folder = folder(&[&own[..], files].concat());
        let config = load(&Source::File(folder.path().join("dendron.yaml"))).expect("a good configuration").0;
        login(&config, |_| None).map(|plan| (plan.database.user, plan.database.password))
    };
    let shown = |plan: Result<(Option<String>, Option<Secret>), Forwarded>| {
        let (user, password) = plan.map_err(|forwarded| forwarded.to_string())?;
        Ok::<_, String>((user.unwrap_or_default(), password.map(|password| password.expose().to_owned())))
    };
    let role = "login: {database_role: {user: dendron, password_path: password}}\n";
    let expected = ("dendron".to_owned(), Some("hush".to_owned()));
    assert_eq!(shown(plan(role, &[("password", "hush\n")])), Ok(expected));
    let alone = "login: {database_role: {user: dendron}}\n";
    assert_eq!(shown(plan(alone, &[])), Ok(("dendron".to_owned(), None)));
    assert_eq!(shown(plan("", &[])), Ok(("synapse".to_owned(), Some("hunter2".to_owned()))));
    let said = shown(plan(role, &[])).expect_err("the file is not there");
    assert!(said.contains("password cannot be read: "), "{said}");
}
