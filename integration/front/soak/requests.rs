//! What the soak's clients ask, and how each answer is known: by its status, and by what must stand in its body.

use libtest_mimic::Failed;

use super::client::Answer;
use crate::harness::ensure;
use crate::harness::matrix::{User, encoded};
use crate::harness::numbers::Numbers;

/// A request.
pub struct Asked {
    pub bytes: String,
    /// Whether its answer has a length and no body.
    pub is_bodiless: bool,
    status: u16,
    part: String,
}

/// What nobody should send: each ends its connection with a 400.
pub const BROKEN: [&str; 5] = [
    "\u{1}\u{2}\u{3}\r\n\r\n",
    "GET /_matrix/client/versions HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "POST /_matrix/client/v3/login HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "GET nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /_matrix/client/v3/sync HTTP/1.1\r\n\r\n",
];
/// What changes the protocol; then the other end says this, and after it what it is told.
pub const UPGRADE: &str =
    "GET /_matrix/media/v3/upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
pub const UPGRADED: &str = "HTTP/1.1 101 Switching Protocols\r\n";

impl Asked {
    /// Any request. Some are answered by the front, some by Synapse, with and without bodies; who asks is one of these, so
    /// that an answer which is another's is noticed.
    pub fn draw(users: &[User], numbers: &mut Numbers) -> Self {
        let user = &users[numbers.below(users.len())];
        let token = format!("Authorization: Bearer {}\r\n", user.token);
        let whoami = "/_matrix/client/v3/account/whoami";
        let asked = |method: &str, target: &str, more: &str, status, part: &str| {
            let bytes = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n");
            Asked { bytes, is_bodiless: method == "HEAD", status, part: part.to_owned() }
        };
        let with_body = |framing: &str, body: &str| {
            let more = format!("{token}Content-Type: application/json\r\n{framing}");
            let mut asked = asked("POST", "/_matrix/client/v3/keys/query", &more, 200, &user.user_id);
            asked.bytes.push_str(body);
            asked
        };
        let body = format!(r#"{{"device_keys":{{"{}":[]}}}}"#, user.user_id);
        match numbers.below(10) {
            0 | 1 => asked("GET", "/_matrix/client/versions", "", 200, r#""versions""#),
            2 => asked("OPTIONS", whoami, "", 204, ""),
            3 => asked("GET", whoami, "", 401, "M_MISSING_TOKEN"),
            4 => asked("HEAD", "/_matrix/client/versions", "", 200, ""),
            5 => {
                let number = numbers.below(1_000_000);
                let target = format!("/_matrix/client/v3/user/{}/filter/{number}x", encoded(&user.user_id));
                asked("GET", &target, &token, 400, "Invalid filter_id")
            }
            6 => with_body(&format!("Content-Length: {}\r\n", body.len()), &body),
            7 => {
                let (one, other) = body.split_at(numbers.below(body.len() - 1) + 1);
                let chunks = [one, other].map(|part| format!("{:x}\r\n{part}\r\n", part.len())).concat();
                with_body("Transfer-Encoding: chunked\r\n", &format!("{chunks}0\r\n\r\n"))
            }
            _ => asked("GET", whoami, &token, 200, &format!(r#""user_id":"{}""#, user.user_id)),
        }
    }

    /// Fails unless this is its answer.
    pub fn is_answered_by(&self, answer: &Answer) -> Result<(), Failed> {
        let is_its_own = answer.status == self.status && answer.body.contains(&self.part);
        let line = self.bytes.lines().next().unwrap_or_default();
        ensure!(is_its_own, "{line}: {} {}", answer.status, answer.body);
        Ok(())
    }
}
