//! Whatever a user can do, and whom it must concern.

use dendron::replication::Stream;
use dendron::replication::change::{Change, Concerns};
use libtest_mimic::Failed;
use serde_json::{Value, json};

use super::followed::{Followed, hasher};
use crate::harness::matrix::{PASSWORD, User, encoded, expect_ok};
use crate::harness::stack::Stack;

/// Two users in a room, and the follower that must see what they do.
struct Scene<'test> {
    followed: &'test mut Followed,
    alice: User,
    bob: User,
    room: String,
}

/// Does everything once.
pub fn drive(stack: &Stack, followed: &mut Followed) -> Result<(), Failed> {
    let client = stack.client();
    let (alice, bob) = (User::register(&client, "alice")?, User::register(&client, "bob")?);
    let room = alice.create_room()?;
    let mut scene = Scene { followed, alice, bob, room };
    memberships(&mut scene)?;
    let event = messages(&mut scene)?;
    receipts(&mut scene, &event)?;
    own_data(&mut scene)?;
    keys(&mut scene)?;
    ends(&mut scene)
}

impl Scene<'_> {
    /// Sends a request that must succeed, and expects a change of it.
    fn expect(
        &mut self,
        user: &User,
        method: &str,
        path: &str,
        body: Value,
        is_it: impl Fn(&Change) -> bool,
    ) -> Result<Value, Failed> {
        let from = self.followed.read();
        let answer = expect_ok(&user.send(method, &format!("/_matrix/client/v3/{path}"), &body)?, path)?;
        self.followed.expect(from, path, is_it)?;
        Ok(answer)
    }

    fn in_room(&self, path: &str) -> String {
        format!("rooms/{}/{path}", encoded(&self.room))
    }
}

fn concerns_room(stream: Stream, room: &str) -> impl Fn(&Change) -> bool {
    let room = Concerns::Room(room.into());
    move |change| change.stream == stream && change.concerns == room
}

fn concerns_user(stream: Stream, user: &str) -> impl Fn(&Change) -> bool {
    let user = Concerns::User(user.into());
    move |change| change.stream == stream && change.concerns == user
}

fn is_member(room: &str, user: &str, membership: &str) -> impl Fn(&Change) -> bool {
    move |change| match &change.concerns {
        Concerns::Member(member) => {
            (&*member.room, &*member.user, member.membership.as_deref()) == (room, user, Some(membership))
        }
        _ => false,
    }
}

fn memberships(scene: &mut Scene<'_>) -> Result<(), Failed> {
    let (alice, bob, room) = (scene.alice.clone(), scene.bob.clone(), scene.room.clone());
    let target = json!({ "user_id": bob.user_id });
    let steps = [
        (&alice, "invite", "invite"),
        (&bob, "leave", "leave"),
        (&bob, "join", "join"),
        (&alice, "kick", "leave"),
        (&alice, "ban", "ban"),
        (&alice, "unban", "leave"),
    ];
    for (user, action, membership) in steps {
        let body = if user.user_id == bob.user_id { json!({}) } else { target.clone() };
        let from = scene.followed.read();
        let path = scene.in_room(action);
        scene.expect(user, "POST", &path, body, is_member(&room, &bob.user_id, membership))?;
        // The hint that comes before the event.
        scene.followed.expect(from, "the stale members", |change| match &change.concerns {
            Concerns::StaleMembers { room: stale, users } => {
                **stale == *room && users.iter().any(|user| **user == *bob.user_id)
            }
            _ => false,
        })?;
    }
    let path = scene.in_room("join");
    scene.expect(&bob, "POST", &path, json!({}), is_member(&room, &bob.user_id, "join"))?;
    // What the row of the current state tells besides.
    scene.followed.expect(0, "the state", |change| match &change.concerns {
        Concerns::Member(member) => *member.user == *bob.user_id && member.membership.is_none(),
        _ => false,
    })?;
    Ok(())
}

