//! Settings of which only some users notice something.

use dendron::quiet::settings::SyncSettings;
use libtest_mimic::Failed;
use serde_json::json;

use super::device::{Device, X_DENDRON, expect_parked, sum};
use super::{SECOND, edge, until_live};
use crate::harness::eventually::{SOON, eventually};
use crate::harness::matrix::{User, encoded, expect_ok};
use crate::harness::stack::Stack;
use crate::harness::{ensure, ensure_eq, program};
use crate::login::edge::Edge;

/// Among so many users there is one of either half, but once in thirty thousand times.
const USERS: usize = 16;

pub fn a_share_of_users_is_parked(stack: &mut Stack) -> Result<(), Failed> {
    let settings = "{share: 50}";
    let share = serde_yaml::from_str::<SyncSettings>(settings)?.share;
    let edge = edge(stack, "quiet-share", &format!("sync: {settings}\n"))?;
    let alice = User::register(&stack.client(), "alice")?;
    let room = alice.create_room()?;
    let users: Vec<User> = (0..USERS)
        .map(|number| User::register(&stack.client(), &format!("share{number}")))
        .collect::<Result<_, _>>()?;
    let find = |is_in_it| users.iter().find(|user| share.includes(&user.user_id) == is_in_it);
    let (Some(inside), Some(outside)) = (find(true), find(false)) else {
        return Err(format!("of {USERS} users all are on one side").into());
    };
    for user in [inside, outside] {
        expect_ok(&user.send("POST", &format!("/_matrix/client/v3/join/{}", encoded(&room)), &json!({}))?, "join")?;
    }
    let (mut parked, mut forwarded) = (Device::new(inside, &edge), Device::new(outside, &edge));
    // Else each of them would be told of the other's presence.
    (parked.is_invisible, forwarded.is_invisible) = (true, true);
    for _ in 0..6 {
        let answer = forwarded.poll(SECOND / 2).answer()?;
        ensure_eq!(answer.header(X_DENDRON), "forwarded", "who is outside");
        forwarded.take(&answer)?;
    }
    ensure!(forwarded_because(&edge, "outside_share")? >= 1.0, "it is not counted why");
    parked.settle()?;
    let polls = [parked.poll(20 * SECOND), forwarded.poll(20 * SECOND)];
    expect_parked(&edge, 1)?;
    std::thread::sleep(SECOND / 4);
    let event = alice.say(&room, "share", "hello")?;
    for (poll, expected) in polls.into_iter().zip(["woken:events", "forwarded"]) {
        let answer = poll.answer()?;
        ensure_eq!(answer.header(X_DENDRON), expected, "what became of it");
        ensure!(answer.text().contains(&event), "no message: {}", answer.text());
    }
    Ok(())
}

/// Redis lets dendron listen, and not publish: so Synapse cannot be told who is parked.
pub fn untold_users_are_not_parked(stack: &mut Stack) -> Result<(), Failed> {
    let (edge, mut visible) = untold(stack, "forward")?;
    for _ in 0..6 {
        let answer = visible.poll(SECOND / 2).answer()?;
        ensure_eq!(answer.header(X_DENDRON), "forwarded", "who would look offline");
        visible.take(&answer)?;
    }
    ensure!(forwarded_because(&edge, "presence")? >= 1.0, "it is not counted why");
    visible.is_invisible = true;
    // Nobody sees whether this one is there.
    visible.settle()
}

/// With `refresh` they are, until Synapse would take them for gone.
pub fn untold_users_are_let_through(stack: &mut Stack) -> Result<(), Failed> {
    let (edge, mut device) = untold(stack, "refresh")?;
    device.settle()?;
    // Longer than the last one that Synapse has seen: it might last until the user looks offline.
    let longer = device.poll(SECOND).answer()?;
    ensure_eq!(longer.header(X_DENDRON), "forwarded", "a longer poll");
    device.take(&longer)?;
    // Synapse may have something to tell of the user's own presence meanwhile.
    eventually(SOON, || {
        let again = device.poll(SECOND).answer()?;
        device.take(&again)?;
        ensure_eq!(again.header(X_DENDRON), "replay", "one as long as the last one");
        Ok(())
    })?;
    ensure!(forwarded_because(&edge, "presence")? >= 1.0, "it is not counted why");
    ensure_eq!(sum(&edge, "dendron_sync_presence_devices", &[])?, 0.0, "devices that Synapse is told of");
    Ok(())
}

/// An edge whose user at Redis may only listen, and a device.
fn untold(stack: &Stack, setting: &str) -> Result<(Edge, Device), Failed> {
    let socket = stack.text(&["redis", "socket"]);
    let channel = format!("&{}", stack.text(&["server_name"]));
    // It may say that it is there, and say who it is; that is all.
    let mut arguments = vec!["-s", &socket, "ACL", "SETUSER", "listener", "reset", "on", ">listens", "resetchannels"];
    arguments.extend([channel.as_str(), "resetkeys", "-@all", "+subscribe", "+ping"]);
    let said = program::run("redis-cli".as_ref(), &arguments, &stack.folder().join("acl.out"), 10 * SECOND)?;
    ensure_eq!(said.trim(), "OK", "what Redis says");
    let changes = format!("redis: {{enabled: true, path: {socket}, username: listener, password: listens}}\n");
    let name = format!("quiet-untold-{setting}");
    let settings = format!("trusted_proxies: ['127.0.0.1']\nsync: {{untold_presence: {setting}}}\n");
    let edge = Edge::with(stack, &name, &changes, &settings)?;
    until_live(&edge)?;
    ensure_eq!(edge.admin().get("/status")?.json()["syncs"]["presence"], "untold", "what Synapse is told");
    let user = User::register(&stack.client(), "untold")?;
    let device = Device::new(&user, &edge);
    Ok((edge, device))
}

fn forwarded_because(edge: &Edge, reason: &str) -> Result<f64, Failed> {
    sum(edge, "dendron_sync_outcomes_total", &[("outcome", "forwarded"), ("reason", reason)])
}
