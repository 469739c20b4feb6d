//! Which process served a request, by Synapse's own account: each request carries a mark, and exactly one process's log
//! must show it.

use std::collections::BTreeSet;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::Test;
use crate::harness::eventually::{SOON, eventually};
use crate::harness::matrix::{User, encoded, expect_ok};
use crate::harness::stack::Stack;
use crate::harness::stacks::Stacks;
use crate::harness::{ensure, ensure_eq, fail};

pub const TESTS: &[Test] = &[
    ("who_served::every_class_by_the_right_process", every_class_by_the_right_process),
    ("who_served::one_user_by_one_sync_worker", one_user_by_one_sync_worker),
    ("who_served::monolith_serves_everything", monolith_serves_everything),
];

/// A request and the processes that may serve it.
struct Case {
    method: &'static str,
    target: String,
    body: Value,
    processes: &'static [&'static str],
}

fn case(method: &'static str, target: impl Into<String>, body: Value, processes: &'static [&'static str]) -> Case {
    Case { method, target: target.into(), body, processes }
}

const SYNC: &[&str] = &["sync1", "sync2"];
const GENERIC: &[&str] = &["generic1"];
const WRITER: &[&str] = &["writer1"];
const MEDIA: &[&str] = &["media1"];
const FEDERATION: &[&str] = &["federation_reader1"];
const MAIN: &[&str] = &["main"];

/// One request at least for each class that strangers can reach, and none that dendron answers itself.
fn cases(user: &User, room: &str, event: &str) -> Vec<Case> {
    let client = "/_matrix/client/v3";
    let (room, event, who) = (encoded(room), encoded(event), encoded(&user.user_id));
    let none = || Value::Null;
    vec![
        case("GET", format!("{client}/sync?timeout=0&since=s0_0_0_0_0_0_0_0_0_0_0_0_0_0"), none(), SYNC),
        case("GET", format!("{client}/sync?timeout=0"), none(), SYNC),
        case(
            "POST",
            "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=0",
            json!({"conn_id": "a"}),
            SYNC,
        ),
        case("GET", format!("{client}/rooms/{room}/messages?dir=b"), none(), GENERIC),
        case("GET", format!("{client}/rooms/{room}/members?"), none(), GENERIC),
        case("GET", format!("{client}/rooms/{room}/context/{event}?"), none(), GENERIC),
        case("GET", format!("{client}/capabilities?"), none(), GENERIC),
        case("GET", format!("{client}/account/whoami?"), none(), GENERIC),
        case("GET", "/_matrix/client/versions?", none(), GENERIC),
        case("POST", format!("{client}/keys/query?"), json!({"device_keys": {}}), GENERIC),
        case("GET", format!("{client}/room_keys/version?"), none(), GENERIC),
        case("GET", format!("{client}/register/available?username=nobody-yet"), none(), GENERIC),
        case("PUT", format!("{client}/rooms/{room}/send/m.room.message/t1?"), json!({"body": "x"}), GENERIC),
        case("PUT", format!("{client}/rooms/{room}/send/m.room.message/tags?"), json!({"body": "x"}), GENERIC),
        case("PUT", format!("{client}/rooms/{room}/state/m.room.topic/typing?"), json!({"topic": "x"}), GENERIC),
        case("POST", format!("{client}/createRoom?"), json!({}), GENERIC),
        case("POST", format!("{client}/join/{room}?"), json!({}), GENERIC),
        case("GET", format!("{client}/profile/{who}?"), none(), GENERIC),
        case("PUT", format!("{client}/rooms/{room}/typing/{who}?"), json!({"typing": false}), WRITER),
        case("GET", format!("{client}/pushrules/?"), none(), WRITER),
        case("PUT", format!("{client}/user/{who}/account_data/com.example.a?"), json!({}), WRITER),
        case("PUT", format!("{client}/user/{who}/rooms/{room}/tags/u.x?"), json!({}), WRITER),
        case("PUT", format!("{client}/sendToDevice/com.example.a/t1?"), json!({"messages": {}}), WRITER),
        case("GET", format!("{client}/presence/{who}/status?"), none(), WRITER),
        case("POST", format!("{client}/rooms/{room}/receipt/m.read/{event}?"), json!({}), WRITER),
        case("GET", format!("{client}/devices?"), none(), WRITER),
        case("POST", format!("{client}/keys/upload?"), json!({}), WRITER),
        case("POST", format!("{client}/user_directory/search?"), json!({"search_term": "x"}), GENERIC),
        case("GET", "/_matrix/client/v1/media/config?", none(), MEDIA),
        case("POST", "/_matrix/media/v3/upload?", json!({"some": "bytes"}), MEDIA),
        case("GET", "/_matrix/media/v3/config?", none(), MEDIA),
        case("GET", "/_matrix/federation/v1/media/download/unknown?", none(), MEDIA),
        case("PUT", "/_matrix/federation/v1/send/t1?", json!({}), FEDERATION),
        case("GET", format!("/_matrix/federation/v1/state_ids/{room}?"), none(), FEDERATION),
        case("GET", "/_matrix/federation/v1/version?", none(), FEDERATION),
        case("GET", format!("/_matrix/federation/v1/make_join/{room}/@a:b?"), none(), FEDERATION),
        case("POST", "/_matrix/key/v2/query?", json!({"server_keys": {}}), FEDERATION),
        case("GET", "/.well-known/matrix/client/below?", none(), MAIN),
        case("GET", format!("{client}/pushers?"), none(), MAIN),
        case("GET", format!("{client}/thirdparty/protocols?"), none(), MAIN),
        case("POST", format!("{client}/rooms/{room}/report/{event}?"), json!({"reason": "x"}), MAIN),
        case("POST", format!("{client}/user/{who}/openid/request_token?"), json!({}), MAIN),
        case("GET", format!("{client}/no_such_endpoint?"), none(), MAIN),
        case("POST", format!("{client}/logout?"), json!({}), MAIN),
    ]
}

fn every_class_by_the_right_process(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_workers(|stack| {
        let user = User::register(&stack.client(), "served")?;
        let room = user.create_room()?;
        let event = user.say(&room, "first", "hello")?;
        let mut wrong = Vec::new();
        for (number, case) in cases(&user, &room, &event).into_iter().enumerate() {
            let mark = format!("mark={number}x{}", user.localpart());
            let target = format!("{}&{mark}", case.target);
            let answer = user.send(case.method, &target, &case.body)?;
            let served = served_by(stack, &mark)?;
            let label = case.target.split('?').next().unwrap_or_default().to_owned();
            if served.len() != 1 || !served.iter().all(|name| case.processes.contains(&name.as_str())) {
                wrong.push(format!("{} {label}: served by {served:?}, not by {:?}", case.method, case.processes));
            }
            if answer.status >= 500 {
                wrong.push(format!("{} {label}: {} {}", case.method, answer.status, answer.text()));
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    })
}

/// The processes whose log shows the mark of a finished request.
pub fn served_by(stack: &Stack, mark: &str) -> Result<BTreeSet<String>, Failed> {
    eventually(SOON, || {
        let mut found = BTreeSet::new();
        for process in stack.synapse_processes() {
            let log = stack.synapse_log(&process)?;
            if log.lines().any(|line| line.contains("Processed request") && line.contains(mark)) {
                found.insert(process);
            }
        }
        if found.is_empty() { fail!("no process has logged {mark}") } else { Ok(found) }
    })
}

fn one_user_by_one_sync_worker(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_workers(|stack| {
        let mut used = BTreeSet::new();
        for number in 0..8 {
            let user = User::register(&stack.client(), &format!("sticky{number}"))?;
            let again = json!({
                "type": "m.login.password",
                "identifier": {"type": "m.id.user", "user": user.user_id},
                "password": crate::harness::matrix::PASSWORD,
            });
            let login = user.send("POST", "/_matrix/client/v3/login", &again)?;
            let second = expect_ok(&login, "login")?["access_token"].as_str().unwrap_or_default().to_owned();
            let second = User { token: second, ..user.clone() };
            let mut served = BTreeSet::new();
            for (device, which) in [(&user, "first"), (&second, "second")] {
                let mark = format!("mark={which}{}", user.localpart());
                expect_ok(&device.get(&format!("/_matrix/client/v3/sync?timeout=0&{mark}"))?, "sync")?;
                served.extend(served_by(stack, &mark)?);
            }
            ensure_eq!(served.len(), 1, "two devices of one user were served by {served:?}");
            used.extend(served);
        }
        ensure_eq!(used.len(), 2, "eight users were all served by {used:?}");
        Ok(())
    })
}

fn monolith_serves_everything(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        let user = User::register(&stack.client(), "mono")?;
        let room = user.create_room()?;
        let event = user.say(&room, "first", "hello")?;
        for case in cases(&user, &room, &event) {
            let answer = user.send(case.method, &case.target, &case.body)?;
            ensure!(answer.status < 500, "{} {}: {} {}", case.method, case.target, answer.status, answer.text());
        }
        Ok(())
    })
}
