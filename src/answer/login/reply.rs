//! The answers to a login, byte for byte as Synapse gives them.
//!
//! Synapse writes errors as canonical JSON (keys sorted) and successes as compact JSON in the order in which it filled
//! the object, with everything beyond ASCII escaped (`http/server.py`, `respond_with_json`).

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderName, HeaderValue};

use crate::reply::Reply;

/// A login that Synapse refuses: the reply follows from the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The body is not JSON (`http/servlet.py`).
    NotJson,
    /// The body is JSON, but not an object.
    NotAnObject,
    /// `refresh_token` is neither true nor false (`rest/client/login.py`).
    RefreshTokenNotBoolean,
    /// There is no `type`.
    MissingKeys,
    /// `type` is not a text (`handlers/auth.py`, as all that follow).
    BadType,
    /// `password` is missing or not a text.
    BadPassword,
    /// Nothing tells who logs in.
    NoIdentifier,
    /// The identifier has no `type`.
    IdentifierWithoutType,
    /// A telephone number without its parts.
    BadPhone,
    /// A third-party identifier without its parts.
    BadThirdParty,
    /// An e-mail address without exactly one at sign (`util/threepids.py`).
    BadEmail,
    /// The identifier is of no known type.
    UnknownIdentifierType,
    /// The identifier names no user.
    NoUser,
    /// The user is unknown or the password is wrong.
    WrongUserOrPassword,
    /// The account has been deactivated.
    Deactivated,
    /// The account is locked.
    Locked,
    /// The device id is too long.
    LongDeviceId,
}

/// A login that succeeded, as Synapse answers it.
#[derive(Clone, Copy)]
pub struct Success<'a> {
    /// Who logged in, as the database spells it.
    pub user_id: &'a str,
    /// The token that Synapse made.
    pub access_token: &'a str,
    /// The part behind the colon of user ids.
    pub home_server: &'a str,
    /// The device.
    pub device_id: &'a str,
    /// How long the token lives, if not for ever. Synapse does not mind if it is negative.
    pub expires_in_ms: Option<i64>,
    /// The refresh token, if one was asked for and made.
    pub refresh_token: Option<&'a str>,
    /// JSON, verbatim.
    pub well_known: Option<&'a str>,
}

/// How long Synapse waits before it tells a client that it has reached a limit, so that clients that try again at once
/// do so slowly (`api/ratelimiting.py`, `ratelimit`).
pub const LIMITED_PAUSE: Duration = Duration::from_millis(500);

// === impl Refusal ===

impl Refusal {
    /// The status code, error code and text.
    pub const fn parts(self) -> (StatusCode, &'static str, &'static str) {
        const BAD: StatusCode = StatusCode::BAD_REQUEST;
        match self {
            Refusal::NotJson => (BAD, "M_NOT_JSON", "Content not JSON."),
            Refusal::NotAnObject => (BAD, "M_BAD_JSON", "Content must be a JSON object."),
            Refusal::RefreshTokenNotBoolean => (BAD, "M_UNKNOWN", "`refresh_token` should be true or false."),
            Refusal::MissingKeys => (BAD, "M_UNKNOWN", "Missing JSON keys."),
            Refusal::BadType => (BAD, "M_INVALID_PARAM", "Bad parameter: type"),
            Refusal::BadPassword => (BAD, "M_INVALID_PARAM", "Bad parameter: password"),
            Refusal::NoIdentifier => (BAD, "M_INVALID_PARAM", "Invalid login submission"),
            Refusal::IdentifierWithoutType => (BAD, "M_MISSING_PARAM", "'identifier' dict has no key 'type'"),
            Refusal::BadPhone => (BAD, "M_INVALID_PARAM", "Invalid phone-type identifier"),
            Refusal::BadThirdParty => (BAD, "M_UNKNOWN", "Invalid thirdparty identifier"),
            Refusal::BadEmail => (BAD, "M_UNKNOWN", "Unable to parse email address"),
            Refusal::UnknownIdentifierType => (BAD, "M_UNKNOWN", "Unknown login identifier type"),
            Refusal::NoUser => (BAD, "M_UNKNOWN", "User identifier is missing 'user' key"),
            Refusal::WrongUserOrPassword => (StatusCode::FORBIDDEN, "M_FORBIDDEN", "Invalid username or password"),
            Refusal::Deactivated => (StatusCode::FORBIDDEN, "M_USER_DEACTIVATED", "This account has been deactivated"),
            Refusal::Locked => (StatusCode::UNAUTHORIZED, "M_USER_LOCKED", "User account has been locked"),
            Refusal::LongDeviceId => (BAD, "M_INVALID_PARAM", "device_id cannot be longer than 512 characters."),
        }
    }

