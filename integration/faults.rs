//! Processes that die, break off or hang: what is sent again and what never is, who stands in for whom, and what
//! clients are told in the meantime.

mod http2;
mod real;
mod stubs;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::Test;
use crate::harness::alone::{Edge, free_port};
use crate::harness::eventually::{SOON, eventually};
use crate::harness::fronted;
use crate::harness::http::{Answer, Client};
use crate::harness::matrix::{User, encoded, expect_ok};
use crate::harness::stack::Stack;
use crate::harness::stacks::Stacks;
use crate::harness::stub::{Stub, read_body};
use crate::harness::{ensure, ensure_eq};

use stubs::Act::{Answer as Answers, Break};
use stubs::{Act, Crowded, Stubs, broken};

pub const TESTS: &[Test] = &[
    ("faults::only_what_is_safe_is_sent_again", only_what_is_safe_is_sent_again),
    ("faults::only_that_is_sent_again_over_http2", only_that_is_sent_again_over_http2),
    ("faults::a_repeated_message_is_not_doubled", |stacks| stacks.on_monolith(a_repeated_message_is_not_doubled)),
    ("faults::main_stands_in_where_it_may", main_stands_in_where_it_may),
    ("faults::a_process_that_refuses_is_ejected", a_process_that_refuses_is_ejected),
    ("faults::tries_are_bounded", tries_are_bounded),
    ("faults::a_crowd_at_a_unix_socket_is_served", a_crowd_at_a_unix_socket_is_served),
    ("faults::a_crowd_at_a_port_is_served", a_crowd_at_a_port_is_served),
    ("faults::synapse_dies_and_hangs_under_load", real::synapse_dies_and_hangs_under_load),
];

const RETRIES: &str = "dendron_upstream_retries_total";
const SEND: &str = "/_matrix/client/v3/rooms/!a:b/send/m.room.message/t1";
const VERSIONS: &str = "/_matrix/client/versions";

/// A dendron before stubs.
fn with_pools(pools: &str) -> Result<Edge, Failed> {
    Edge::start(&format!("pools: {pools}\n"))
}

