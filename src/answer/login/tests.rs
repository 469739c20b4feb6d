//! The order of a login's steps: what is answered, what has been counted by then, and what was asked of others.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use bcrypt_lanes::LaneCount;
use bytes::Bytes;
use http::HeaderValue;

use super::limits::{Rule, Rules};
use super::reasons::tests::facts;
use super::*;
use crate::synapse::{AskError, Device};

const UNIX_MS: i64 = 1_790_000_000_000;

/// A database of these users, and the writes that were asked for.
struct World {
    users: Vec<User>,
    database_is_there: bool,
    server: Option<&'static str>,
    registered: Box<dyn Fn() -> Result<Device, RegisterError> + Send + Sync>,
    writes: Mutex<Vec<String>>,
    reads: AtomicUsize,
}

impl World {
    fn reach(&self) -> Result<(), Unavailable> {
        if self.database_is_there { Ok(()) } else { Err(Unavailable::Silent) }
    }
}

impl Users for Arc<World> {
    async fn user(&self, user_id: &str) -> Result<Option<User>, Unavailable> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.reach()?;
        Ok(self.users.iter().find(|user| user.id.eq_ignore_ascii_case(user_id)).cloned())
    }

    async fn threepid_owner(&self, medium: &str, address: &str) -> Result<Option<String>, Unavailable> {
        self.reach()?;
        Ok((medium == "email" && address == "alice@mail.test").then(|| "@alice:edge.test".to_owned()))
    }
}

impl Devices for Arc<World> {
    async fn register(&self, request: DeviceRequest<'_>, _: Option<IpAddr>) -> Result<Registered, RegisterError> {
        self.writes.lock().unwrap().push(format!("{request:?}"));
        (self.registered)().map(Registered::Device)
    }
}

fn user(localpart: &str, change: impl FnOnce(&mut User)) -> User {
    let hash = bcrypt::hash("wonderpepper", 4).unwrap();
    let id = format!("@{localpart}:edge.test");
    let mut user =
        User { id, password_hash: Some(Secret::new(hash)), deactivated: false, locked: false, approved: true };
    change(&mut user);
    user
}

fn world() -> World {
    let users = vec![
        user("alice", |_| ()),
        user("Bob", |_| ()),
        user("gone", |user| user.deactivated = true),
        user("locked", |user| user.locked = true),
        user("waiting", |user| user.approved = false),
        user("nohash", |user| user.password_hash = None),
        user("empty", |user| user.password_hash = Some(Secret::default())),
        user("odd", |user| user.password_hash = Some(Secret::new("plain"))),
    ];
    let device = Device {
        device_id: "DEVICE".into(),
        access_token: Secret::new("syt_1"),
        valid_until_ms: None,
        refresh_token: None,
    };
    World {
        users,
        database_is_there: true,
        server: Some("Synapse/1.134.0"),
        registered: Box::new(move || Ok(device.clone())),
        writes: Mutex::default(),
        reads: AtomicUsize::default(),
    }
}

struct Server {
    logins: Logins<Arc<World>, Arc<World>>,
    world: Arc<World>,
    milliseconds: Arc<AtomicI64>,
}

const WIDE: Rule = Rule { per_second: 1000.0, burst_count: 1000 };

fn server(world: World, rules: Rules) -> Server {
    let mut facts = facts();
    facts.pepper = password::Pepper::new("pepper");
    facts.limits = rules;
    let policy = Policy::from_facts(facts).unwrap();
    let hashing = Hashing::start(1, LaneCount::MAX, 4, 4, Arc::new(|| false)).unwrap();
    let milliseconds = Arc::new(AtomicI64::new(0));
    let (passed, start) = (Arc::clone(&milliseconds), Instant::now());
    let clock = Box::new(move || {
        let passed = passed.load(Ordering::Relaxed);
        Now { instant: start, seconds: passed as f64 / 1000.0, unix_ms: UNIX_MS + passed }
    });
    let (known, world) = (world.server, Arc::new(world));
    let neighbours = Neighbours {
        users: Arc::clone(&world),
        devices: Arc::clone(&world),
        well_known: Box::new(|| None),
        server: Box::new(move || known.map(HeaderValue::from_static)),
    };
    let logins = Logins::new(policy, hashing, neighbours, clock);
    Server { logins, world, milliseconds }
}

fn wide() -> Server {
    server(world(), Rules { address: WIDE, account: WIDE, failed_attempts: WIDE })
}

