//! The body of a login, read as Synapse reads it: an attempt with a password, a refusal in Synapse's words, or a reason
//! to leave it to Synapse.
//!
//! The order of the steps is Synapse's (`on_POST` in `rest/client/login.py`, then `validate_login` in
//! `handlers/auth.py`), because it decides which of two mistakes is named and which limits have counted by then. Python's
//! notion of truth is kept: `null`, `false`, zero, `""`, `[]` and `{}` are the same as nothing, where Synapse asks for
//! truth. Values that Synapse would stumble over are left to it to stumble over.

use std::fmt;

use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use zeroize::Zeroize;

use super::identifier::{Identifier, Other, identifier};
use super::password::Password;
use super::reasons::Reason;
use super::reply::Refusal;

/// A body, understood.
#[derive(Debug, PartialEq, Eq)]
pub struct Reading {
    /// Whether Synapse's address limiter has counted the login before anything else comes of it.
    pub counted: bool,
    /// What comes of it.
    pub outcome: Outcome,
}

/// What comes of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Somebody shows a password.
    Attempt(Attempt),
    /// Synapse refuses it, whoever it is.
    Refuse(Refusal),
    /// Synapse shall answer it.
    Decline(Reason),
}

/// Somebody shows a password.
#[derive(PartialEq, Eq)]
pub struct Attempt {
    /// Who it is.
    pub identifier: Identifier,
    /// The password.
    pub password: Password,
    /// The device that logs in; a new one if not given. Not yet held to its length, which Synapse looks at late.
    pub device_id: Option<String>,
    /// How a new device is called.
    pub display_name: Option<String>,
    /// Whether a refresh token is asked for.
    pub refresh_token: bool,
}

/// The type of logins that are answered here.
const PASSWORD: &str = "m.login.password";
/// The type of application services' logins.
const APPLICATION_SERVICE: &str = "m.login.application_service";

/// Reads the body of a login on the server of this name.
pub fn read(body: &[u8], server_name: &str) -> Reading {
    let mut fields = match object(body) {
        Ok(fields) => fields,
        // What cannot be read may well be what Synapse counts, and it must not be a way around the limit.
        Err(Other::Decline(reason)) => return Reading { counted: true, outcome: Outcome::Decline(reason) },
        Err(Other::Refuse(refusal)) => return Reading { counted: false, outcome: Outcome::Refuse(refusal) },
    };
    let reading = read_fields(&mut fields, server_name);
    if let Some(Value::String(password)) = fields.get_mut("password") {
        password.zeroize();
    }
    reading
}

fn read_fields(fields: &mut Map<String, Value>, server_name: &str) -> Reading {
    let refuse = |refusal| Reading { counted: false, outcome: Outcome::Refuse(refusal) };
    let refresh_token = match fields.get("refresh_token") {
        None => false,
        Some(Value::Bool(wanted)) => *wanted,
        Some(_) => return refuse(Refusal::RefreshTokenNotBoolean),
    };
    let Some(kind) = fields.get("type") else {
        return refuse(Refusal::MissingKeys);
    };
    if kind == APPLICATION_SERVICE {
        return Reading { counted: false, outcome: Outcome::Decline(Reason::ApplicationService) };
    }
    let outcome = match attempt(fields, server_name, refresh_token) {
        Ok(attempt) => Outcome::Attempt(attempt),
        Err(Other::Refuse(refusal)) => Outcome::Refuse(refusal),
        Err(Other::Decline(reason)) => Outcome::Decline(reason),
    };
    Reading { counted: true, outcome }
}

/// The members of the JSON object that `body` is.
///
/// serde_json reads less than Python's `json`: not a lone surrogate, no number beyond an `f64`, no deep nesting. Its
/// reader that throws everything away has none of these limits and takes exactly the grammar that Synapse takes, so what
/// that one refuses, too, is no JSON for Synapse either; the rest is left to Synapse. Of several members of one name
/// both take the last.
fn object(body: &[u8]) -> Result<Map<String, Value>, Other> {
    let text = std::str::from_utf8(body).map_err(|_| Other::Refuse(Refusal::NotJson))?;
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Other::Refuse(Refusal::NotAnObject)),
        Err(_) if serde_json::from_str::<IgnoredAny>(text).is_ok() => Err(Other::Decline(Reason::DoubtfulJson)),
        Err(_) => Err(Other::Refuse(Refusal::NotJson)),
    }
}

fn attempt(fields: &mut Map<String, Value>, server_name: &str, refresh_token: bool) -> Result<Attempt, Other> {
    match fields.get("type") {
        Some(Value::String(kind)) if kind == PASSWORD => {}
        Some(Value::String(_)) => return Err(Other::Decline(Reason::OtherType)),
        _ => return Err(Other::Refuse(Refusal::BadType)),
    }
    let Some(Value::String(password)) = fields.get_mut("password") else {
        return Err(Other::Refuse(Refusal::BadPassword));
    };
    let password = Password::new(std::mem::take(password));
    let identifier = identifier(fields, server_name)?;
    if password.has_nul() {
        return Err(Other::Decline(Reason::Nul));
    }
    let device_id = text(fields, "device_id")?;
    if device_id.as_deref() == Some("") {
        return Err(Other::Decline(Reason::EmptyDeviceId));
    }
    let display_name = text(fields, "initial_device_display_name")?;
    Ok(Attempt { identifier, password, device_id, display_name, refresh_token })
}

/// A text that may be missing.
fn text(fields: &mut Map<String, Value>, key: &str) -> Result<Option<String>, Other> {
    match fields.get_mut(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.contains('\0') => Err(Other::Decline(Reason::Nul)),
        Some(Value::String(text)) => Ok(Some(std::mem::take(text))),
        Some(_) => Err(Other::Decline(Reason::SurprisingType)),
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Attempt").field("identifier", &self.identifier).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
