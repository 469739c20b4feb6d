//! Quiet syncs, before a real Synapse: they are parked, end as Synapse would end them, and are let go by whatever
//! concerns them. That nothing is late whatever happens is `lateness`'s to prove.
//!
//! - [`device`]: a device that syncs through an edge.
//! - `http2`: the same over HTTP/2.
//! - `settings`: not everybody is parked.
//! - `versions`: nobody is, if Synapse is another one.

mod device;
mod http2;
mod settings;
mod versions;

use std::time::{Duration, Instant};

use dendron::quiet::mode::TESTED;
use libtest_mimic::Failed;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::Test;
use crate::harness::eventually::{SOON, eventually};
use crate::harness::http::Client;
use crate::harness::matrix::{User, encoded, expect_ok};
use crate::harness::stack::Stack;
use crate::harness::{ensure, ensure_eq};
use crate::login::edge::Edge;
use crate::login::synapse_address;
use device::{Device, X_DENDRON, expect_parked, sum};

pub const TESTS: &[Test] = &[
    ("quiet::an_idle_device_is_answered_with_synapses_own_bytes", |stacks| stacks.on_monolith(an_idle_device)),
    ("quiet::a_message_wakes_at_once", |stacks| stacks.on_monolith(a_message_wakes)),
    ("quiet::a_logout_is_told_at_once", |stacks| stacks.on_monolith(a_logout_is_told)),
    ("quiet::a_client_that_leaves_leaves_nothing", |stacks| stacks.on_monolith(a_client_leaves)),
    ("quiet::counts_of_keys_are_never_old", |stacks| stacks.on_monolith(counts_of_keys)),
    ("quiet::parking_is_switched_while_it_runs", |stacks| stacks.on_monolith(parking_is_switched)),
    ("quiet::a_stop_answers_who_is_parked", |stacks| stacks.on_monolith(a_stop_answers)),
    ("quiet::a_shadow_only_predicts", |stacks| stacks.on_monolith(a_shadow_predicts)),
    ("quiet::a_sliding_sync_is_parked_too", |stacks| stacks.on_monolith(a_sliding_sync)),
    ("quiet::streams_of_a_connection_are_parked_apart", |stacks| stacks.on_monolith(http2::streams_are_parked_apart)),
    ("quiet::whoever_is_parked_stays_online", |stacks| stacks.on_monolith(stays_online)),
    ("quiet::another_guise_is_told_to_synapse", |stacks| stacks.on_monolith(another_guise)),
    ("quiet::a_share_of_users_is_parked", |stacks| stacks.on_monolith(settings::a_share_of_users_is_parked)),
    ("quiet::untold_users_are_not_parked", |stacks| stacks.on_monolith(settings::untold_users_are_not_parked)),
    ("quiet::untold_users_are_let_through", |stacks| stacks.on_monolith(settings::untold_users_are_let_through)),
    ("quiet::an_older_synapse_parks_nobody", |stacks| stacks.on_older(versions::an_older_one_parks_nobody)),
    ("quiet::a_downgrade_ends_parking", versions::a_downgrade_ends_parking),
];

const SECOND: Duration = Duration::from_secs(1);

/// An edge that parks, with these settings besides.
fn edge(stack: &Stack, name: &str, settings: &str) -> Result<Edge, Failed> {
    let edge = Edge::with(stack, name, "", &format!("trusted_proxies: ['127.0.0.1']\n{settings}"))?;
    until_live(&edge)?;
    Ok(edge)
}

fn until_live(edge: &Edge) -> Result<(), Failed> {
    eventually(SOON, || {
        let status = edge.admin().get("/status")?.json();
        ensure_eq!(status["syncs"]["gate"], "live", "the gate: {}", status["syncs"]);
        Ok(())
    })
}

/// A user whose device has nothing to hear any more, with a way past the edge.
fn idle(stack: &Stack, edge: &Edge, name: &str) -> Result<(User, Device), Failed> {
    let user = User::register(&stack.client(), name)?;
    let mut device = Device::new(&user, edge);
    device.settle()?;
    Ok((user, device))
}