    /// The refusal as an answer.
    pub fn reply(self) -> Reply {
        let (status, errcode, error) = self.parts();
        let mut body = error_body(errcode, error);
        if self == Refusal::Locked {
            body.push_str(",\"soft_logout\":true");
        }
        body.push('}');
        json(status, body)
    }
}

/// The answer to whoever has reached a limit, or finds too many others waiting (`LimitExceededError` in `api/errors.py`).
pub fn limited(retry_after: Duration) -> Reply {
    let mut body = error_body("M_LIMIT_EXCEEDED", "Too Many Requests");
    let milliseconds = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
    // Writing into a text does not fail.
    let _ = write!(body, ",\"retry_after_ms\":{milliseconds}}}");
    let mut reply = json(StatusCode::TOO_MANY_REQUESTS, body);
    reply.add(header::RETRY_AFTER, HeaderValue::from(milliseconds.div_ceil(1000)));
    reply
}

/// The answer when the write half was sent and no answer came, which no second attempt could mend (what a worker says
/// then, `replication/http/_base.py`).
pub fn lost() -> Reply {
    let mut body = error_body("M_UNKNOWN", "Failed to talk to main process");
    body.push('}');
    json(StatusCode::BAD_GATEWAY, body)
}

/// What Synapse's main process refused, as it said it.
pub fn relayed(status: StatusCode, body: Bytes) -> Reply {
    Reply { status, headers: headers().into(), body }
}

// === impl Success ===

impl Success<'_> {
    /// The success as an answer.
    pub fn reply(self) -> Reply {
        let mut body = String::with_capacity(512);
        body.push('{');
        member(&mut body, "user_id", self.user_id);
        member(&mut body, "access_token", self.access_token);
        member(&mut body, "home_server", self.home_server);
        member(&mut body, "device_id", self.device_id);
        if let Some(milliseconds) = self.expires_in_ms {
            let _ = write!(body, ",\"expires_in_ms\":{milliseconds}");
        }
        if let Some(token) = self.refresh_token {
            member(&mut body, "refresh_token", token);
        }
        if let Some(well_known) = self.well_known {
            let _ = write!(body, ",\"well_known\":{well_known}");
        }
        body.push('}');
        json(StatusCode::OK, body)
    }
}

/// An error's body, still open at its end. Both texts are our own and need no escapes.
fn error_body(errcode: &str, error: &str) -> String {
    format!("{{\"errcode\":\"{errcode}\",\"error\":\"{error}\"")
}

fn json(status: StatusCode, body: String) -> Reply {
    Reply { status, headers: headers().into(), body: Bytes::from(body) }
}

/// The headers of every JSON answer to a client (`respond_with_json`).
fn headers() -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = vec![
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate")),
    ];
    headers.extend(crate::reply::CORS);
    headers
}

