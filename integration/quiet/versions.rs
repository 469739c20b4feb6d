//! A Synapse of a version that was not tested: nobody is parked, and nobody notices.

use std::time::Duration;

use libtest_mimic::Failed;
use serde_json::json;

use super::SECOND;
use super::device::{Device, X_DENDRON, expect_parked, sum};
use crate::harness::eventually::eventually;
use crate::harness::matrix::{User, expect_ok};
use crate::harness::stack::Stack;
use crate::harness::stacks::Stacks;
use crate::harness::{ensure, ensure_eq, older_synapse_python, synapse_python};
use crate::login::edge::Edge;

/// How long a process of another version may be unseen: the edge asks each a few times in it.
const NOTICED: Duration = Duration::from_secs(30);

pub fn an_older_one_parks_nobody(stack: &mut Stack) -> Result<(), Failed> {
    let edge = Edge::with(stack, "quiet-older", "", "trusted_proxies: ['127.0.0.1']\n")?;
    expect_mode(&edge, "shadow")?;
    let alice = User::register(&stack.client(), "alice")?;
    let room = alice.create_room()?;
    let mut device = Device::new(&alice, &edge);
    expect_forwarded(&mut device)?;
    // Whoever switches it on anyway only says what is wanted.
    let switched = edge.admin().send("POST", "/sync/park?mode=on", &[], b"")?;
    ensure_eq!((switched.status, switched.text()), (200, "shadow\n".to_owned()), "switched");
    expect_mode(&edge, "shadow")?;
    expect_forwarded(&mut device)?;
    let poll = device.poll(20 * SECOND);
    std::thread::sleep(SECOND / 2);
    ensure_eq!(sum(&edge, "dendron_sync_parked", &[])?, 0.0, "parked syncs");
    let event = alice.say(&room, "older", "hello")?;
    let answer = poll.answer()?;
    ensure!(answer.text().contains(&event), "no message: {}", answer.text());
    ensure_eq!(answer.header(X_DENDRON), "forwarded", "what became of it");
    Ok(())
}

pub fn a_downgrade_ends_parking(_: &Stacks) -> Result<(), Failed> {
    let mut stack = Stack::start("quiet-downgrade", "monolith", &[])?;
    let edge = super::edge(&stack, "quiet-downgrade", "")?;
    let alice = User::register(&stack.client(), "alice")?;
    // A version of rooms that both know.
    let made = alice.send("POST", "/_matrix/client/v3/createRoom", &json!({ "room_version": "10" }))?;
    let room = expect_ok(&made, "createRoom")?["room_id"].as_str().unwrap_or_default().to_owned();
    let mut device = Device::new(&alice, &edge);
    device.is_invisible = true;
    device.settle()?;
    expect_mode(&edge, "on")?;

    let poll = device.poll(90 * SECOND);
    expect_parked(&edge, 1)?;
    stack.change_synapse(&older_synapse_python())?;
    expect_mode(&edge, "shadow")?;
    expect_parked(&edge, 0)?;
    // An older Synapse refuses a newer one's token, which has more fields, or it was away as the poll was let go. Whatever
    // it was, it was not the answer that dendron keeps.
    let answer = poll.answer()?;
    ensure!(answer.header(X_DENDRON) != "replay", "it was parked: {}", answer.text());
    // So a client begins anew.
    let mut device = Device::new(&alice, &edge);
    device.is_invisible = true;
    expect_forwarded(&mut device)?;
    let poll = device.poll(20 * SECOND);
    let event = alice.say(&room, "downgraded", "hello")?;
    let answer = poll.answer()?;
    ensure!(answer.text().contains(&event), "no message: {}", answer.text());
    device.take(&answer)?;

    stack.change_synapse(&synapse_python())?;
    expect_mode(&edge, "on")?;
    device.settle()
}

/// Waits until syncs are treated so.
fn expect_mode(edge: &Edge, mode: &str) -> Result<(), Failed> {
    eventually(NOTICED, || {
        let syncs = edge.admin().get("/status")?.json()["syncs"].clone();
        ensure_eq!(syncs["mode"], mode, "the mode: {syncs}");
        ensure_eq!(syncs["untested_synapse"], json!(mode == "shadow"), "whether the version is a strange one: {syncs}");
        Ok(())
    })
}

/// Polls as often as it would take to be parked, and is not.
fn expect_forwarded(device: &mut Device) -> Result<(), Failed> {
    for _ in 0..4 {
        let answer = device.poll(SECOND / 2).answer()?;
        ensure_eq!((answer.status, answer.header(X_DENDRON)), (200, "forwarded"), "what became of it");
        device.take(&answer)?;
    }
    Ok(())
}