/// The same where nothing may come of presence either.
fn undisturbed(stack: &Stack, edge: &Edge, name: &str) -> Result<(User, Device), Failed> {
    let user = User::register(&stack.client(), name)?;
    let mut device = Device::new(&user, edge);
    device.is_invisible = true;
    device.settle()?;
    Ok((user, device))
}

fn an_idle_device(stack: &mut Stack) -> Result<(), Failed> {
    let edge = edge(stack, "quiet-idle", "")?;
    let server = edge.admin().get("/status")?.json()["synapse"].clone();
    let (_, (major, minor)) = TESTED;
    let newest = format!("Synapse/{major}.{minor}.");
    ensure!(server.as_str().is_some_and(|server| server.starts_with(&newest)), "{server} is not the newest tested");
    let (user, device) = undisturbed(stack, &edge, "idle")?;
    let target = device.target(2 * SECOND);
    let direct = user.through(&Client::new(&format!("http://{}", synapse_address(stack)))).get(&target)?;
    let begun = Instant::now();
    let poll = device.poll(2 * SECOND);
    expect_parked(&edge, 1)?;
    let parked = poll.answer()?;
    ensure!((2 * SECOND..4 * SECOND).contains(&begun.elapsed()), "it took {:?}", begun.elapsed());
    ensure_eq!(parked.header(X_DENDRON), "replay", "what became of it");
    ensure_eq!(parked.text(), direct.text(), "the body");
    for name in ["server", "content-type", "cache-control", "access-control-allow-origin"] {
        ensure_eq!(parked.header(name), direct.header(name), "{name}");
    }
    ensure!(!parked.header("date").is_empty(), "no date: {:?}", parked.head);
    let at_once = device.poll(Duration::ZERO).answer()?;
    ensure_eq!((at_once.header(X_DENDRON), at_once.text()), ("replay", direct.text()), "without a timeout");
    let replayed = [("outcome", "replayed"), ("reason", "timeout")];
    ensure!(sum(&edge, "dendron_sync_outcomes_total", &replayed)? > 0.0, "nothing was counted");
    expect_parked(&edge, 0)
}

fn a_message_wakes(stack: &mut Stack) -> Result<(), Failed> {
    let edge = edge(stack, "quiet-message", "")?;
    let alice = User::register(&stack.client(), "alice")?;
    let room = alice.create_room()?;
    let bob = User::register(&stack.client(), "bob")?;
    expect_ok(&bob.send("POST", &format!("/_matrix/client/v3/join/{}", encoded(&room)), &json!({}))?, "join")?;
    let mut device = Device::new(&bob, &edge);
    device.settle()?;
    for number in 0..3 {
        let poll = device.poll(20 * SECOND);
        expect_parked(&edge, 1)?;
        let sent = Instant::now();
        let event = alice.say(&room, &format!("quiet{number}"), "hello")?;
        let answer = poll.answer()?;
        ensure!(sent.elapsed() < 2 * SECOND, "it took {:?}", sent.elapsed());
        ensure_eq!(answer.header(X_DENDRON), "woken:events", "what woke it");
        ensure!(answer.text().contains(&event), "no message: {}", answer.text());
        device.take(&answer)?;
        device.settle()?;
    }
    ensure!(sum(&edge, "dendron_sync_wakes_total", &[("answer", "needed")])? >= 3.0, "needed wakes");
    Ok(())
}

fn a_logout_is_told(stack: &mut Stack) -> Result<(), Failed> {
    let edge = edge(stack, "quiet-logout", "")?;
    let (user, device) = idle(stack, &edge, "leaving")?;
    let poll = device.poll(20 * SECOND);
    expect_parked(&edge, 1)?;
    let begun = Instant::now();
    expect_ok(&user.send("POST", "/_matrix/client/v3/logout", &json!({}))?, "logout")?;
    // Synapse tells of the removed device before it removes the token, and may still answer because of that.
    let first = poll.answer()?;
    ensure!(first.header(X_DENDRON).starts_with("woken:"), "what let it go: {:?}", first.head);
    let refused = if first.status == 200 { device.poll(SECOND).answer()? } else { first };
    ensure_eq!((refused.status, refused.json()["errcode"].clone()), (401, json!("M_UNKNOWN_TOKEN")), "the answer");
    ensure!(begun.elapsed() < 2 * SECOND, "it took {:?}", begun.elapsed());
    let again = device.poll(SECOND).answer()?;
    ensure_eq!((again.status, again.header(X_DENDRON)), (401, "forwarded"), "the next one");
    Ok(())
}

