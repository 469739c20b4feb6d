//! Logins by signed token (`org.matrix.login.jwt`), on a Synapse that takes them: those of clients, and those that
//! dendron may make of a login with a password where it cannot ask Synapse's main process.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use libtest_mimic::Failed;
use serde_json::{Value, json};
use sha2::Sha256;

use super::cases::{Case, Expect, Reply, password_body};
use super::edge::{Edge, secret_in};
use super::users::{self, LONG, UNICODE};
use super::{compare_through, synapse_address};
use crate::harness::ensure;
use crate::harness::stacks::Stacks;
use Reply::{Refused, User};

const INVALID: Reply = Refused(403, "M_FORBIDDEN", "Invalid username or password");
const FORGED: Reply = Refused(403, "M_FORBIDDEN", "JWT validation failed: Signature verification failed");

pub fn clients_log_in_by_signed_token(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_limited(|stack| {
        users::make(stack)?;
        let secret = secret_in(&stack.folder().join("secrets/jwt").display().to_string())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let good = token(&secret, &json!({ "sub": "l-other", "exp": now + 600 }))?;
        let rows = [
            (json!(good), Some(User("@l-other:localhost"))),
            (json!(token(&secret, &json!({ "sub": "l-new", "exp": now + 600 }))?), Some(User("@l-new:localhost"))),
            (
                json!(token(&secret, &json!({ "sub": "l-dead" }))?),
                Some(Refused(403, "M_USER_DEACTIVATED", "This account has been deactivated")),
            ),
            (json!(token("hush-another-secret-of-32-letters", &json!({ "sub": "l-other" }))?), Some(FORGED)),
            (json!(format!("{good}x")), None),
            (json!(token(&secret, &json!({ "sub": "l-other", "exp": now - 600 }))?), None),
            (json!(token(&secret, &json!({ "user": "l-other" }))?), Some(Refused(403, "M_FORBIDDEN", "Invalid JWT"))),
            (json!("hush-no-token"), None),
            (json!(5), None),
            (Value::Null, Some(Refused(403, "M_FORBIDDEN", "Token field for JWT is missing"))),
        ];
        let cases = rows.into_iter().enumerate().map(|(number, (token, reply))| {
            let body = json!({ "type": "org.matrix.login.jwt", "token": token }).to_string();
            from(number, Case::new(body.as_bytes(), reply, Some(Expect::Forwarded)))
        });
        let mut edge = Edge::start(stack, "login-tokens", "")?;
        none(&compare_through(stack, &mut edge, &cases.collect::<Vec<_>>())?.faults)
    })
}

/// There is no replication listener that dendron knows of, so that a token is all it could log in with.
pub fn passwords_log_in_where_tokens_do(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_limited(|stack| {
        users::make(stack)?;
        let edge = Some(Expect::Edge);
        let user = |id: &'static str| Some(User(id));
        let rows = [
            (password_body("l-plain", "hush-plain"), user("@l-plain:localhost"), edge),
            (password_body("L-Plain", "hush-plain"), user("@l-plain:localhost"), edge),
            (password_body("l-upper", "hush-upper"), user("@L-Upper:localhost"), edge),
            (password_body("L-Twin", "hush-upper-twin"), user("@L-Twin:localhost"), edge),
            (password_body("l-twin", "hush-lower-twin"), user("@l-twin:localhost"), edge),
            (password_body("l-unicode", UNICODE), user("@l-unicode:localhost"), edge),
            (password_body("l-long", LONG), user("@l-long:localhost"), edge),
            (password_body("l-ünï", "hush-uni"), user("@l-ünï:localhost"), None),
            (password_body("l slash/plus+=", "hush-slash"), user("@l slash/plus+=:localhost"), None),
            (
                password_body("@l-remote:elsewhere:localhost", "hush-remote"),
                user("@l-remote:elsewhere:localhost"),
                None,
            ),
            (password_body("l-bot", "hush-bot"), user("@l-bot:localhost"), edge),
            (password_body("l-plain", "wrong"), Some(INVALID), edge),
            (password_body("l-tokenless", "wrong"), Some(INVALID), edge),
            (
                password_body("l-locked", "hush-locked"),
                Some(Refused(401, "M_USER_LOCKED", "User account has been locked")),
                edge,
            ),
            (
                password_body("l-dead", "hush-dead"),
                Some(Refused(403, "M_USER_DEACTIVATED", "This account has been deactivated")),
                edge,
            ),
        ];
        let mut cases: Vec<Case> =
            rows.into_iter().map(|(body, reply, answerer)| Case::new(&body, reply, answerer)).collect();
        for more in [
            r#""user":"l-admin","password":"hush-admin","refresh_token":true"#,
            r#""user":"l-admin","password":"hush-admin","device_id":"TOKEN","initial_device_display_name":"by token""#,
            r#""user":"l-empty","password":"","device_id":"","refresh_token":false"#,
        ] {
            cases.push(Case::new(format!(r#"{{"type":"m.login.password",{more}}}"#).as_bytes(), None, None));
        }
        let cases: Vec<Case> = cases.into_iter().enumerate().map(|(number, case)| from(100 + number, case)).collect();
        let address = synapse_address(stack);
        let port = address.rsplit(':').next().unwrap_or_default();
        let only = format!(
            "listeners: [{{port: {port}, bind_addresses: ['127.0.0.1'], type: http, x_forwarded: true, resources: \
             [{{names: [client, federation, media, openid, static, health, metrics]}}]}}]\ninstance_map: null\n"
        );
        let mut edge = Edge::answering(stack, "login-by-tokens", &only)?;
        none(&compare_through(stack, &mut edge, &cases)?.faults)
    })
}

/// The same login from an address of its own, so that no limit is met.
fn from(number: usize, case: Case) -> Case {
    Case { headers: format!("X-Forwarded-For: 192.0.2.{number}\r\n"), ..case }
}

fn none(faults: &[String]) -> Result<(), Failed> {
    ensure!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    Ok(())
}

/// A token with these claims (RFC 7519), signed with HMAC-SHA256.
fn token(secret: &str, claims: &Value) -> Result<String, Failed> {
    let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
    mac.update(signed.as_bytes());
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())))
}
