//! Who is behind a token, before a real Synapse: how it is learned, and that it is forgotten when the token ends, though
//! nobody but the replication stream tells so.
//!
//! - [`inside`]: a dendron inside of the test, whose callers can be asked.
//! - [`secrets`]: tokens are told to nobody.

mod inside;
mod secrets;

use std::path::Path;
use std::time::Duration;

use dendron::replication::State;
use dendron::replication::follower::Reason;
use dendron::route::Key;
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::Test;
use crate::harness::eventually::{SOON, eventually};
use crate::harness::http::{Client, raw_unix};
use crate::harness::matrix::{PASSWORD, User, encoded, expect_ok};
use crate::harness::stack::Stack;
use crate::harness::{ensure, ensure_eq, program};
use crate::login::synapse_address;
use crate::replication::proxy::Proxy;
use inside::Inside;

pub const TESTS: &[Test] = &[
    ("tokens::a_caller_is_learned_on_a_monolith", |stacks| stacks.on_monolith(a_caller_is_learned)),
    ("tokens::a_caller_is_learned_with_workers", |stacks| stacks.on_workers(a_caller_is_learned)),
    ("tokens::an_ended_token_is_forgotten_on_a_monolith", |stacks| stacks.on_monolith(an_ended_token_is_forgotten)),
    ("tokens::an_ended_token_is_forgotten_with_workers", |stacks| stacks.on_workers(an_ended_token_is_forgotten)),
    ("tokens::what_passes_by_is_forgotten", |stacks| stacks.on_monolith(what_passes_by_is_forgotten)),
    ("tokens::nobody_is_believed_without_redis", |stacks| stacks.on_monolith(nobody_is_believed_without_redis)),
    ("tokens::no_token_is_told", |stacks| stacks.on_monolith(secrets::no_token_is_told)),
    ("tokens::opaque_tokens_are_balanced_by_user", |stacks| stacks.on_workers(opaque_tokens_are_balanced_by_user)),
];

const LEARNED: &str = r#"dendron_token_questions_total{outcome="learned"}"#;
const REFUSED: &str = r#"dendron_token_questions_total{outcome="refused"}"#;
const SYNC: &str = "/_matrix/client/v3/sync?timeout=0";

fn a_caller_is_learned(stack: &mut Stack) -> Result<(), Failed> {
    let inside = Inside::start(stack, "tokens-learned", "")?;
    inside.wait_for(State::Live)?;
    let user = User::register(&stack.client(), "learned")?;

    // By what passes by: a login, and a sync that Synapse answers.
    let device = log_in(&user, &inside, json!({}))?;
    let key = Some(Key::of_user(&user.user_id));
    ensure_eq!(inside.key(&device.token), key, "a login's caller");
    let refreshing = log_in(&user, &inside, json!({ "refresh_token": true }))?;
    ensure_eq!(inside.key(&refreshing.token), key, "the caller of a login with a refresh token");
    let registered = User::register(&inside.client, "registered")?;
    ensure_eq!(inside.key(&registered.token), Some(Key::of_user(&registered.user_id)), "a registration's caller");
    ensure_eq!(inside.metric(LEARNED)?, 0.0, "questions while logins pass by");

    // By asking, once, about a token that came by nowhere.
    ensure_eq!(inside.key(&user.token), None, "who told of it?");
    (0..10).for_each(|_| inside.ask(&user.token));
    eventually(SOON, || if inside.key(&user.token) == key { Ok(()) } else { Err("not learned".into()) })?;
    ensure_eq!(inside.metric(LEARNED)?, 1.0, "questions about one token");
    believed_soon(&inside, &user)?;
    let caller = inside.believed(&user.token).ok_or("believed no more")?;
    ensure_eq!((caller.user_id(), caller.device_id()), (&*user.user_id, Some(&*user.device_id)), "the caller");
    (0..10).for_each(|_| inside.ask("syt_bm9ib2R5_nothing_0"));
    eventually(SOON, || {
        let refused = inside.metric(REFUSED)?;
        if refused > 0.0 { Ok(()) } else { Err("not refused yet".into()) }
    })?;
    ensure_eq!(inside.metric(REFUSED)?, 1.0, "questions about a token that is none");
    ensure!(inside.key("syt_bm9ib2R5_nothing_0").is_none(), "a token that is none was learned");
    Ok(())
}

/// Ends tokens of a user.
type End = fn(&Stack, &User) -> Result<(), Failed>;