fn body(user: &str, password: &str) -> String {
    format!(r#"{{"type":"m.login.password","user":"{user}","password":"{password}"}}"#)
}

impl Server {
    /// `200`, `403 M_FORBIDDEN`, or the reason to forward.
    async fn ask_from(&self, client: Option<IpAddr>, body: &str) -> String {
        match self.logins.answer(body.as_bytes(), client).await {
            Answer::Forward(reason) => reason.name().to_owned(),
            Answer::Reply(reply) => {
                let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
                let code = body.get("errcode").and_then(|code| code.as_str()).unwrap_or_default();
                format!("{} {code}", reply.status.as_u16()).trim_end().to_owned()
            }
        }
    }

    async fn ask(&self, body: &str) -> String {
        self.ask_from(None, body).await
    }

    fn writes(&self) -> usize {
        self.world.writes.lock().unwrap().len()
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_log_in() {
    let server = wide();
    let table = [
        ("alice", "wonder", "200"),
        ("@ALICE:edge.test", "wonder", "200"),
        ("bob", "wonder", "200"),
        ("alice", "wonderpepper", "403 M_FORBIDDEN"),
        ("alice", "", "403 M_FORBIDDEN"),
        ("nobody", "wonder", "403 M_FORBIDDEN"),
        ("nohash", "", "403 M_FORBIDDEN"),
        ("empty", "wonder", "403 M_FORBIDDEN"),
        ("odd", "plain", "foreign_hash"),
        ("gone", "wonder", "403 M_USER_DEACTIVATED"),
        ("gone", "wrong", "403 M_FORBIDDEN"),
        ("locked", "wonder", "401 M_USER_LOCKED"),
        ("locked", "wrong", "403 M_FORBIDDEN"),
        ("waiting", "wonder", "not_approved"),
        ("alice", "\\ud840\\udfff", "403 M_FORBIDDEN"),
        ("alice", "\\ud801\\udf81", "new_characters"),
    ];
    for (user, password, expected) in table {
        assert_eq!(server.ask(&body(user, password)).await, expected, "{user} {password}");
    }
    assert_eq!(server.writes(), 3, "only for those who logged in");
}

#[tokio::test(start_paused = true)]
async fn who_is_locked_is_refused_only_where_synapse_refuses() {
    let table = [
        (Some("Synapse/1.134.0rc1"), "401 M_USER_LOCKED"),
        (Some("Synapse/2.0.0"), "401 M_USER_LOCKED"),
        (Some("Synapse/1.133.0"), "locked"),
        (Some("Synapse/unknown"), "locked"),
        (None, "locked"),
    ];
    for (known, expected) in table {
        let server = server(World { server: known, ..world() }, Rules::default());
        assert_eq!(server.ask(&body("locked", "wonder")).await, expected, "{known:?}");
        assert_eq!(server.ask(&body("locked", "wrong")).await, "403 M_FORBIDDEN", "{known:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn answers_bear_synapses_name_where_it_is_known() {
    for known in [Some("Synapse/1.134.0"), None] {
        let nobody = Rule { per_second: 1.0, burst_count: 0 };
        let open = server(World { server: known, ..world() }, Rules::default());
        let closed = server(World { server: known, ..world() }, Rules { address: nobody, ..Rules::default() });
        let mut replies = vec![closed.logins.limit_forwarded(None, false).await.unwrap()];
        for (server, body) in [(&open, body("alice", "wonder")), (&open, "{".to_owned()), (&closed, body("bob", "x"))] {
            let Answer::Reply(reply) = server.logins.answer(body.as_bytes(), None).await else { panic!("forwarded") };
            replies.push(reply);
        }
        for reply in replies {
            let names: Vec<_> =
                reply.headers.iter().filter(|(name, _)| name == SERVER).map(|(_, value)| value).collect();
            assert_eq!(names, known.iter().collect::<Vec<_>>(), "{}", reply.status);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_unknown_costs_a_check_as_well() {
    let server = wide();
    let email = r#"{"type":"m.login.password","medium":"email","address":"nobody@mail.test","password":"x"}"#;
    for (count, body) in
        [body("alice", "x"), body("nobody", "x"), body("nohash", "x"), email.to_owned()].iter().enumerate()
    {
        assert_eq!(server.ask(body).await, "403 M_FORBIDDEN", "{body}");
        assert_eq!(server.logins.hashing().figures().checked, count as u64 + 1, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_email_address_stands_for_its_owner() {
    let server = wide();
    for (address, password, expected) in [
        ("Alice@mail.TEST", "wonder", "200"),
        ("alice@mail.test", "wrong", "403 M_FORBIDDEN"),
        ("bob@mail.test", "wonder", "403 M_FORBIDDEN"),
    ] {
        let identifier = format!(r#"{{"type":"m.id.thirdparty","medium":"email","address":"{address}"}}"#);
        let body = format!(r#"{{"type":"m.login.password","identifier":{identifier},"password":"{password}"}}"#);
        assert_eq!(server.ask(&body).await, expected, "{address}");
    }
    assert!(server.world.writes.lock().unwrap()[0].contains("@alice:edge.test"));
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_of_synapse_and_what_comes_of_it() {
    let mut world = world();
    let device = Device {
        device_id: "D".into(),
        access_token: Secret::new("syt_1"),
        valid_until_ms: Some(UNIX_MS as u64 + 300_000),
        refresh_token: Some(Secret::new("syr_1")),
    };
    world.registered = Box::new(move || Ok(device.clone()));
    let server = server(world, Rules { address: WIDE, account: WIDE, failed_attempts: WIDE });
    server.milliseconds.store(1, Ordering::Relaxed);
    let body = r#"{"type":"m.login.password","user":"BOB","password":"wonder","device_id":"D",
        "initial_device_display_name":"phone","refresh_token":true}"#;
    let Answer::Reply(reply) = server.logins.answer(body.as_bytes(), None).await else { panic!("forwarded") };
    let expected = concat!(
        r#"{"user_id":"@Bob:edge.test","access_token":"syt_1","home_server":"edge.test","device_id":"D","#,
        r#""expires_in_ms":299999,"refresh_token":"syr_1"}"#
    );
    assert_eq!(reply.body, expected);
    let new = DeviceRequest {
        user_id: "@Bob:edge.test",
        device_id: Some("D"),
        initial_display_name: Some("phone"),
        should_issue_refresh_token: true,
    };
    assert_eq!(*server.world.writes.lock().unwrap(), [format!("{new:?}")]);
}

#[tokio::test(start_paused = true)]
async fn what_synapse_does_not_do_is_relayed_or_forwarded() {
    type Fails = fn() -> RegisterError;
    let table: [(Fails, &str); 4] = [
        (
            || RegisterError::Refused {
                status: StatusCode::BAD_REQUEST,
                body: Bytes::from_static(br#"{"errcode":"M_TOO_LARGE"}"#),
            },
            "400 M_TOO_LARGE",
        ),
        (|| RegisterError::Lost(AskError::Silent), "502 M_UNKNOWN"),
        (|| RegisterError::NotReached("down".into()), "writer_not_reached"),
        (|| RegisterError::Unusable { status: StatusCode::OK }, "writer_unusable"),
    ];
    for (error, expected) in table {
        let server = server(World { registered: Box::new(move || Err(error())), ..world() }, Rules::default());
        assert_eq!(server.ask(&body("alice", "wonder")).await, expected);
    }
    let server = server(World { database_is_there: false, ..world() }, Rules::default());
    assert_eq!(server.ask(&body("alice", "wonder")).await, "database_unavailable");
    let email = r#"{"type":"m.login.password","medium":"email","address":"a@b","password":"x"}"#;
    assert_eq!(server.ask(email).await, "database_unavailable");
}

#[tokio::test(start_paused = true)]
async fn a_long_device_id_is_refused_only_after_the_password() {
    let server = wide();
    for (characters, password, expected) in
        [(512, "wonder", "200"), (513, "wonder", "400 M_INVALID_PARAM"), (513, "wrong", "403 M_FORBIDDEN")]
    {
        let device_id = "ä".repeat(characters);
        let body = format!(
            r#"{{"type":"m.login.password","user":"alice","password":"{password}","device_id":"{device_id}"}}"#
        );
        assert_eq!(server.ask(&body).await, expected, "{characters} {password}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_is_limited_whatever_it_sends_once_there_is_a_type() {
    let server = server(world(), Rules { account: WIDE, failed_attempts: WIDE, ..Rules::default() });
    for uncounted in ["{", "[]", "{}", r#"{"refresh_token":1}"#] {
        for _ in 0..10 {
            assert!(server.ask(uncounted).await.starts_with("400 "), "{uncounted}");
        }
    }
    let service = r#"{"type":"m.login.application_service"}"#;
    for _ in 0..10 {
        assert_eq!(server.ask(service).await, "application_service");
        assert_eq!(server.logins.limit_forwarded(None, true).await, None);
    }
    for counted in [r#"{"type":1}"#, r#"{"type":"m.login.token"}"#, r#"{"x":1e999}"#, &body("alice", "wonder")] {
        assert!(!server.ask(counted).await.starts_with("429"), "{counted}");
    }
    assert_eq!(server.logins.limit_forwarded(None, false).await, None);
    // The sixth of five.
    for counted in [r#"{"type":1}"#, r#"{"type":"m.login.token"}"#, r#"{"x":1e999}"#, &body("alice", "wonder")] {
        assert_eq!(server.ask(counted).await, "429 M_LIMIT_EXCEEDED", "{counted}");
    }
    assert_eq!(server.logins.limit_forwarded(None, false).await.map(|reply| reply.status.as_u16()), Some(429));
    assert_eq!(server.ask(service).await, "application_service");
    assert_eq!(server.ask("{").await, "400 M_NOT_JSON");
    assert_eq!(server.ask_from(Some([127, 0, 0, 1].into()), &body("alice", "wonder")).await, "200");
    server.milliseconds.store(334_000, Ordering::Relaxed);
    assert_eq!(server.ask(&body("alice", "wonder")).await, "200");
    assert_eq!(server.ask(&body("alice", "wonder")).await, "429 M_LIMIT_EXCEEDED");
}

#[tokio::test(start_paused = true)]
async fn failures_are_limited_by_account_and_a_right_password_does_not_help() {
    let server = server(world(), Rules { address: WIDE, account: WIDE, ..Rules::default() });
    for (user, other) in [("alice", "@ALICE:edge.test"), ("nobody", "NoBody")] {
        for _ in 0..3 {
            assert_eq!(server.ask(&body(user, "wrong")).await, "403 M_FORBIDDEN");
        }
        let reads = server.world.reads.load(Ordering::Relaxed);
        for password in ["wrong", "wonder"] {
            assert_eq!(server.ask(&body(other, password)).await, "429 M_LIMIT_EXCEEDED", "{user} {password}");
        }
        assert_eq!(server.world.reads.load(Ordering::Relaxed), reads, "nobody is looked up for it");
    }
    let email = |address: &str| {
        format!(r#"{{"type":"m.login.password","medium":"email","address":"{address}","password":"wonder"}}"#)
    };
    assert_eq!(server.ask(&email("alice@mail.test")).await, "429 M_LIMIT_EXCEEDED", "it is the same account");
    for _ in 0..3 {
        assert_eq!(server.ask(&email("nobody@mail.test")).await, "403 M_FORBIDDEN");
    }
    assert_eq!(server.ask(&email("Nobody@mail.test")).await, "429 M_LIMIT_EXCEEDED");
    // A success is no failure.
    for _ in 0..10 {
        assert_eq!(server.ask(&body("bob", "wonder")).await, "200");
    }
}

#[tokio::test(start_paused = true)]
async fn successes_are_limited_by_account_before_anything_is_said_of_it() {
    let server = server(world(), Rules { address: WIDE, failed_attempts: WIDE, ..Rules::default() });
    for (user, before) in [("bob", "200"), ("locked", "401 M_USER_LOCKED"), ("waiting", "not_approved")] {
        for _ in 0..5 {
            assert_eq!(server.ask(&body(user, "wrong")).await, "403 M_FORBIDDEN");
            assert_eq!(server.ask(&body(user, "wonder")).await, before);
        }
        assert_eq!(server.ask(&body(user, "wonder")).await, "429 M_LIMIT_EXCEEDED", "{user}");
        assert_eq!(server.ask(&body(user, "wrong")).await, "403 M_FORBIDDEN", "{user}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_limited_client_waits_half_a_second_for_its_answer() {
    let nobody = Rule { per_second: 1.0, burst_count: 0 };
    let server = server(world(), Rules { address: nobody, ..Rules::default() });
    let start = tokio::time::Instant::now();
    assert_eq!(server.ask(&body("alice", "wonder")).await, "429 M_LIMIT_EXCEEDED");
    assert_eq!(start.elapsed(), LIMITED_PAUSE);
}