fn a_client_leaves(stack: &mut Stack) -> Result<(), Failed> {
    for settings in ["", "front: off\n"] {
        let edge = edge(stack, &format!("quiet-gone{}", settings.len()), settings)?;
        let (_, device) = idle(stack, &edge, "gone")?;
        for _ in 0..3 {
            let connection = device.raw_poll(&edge, 20 * SECOND)?;
            expect_parked(&edge, 1)?;
            drop(connection);
            expect_parked(&edge, 0)?;
        }
        let gone = sum(&edge, "dendron_sync_outcomes_total", &[("outcome", "client_gone")])?;
        ensure_eq!(gone, 3.0, "clients that left");
    }
    Ok(())
}

fn counts_of_keys(stack: &mut Stack) -> Result<(), Failed> {
    let edge = edge(stack, "quiet-keys", "")?;
    let (user, mut device) = idle(stack, &edge, "keys")?;
    for count in 1..=3 {
        let name = format!("signed_curve25519:A{count}");
        let key = json!({ "key": format!("key{count}"), "signatures": {} });
        let keys = json!({ "one_time_keys": { name: key } });
        expect_ok(&user.send("POST", "/_matrix/client/v3/keys/upload", &keys)?, "keys/upload")?;
        let answer = device.poll(SECOND).answer()?;
        let told = &answer.json()["device_one_time_keys_count"]["signed_curve25519"];
        ensure_eq!(told, &json!(count), "{}: {}", answer.header(X_DENDRON), answer.text());
        device.take(&answer)?;
        device.settle()?;
    }
    Ok(())
}

fn parking_is_switched(stack: &mut Stack) -> Result<(), Failed> {
    let mut edge = edge(stack, "quiet-switch", "")?;
    let (_, mut device) = idle(stack, &edge, "switch")?;
    let mode =
        |edge: &Edge| -> Result<Value, Failed> { Ok(edge.admin().get("/status")?.json()["syncs"]["mode"].clone()) };
    for (off, on) in [(true, true), (false, false)] {
        let poll = device.poll(4 * SECOND);
        expect_parked(&edge, 1)?;
        if off {
            put(&edge, "off")?
        } else {
            edge.signal(Signal::USR2)
        }
        let answer = poll.answer()?;
        ensure_eq!(answer.header(X_DENDRON), "woken:switched", "what let it go");
        device.take(&answer)?;
        ensure_eq!(mode(&edge)?, "off", "the mode");
        let answer = device.poll(SECOND).answer()?;
        ensure_eq!(answer.header(X_DENDRON), "forwarded", "while it is off");
        device.take(&answer)?;
        if on {
            put(&edge, "on")?
        } else {
            edge.signal(Signal::USR2)
        }
        eventually(SOON, || if mode(&edge)? == "on" { Ok(()) } else { Err("not on".into()) })?;
        device.settle()?;
    }
    for (method, target, status) in [
        ("POST", "/sync/park", 400),
        ("POST", "/sync/park?mode=maybe", 400),
        ("GET", "/sync/park?mode=off", 404),
        ("POST", "/status", 405),
    ] {
        ensure_eq!(edge.admin().send(method, target, &[], b"")?.status, status, "{method} {target}");
    }
    ensure_eq!(mode(&edge)?, "on", "nothing was switched by mistake");
    Ok(())
}

fn put(edge: &Edge, mode: &str) -> Result<(), Failed> {
    let answer = edge.admin().send("POST", &format!("/sync/park?mode={mode}"), &[], b"")?;
    ensure_eq!((answer.status, answer.text()), (200, format!("{mode}\n")), "switched");
    Ok(())
}

fn a_stop_answers(stack: &mut Stack) -> Result<(), Failed> {
    let mut edge = edge(stack, "quiet-stop", "")?;
    let (_, device) = idle(stack, &edge, "stop")?;
    let empty = device.poll(Duration::ZERO).answer()?;
    let polls: Vec<_> = (0..3).map(|_| device.poll(30 * SECOND)).collect();
    expect_parked(&edge, 3)?;
    let begun = Instant::now();
    edge.signal(Signal::TERM);
    for poll in polls {
        let answer = poll.answer()?;
        ensure_eq!((answer.status, answer.text()), (200, empty.text()), "who was parked");
    }
    ensure!(begun.elapsed() < 3 * SECOND, "it took {:?}", begun.elapsed());
    Ok(())
}

