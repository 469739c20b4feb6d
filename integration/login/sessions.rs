//! What a login gives is used: everything that a client does with its session, the same things once by way of Synapse
//! directly and once through dendron. Both lives must be alike in every answer, and each is checked by itself.

use libtest_mimic::Failed;
use serde_json::{Value, json};

use super::cases::Expect;
use super::edge::{Edge, until_answering};
use super::{LOGIN, synapse_address};
use crate::harness::eventually::{SOON, eventually};
use crate::harness::http::Client;
use crate::harness::matrix::{PASSWORD, User, encoded, expect_ok};
use crate::harness::metrics::Metrics;
use crate::harness::stacks::Stacks;
use crate::harness::{ensure, ensure_eq};

/// What Synapse takes for a key and for a signature: it checks neither.
const KEY: &str = "3C5BFWi2Y8MaVvjM8M22DBmh24PmgR0nPvJOIArzgyI";
const SIGNATURE: &str = "dSO80A01XiigH3uBiDVx/EjzaoycHcjq9lfQX0uWsqxl2giMIiSPR8a4d291W1ihKJL/a+myXS367WT6NAIcBA";

/// How often a life logs in.
const LOGINS: usize = 4;

/// What one life was like: a step and what came of it.
type Story = Vec<(&'static str, String)>;

pub fn a_login_is_a_session(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        let direct = Client::new(&format!("http://{}", synapse_address(stack)));
        let expected = live(&direct, "session-a")?;
        let mut edge = Edge::answering(stack, "login-sessions", "")?;
        let shown = live(&Client::new(&format!("http://{}", edge.address)), "session-b")?;
        ensure_eq!(shown, expected, "the two lives");
        let answers = edge.stop()?;
        for number in 0..LOGINS {
            let fault = answers.fault(&format!("session-{number}"), Some(Expect::Edge));
            ensure!(fault.is_none(), "login {number}: {fault:?}");
        }
        Ok(())
    })
}

/// The same life, through the stack's own dendron, where other processes read what main writes.
pub fn a_login_is_a_session_with_workers(stacks: &Stacks) -> Result<(), Failed> {
    let mut expected = Story::new();
    stacks.on_monolith(|stack| {
        expected = live(&Client::new(&format!("http://{}", synapse_address(stack))), "session-c")?;
        Ok(())
    })?;
    stacks.on_workers(|stack| {
        let admin = stack.admin();
        until_answering(&admin)?;
        let answered = || {
            let labels = [("class", "login"), ("method", "POST"), ("code", "200"), ("answered_by", "edge")];
            Ok::<_, Failed>(Metrics::scrape(&admin)?.sum("dendron_requests_total", &labels))
        };
        let before = answered()?;
        ensure_eq!(live(&stack.client(), "session-d")?, expected, "the two lives");
        ensure_eq!(answered()? - before, LOGINS as f64, "logins that were answered at the edge");
        Ok(())
    })
}

/// A user with a friend in an encrypted room, who logs in again and again.
struct Life {
    client: Client,
    friend: User,
    /// Where the friend's next sync begins.
    since: String,
    user_id: String,
    room: String,
    logins: usize,
    story: Story,
}

fn live(client: &Client, name: &str) -> Result<Story, Failed> {
    let friend = User::register(client, &format!("{name}-friend"))?;
    let user = User::register(client, name)?;
    let encryption =
        json!({ "type": "m.room.encryption", "state_key": "", "content": { "algorithm": "m.megolm.v1.aes-sha2" } });
    let room = json!({ "preset": "public_chat", "initial_state": [encryption] });
    let room = expect_ok(&friend.send("POST", "/_matrix/client/v3/createRoom", &room)?, "createRoom")?;
    let room = room["room_id"].as_str().unwrap_or_default().to_owned();
    let join = user.send("POST", &format!("/_matrix/client/v3/join/{}", encoded(&room)), &json!({}))?;
    expect_ok(&join, "join")?;
    let since = sync(&friend, None)?["next_batch"].as_str().unwrap_or_default().to_owned();
    let (client, user_id) = (client.clone(), user.user_id.clone());
    let mut life = Life { client, friend, since, user_id, room, logins: 0, story: Vec::new() };
    let (phone, refresh) = life.first_login()?;
    life.is_used(&phone)?;
    life.is_seen_by_the_friend(&phone)?;
    let phone = life.is_refreshed(phone, &refresh)?;
    life.others_come_and_go(&phone)?;
    life.all_end(&phone)?;
    Ok(life.story)
}

impl Life {
    fn tell(&mut self, step: &'static str, what: impl ToString) {
        self.story.push((step, what.to_string()));
    }