fn messages(scene: &mut Scene<'_>) -> Result<String, Failed> {
    let (alice, bob, room) = (scene.alice.clone(), scene.bob.clone(), scene.room.clone());
    let of_room = || concerns_room(Stream::Events, &room);
    let text = json!({ "msgtype": "m.text", "body": "hello" });
    let path = scene.in_room("send/m.room.message/one");
    let event =
        scene.expect(&alice, "PUT", &path, text, of_room())?["event_id"].as_str().unwrap_or_default().to_owned();
    let path = scene.in_room("state/m.room.topic");
    scene.expect(&alice, "PUT", &path, json!({ "topic": "talk" }), of_room())?;
    let path = scene.in_room(&format!("redact/{}/two", encoded(&event)));
    scene.expect(&alice, "PUT", &path, json!({}), of_room())?;
    let typing = scene.in_room(&format!("typing/{}", encoded(&bob.user_id)));
    let types = json!({ "typing": true, "timeout": 20_000 });
    scene.expect(&bob, "PUT", &typing, types, concerns_room(Stream::Typing, &room))?;
    scene.expect(&bob, "PUT", &typing, json!({ "typing": false }), concerns_room(Stream::Typing, &room))?;
    let path = format!("profile/{}/displayname", encoded(&bob.user_id));
    let renamed = json!({ "displayname": "Bobby" });
    scene.expect(&bob, "PUT", &path, renamed, is_member(&room, &bob.user_id, "join"))?;
    Ok(event)
}

fn receipts(scene: &mut Scene<'_>, event: &str) -> Result<(), Failed> {
    let (bob, room) = (scene.bob.clone(), scene.room.clone());
    let receipt = |kind: &str| scene_receipt(kind, event);
    let path = scene.in_room(&receipt("m.read"));
    scene.expect(&bob, "POST", &path, json!({}), concerns_room(Stream::Receipts, &room))?;
    let path = scene.in_room(&receipt("m.read"));
    let threaded = json!({ "thread_id": "main" });
    scene.expect(&bob, "POST", &path, threaded, concerns_room(Stream::Receipts, &room))?;
    let path = scene.in_room(&receipt("m.read.private"));
    scene.expect(&bob, "POST", &path, json!({}), concerns_user(Stream::Receipts, &bob.user_id))?;
    let path = scene.in_room("read_markers");
    let marker = json!({ "m.fully_read": event });
    scene.expect(&bob, "POST", &path, marker, concerns_user(Stream::AccountData, &bob.user_id))?;
    Ok(())
}

fn scene_receipt(kind: &str, event: &str) -> String {
    format!("receipt/{kind}/{}", encoded(event))
}

fn own_data(scene: &mut Scene<'_>) -> Result<(), Failed> {
    let (alice, bob) = (scene.alice.clone(), scene.bob.clone());
    let who = encoded(&bob.user_id);
    let of_bob = |stream| concerns_user(stream, &bob.user_id);
    let path = format!("user/{who}/account_data/org.example.note");
    scene.expect(&bob, "PUT", &path, json!({ "a": 1 }), of_bob(Stream::AccountData))?;
    let path = format!("user/{who}/account_data/m.ignored_user_list");
    scene.expect(&bob, "PUT", &path, json!({ "ignored_users": {} }), of_bob(Stream::AccountData))?;
    let path = format!("user/{who}/rooms/{}/tags/u.work", encoded(&scene.room));
    scene.expect(&bob, "PUT", &path, json!({ "order": 0.5 }), of_bob(Stream::AccountData))?;
    scene.expect(&bob, "DELETE", &path, Value::Null, of_bob(Stream::AccountData))?;
    let rule = json!({ "actions": ["notify"], "pattern": "lunch" });
    scene.expect(&bob, "PUT", "pushrules/global/content/lunch", rule, of_bob(Stream::PushRules))?;
    let message = json!({ "messages": { bob.user_id.clone(): { "*": { "a": 1 } } } });
    scene.expect(&alice, "PUT", "sendToDevice/org.example.ping/one", message, of_bob(Stream::ToDevice))?;
    let present = json!({ "presence": "unavailable", "status_msg": "lunch" });
    let path = format!("presence/{who}/status");
    scene.expect(&bob, "PUT", &path, present, |change| {
        change.stream == Stream::Presence && change.concerns == Concerns::Sharing(bob.user_id.as_str().into())
    })?;
    Ok(())
}

