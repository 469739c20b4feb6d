//! A login by a signed token, for where no listener registers devices: `POST /login` with `org.matrix.login.jwt`, if the
//! administrator has set `jwt_config` up (Synapse, `handlers/jwt.py` and docs/jwt.md).
//!
//! Synapse goes all its way of a login then, limits and modules included, and its answer is the client's. The secret can
//! log anybody in, and a token for a user who does not exist makes that user: only an id out of the database may be
//! signed.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use pingora_core::upstreams::peer::HttpPeer;
use serde_json::{Map, Value, json};
use sha2::Sha256;

use super::devices::PATIENCE;
use super::{Answer, Client, DeviceRequest, Question, RegisterError};
use crate::secret::Secret;

/// The path of a login.
const LOGIN: &str = "/_matrix/client/v3/login";
/// The type of a login by signed token.
const TYPE: &str = "org.matrix.login.jwt";
/// How long a token is good for. Synapse allows two minutes more for clocks that differ.
const LIFETIME: Duration = Duration::from_secs(60);

/// Synapse's `jwt_config`, with the algorithm HS256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtSettings {
    /// What tokens are signed with.
    pub secret: Secret,
    /// The claim that names the user.
    pub subject_claim: String,
    /// Who has to have made the token.
    pub issuer: Option<String>,
    /// One of those for whom the token may be made.
    pub audience: Option<String>,
}

/// Logs users in by signed tokens.
pub struct JwtLogin {
    client: Arc<Client>,
    settings: JwtSettings,
}

// === impl JwtLogin ===

impl JwtLogin {
    /// Logins with these settings.
    pub fn new(client: Arc<Client>, settings: JwtSettings) -> Self {
        JwtLogin { client, settings }
    }

    /// Whether the process at `peer` takes such logins; `None` if it could not be asked.
    pub async fn is_offered(&self, peer: &HttpPeer) -> Option<bool> {
        let answer = self.client.ask(peer, &Question::get(LOGIN), PATIENCE).await.ok()?;
        let body: Value = serde_json::from_slice(&answer.body).ok()?;
        let flows = body.get("flows")?.as_array()?;
        Some(flows.iter().any(|flow| flow.get("type").and_then(Value::as_str) == Some(TYPE)))
    }

    /// Logs a user in whose password is right. The answer is the client's, as it is. `headers` are what a forwarded
    /// request would carry: Synapse limits logins by `X-Forwarded-For`.
    ///
    /// # Errors
    ///
    /// [`RegisterError`]. Nothing is tried twice: Synapse would log the user in twice.
    pub async fn log_in(
        &self,
        peer: &HttpPeer,
        request: &DeviceRequest<'_>,
        headers: &HeaderMap,
        now: SystemTime,
    ) -> Result<Answer, RegisterError> {
        let unsigned = || RegisterError::NotReached("no token can be made for this user".to_owned());
        let body = self.body(request, now).ok_or_else(unsigned)?;
        let mut headers = headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self.client.ask(peer, &Question::post(LOGIN, headers, body), PATIENCE).await {
            Ok(answer) => judge(answer, request.user_id),
            Err(error) if error.nothing_was_sent() => Err(RegisterError::NotReached(error.to_string())),
            Err(error) => Err(RegisterError::Lost(error)),
        }
    }

    fn body(&self, request: &DeviceRequest<'_>, now: SystemTime) -> Option<Vec<u8>> {
        // As `get_localpart_from_id` does it (Synapse, `types/__init__.py`).
        let (localpart, _) = request.user_id.strip_prefix('@')?.split_once(':')?;
        let expires = now.duration_since(UNIX_EPOCH).ok()? + LIFETIME;
        let mut body = Map::new();
        body.insert("type".to_owned(), json!(TYPE));
        body.insert("token".to_owned(), json!(self.settings.token(localpart, expires.as_secs())?));
        if let Some(device_id) = request.device_id {
            body.insert("device_id".to_owned(), json!(device_id));
        }
        if let Some(name) = request.initial_display_name {
            body.insert("initial_device_display_name".to_owned(), json!(name));
        }
        if request.should_issue_refresh_token {
            body.insert("refresh_token".to_owned(), json!(true));
        }
        serde_json::to_vec(&body).ok()
    }
}

// === impl JwtSettings ===

impl JwtSettings {
    /// A token for a user (RFC 7515 and RFC 7519).
    fn token(&self, localpart: &str, expires_s: u64) -> Option<String> {
        let mut claims = Map::new();
        claims.insert(self.subject_claim.clone(), json!(localpart));
        claims.insert("exp".to_owned(), json!(expires_s));
        if let Some(issuer) = &self.issuer {
            claims.insert("iss".to_owned(), json!(issuer));
        }
        if let Some(audience) = &self.audience {
            claims.insert("aud".to_owned(), json!(audience));
        }
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
        let claims = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims).ok()?);
        let signed = format!("{header}.{claims}");
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.expose().as_bytes()).ok()?;
        mac.update(signed.as_bytes());
        Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())))
    }
}