/// One more member of an open object.
fn member(body: &mut String, key: &str, value: &str) {
    if !body.ends_with('{') {
        body.push(',');
    }
    let _ = write!(body, "\"{key}\":\"");
    for unit in value.encode_utf16() {
        match u8::try_from(unit) {
            Ok(b'"') => body.push_str("\\\""),
            Ok(b'\\') => body.push_str("\\\\"),
            Ok(b'\n') => body.push_str("\\n"),
            Ok(b'\r') => body.push_str("\\r"),
            Ok(b'\t') => body.push_str("\\t"),
            Ok(0x08) => body.push_str("\\b"),
            Ok(0x0c) => body.push_str("\\f"),
            Ok(byte @ b' '..=b'~') => body.push(char::from(byte)),
            _ => {
                let _ = write!(body, "\\u{unit:04x}");
            }
        }
    }
    body.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(reply: &Reply) -> &str {
        std::str::from_utf8(&reply.body).unwrap()
    }

    fn header_of<'a>(reply: &'a Reply, name: &HeaderName) -> Option<&'a str> {
        reply.headers.iter().find(|(this, _)| this == name).map(|(_, value)| value.to_str().unwrap())
    }

    #[test]
    fn a_success_is_written_in_synapses_order() {
        let least = Success {
            user_id: "@alice:edge.test",
            access_token: "syt_YWxpY2U_x_1",
            home_server: "edge.test",
            device_id: "DEVICE",
            expires_in_ms: None,
            refresh_token: None,
            well_known: None,
        };
        assert_eq!(
            text(&least.reply()),
            r#"{"user_id":"@alice:edge.test","access_token":"syt_YWxpY2U_x_1","home_server":"edge.test","device_id":"DEVICE"}"#
        );
        let well_known = r#"{"m.homeserver":{"base_url":"https://edge.test/"}}"#;
        let most = Success {
            device_id: "ä😀\u{7f}\u{1}/\"\\\n\r\t\u{8}\u{c}~",
            expires_in_ms: Some(299_999),
            refresh_token: Some("syr_1"),
            well_known: Some(well_known),
            ..least
        };
        let expected = concat!(
            r#"{"user_id":"@alice:edge.test","access_token":"syt_YWxpY2U_x_1","home_server":"edge.test","#,
            r#""device_id":"\u00e4\ud83d\ude00\u007f\u0001/\"\\\n\r\t\b\f~","expires_in_ms":299999,"#,
            r#""refresh_token":"syr_1","well_known":{"m.homeserver":{"base_url":"https://edge.test/"}}}"#
        );
        assert_eq!(text(&most.reply()), expected);
        assert_eq!(most.reply().status, StatusCode::OK);
    }

    #[test]
    fn errors_are_canonical() {
        assert_eq!(
            text(&Refusal::WrongUserOrPassword.reply()),
            r#"{"errcode":"M_FORBIDDEN","error":"Invalid username or password"}"#
        );
        assert_eq!(
            text(&Refusal::Locked.reply()),
            r#"{"errcode":"M_USER_LOCKED","error":"User account has been locked","soft_logout":true}"#
        );
        assert_eq!(Refusal::Locked.reply().status, StatusCode::UNAUTHORIZED);
        assert_eq!(text(&lost()), r#"{"errcode":"M_UNKNOWN","error":"Failed to talk to main process"}"#);
    }

    #[test]
    fn a_limit_says_when_to_come_back_and_rounds_seconds_up() {
        for (milliseconds, seconds) in [(0, "0"), (1, "1"), (1000, "1"), (333_333, "334")] {
            let reply = limited(Duration::from_millis(milliseconds));
            let body = format!(
                r#"{{"errcode":"M_LIMIT_EXCEEDED","error":"Too Many Requests","retry_after_ms":{milliseconds}}}"#
            );
            assert_eq!((reply.status.as_u16(), text(&reply)), (429, body.as_str()));
            assert_eq!(header_of(&reply, &header::RETRY_AFTER), Some(seconds));
        }
    }

    #[test]
    fn every_answer_has_the_headers_of_synapses_json() {
        let relayed = relayed(StatusCode::FORBIDDEN, Bytes::from_static(b"{}"));
        for reply in [Refusal::NotJson.reply(), limited(Duration::ZERO), lost(), relayed] {
            assert_eq!(header_of(&reply, &header::CONTENT_TYPE), Some("application/json"));
            assert_eq!(header_of(&reply, &header::CACHE_CONTROL), Some("no-cache, no-store, must-revalidate"));
            assert_eq!(header_of(&reply, &header::ACCESS_CONTROL_ALLOW_ORIGIN), Some("*"));
        }
    }
}
