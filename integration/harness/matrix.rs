//! A Matrix user, for tests that look at single requests. Whole conversations are held by real client libraries.

use libtest_mimic::Failed;
use serde_json::{Value, json};

use super::http::{Answer, Client};

/// The password of every test user.
pub const PASSWORD: &str = "correct horse battery staple";

/// A logged-in user.
#[derive(Clone)]
pub struct User {
    pub client: Client,
    pub user_id: String,
    pub device_id: String,
    pub token: String,
}

/// A JSON body that Synapse answered with 200, else the failure.
pub fn expect_ok(answer: &Answer, what: &str) -> Result<Value, Failed> {
    if answer.status != 200 {
        return Err(format!("{what}: {} {}", answer.status, answer.text()).into());
    }
    Ok(answer.json())
}

impl User {
    /// Registers a user whose name begins with `name`; a suffix keeps it new.
    pub fn register(client: &Client, name: &str) -> Result<Self, Failed> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos();
        let body = json!({
            "username": format!("{name}-{now:x}"),
            "password": PASSWORD,
            "auth": { "type": "m.login.dummy" },
        });
        let answer = client.send("POST", "/_matrix/client/v3/register", &[], body.to_string().as_bytes())?;
        let answer = expect_ok(&answer, "register")?;
        let field = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        Ok(User {
            client: client.clone(),
            user_id: field("user_id"),
            device_id: field("device_id"),
            token: field("access_token"),
        })
    }

    /// The localpart of the user id.
    pub fn localpart(&self) -> &str {
        self.user_id.trim_start_matches('@').split(':').next().unwrap_or_default()
    }

    /// The same user through another base URL.
    pub fn through(&self, client: &Client) -> Self {
        User { client: client.clone(), ..self.clone() }
    }

    /// Sends a request with the user's token.
    pub fn send(&self, method: &str, target: &str, body: &Value) -> Result<Answer, Failed> {
        self.send_with(method, target, body, &[])
    }

    /// Sends a request with the user's token and more headers.
    pub fn send_with(&self, method: &str, target: &str, body: &Value, more: &[(&str, &str)]) -> Result<Answer, Failed> {
        let authorization = format!("Bearer {}", self.token);
        let mut headers = vec![("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        headers.extend_from_slice(more);
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.client.send(method, target, &headers, &body)
    }

    /// Gets a path with the user's token.
    pub fn get(&self, target: &str) -> Result<Answer, Failed> {
        self.send("GET", target, &Value::Null)
    }

    /// Makes a public room; returns its id.
    pub fn create_room(&self) -> Result<String, Failed> {
        let answer = self.send("POST", "/_matrix/client/v3/createRoom", &json!({ "preset": "public_chat" }))?;
        Ok(expect_ok(&answer, "createRoom")?["room_id"].as_str().unwrap_or_default().to_owned())
    }

    /// Sends a text message; returns its event id.
    pub fn say(&self, room: &str, transaction: &str, text: &str) -> Result<String, Failed> {
        let target = format!("/_matrix/client/v3/rooms/{}/send/m.room.message/{transaction}", encoded(room));
        let answer = self.send("PUT", &target, &json!({ "msgtype": "m.text", "body": text }))?;
        Ok(expect_ok(&answer, "send")?["event_id"].as_str().unwrap_or_default().to_owned())
    }
}

/// A room or user id as it stands in a path.
pub fn encoded(id: &str) -> String {
    percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC).to_string()
}
