//! What a login shows to nobody: in what it tells, and in how long it takes.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use serde_json::Value;

use super::cases::{Case, LOGIN, password_body};
use super::edge::{Edge, secret_in};
use super::users;
use super::{ANSWERED_AT_THE_EDGE, synapse_address};
use crate::harness::ensure;
use crate::harness::stack::Stack;
use crate::harness::stacks::Stacks;
use crate::transparency::client::{Answer, send};

/// How often each of two logins is timed.
const TIMES: usize = 30;
/// How much longer than the other one of the two may take in the middle.
const RATIO_MAX: f64 = 1.25;

/// Bodies with a password in them, wherever somebody could put one.
const TOLD: [&str; 16] = [
    r#"{"type":"m.login.password","user":"l-plain","password":"hush-plain"}"#,
    r#"{"type":"m.login.password","user":"l-plain","password":"hush-plain","refresh_token":true}"#,
    r#"{"type":"m.login.password","user":"l-plain","password":"hush-wrong"}"#,
    r#"{"type":"m.login.password","user":"nobody","password":"hush-wrong"}"#,
    r#"{"type":"m.login.password","user":"l-locked","password":"hush-locked"}"#,
    r#"{"type":"m.login.password","user":"l-malformed-plain","password":"hush-wrong"}"#,
    r#"{"type":"m.login.password","user":"hush-wrong","password":"hush-wrong"}"#,
    r#"{"type":"m.login.password","user":"l-plain","password":{"a":"hush-wrong"}}"#,
    r#"{"type":"m.login.password","user":"l-plain","password":"hush-wrong"#,
    r#"{"type":"hush-wrong","user":"l-plain"}"#,
    r#"{"type":"m.login.token","token":"hush-wrong"}"#,
    r#"{"type":"m.login.password","medium":"email","address":"hush-wrong","password":"hush-wrong"}"#,
    r#"{"type":"m.login.password","user":"l-plain","password":"hush-plain","device_id":5}"#,
    r#"{"type":"m.login.password","user":"l-plain","password":"hush-\ud800"}"#,
    r#""hush-wrong""#,
    "hush-wrong",
];

/// Levels and formats of the log, besides the one in which all other tests are logged.
const LOGS: [(&str, &str); 6] =
    [("error", "text"), ("warn", "json"), ("info", "text"), ("debug", "json"), ("debug", "text"), ("trace", "text")];

pub fn no_secret_is_told(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        users::make(stack)?;
        tells_no_secret(stack, Edge::answering(stack, "login-secrets", "")?)
    })
}

pub fn no_secret_is_told_at_any_level(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        users::make(stack)?;
        for (level, format) in LOGS {
            let edge = Edge::logging(stack, &format!("login-secrets-{level}-{format}"), level, format)?;
            tells_no_secret(stack, edge).map_err(|failed| format!("{level}, {format}: {failed:?}"))?;
        }
        Ok(())
    })
}

/// Sends every body to an edge that answers logins, and looks through all that it says.
fn tells_no_secret(stack: &Stack, mut edge: Edge) -> Result<(), Failed> {
    let mut secrets = of_the_stack(stack)?;
    for (number, body) in TOLD.iter().enumerate() {
        let case = Case {
            headers: "Authorization: Bearer hush-bearer\r\nCookie: hush-cookie\r\n".to_owned(),
            target: format!("{LOGIN}?access_token=hush-query"),
            ..Case::new(body.as_bytes(), None, None)
        };
        secrets.extend(tokens(&send(&edge.address, &case.bytes(&format!("told-{number}")))?));
    }
    ensure!(secrets.iter().filter(|secret| secret.starts_with("sy")).count() == 3, "two logins gave no tokens");
    edge.tells_none_of(&secrets).map(drop)
}

/// What goes wrong is told at length, and must tell nothing either: Synapse refuses whatever dendron asks its main
/// process for with this secret.
pub fn no_secret_is_told_of_what_fails(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        users::make(stack)?;
        let changes = "worker_replication_secret_path: null\nworker_replication_secret: hush-replication\n";
        let mut edge = Edge::start(stack, "login-secrets-wrong", changes)?;
        let mut secrets = of_the_stack(stack)?;
        for number in 0..5 {
            let case = Case::new(&password_body("l-plain", "hush-plain"), None, None);
            secrets.extend(tokens(&send(&edge.address, &case.bytes(&format!("failed-{number}")))?));
        }
        edge.tells_none_of(&secrets).map(drop)
    })
}

/// What a stack's passwords all begin with, and what Synapse's own files hold.
pub fn of_the_stack(stack: &Stack) -> Result<Vec<String>, Failed> {
    let homeserver = std::fs::read_to_string(stack.text(&["synapse", "homeserver"]))?;
    let homeserver: serde_yaml::Value = serde_yaml::from_str(&homeserver)?;
    let pepper = homeserver["password_config"]["pepper"].as_str().ok_or("there is no pepper")?;
    let mut secrets = vec![pepper.to_owned()];
    for name in ["replication_secret", "registration_secret"] {
        secrets.push(secret_in(&stack.text(&["synapse", name]))?);
    }
    for password in ["wrong", "plain", "locked", "bearer", "cookie", "query", "replication", "upper", "other"] {
        secrets.push(format!("hush-{password}"));
    }
    Ok(secrets)
}

/// The tokens in an answer.
pub fn tokens(answer: &Answer) -> Vec<String> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let tokens = ["access_token", "refresh_token"].iter().filter_map(|name| body[*name].as_str());
    tokens.map(str::to_owned).collect()
}

/// Synapse answers for an unknown user at once, and for a wrong password after it has hashed it: from this one can tell
/// who has an account. The edge must not show it.
pub fn an_unknown_user_takes_as_long_as_a_wrong_password(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        users::make(stack)?;
        // As dear as the hash of the user who is there.
        let mut edge = Edge::answering(stack, "login-time", "bcrypt_rounds: 10\n")?;
        let known = Case::new(&password_body("l-slow", "wrong"), None, None).bytes("time");
        let unknown = Case::new(&password_body("l-nobody", "wrong"), None, None).bytes("time");
        let through = ratio(&edge.address, &known, &unknown)?;
        let direct = ratio(&synapse_address(stack), &known, &unknown)?;
        edge.stop()?;
        println!(
            "an unknown user takes {through:.2} times a wrong password's time; without dendron, {direct:.2} times"
        );
        let is_even = (1.0 / RATIO_MAX..=RATIO_MAX).contains(&through);
        ensure!(is_even || !ANSWERED_AT_THE_EDGE, "an unknown user takes {through:.2} times a wrong password's time");
        Ok(())
    })
}

/// How many times as long as the known user the unknown one takes, by the medians.
fn ratio(address: &str, known: &[u8], unknown: &[u8]) -> Result<f64, Failed> {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..TIMES {
        // By turns, so that both meet the same machine.
        for (times, request) in times.iter_mut().zip([known, unknown]) {
            let begun = Instant::now();
            let answer = send(address, request)?;
            times.push(begun.elapsed());
            ensure!(answer.status.contains(" 403 "), "a wrong login: {}", answer.status);
        }
    }
    let [known, unknown] = times.map(median);
    Ok(unknown.as_secs_f64() / known.as_secs_f64())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