fn keys(scene: &mut Scene<'_>) -> Result<(), Failed> {
    let (alice, bob) = (scene.alice.clone(), scene.bob.clone());
    let (user, device) = (bob.user_id.clone(), bob.device_id.clone());
    let devices = {
        let user = user.clone();
        move |change: &Change| {
            change.stream == Stream::DeviceLists && change.concerns == Concerns::Devices(user.as_str().into())
        }
    };
    let keys_of_device = {
        let (user, device) = (user.clone(), device.clone());
        move |change: &Change| match &change.concerns {
            Concerns::Keys(keys) => *keys.user == *user && keys.device.as_deref() == Some(device.as_str()),
            _ => false,
        }
    };
    let renamed = json!({ "display_name": "phone" });
    scene.expect(&bob, "PUT", &format!("devices/{device}"), renamed, &devices)?;
    let upload = json!({
        "device_keys": {
            "user_id": user, "device_id": device, "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
            "keys": { format!("ed25519:{device}"): "a", format!("curve25519:{device}"): "b" },
            "signatures": { user.clone(): { format!("ed25519:{device}"): "c" } },
        },
        "one_time_keys": { "signed_curve25519:AAAA": { "key": "k1", "signatures": {} } },
        "fallback_keys": { "signed_curve25519:BBBB": { "key": "k2", "fallback": true, "signatures": {} } },
    });
    let from = scene.followed.read();
    scene.expect(&bob, "POST", "keys/upload", upload, &devices)?;
    scene.followed.expect(from, "the count of the uploaded keys", &keys_of_device)?;
    let claim = json!({ "one_time_keys": { user: { device: "signed_curve25519" } } });
    // The first claim takes the one-time key, the second one the fallback key.
    for _ in 0..2 {
        scene.expect(&alice, "POST", "keys/claim", claim.clone(), &keys_of_device)?;
    }
    Ok(())
}

fn ends(scene: &mut Scene<'_>) -> Result<(), Failed> {
    let bob = scene.bob.clone();
    let login = json!({
        "type": "m.login.password", "password": PASSWORD, "device_id": "SECOND",
        "identifier": { "type": "m.id.user", "user": bob.user_id },
    });
    let user = bob.user_id.clone();
    let device_changed = |device: &'static str| {
        let user = user.clone();
        move |change: &Change| match &change.concerns {
            Concerns::DeviceChanged(changed) => *changed.user == *user && changed.device.as_deref() == Some(device),
            _ => false,
        }
    };
    let answer = scene.expect(&bob, "POST", "login", login, device_changed("SECOND"))?;
    let second = User { token: answer["access_token"].as_str().unwrap_or_default().to_owned(), ..bob.clone() };
    let ended = |token: &str| {
        let token = Concerns::TokenEnded(hasher().hash(token));
        move |change: &Change| change.concerns == token
    };
    scene.expect(&second, "POST", "logout", json!({}), ended(&second.token))?;
    let from = scene.followed.read();
    let auth = json!({
        "type": "m.login.password", "password": PASSWORD,
        "identifier": { "type": "m.id.user", "user": bob.user_id },
    });
    scene.expect(&bob, "POST", "account/deactivate", json!({ "auth": auth }), ended(&bob.token))?;
    let changed = Concerns::AccountChanged(bob.user_id.as_str().into());
    scene.followed.expect(from, "the account", |change| change.concerns == changed)?;
    Ok(())
}