/// Each is sent past the edge, so that it can only hear of it.
const ENDS: [(&str, End); 6] = [
    ("logout", |_, user| ok(user, "POST", "/_matrix/client/v3/logout", &json!({}))),
    ("logout of all", |_, user| ok(user, "POST", "/_matrix/client/v3/logout/all", &json!({}))),
    ("password", |_, user| {
        let other = log_in_at(user, &user.client, json!({}))?;
        let body = json!({ "new_password": "another", "logout_devices": true, "auth": auth(user) });
        ok(&other, "POST", "/_matrix/client/v3/account/password", &body)
    }),
    ("deletion of the device", |_, user| {
        let other = log_in_at(user, &user.client, json!({}))?;
        let body = json!({ "auth": auth(user) });
        ok(&other, "DELETE", &format!("/_matrix/client/v3/devices/{}", user.device_id), &body)
    }),
    ("deactivation", |_, user| {
        ok(user, "POST", "/_matrix/client/v3/account/deactivate", &json!({ "auth": auth(user) }))
    }),
    ("deactivation by an administrator", |stack, user| {
        let path = format!("/_synapse/admin/v1/deactivate/{}", encoded(&user.user_id));
        at_synapse(stack, &administrator(stack)?, &path)
    }),
];

fn an_ended_token_is_forgotten(stack: &mut Stack) -> Result<(), Failed> {
    let inside = Inside::start(stack, "tokens-ended", "")?;
    inside.wait_for(State::Live)?;
    let bystander = User::register(&stack.client(), "bystander")?;
    believed_soon(&inside, &bystander)?;
    for (name, end) in ENDS {
        let user = User::register(&stack.client(), "ending")?;
        believed_soon(&inside, &user)?;
        end(stack, &user).map_err(|reason| format!("{name}: {}", reason.message().unwrap_or_default()))?;
        eventually(SOON, || {
            ensure!(inside.believed(&user.token).is_none(), "{name}: the token is still believed");
            Ok(())
        })?;
        let answer = user.through(&inside.client).get(SYNC)?;
        ensure_eq!(answer.status, 401, "{name}: Synapse's own word");
        ensure!(inside.key(&user.token).is_none(), "{name}: the token is still known");
    }
    ensure!(inside.believed(&bystander.token).is_some(), "somebody else's token was forgotten, too");
    ensure!(inside.metric(r#"dendron_tokens_forgotten_total{what="token"}"#)? >= 6.0, "what was forgotten");
    Ok(())
}

/// What the edge itself sees needs no stream.
fn what_passes_by_is_forgotten(stack: &mut Stack) -> Result<(), Failed> {
    let inside = Inside::start(stack, "tokens-passing", "redis: null")?;
    for (path, body) in [
        ("/_matrix/client/v3/logout", json!({})),
        ("/_matrix/client/v3/logout/all", json!({})),
        ("/_matrix/client/v3/account/deactivate", json!({ "erase": false })),
    ] {
        let user = User::register(&inside.client, "passing")?;
        ensure!(inside.key(&user.token).is_some(), "{path}: not learned");
        let mut body = body;
        if path.ends_with("deactivate") {
            body["auth"] = auth(&user);
        }
        ok(&user, "POST", path, &body)?;
        ensure_eq!(user.get(SYNC)?.status, 401, "{path}: the token after it");
        ensure!(inside.key(&user.token).is_none(), "{path}: the token is still known");
    }
    // Refreshed: the new token is the same caller's.
    let user = User::register(&inside.client, "refreshing")?;
    let login = log_in_with(&user, &inside.client, json!({ "refresh_token": true }))?;
    let old = text(&login, "access_token");
    let body = json!({ "refresh_token": login["refresh_token"] });
    let answer = User { token: old.clone(), ..user.clone() }.send("POST", "/_matrix/client/v3/refresh", &body)?;
    let new = text(&expect_ok(&answer, "refresh")?, "access_token");
    ensure_eq!(inside.key(&new), Some(Key::of_user(&user.user_id)), "its caller");
    ensure!(inside.key(&old).is_none(), "the old token is still known");
    Ok(())
}

fn nobody_is_believed_without_redis(stack: &mut Stack) -> Result<(), Failed> {
    let user = User::register(&stack.client(), "unheard")?;
    {
        let inside = Inside::start(stack, "tokens-without", "redis: null")?;
        ensure!(!inside.follows(), "a stream without Redis");
        inside.ask(&user.token);
        eventually(SOON, || inside.key(&user.token).map(drop).ok_or_else(|| "not learned".into()))?;
        ensure!(inside.believed(&user.token).is_none(), "believed without anybody who would tell of its end");
    }
    // Redis that goes away and comes back.
    let proxy = Proxy::start(&stack.text(&["redis", "socket"]))?;
    let path = proxy.address().trim_start_matches("unix:").to_owned();
    let inside = Inside::start(stack, "tokens-cut", &format!("redis: {{enabled: true, path: '{path}'}}"))?;
    inside.wait_for(State::Live)?;
    believed_soon(&inside, &user)?;
    proxy.cut();
    inside.wait_for(State::Degraded(Reason::Disconnected))?;
    eventually(SOON, || {
        ensure!(inside.believed(&user.token).is_none(), "believed while nothing is heard");
        Ok(())
    })?;
    ok(&user.through(&inside.client), "GET", SYNC, &Value::Null)?;
    ensure!(inside.believed(&user.token).is_none(), "believed while nothing is heard, because Synapse took it");
    proxy.mend();
    inside.wait_for(State::Live)?;
    believed_soon(&inside, &user)
}

/// As with the Matrix Authentication Service, whose tokens do not name their user.
fn opaque_tokens_are_balanced_by_user(stack: &mut Stack) -> Result<(), Failed> {
    let inside = Inside::start(stack, "tokens-opaque", "")?;
    inside.wait_for(State::Live)?;
    for number in 0..4 {
        let user = User::register(&stack.client(), &format!("opaque{number}"))?;
        let mut tokens = Vec::new();
        for device in 0..3 {
            let known = log_in_at(&user, &stack.client(), json!({}))?.token;
            let opaque = format!("mct_{number}{device}{}", user.localpart());
            sql(stack, &format!("UPDATE access_tokens SET token = '{opaque}' WHERE token = '{known}'"))?;
            tokens.push(User { token: opaque, ..user.through(&inside.client) });
        }
        for device in &tokens {
            ok(device, "GET", SYNC, &Value::Null)?;
            eventually(SOON, || inside.key(&device.token).map(drop).ok_or_else(|| "not learned".into()))?;
        }
        let mut served = Vec::new();
        for (place, device) in tokens.iter().enumerate() {
            let mark = format!("mark=opaque{place}{}", user.localpart());
            ok(device, "GET", &format!("{SYNC}&{mark}"), &Value::Null)?;
            served.extend(crate::who_served::served_by(stack, &mark)?);
        }
        served.sort();
        served.dedup();
        ensure_eq!(served.len(), 1, "three devices of one user were served by {served:?}");
    }
    ensure_eq!(inside.metric(LEARNED)?, 12.0, "questions about twelve tokens");
    Ok(())
}

/// Has Synapse asked until the answer is believed. What a registration does to a user's caches is told a moment later,
/// and ends what was asked before.
fn believed_soon(inside: &Inside, user: &User) -> Result<(), Failed> {
    eventually(SOON, || {
        inside.ask(&user.token);
        inside.believed(&user.token).map(drop).ok_or_else(|| "not believed".into())
    })
}

/// Logs the user in once more, through the edge in the test.
fn log_in(user: &User, inside: &Inside, more: Value) -> Result<User, Failed> {
    log_in_at(user, &inside.client, more)
}

fn log_in_at(user: &User, client: &Client, more: Value) -> Result<User, Failed> {
    let answer = log_in_with(user, client, more)?;
    let (token, device_id) = (text(&answer, "access_token"), text(&answer, "device_id"));
    Ok(User { token, device_id, ..user.through(client) })
}

fn log_in_with(user: &User, client: &Client, more: Value) -> Result<Value, Failed> {
    let mut body = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": user.user_id },
        "password": PASSWORD,
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    let answer = client.send("POST", "/_matrix/client/v3/login", &[], body.to_string().as_bytes())?;
    expect_ok(&answer, "login")
}

/// What proves that it is the user who asks for something grave.
fn auth(user: &User) -> Value {
    let identifier = json!({ "type": "m.id.user", "user": user.user_id });
    json!({ "type": "m.login.password", "identifier": identifier, "password": PASSWORD })
}

fn ok(user: &User, method: &str, target: &str, body: &Value) -> Result<(), Failed> {
    expect_ok(&user.send(method, target, body)?, target).map(drop)
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

/// A user whom Synapse takes for an administrator.
fn administrator(stack: &Stack) -> Result<User, Failed> {
    let user = User::register(&stack.client(), "administrator")?;
    sql(stack, &format!("UPDATE users SET admin = 1 WHERE name = '{}'", user.user_id))?;
    Ok(user)
}

fn sql(stack: &Stack, statement: &str) -> Result<(), Failed> {
    let place = |name: &str| stack.text(&["database", name]);
    let port = stack.facts["database"]["port"].to_string();
    let (sockets, user, name) = (place("socket_folder"), place("user"), place("name"));
    let arguments = [
        &["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--host", &sockets, "--port", &port][..],
        &["--username", &user, "--dbname", &name, "--command", statement],
    ];
    let output = stack.folder().join("psql.out");
    program::run(Path::new("psql"), &arguments.concat(), &output, Duration::from_secs(20)).map(drop)
}

/// Posts an empty object to Synapse's main process itself, which offers what no edge does.
fn at_synapse(stack: &Stack, user: &User, path: &str) -> Result<(), Failed> {
    let address = synapse_address(stack);
    let Some(socket) = address.strip_prefix("unix:") else {
        return ok(&user.through(&Client::new(&format!("http://{address}"))), "POST", path, &json!({}));
    };
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         Content-Length: 2\r\n\r\n{{}}",
        user.token
    );
    let answer = raw_unix(Path::new(socket), request.as_bytes(), Duration::from_secs(20))?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{path}: {}", answer.lines().next().unwrap_or_default());
    Ok(())
}
