//! No secret of a homeserver.yaml, and none of a request, is in anything that dendron says.

use std::net::TcpListener;
use std::process::Output;

use libtest_mimic::Failed;

use super::{HOMESERVER, WORKER, texts};
use crate::harness::alone::{Alone, Folder, free_port, run};
use crate::harness::http::Client;
use crate::harness::stacks::Stacks;
use crate::harness::{ensure, ensure_eq};

/// What every secret in these tests begins with.
const MARK: &str = "hush-";

/// Wherever a homeserver.yaml has a secret, with a mark in each.
const SECRETS: &str = "\
macaroon_secret_key: hush-macaroon
form_secret: hush-form
registration_shared_secret: hush-registration
worker_replication_secret: hush-replication
turn_shared_secret: hush-turn
recaptcha_private_key: hush-recaptcha
password_config: {pepper: hush-pepper}
database:
  name: psycopg2
  args: {user: synapse, password: hush-database, host: localhost, dbname: synapse}
email: {smtp_host: localhost, smtp_user: synapse, smtp_pass: hush-email}
jwt_config: {enabled: true, secret: hush-jwt, algorithm: HS256}
oidc_providers: [{idp_id: test, idp_name: Test, issuer: 'https://idp.example.org/', client_id: a, client_secret: hush-oidc}]
matrix_authentication_service: {enabled: false, endpoint: 'http://localhost:1/', secret: hush-mas}
";

/// The same homeserver, with Redis behind a password and these secrets.
fn with_secrets() -> String {
    HOMESERVER.replace("redis: {enabled: true}", "redis: {enabled: true, password: hush-redis}") + SECRETS
}

pub fn of_a_good_configuration(_: &Stacks) -> Result<(), Failed> {
    let homeserver = with_secrets();
    let files = [
        ("dendron.yaml", "synapse: {config: [homeserver.yaml], workers: [workers]}\n"),
        ("homeserver.yaml", homeserver.as_str()),
        ("workers/sync1.yaml", WORKER),
    ];
    let folder = Folder::with(&files)?;
    let (dendron, synapse) = (folder.text("dendron.yaml"), folder.text("homeserver.yaml"));
    let table: [&[&str]; 4] = [
        &["check", "--config", &dendron],
        &["check", "--synapse", &synapse],
        &["routes", "--config", &dendron],
        &["routes", "GET", "/_matrix/client/v3/sync?access_token=hush-token&since=s1", "--config", &dendron],
    ];
    for arguments in table {
        let (output, said, told) = texts(run(arguments)?);
        ensure!(output.status.success(), "{arguments:?}: {told}");
        ensure!(!format!("{said}{told}").contains(MARK), "{arguments:?}: {said} {told}");
    }
    Ok(())
}

/// Whatever is wrong with a file, what is said about it does not repeat the value.
pub fn of_a_bad_configuration(_: &Stacks) -> Result<(), Failed> {
    let good = with_secrets();
    let breaks: Vec<(String, String)> =
        ["hush-macaroon", "hush-replication", "hush-pepper", "hush-database", "hush-redis"]
            .iter()
            .flat_map(|secret| {
                let wrongs = ["[{}]", "{a: {}}", "\"{}", "{}: {}", "!!int {}", "*{}", "\t{}", "'{}' {}", "- {}"];
                let good = good.clone();
                wrongs.map(|wrong| {
                    (format!("{wrong} for {secret}"), good.replacen(secret, &wrong.replace("{}", secret), 1))
                })
            })
            .collect();
    let folder = Folder::with(&[("dendron.yaml", "synapse: {config: [homeserver.yaml]}\n")])?;
    let mut refused = 0;
    for (name, homeserver) in breaks {
        folder.write("homeserver.yaml", &homeserver)?;
        for command in ["check", "run"] {
            let (output, said, told) = texts(run_unless_good(command, &folder)?);
            refused += usize::from(output.status.code() == Some(1) && told.contains("homeserver.yaml"));
            ensure!(!format!("{said}{told}").contains(MARK), "{command} with {name}: {said} {told}");
        }
    }
    ensure!(refused > 40, "only {refused} of these were found to be wrong");
    let wrong = [
        "registration_shared_secret: hush-here\n",
        "listeners: hush-here\n",
        "pools: {hush-here: [a]}\n",
        "admin: {address: ['hush-here']}\n",
    ];
    for (number, line) in wrong.iter().enumerate() {
        folder.write("dendron.yaml", &format!("pools: {{main: ['http://127.0.0.1:8008']}}\n{line}"))?;
        let (output, _, told) = texts(run(&["check", "--config", &folder.text("dendron.yaml")])?);
        ensure_eq!(output.status.code(), Some(1), "{line}");
        // A key is no secret: it has to be named to be found. A value never is.
        ensure!(number == 2 || !told.contains(MARK), "{line}: {told}");
    }
    Ok(())
}

