//! What of two answers must be equal: all of it, but for what is drawn or measured anew for every login, of which the
//! form is checked instead.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::Value;

use crate::transparency::client::Answer;

/// Headers that are not compared, and why.
const HEADERS: [(&str, &str); 4] = [
    ("date", "the moment"),
    ("connection", "belongs to one hop"),
    ("transfer-encoding", "belongs to one hop"),
    ("content-length", "belongs to one hop: Synapse gives none where it sends in chunks"),
];

/// How long an access token that can be refreshed lasts by default, in milliseconds.
const LIFETIME_MS: u64 = 300_000;
/// How much of that may be over when the answer is made.
const DELAY_MS: u64 = 20_000;

/// What must be equal.
#[derive(Debug, PartialEq, Eq)]
pub struct Shape {
    pub status: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// What must be equal of an answer.
pub fn shape(answer: &Answer) -> Shape {
    let is_ignored = |name: &str| HEADERS.iter().any(|(ignored, _)| *ignored == name);
    let limited = answer.status.contains(" 429 ");
    let value = |name: &str, value: &str| match name {
        "retry-after" if limited => "<seconds>".to_owned(),
        _ => value.to_owned(),
    };
    let headers = answer.headers.iter().filter(|(name, _)| !is_ignored(name));
    let mut headers: Vec<_> = headers.map(|(name, text)| (name.clone(), value(name, text))).collect();
    headers.sort();
    // The words behind the code mean nothing (RFC 9112, 4); Twisted has none for 429.
    let status = answer.status.split(' ').take(2).collect::<Vec<_>>().join(" ");
    Shape { status, headers, body: body(&String::from_utf8_lossy(&answer.body)) }
}

/// The body with words in place of what is drawn or measured anew, if that has the right form.
fn body(text: &str) -> String {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let user = value["user_id"].as_str().unwrap_or_default();
    let localpart = user.trim_start_matches('@').split_once(':').map(|(localpart, _)| localpart).unwrap_or_default();
    let owner = STANDARD_NO_PAD.encode(localpart);
    let mut text = text.to_owned();
    for (field, kind) in [("access_token", "syt"), ("refresh_token", "syr")] {
        if let Some(token) = value[field].as_str()
            && is_token(token, kind, &owner)
        {
            text = text.replace(token, &format!("<{kind} of {owner}>"));
        }
    }
    if let Some(device) = value["device_id"].as_str()
        && device.len() == 10
        && device.bytes().all(|byte| byte.is_ascii_uppercase())
    {
        text = text.replace(device, "<drawn>");
    }
    if let Some(left) = value["expires_in_ms"].as_u64()
        && (LIFETIME_MS - DELAY_MS..=LIFETIME_MS).contains(&left)
    {
        text = text.replace(&format!("\"expires_in_ms\":{left}"), "\"expires_in_ms\":<milliseconds>");
    }
    if let Some(wait) = value["retry_after_ms"].as_u64() {
        text = text.replace(&format!("\"retry_after_ms\":{wait}"), "\"retry_after_ms\":<milliseconds>");
    }
    text
}

/// Whether a token has Synapse's form: kind, owner, twenty letters, and a checksum.
fn is_token(token: &str, kind: &str, owner: &str) -> bool {
    let Some(rest) = token.strip_prefix(&format!("{kind}_{owner}_")) else { return false };
    let Some((drawn, sum)) = rest.split_once('_') else { return false };
    let letters = drawn.len() == 20 && drawn.bytes().all(|byte| byte.is_ascii_alphabetic());
    letters && sum.len() >= 6 && sum.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
