//! The table of logins: what is sent, what Synapse answers to it, and who should.
//!
//! - `conditions`: every condition under which Synapse refuses a login with a password, in its order.
//! - `identifiers`: every way to name a user.
//! - `users`: every kind of user, password and hash.
//! - `devices`: devices, tokens, and what else a good login may ask for.
//! - `bytes`: bodies that are no JSON, or JSON that readers understand differently.
//! - `requests`: methods, paths, headers and framings.

mod bytes;
mod conditions;
mod devices;
mod identifiers;
mod requests;
mod users;

/// Where logins are sent unless a case says otherwise.
pub const LOGIN: &str = "/_matrix/client/v3/login";

/// What most good logins begin with: `{plain}` in a case's body.
const PLAIN: &str = r#""identifier":{"type":"m.id.user","user":"l-plain"},"password":"hush-plain""#;

/// One login.
#[derive(Clone, Debug)]
pub struct Case {
    pub method: &'static str,
    pub target: String,
    /// Whole lines, the one for the length excepted where the body tells it.
    pub headers: String,
    pub body: Vec<u8>,
    /// What Synapse answers, where that is known.
    pub reply: Option<Reply>,
    /// Who should answer once the edge does; either may where this is not said.
    pub answerer: Option<Expect>,
}

/// What Synapse answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The user is logged in.
    User(&'static str),
    /// Status, `errcode` and `error`.
    Refused(u16, &'static str, &'static str),
    /// An answer that is no Matrix error.
    Status(u16),
}

/// Who should answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The edge: it knows all that is needed.
    Edge,
    /// Synapse: this is outside of what the edge may decide.
    Forwarded,
}

use Reply::{Refused, Status, User};

/// What an unknown user and a wrong password get.
const INVALID: Reply = Refused(403, "M_FORBIDDEN", "Invalid username or password");
/// What Synapse says when it has failed over a body.
const FAULT: Reply = Refused(500, "M_UNKNOWN", "Internal server error");
/// What is said of a key that is not there.
const MISSING: Reply = Refused(400, "M_UNKNOWN", "Missing JSON keys.");
/// What is said of a path or method that there is not.
const UNRECOGNIZED: (&str, &str) = ("M_UNRECOGNIZED", "Unrecognized request");
/// What a locked user is told since Synapse 1.134.
const LOCKED: Reply = Refused(401, "M_USER_LOCKED", "User account has been locked");
const NOT_JSON: Reply = Refused(400, "M_NOT_JSON", "Content not JSON.");
const NOT_AN_OBJECT: Reply = Refused(400, "M_BAD_JSON", "Content must be a JSON object.");

/// A refusal with 400.
const fn bad(errcode: &'static str, error: &'static str) -> Reply {
    Refused(400, errcode, error)
}

/// The whole table.
pub fn cases() -> Vec<Case> {
    [conditions::cases(), identifiers::cases(), users::cases(), devices::cases(), bytes::cases(), requests::cases()]
        .concat()
}

/// The same for a Synapse before 1.134, which logs locked users in.
pub fn older_cases() -> Vec<Case> {
    let forwarded = Some(Expect::Forwarded);
    let older = |case: Case| match case.reply {
        // What it asks further is not refused any more, or for another reason.
        Some(LOCKED) => Case { reply: None, answerer: forwarded, ..case },
        _ => case,
    };
    let locked = Case::new(&password_body("l-locked", "hush-locked"), Some(User("@l-locked:localhost")), forwarded);
    cases().into_iter().map(older).chain([locked]).collect()
}

/// Rows of a table: the members of the body besides its `type`, what Synapse answers, and who should.
type Row = (&'static str, Reply, Option<Expect>);

fn passwords(rows: &[Row]) -> Vec<Case> {
    let case = |(members, reply, answerer): &Row| {
        let body = format!(r#"{{"type":"m.login.password",{members}}}"#).replace("{plain}", PLAIN);
        Case::new(body.as_bytes(), Some(*reply), *answerer)
    };
    rows.iter().map(case).collect()
}

/// A login with this user's name and password.
pub fn password_body(user: &str, password: &str) -> Vec<u8> {
    let identifier = serde_json::json!({ "type": "m.id.user", "user": user });
    let body = serde_json::json!({ "type": "m.login.password", "identifier": identifier, "password": password });
    body.to_string().into_bytes()
}

impl Case {
    /// A body that is sent as a login is.
    pub fn new(body: &[u8], reply: Option<Reply>, answerer: Option<Expect>) -> Self {
        Case {
            method: "POST",
            target: LOGIN.to_owned(),
            headers: "Content-Type: application/json\r\n".to_owned(),
            body: body.to_vec(),
            reply,
            answerer,
        }
    }

    /// The bytes of the request, under a name for the access log.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let length = if self.headers.contains("Content-Length") || self.headers.contains("Transfer-Encoding") {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", self.body.len())
        };
        let line = format!("{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", self.method, self.target);
        let head = format!("{line}X-Request-Id: {name}\r\n{}{length}\r\n", self.headers);
        [head.as_bytes(), &self.body].concat()
    }

    /// What it is called in a failure.
    pub fn describe(&self) -> String {
        let shown = &self.body[..self.body.len().min(200)];
        format!("{} {} {:?} {}", self.method, self.target, self.headers, shown.escape_ascii())
    }
}