/// A request, what the stubs do with it, the answer's status, and how often it reached the same or another stub.
struct Case {
    method: &'static str,
    target: &'static str,
    body_bytes: usize,
    acts: &'static [Act],
    status: u16,
    reached: Reached,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reached {
    Once,
    TwiceTheSame,
    TwoOthers,
}

fn cases() -> Vec<Case> {
    use Reached::{Once, TwiceTheSame, TwoOthers};
    let case =
        |method, target, body_bytes, acts, status, reached| Case { method, target, body_bytes, acts, status, reached };
    let state = "/_matrix/client/v3/rooms/!a:b/state/m.room.topic/";
    let device = "/_matrix/client/v3/devices/ABC";
    vec![
        case("GET", VERSIONS, 0, &[Answers], 200, Once),
        case("GET", VERSIONS, 0, &[Break], 200, TwoOthers),
        case("HEAD", VERSIONS, 0, &[Break], 200, TwoOthers),
        case("OPTIONS", VERSIONS, 0, &[Break], 200, TwoOthers),
        case("GET", VERSIONS, 0, &[Break, Break], 502, TwoOthers),
        case("PUT", SEND, 1000, &[Break], 200, TwiceTheSame),
        case("PUT", SEND, 60_000, &[Break], 200, TwiceTheSame),
        case("PUT", SEND, 1000, &[Break, Break], 502, TwiceTheSame),
        // More than is kept of a body.
        case("PUT", SEND, 200_000, &[Break], 502, Once),
        case("PUT", "/_matrix/client/v3/rooms/!a:b/redact/$c/t1", 10, &[Break], 200, TwiceTheSame),
        case("PUT", "/_matrix/client/v3/sendToDevice/m.x/t1", 10, &[Break], 200, TwiceTheSame),
        case("PUT", "/_matrix/federation/v1/send/t1", 10, &[Break], 200, TwiceTheSame),
        case("PUT", state, 10, &[Break], 502, Once),
        case("POST", "/_matrix/client/v3/createRoom", 10, &[Break], 502, Once),
        case("POST", SEND, 10, &[Break], 502, Once),
        case("POST", "/_matrix/client/v3/keys/query", 10, &[Break], 200, TwoOthers),
        case("POST", "/_matrix/client/v3/keys/query", 10, &[Break, Break], 502, TwoOthers),
        case("POST", "/_matrix/client/v3/keys/claim", 10, &[Break], 502, Once),
        case("DELETE", device, 0, &[Break], 502, Once),
    ]
}

fn only_what_is_safe_is_sent_again(_: &Stacks) -> Result<(), Failed> {
    sent_again(|setting, case, body| setting.client.send(case.method, case.target, &[], body))
}

fn only_that_is_sent_again_over_http2(_: &Stacks) -> Result<(), Failed> {
    if !fronted::by_default() {
        println!("not run: without the front HTTP/2 needs TLS");
        return Ok(());
    }
    sent_again(|setting, case, body| http2::send(setting.client.base(), case.method, case.target, body))
}

fn sent_again(send: impl Fn(&Edge, &Case, &[u8]) -> Result<Answer, Failed>) -> Result<(), Failed> {
    let stubs = Stubs::start(2)?;
    let setting = with_pools(&format!("{{main: {:?}}}", stubs.addresses()))?;
    let mut repeated = 0.0;
    for (number, case) in cases().into_iter().enumerate() {
        let what = format!("{number}: {} {} with {} bytes, {:?}", case.method, case.target, case.body_bytes, case.acts);
        stubs.script(case.acts);
        let answer = send(&setting, &case, &vec![b'x'; case.body_bytes])?;
        ensure_eq!(answer.status, case.status, "{what}: {}", answer.text());
        if answer.status != 200 {
            is_told_to_wait(&answer)?;
        }
        let seen = stubs.seen();
        let reached = match seen.as_slice() {
            [_] => Some(Reached::Once),
            [one, other] if one.stub == other.stub => Some(Reached::TwiceTheSame),
            [_, _] => Some(Reached::TwoOthers),
            _ => None,
        };
        ensure_eq!(reached, Some(case.reached), "{what}: {seen:?}");
        let whole = seen.iter().all(|seen| seen.method == case.method && seen.body_bytes == case.body_bytes);
        ensure!(whole, "{what}: {seen:?}");
        repeated += if case.reached == Reached::Once { 0.0 } else { 1.0 };
        both_answer(&setting, &stubs)?;
    }
    ensure_eq!(setting.metric(RETRIES, &[("pool", "main")])?, repeated, "{RETRIES}");
    setting.dendron.stop().map(drop)
}

/// So that no stub fails so often in a row that it is taken out.
fn both_answer(setting: &Edge, stubs: &Stubs) -> Result<(), Failed> {
    stubs.script(&[]);
    for _ in 0..20 {
        setting.client.get(VERSIONS)?;
        let seen = stubs.seen();
        if (0..2).all(|stub| seen.iter().any(|seen| seen.stub == stub)) {
            return Ok(());
        }
    }
    Err("one stub of two gets every request".into())
}

/// A Matrix error that a browser can read, which says when to come again.
fn is_told_to_wait(answer: &Answer) -> Result<(), Failed> {
    is_matrix_error(answer)?;
    ensure_eq!(answer.header("retry-after"), "5", "Retry-After of {}", answer.text());
    ensure_eq!(answer.json()["retry_after_ms"], 5000, "{}", answer.text());
    Ok(())
}

fn is_matrix_error(answer: &Answer) -> Result<(), Failed> {
    ensure_eq!(answer.json()["errcode"], json!("M_UNKNOWN"), "{}", answer.text());
    ensure_eq!(answer.header("access-control-allow-origin"), "*", "CORS of {}", answer.text());
    Ok(())
}

/// A stub hands a message on to Synapse, and then breaks off instead of giving the answer. The repeated one is the same.
fn a_repeated_message_is_not_doubled(stack: &mut Stack) -> Result<(), Failed> {
    let user = User::register(&stack.client(), "repeated")?;
    let room = user.create_room()?;
    let synapse = user.through(&Client::new(stack.facts["synapse"]["processes"][0]["address"].as_str().unwrap_or("")));
    let taken = Arc::new(Mutex::new(Vec::new()));
    let stub = Stub::start({
        let taken = Arc::clone(&taken);
        move |head, stream| {
            let body = serde_json::from_slice(&read_body(head, stream)?)?;
            let target = head.split(' ').nth(1).unwrap_or_default();
            let answer = synapse.send("PUT", target, &body).map_err(|_| broken())?;
            let mut taken = taken.lock().map_err(|_| broken())?;
            taken.push(answer.status);
            if taken.len() == 1 {
                return Err(broken());
            }
            let head = format!("HTTP/1.1 {} OK\r\nContent-Length: {}\r\n\r\n", answer.status, answer.body.len());
            stream.write_all(&[head.as_bytes(), &answer.body].concat())
        }
    })?;
    let setting = with_pools(&format!("{{main: ['{}']}}", stub.url()))?;
    let event = user.through(&setting.client).say(&room, "once", "only once")?;
    ensure_eq!(*taken.lock().map_err(|_| "the stub has panicked")?, [200, 200], "what Synapse answered");
    let messages = format!("/_matrix/client/v3/rooms/{}/messages?dir=b&limit=100", encoded(&room));
    let messages = expect_ok(&user.get(&messages)?, "messages")?;
    let events = messages["chunk"].as_array().cloned().unwrap_or_default();
    let said: Vec<&Value> = events.iter().filter(|event| event["type"] == "m.room.message").collect();
    ensure_eq!((said.len(), &said[0]["event_id"]), (1, &json!(event)), "messages in the room");
    setting.dendron.stop().map(drop)
}

fn main_stands_in_where_it_may(_: &Stacks) -> Result<(), Failed> {
    let stubs = Stubs::start(1)?;
    let dead = format!("['http://127.0.0.1:{}']", free_port()?);
    let pools = format!("{{main: {:?}, generic: {dead}, media: {dead}, typing: {dead}}}", stubs.addresses());
    let setting = with_pools(&pools)?;
    let typing = "/_matrix/client/v3/rooms/!a:b/typing/@c:d";
    let refused = [("GET", "/_matrix/client/v1/media/download/a/b"), ("PUT", typing)];
    let served = [("GET", "/_matrix/client/v3/sync?since=s1"), ("POST", "/_matrix/client/v3/createRoom")];

    let of_main = || setting.metric("dendron_upstream_connect_seconds_count", &[("pool", "main")]);
    for (method, target) in served {
        let before = of_main()?;
        ensure_eq!(setting.client.send(method, target, &[], b"")?.status, 200, "{method} {target}");
        eventually(SOON, || {
            ensure_eq!(of_main()?, before + 1.0, "requests that main served, after {target}");
            Ok(())
        })?;
    }
    ensure_eq!(setting.metric(RETRIES, &[])?, 2.0, "{RETRIES}");
    for (method, target) in refused {
        let answer = setting.client.send(method, target, &[], b"")?;
        ensure_eq!(answer.status, 502, "{method} {target}");
        is_told_to_wait(&answer)?;
    }

    // Once the checks know, nobody is tried in vain, and the failure is no surprise any more.
    eventually(SOON, || {
        ensure_eq!(setting.metric("dendron_process_healthy", &[("pool", "generic")])?, 0.0, "health");
        Ok(())
    })?;
    for (method, target) in refused {
        let answer = setting.client.send(method, target, &[], b"")?;
        ensure_eq!(answer.status, 503, "{method} {target}");
        is_told_to_wait(&answer)?;
    }
    for (method, target) in served {
        ensure_eq!(setting.client.send(method, target, &[], b"")?.status, 200, "{method} {target}");
    }
    ensure_eq!(setting.metric(RETRIES, &[])?, 2.0, "{RETRIES}");

    // Main dies as well: first that is news, then it is known.
    drop(stubs);
    let sync = || setting.client.get("/_matrix/client/v3/sync?since=s1");
    let answer = sync()?;
    ensure_eq!(answer.status, 502, "when main has just died");
    is_told_to_wait(&answer)?;
    eventually(SOON, || {
        let answer = sync()?;
        is_told_to_wait(&answer)?;
        ensure_eq!(answer.status, 503, "with main dead too");
        Ok(())
    })?;
    setting.dendron.stop().map(drop)
}

fn a_process_that_refuses_is_ejected(_: &Stacks) -> Result<(), Failed> {
    let stubs = Stubs::start(1)?;
    let dead = free_port()?;
    let pools = format!("{{main: ['http://127.0.0.1:{dead}', {:?}]}}", stubs.addresses()[0]);
    let setting = with_pools(&pools)?;
    let name = format!("127.0.0.1:{dead}");
    for _ in 0..10 {
        ensure_eq!(setting.client.get(VERSIONS)?.status, 200, "with one of two processes dead");
    }
    // Three refusals, and no more: the next requests do not even try.
    let ejections = "dendron_process_ejections_total";
    eventually(Duration::from_secs(1), || {
        ensure_eq!(setting.metric(RETRIES, &[])?, 3.0, "{RETRIES}");
        Ok(())
    })?;
    ensure_eq!(setting.metric(ejections, &[("process", &name)])?, 1.0, "{ejections}");
    ensure_eq!(setting.metric(ejections, &[])?, 1.0, "{ejections} of all");
    let said = setting.dendron.stop()?;
    ensure!(said.contains("ejected") && said.contains(&name), "no line tells it: {said}");
    Ok(())
}

/// However many processes a pool has: a client does not wait for them all.
fn tries_are_bounded(_: &Stacks) -> Result<(), Failed> {
    let dead = (0..18).map(|_| Ok(format!("http://127.0.0.1:{}", free_port()?))).collect::<Result<Vec<_>, Failed>>()?;
    let setting = with_pools(&format!("{{main: {dead:?}}}"))?;
    ensure_eq!(
        setting.client.send("POST", "/_matrix/client/v3/createRoom", &[], b"{}")?.status,
        502,
        "nobody is there"
    );
    eventually(SOON, || {
        ensure_eq!(setting.metric(RETRIES, &[])?, 15.0, "{RETRIES}");
        Ok(())
    })?;
    setting.dendron.stop().map(drop)
}

/// More requests at once than the listener keeps connections for. Also those that are never sent twice are served.
fn a_crowd_at_a_unix_socket_is_served(_: &Stacks) -> Result<(), Failed> {
    crowd(&Crowded::at_unix_socket()?, 60)
}

/// The same over TCP, where the process accepts nobody for longer than a connection may take.
fn a_crowd_at_a_port_is_served(_: &Stacks) -> Result<(), Failed> {
    crowd(&Crowded::at_port(Duration::from_millis(2500))?, 10)
}

fn crowd(stub: &Crowded, count: usize) -> Result<(), Failed> {
    let setting = with_pools(&format!("{{main: ['{}']}}", stub.address))?;
    let room = "/_matrix/client/v3/createRoom";
    let crowd: Vec<_> = (0..count)
        .map(|_| {
            let client = setting.client.clone();
            std::thread::spawn(move || client.send("POST", room, &[], b"{}").map(|answer| answer.status).ok())
        })
        .collect();
    let statuses: Vec<_> = crowd.into_iter().map(JoinHandle::join).collect::<Result<_, _>>().map_err(|_| "a panic")?;
    ensure!(statuses.iter().all(|status| *status == Some(200)), "the answers: {statuses:?}");
    ensure!(setting.metric(RETRIES, &[])? > 0.0, "there was room for everybody");
    ensure_eq!(setting.metric("dendron_process_ejections_total", &[])?, 0.0, "ejections");
    setting.dendron.stop().map(drop)
}
