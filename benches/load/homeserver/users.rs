//! Users of a real homeserver, their devices, and the rooms in which they are.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::call::Client;
use crate::fault::{Outcome, wrong};

pub(crate) const PASSWORD: &str = "correct horse battery staple";
/// How many are asking at once while all is made.
const MAKERS: usize = 4;

/// A user's device.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) token: String,
}

/// Registers a user; returns the first device.
pub(crate) fn register(client: &Client, name: &str) -> Outcome<Device> {
    let body = json!({ "username": name, "password": PASSWORD, "auth": { "type": "m.login.dummy" } });
    device(&client.ask("POST", "/_matrix/client/v3/register", "", Some(&body))?)
}

/// A login's body.
pub(crate) fn login_body(name: &str) -> Value {
    let identifier = json!({ "type": "m.id.user", "user": name });
    json!({ "type": "m.login.password", "identifier": identifier, "password": PASSWORD })
}

/// Logs a user in with another device.
pub(crate) fn log_in(client: &Client, name: &str) -> Outcome<Device> {
    device(&client.ask("POST", "/_matrix/client/v3/login", "", Some(&login_body(name)))?)
}

/// Makes users whose names begin so, each with so many devices, and each in the same number of rooms; returns all devices.
pub(crate) fn households(
    client: &Client,
    prefix: &str,
    users: usize,
    devices: usize,
    rooms: usize,
) -> Outcome<Vec<Device>> {
    let firsts = side_by_side(users, |number| register(client, &format!("{prefix}{number}")))?;
    // A device that comes to somebody in many rooms is told to all of them, which keeps Synapse busy for long; so the rooms
    // come last.
    let more = side_by_side(users * (devices - 1), |number| log_in(client, &format!("{prefix}{}", number % users)))?;
    let Some(owner) = firsts.first() else { return Err(wrong("nobody to make rooms for")) };
    let rooms = side_by_side(rooms, |_| {
        let body = json!({ "preset": "public_chat" });
        let made = client.ask("POST", "/_matrix/client/v3/createRoom", &owner.token, Some(&body))?;
        Ok(made["room_id"].as_str().unwrap_or_default().to_owned())
    })?;
    side_by_side(users - 1, |number| {
        for room in &rooms {
            let target = format!("/_matrix/client/v3/join/{}", room.replace('!', "%21").replace(':', "%3A"));
            client.ask("POST", &target, &firsts[number + 1].token, Some(&json!({})))?;
        }
        Ok(())
    })?;
    Ok(firsts.into_iter().chain(more).collect())
}

fn device(answer: &Value) -> Outcome<Device> {
    let token = answer["access_token"].as_str().ok_or_else(|| wrong(format!("no access token in {answer}")))?;
    Ok(Device { token: token.to_owned() })
}

/// Does the same for each number, some of them at once; the results are in the order of the numbers.
fn side_by_side<T: Send>(count: usize, act: impl Fn(usize) -> Outcome<T> + Sync) -> Outcome<Vec<T>> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let maker = || -> Outcome<Vec<(usize, T)>> {
            let mut made = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok(made);
                }
                made.push((number, act(number)?));
            }
        };
        let makers: Vec<_> = (0..MAKERS).map(|_| scope.spawn(maker)).collect();
        let mut all = Vec::new();
        for maker in makers {
            all.extend(maker.join().map_err(|_| wrong("a thread has failed"))??);
        }
        all.sort_by_key(|(number, _)| *number);
        Ok(all.into_iter().map(|(_, made)| made).collect())
    })
}