fn a_shadow_predicts(stack: &mut Stack) -> Result<(), Failed> {
    let edge = edge(stack, "quiet-shadow", "sync: {park: shadow}\n")?;
    let alice = User::register(&stack.client(), "alice")?;
    let room = alice.create_room()?;
    let mut device = Device::new(&alice, &edge);
    let predicted = |outcome: &str| sum(&edge, "dendron_sync_predictions_total", &[("outcome", outcome)]);
    eventually(SOON, || {
        let answer = device.poll(SECOND).answer()?;
        device.take(&answer)?;
        ensure_eq!(answer.header(X_DENDRON), "forwarded", "what became of it");
        ensure!(predicted("replay_right")? >= 1.0, "nothing was predicted");
        Ok(())
    })?;
    let poll = device.poll(20 * SECOND);
    std::thread::sleep(SECOND / 2);
    alice.say(&room, "shadow", "hello")?;
    let answer = poll.answer()?;
    ensure_eq!(answer.header(X_DENDRON), "forwarded", "what became of it");
    eventually(SOON, || {
        ensure_eq!(predicted("wake_right")?, 1.0, "a wake");
        Ok(())
    })?;
    ensure_eq!(predicted("miss")?, 0.0, "misses");
    Ok(())
}

fn a_sliding_sync(stack: &mut Stack) -> Result<(), Failed> {
    let edge = edge(stack, "quiet-sliding", "")?;
    let alice = User::register(&stack.client(), "alice")?;
    let room = alice.create_room()?;
    let mut device = Device::sliding(&alice, &edge);
    device.settle()?;
    let empty = device.poll(Duration::ZERO).answer()?;
    let poll = device.poll(2 * SECOND);
    expect_parked(&edge, 1)?;
    let parked = poll.answer()?;
    ensure_eq!((parked.header(X_DENDRON), parked.text()), ("replay", empty.text()), "who was parked");
    let poll = device.poll(20 * SECOND);
    expect_parked(&edge, 1)?;
    let event = alice.say(&room, "sliding", "hello")?;
    let answer = poll.answer()?;
    ensure_eq!(answer.header(X_DENDRON), "woken:events", "what woke it");
    ensure!(answer.text().contains(&event), "no message: {}", answer.text());
    Ok(())
}

/// Without being told, Synapse takes a client for gone half a minute after its last sync has ended. A minute after the
/// user was last active it tells that, which wakes the user: then it is tried again.
fn stays_online(stack: &mut Stack) -> Result<(), Failed> {
    let edge = edge(stack, "quiet-online", "")?;
    let (user, mut device) = idle(stack, &edge, "online")?;
    for _ in 0..3 {
        let poll = device.poll(40 * SECOND);
        expect_parked(&edge, 1)?;
        ensure_eq!(sum(&edge, "dendron_sync_presence_devices", &[])?, 1.0, "devices that Synapse is told of");
        std::thread::sleep(37 * SECOND);
        let path = format!("/_matrix/client/v3/presence/{}/status", encoded(&user.user_id));
        let status = expect_ok(&user.get(&path)?, "presence")?;
        let answer = poll.answer()?;
        if answer.header(X_DENDRON) == "replay" {
            ensure_eq!(status["presence"], "online", "a user who is parked");
            return Ok(());
        }
        device.take(&answer)?;
        device.settle()?;
    }
    Err("something has woken the user each time".into())
}

fn another_guise(stack: &mut Stack) -> Result<(), Failed> {
    let edge = edge(stack, "quiet-guise", "")?;
    let (_, mut device) = undisturbed(stack, &edge, "guise")?;
    for (agent, expected) in [("", "replay"), ("another", "forwarded"), ("", "forwarded"), ("", "replay")] {
        device.agent = agent.to_owned();
        let answer = device.poll(SECOND).answer()?;
        ensure_eq!(answer.header(X_DENDRON), expected, "as {agent:?}");
        device.take(&answer)?;
    }
    Ok(())
}