/// Runs a command on a configuration. A program that would start on it finds its address taken, and ends.
fn run_unless_good(command: &str, folder: &Folder) -> Result<Output, Failed> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let config = format!(
        "listeners: [{{address: '{}'}}]\nsynapse: {{config: [homeserver.yaml]}}\nlog: {{level: trace}}\n",
        taken.local_addr()?
    );
    folder.write("dendron.yaml", &config)?;
    run(&[command, "--config", &folder.text("dendron.yaml")])
}

/// Everything is logged that can be, while requests fail for want of a Synapse.
pub fn while_serving(_: &Stacks) -> Result<(), Failed> {
    let [edge, admin, main] = [free_port()?, free_port()?, free_port()?];
    let config = format!(
        "listeners: [{{address: '127.0.0.1:{edge}'}}]\nadmin: {{address: '127.0.0.1:{admin}'}}\n\
         synapse: {{config: [homeserver.yaml]}}\nlog: {{level: trace, access: ./access.log, format: json}}\n"
    );
    let homeserver = with_secrets().replace("8008", &main.to_string());
    let folder = Folder::with(&[("dendron.yaml", &config), ("homeserver.yaml", &homeserver)])?;
    let dendron = Alone::start(&folder.path("dendron.yaml"), admin, &folder.path("output"))?;
    let client = Client::new(&format!("http://127.0.0.1:{edge}"));
    let bearer = ("Authorization", "Bearer hush-bearer");
    let cookie = ("Cookie", "hush-cookie");
    let requests = [
        ("GET", "/_matrix/client/v3/sync?since=s1&access_token=hush-query", "", 502),
        ("POST", "/_matrix/client/v3/login", r#"{"password": "hush-body"}"#, 400),
        ("POST", "/_matrix/client/v3/login", r#"{"type": "m.login.token", "token": "hush-body"}"#, 502),
        ("GET", "/_matrix/client/v3/rooms/!hush-room:b/messages", "", 502),
        ("GET", "/_matrix/client/v3/profile/@hush-user:b", "", 502),
        ("GET", "/hush-path", "", 502),
        ("GET", "/_synapse/admin/v1/users/@hush-admin:b", "", 404),
    ];
    for (method, target, body, status) in requests {
        let answer = client.send(method, target, &[bearer, cookie], body.as_bytes())?;
        ensure_eq!(answer.status, status, "{method} {target}: {}", answer.text());
        ensure!(!answer.text().contains(MARK), "{method} {target}: {}", answer.text());
    }
    let said = dendron.stop()?;
    ensure!(!said.contains(MARK), "it logged:\n{said}");
    ensure!(said.contains("started"), "it logged nothing:\n{said}");
    let access = std::fs::read_to_string(folder.path("access.log"))?;
    ensure_eq!(access.lines().count(), requests.len(), "lines of the access log");
    ensure!(!access.contains(MARK), "the access log:\n{access}");
    for line in access.lines() {
        serde_json::from_str::<serde_json::Value>(line)?;
    }
    Ok(())
}