/// What an answer means.
fn judge(answer: Answer, user_id: &str) -> Result<Answer, RegisterError> {
    let status = answer.status;
    let error = answer.matrix_error();
    match status {
        StatusCode::OK => {
            let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
            let text = |key: &str| body.as_ref()?.get(key)?.as_str();
            match text("user_id") == Some(user_id) && text("access_token").is_some() {
                true => Ok(answer),
                false => Err(RegisterError::Unusable { status }),
            }
        }
        _ if !status.is_client_error() => Err(RegisterError::Unusable { status }),
        _ => match error {
            None => Err(RegisterError::Unusable { status }),
            // The token is the edge's fault, not the client's; nothing was done.
            Some(error) if is_about_the_token(&error.error) => Err(RegisterError::NotReached(error.error)),
            Some(_) => Err(RegisterError::Refused { status, body: answer.body }),
        },
    }
}

/// Whether Synapse says that it takes no such token, or not this one.
fn is_about_the_token(error: &str) -> bool {
    ["JWT validation failed", "Invalid JWT", "Token field for JWT", "Unknown login type"]
        .iter()
        .any(|beginning| error.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn settings() -> JwtSettings {
        JwtSettings { secret: Secret::new("my-secret"), subject_claim: "sub".to_owned(), issuer: None, audience: None }
    }

    #[test]
    fn a_token_is_what_other_programs_make_of_it() {
        // Made with Python's hmac and base64 over the same texts.
        let expected = concat!(
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjE3MDAwMDAwMDAsInN1YiI6IsOkbGljZSJ9.IZzo8l7gXh78bQWNwx",
            "HFqtFFB6lM98SqOhDARN_ckec"
        );
        assert_eq!(settings().token("älice", 1_700_000_000).as_deref(), Some(expected));
        let more = JwtSettings {
            subject_claim: "user".to_owned(),
            issuer: Some("edge".to_owned()),
            audience: Some("hs".to_owned()),
            ..settings()
        };
        let token = more.token("bob", 7).unwrap();
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims, json!({"user": "bob", "exp": 7, "iss": "edge", "aud": "hs"}));
    }

    #[test]
    fn a_body_holds_what_the_client_asked_for() {
        let login = JwtLogin::new(Arc::new(Client::default()), settings());
        let body = |request: DeviceRequest<'_>| {
            let mut body: Value = serde_json::from_slice(&login.body(&request, UNIX_EPOCH)?).unwrap();
            assert!(body.as_object_mut().unwrap().remove("token").unwrap().is_string());
            Some(body)
        };
        let request = DeviceRequest {
            user_id: "@alice:hs:8448",
            device_id: None,
            initial_display_name: None,
            should_issue_refresh_token: false,
        };
        assert_eq!(body(request), Some(json!({"type": TYPE})));
        let full = DeviceRequest {
            device_id: Some("D"),
            initial_display_name: Some("N"),
            should_issue_refresh_token: true,
            ..request
        };
        let expected =
            json!({"type": TYPE, "device_id": "D", "initial_device_display_name": "N", "refresh_token": true});
        assert_eq!(body(full), Some(expected));
        assert_eq!(body(DeviceRequest { user_id: "alice", ..request }), None);
    }

    #[test]
    fn what_an_answer_means() {
        let error = |errcode: &str, error: &str| json!({"errcode": errcode, "error": error});
        let table = [
            (200, json!({"user_id": "@a:b", "access_token": "t"}), "ok"),
            (200, json!({"user_id": "@A:b", "access_token": "t"}), "unusable"),
            (200, json!({"user_id": "@a:b"}), "unusable"),
            (403, error("M_FORBIDDEN", "JWT validation failed: expired_token"), "not reached"),
            (403, error("M_FORBIDDEN", "Invalid JWT"), "not reached"),
            (400, error("M_UNKNOWN", "Unknown login type org.matrix.login.jwt"), "not reached"),
            (403, error("M_USER_DEACTIVATED", "This account has been deactivated"), "refused"),
            (429, error("M_LIMIT_EXCEEDED", "Too Many Requests"), "refused"),
            (404, json!({}), "unusable"),
            (500, error("M_UNKNOWN", "Internal server error"), "unusable"),
        ];
        for (status, body, expected) in table {
            let answer = Answer {
                status: StatusCode::from_u16(status).unwrap(),
                headers: HeaderMap::new(),
                body: Bytes::from(body.to_string()),
            };
            let found = match judge(answer, "@a:b") {
                Ok(_) => "ok",
                Err(RegisterError::NotReached(_)) => "not reached",
                Err(RegisterError::Refused { .. }) => "refused",
                Err(RegisterError::Lost(_)) => "lost",
                Err(RegisterError::Unusable { .. }) => "unusable",
            };
            assert_eq!(found, expected, "{status} {body}");
        }
    }
}