    /// Logs in with these fields besides name and password.
    fn log_in(&mut self, more: &Value) -> Result<(User, Value), Failed> {
        let identifier = json!({ "type": "m.id.user", "user": self.user_id });
        let mut body = json!({ "type": "m.login.password", "identifier": identifier, "password": PASSWORD });
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        let name = format!("session-{}", self.logins);
        self.logins += 1;
        let answer = self.client.send("POST", LOGIN, &[("X-Request-Id", &name)], body.to_string().as_bytes())?;
        let answer = expect_ok(&answer, "login")?;
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        let user = User {
            client: self.client.clone(),
            user_id: text("user_id"),
            device_id: text("device_id"),
            token: text("access_token"),
        };
        Ok((user, answer))
    }

    fn first_login(&mut self) -> Result<(User, String), Failed> {
        let more = json!({ "device_id": "PHONE", "initial_device_display_name": "a phone", "refresh_token": true });
        let (phone, answer) = self.log_in(&more)?;
        ensure_eq!((&phone.user_id, phone.device_id.as_str()), (&self.user_id, "PHONE"), "who is logged in");
        ensure!(answer["expires_in_ms"].as_u64().is_some_and(|left| left > 0), "expires_in_ms: {answer}");
        let known: Vec<&String> = answer.as_object().map(|fields| fields.keys().collect()).unwrap_or_default();
        self.tell("fields of the first login", format!("{known:?}"));
        let refresh = answer["refresh_token"].as_str().ok_or("there is no refresh token")?.to_owned();
        Ok((phone, refresh))
    }

    fn is_used(&mut self, phone: &User) -> Result<(), Failed> {
        let whoami = expect_ok(&phone.get("/_matrix/client/v3/account/whoami")?, "whoami")?;
        ensure_eq!((&whoami["user_id"], &whoami["device_id"]), (&json!(self.user_id), &json!("PHONE")), "whoami");
        self.tell("whoami is a guest", &whoami["is_guest"]);
        let first = sync(phone, None)?;
        ensure!(first["rooms"]["join"][&self.room].is_object(), "the room is not in the sync: {first}");
        self.tell("one time keys before any", &first["device_one_time_keys_count"]);
        let event = phone.say(&self.room, "first", "hello")?;
        ensure!(event.starts_with('$'), "no event id: {event}");
        let devices = expect_ok(&phone.get("/_matrix/client/v3/devices")?, "devices")?;
        let devices = devices["devices"].as_array().cloned().unwrap_or_default();
        let own = devices.iter().find(|device| device["device_id"] == "PHONE").ok_or("the device is not listed")?;
        ensure_eq!(own["display_name"], json!("a phone"), "the device's name");
        self.tell("devices after the first login", devices.len());
        Ok(())
    }

    /// The friend hears of the device when it logs in, and of its keys when they are there.
    fn is_seen_by_the_friend(&mut self, phone: &User) -> Result<(), Failed> {
        self.friend_hears("the friend hears of the login")?;
        self.friend_finds("keys before the upload")?;
        let keys = json!({ "device_keys": {
            "user_id": self.user_id,
            "device_id": "PHONE",
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": { "curve25519:PHONE": KEY, "ed25519:PHONE": KEY },
            "signatures": { self.user_id.as_str(): { "ed25519:PHONE": SIGNATURE } },
        } });
        let upload = phone.send("POST", "/_matrix/client/v3/keys/upload", &keys)?;
        let upload = expect_ok(&upload, "keys/upload")?;
        self.tell("keys/upload", upload);
        self.friend_hears("the friend hears of the keys")?;
        let found = self.friend_finds("keys after the upload")?;
        ensure!(found.contains("PHONE"), "the device's keys are not found: {found}");
        Ok(())
    }

    fn is_refreshed(&mut self, phone: User, refresh: &str) -> Result<User, Failed> {
        let body = json!({ "refresh_token": refresh });
        let answer = phone.client.send("POST", "/_matrix/client/v3/refresh", &[], body.to_string().as_bytes())?;
        let answer = expect_ok(&answer, "refresh")?;
        let token = answer["access_token"].as_str().unwrap_or_default().to_owned();
        ensure!(token != phone.token && answer["refresh_token"] != *refresh, "nothing new: {answer}");
        let status = self.token_status(&phone)?;
        self.tell("the old token before the new one is used", status);
        let new = User { token, ..phone.clone() };
        let whoami = expect_ok(&new.get("/_matrix/client/v3/account/whoami")?, "whoami after refresh")?;
        ensure_eq!(whoami["device_id"], json!("PHONE"), "the device after a refresh");
        let status = self.token_status(&phone)?;
        self.tell("the old token afterwards", status);
        let again = phone.client.send("POST", "/_matrix/client/v3/refresh", &[], body.to_string().as_bytes())?;
        ensure!(again.status >= 400, "a used refresh token is used again: {}", again.text());
        self.tell("the old refresh token afterwards", format!("{} {}", again.status, again.json()["errcode"]));
        Ok(new)
    }

