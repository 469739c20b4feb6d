//! Dendron inside another Pingora server: `examples/embed.rs` before the monolith's Synapse.

use std::path::PathBuf;

use libtest_mimic::Failed;
use rustix::process::Signal;

use crate::harness::alone::{Folder, free_port};
use crate::harness::child::Child;
use crate::harness::eventually::{SOON, eventually};
use crate::harness::http::Client;
use crate::harness::matrix::{User, expect_ok};
use crate::harness::stack::Stack;
use crate::harness::stacks::Stacks;
use crate::harness::{checkout, dendron, ensure, ensure_eq};

pub const TESTS: &[crate::Test] = &[
    ("embed::the_example_is_short_and_documented", the_example_is_short_and_documented),
    ("embed::another_server_serves_matrix_by_dendron", |stacks| stacks.on_monolith(another_server_serves_matrix)),
    ("embed::without_its_arguments_the_example_says_how_it_is_used", usage_is_said),
];

/// Whoever wants to do the same reads it in a minute.
const LINES_MAX: usize = 60;

fn the_example_is_short_and_documented(_: &Stacks) -> Result<(), Failed> {
    let text = std::fs::read_to_string(checkout().join("examples/embed.rs"))?;
    ensure!(text.lines().count() < LINES_MAX, "it has {} lines", text.lines().count());
    let document = text.lines().take_while(|line| line.starts_with("//!")).count();
    ensure!(document >= 5, "its documentation has {document} lines");
    Ok(())
}

fn another_server_serves_matrix(stack: &mut Stack) -> Result<(), Failed> {
    let processes = stack.facts["synapse"]["processes"].as_array().ok_or("stack.json names no processes")?;
    let main = processes.iter().find(|process| process["name"] == "main").ok_or("stack.json does not name main")?;
    let address = main["address"].as_str().unwrap_or_default();
    let config = format!("pools: {{main: ['{address}']}}\nlog: {{access: off, format: json}}\n");
    let folder = Folder::with(&[("dendron.yaml", &config)])?;
    let [edge, own] = [free_port()?, free_port()?].map(|port| format!("127.0.0.1:{port}"));
    let file = folder.text("dendron.yaml");
    let mut server = Child::start("embed", &example()?, &[&file, &edge, &own], &folder.path("output"))?;

    let client = Client::new(&format!("http://{edge}"));
    let versions = eventually(SOON, || match client.get("/_matrix/client/versions") {
        Ok(answer) => Ok(answer),
        Err(reason) => {
            let said = std::fs::read_to_string(folder.path("output")).unwrap_or_default();
            let reason = reason.message().unwrap_or_default().to_owned();
            Err(format!("{reason}; it runs: {}; it said: {said}", server.is_running()).into())
        }
    })?;
    let expected = stack.client().get("/_matrix/client/versions")?;
    ensure_eq!((versions.status, &versions.body), (200, &expected.body), "the versions");

    // A user of the stack is the same user here, and what is said here is heard there.
    let user = User::register(&stack.client(), "embedded")?;
    let room = user.create_room()?;
    let event = user.through(&client).say(&room, "t1", "by another server")?;
    let found = expect_ok(&user.get(&format!("/_matrix/client/v3/rooms/{room}/event/{event}"))?, "the event")?;
    ensure_eq!(found["content"]["body"], "by another server", "what was said");
    let refused = client.get("/_synapse/admin/v1/server_version")?;
    ensure_eq!((refused.status, &refused.json()["errcode"]), (404, &"M_UNRECOGNIZED".into()), "Synapse's admin API");

    // The server shows dendron's metrics on a port of its own, and in them the one message.
    let counted = r#"dendron_requests_total{answered_by="synapse",class="event_send",code="200",method="PUT"} 1"#;
    eventually(SOON, || {
        let text = Client::new(&format!("http://{own}")).get("/anything")?.text();
        ensure!(text.lines().any(|line| line == counted), "no line is {counted}");
        Ok(())
    })?;
    let status = server.stop(Signal::INT)?;
    ensure!(status.success(), "it ended with {status}");
    ensure!(client.get("/_matrix/client/versions").is_err(), "somebody still serves the address");
    Ok(())
}

fn usage_is_said(_: &Stacks) -> Result<(), Failed> {
    let output = std::process::Command::new(example()?).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success() && said.contains("usage: embed DENDRON.YAML"), "{} {said}", output.status);
    Ok(())
}

/// The built example, which cargo puts beside the program.
fn example() -> Result<PathBuf, Failed> {
    let path = dendron().with_file_name("examples").join("embed");
    ensure!(path.exists(), "{} is not built: run `cargo build --example embed`", path.display());
    Ok(path)
}