    fn others_come_and_go(&mut self, phone: &User) -> Result<(), Failed> {
        let (same, answer) = self.log_in(&json!({ "device_id": "PHONE", "initial_device_display_name": "renamed" }))?;
        ensure!(answer["expires_in_ms"].is_null() && answer["refresh_token"].is_null(), "not asked for: {answer}");
        ensure!(same.token != phone.token, "the same token twice");
        let status = self.token_status(phone)?;
        self.tell("the first token after a login of its device", status);
        let device = expect_ok(&same.get("/_matrix/client/v3/devices/PHONE")?, "device")?;
        self.tell("the device's name after a login of it", &device["display_name"]);
        let (drawn, _) = self.log_in(&json!({}))?;
        ensure_eq!(drawn.device_id.len(), 10, "the length of a drawn device id");
        let devices = expect_ok(&drawn.get("/_matrix/client/v3/devices")?, "devices")?;
        let count = devices["devices"].as_array().map(Vec::len).unwrap_or_default();
        self.tell("devices after the third login", count);
        expect_ok(&drawn.send("POST", "/_matrix/client/v3/logout", &json!({}))?, "logout")?;
        let status = self.is_refused(&drawn)?;
        self.tell("a token after logout", status);
        let status = self.token_status(&same)?;
        ensure!(status.starts_with("200"), "still logged in, but: {status}");
        Ok(())
    }

    fn all_end(&mut self, phone: &User) -> Result<(), Failed> {
        let (last, _) = self.log_in(&json!({ "device_id": "LAST" }))?;
        // Whatever the friend has not heard of yet must not be taken for what comes now.
        self.since = sync(&self.friend, Some(&self.since))?["next_batch"].as_str().unwrap_or_default().to_owned();
        expect_ok(&last.send("POST", "/_matrix/client/v3/logout/all", &json!({}))?, "logout/all")?;
        for user in [&last, phone] {
            let status = self.is_refused(user)?;
            self.tell("a token after logout of all", status);
        }
        self.friend_hears("the friend hears of the end")?;
        let found = self.friend_finds("keys after the end")?;
        ensure!(!found.contains("PHONE"), "the device is still found: {found}");
        Ok(())
    }

    /// What a token is answered: who it belongs to, or why it is not believed.
    fn token_status(&self, user: &User) -> Result<String, Failed> {
        let answer = user.get("/_matrix/client/v3/account/whoami")?;
        Ok(format!("{} {} {}", answer.status, answer.json()["errcode"], answer.json()["soft_logout"]))
    }

    /// Waits until a token is refused: a worker hears of it a moment later than main.
    fn is_refused(&self, user: &User) -> Result<String, Failed> {
        eventually(SOON, || {
            let status = self.token_status(user)?;
            if status.starts_with("401") { Ok(status) } else { Err(format!("logged out, but: {status}").into()) }
        })
    }

    /// Waits until the friend's sync says that the user's devices have changed.
    fn friend_hears(&mut self, step: &'static str) -> Result<(), Failed> {
        let heard = eventually(SOON, || {
            let answer = sync(&self.friend, Some(&self.since))?;
            let changed = answer["device_lists"]["changed"].as_array().cloned().unwrap_or_default();
            if changed.contains(&json!(self.user_id)) { Ok(answer) } else { Err(format!("{step}: {answer}").into()) }
        })?;
        self.since = heard["next_batch"].as_str().unwrap_or_default().to_owned();
        self.tell(step, "yes");
        Ok(())
    }

    /// Which of the user's devices have keys that the friend finds.
    fn friend_finds(&mut self, step: &'static str) -> Result<String, Failed> {
        let query = json!({ "device_keys": { self.user_id.as_str(): [] } });
        let answer = self.friend.send("POST", "/_matrix/client/v3/keys/query", &query)?;
        let answer = expect_ok(&answer, "keys/query")?;
        let devices = answer["device_keys"][&self.user_id].as_object().cloned().unwrap_or_default();
        let told = devices.iter().map(|(device, keys)| format!("{device}: {}", keys["unsigned"]));
        let found = told.collect::<Vec<_>>().join(", ");
        self.tell(step, &found);
        Ok(found)
    }
}

fn sync(user: &User, since: Option<&str>) -> Result<Value, Failed> {
    let since = since.map(|since| format!("&since={}", encoded(since))).unwrap_or_default();
    expect_ok(&user.get(&format!("/_matrix/client/v3/sync?timeout=0{since}"))?, "sync")
}
