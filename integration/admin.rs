//! The admin listener: health, readiness, status, and metrics as a real Prometheus reads them.

mod prometheus;
mod without_synapse;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use dendron::endpoint::Class;
use dendron::observe::table::TABLE;
use libtest_mimic::Failed;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::harness::eventually::{SOON, eventually};
use crate::harness::http::{Client, raw_tcp};
use crate::harness::matrix::{PASSWORD, User, encoded, expect_ok};
use crate::harness::stack::Stack;
use crate::harness::stacks::Stacks;
use crate::harness::{ensure, ensure_eq};

use prometheus::{Metadata, Prometheus, Series, promtool, scrape, scrape_text, settled};

pub const TESTS: &[crate::Test] = &[
    ("admin::health_and_readiness_are_plain", health_and_readiness_are_plain),
    ("admin::only_reading_is_served", only_reading_is_served),
    ("admin::status_of_a_monolith", |stacks| stacks.on_monolith(status_says_what_is)),
    ("admin::status_with_workers", |stacks| stacks.on_workers(status_says_what_is)),
    ("admin::every_metric_has_help_and_type", every_metric_has_help_and_type),
    ("admin::requests_are_counted_exactly", requests_are_counted_exactly),
    ("admin::connections_are_counted", connections_are_counted),
    ("admin::a_held_sync_is_in_flight", a_held_sync_is_in_flight),
    ("admin::strange_requests_make_no_series", strange_requests_make_no_series),
    ("admin::nothing_of_a_request_is_shown", nothing_of_a_request_is_shown),
    ("admin::without_synapse_failures_are_counted", without_synapse::failures_are_counted),
];

fn health_and_readiness_are_plain(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        for (path, body) in [("/health", "OK\n"), ("/ready", "ready\n")] {
            let answer = stack.admin().get(path)?;
            ensure_eq!((answer.status, answer.text()), (200, body.to_owned()), "{path}");
            ensure_eq!(answer.header("content-type"), "text/plain; charset=utf-8", "{path}");
        }
        Ok(())
    })
}

fn only_reading_is_served(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        let admin = stack.admin();
        let table = [
            ("POST", "/health", 405),
            ("DELETE", "/status", 405),
            ("GET", "/", 404),
            ("GET", "/metrics/", 404),
            ("GET", "/_matrix/client/versions", 404),
            ("HEAD", "/metrics", 200),
        ];
        for (method, path, status) in table {
            let answer = admin.send(method, path, &[], b"")?;
            ensure_eq!(answer.status, status, "{method} {path}");
            ensure!(method != "HEAD" || answer.body.is_empty(), "an answer to HEAD has a body");
        }
        // What the admin listener shows is not to be had from the public one.
        for path in ["/metrics", "/status", "/ready"] {
            let answer = stack.client().get(path)?;
            ensure!(answer.status == 404, "{path} on the public listener: {} {}", answer.status, answer.text());
        }
        Ok(())
    })
}

/// Every field, against what the stack was made of.
fn status_says_what_is(stack: &mut Stack) -> Result<(), Failed> {
    let answer = stack.admin().get("/status")?;
    ensure_eq!(answer.header("content-type"), "application/json", "the type of /status");
    // The health checks of a process that has just been started may still have to succeed once more.
    let status = eventually(SOON, || {
        let status = stack.admin().get("/status")?.json();
        check_pools(stack, &status).map(|()| status)
    })?;
    let fields: Vec<&str> = status.as_object().ok_or("no object")?.keys().map(String::as_str).collect();
    let expected = [
        "classes",
        "connections_limit",
        "descriptors_limit",
        "logins",
        "pools",
        "replication",
        "server_name",
        "started",
        "supervised",
        "synapse",
        "syncs",
        "uptime_seconds",
        "version",
    ];
    ensure_eq!(fields, expected, "the fields");
    ensure_eq!(status["version"], env!("CARGO_PKG_VERSION"), "the version");
    ensure_eq!(status["server_name"], stack.facts["server_name"], "the server's name");
    let synapse = status["synapse"].as_str().unwrap_or_default();
    ensure!(synapse.starts_with("Synapse/1."), "Synapse's version is {synapse}");
    ensure!(status["descriptors_limit"].as_i64() > Some(256), "{}", status["descriptors_limit"]);
    let started = OffsetDateTime::parse(status["started"].as_str().unwrap_or_default(), &Rfc3339)?;
    let age = (OffsetDateTime::from(SystemTime::now()) - started).whole_seconds();
    let uptime = status["uptime_seconds"].as_i64().unwrap_or(-1);
    ensure!((0..=1).contains(&(age - uptime)), "started {started}, {age} s ago, and up for {uptime} s");

    let names: BTreeSet<&str> =
        supervised(&status).map(|process| process["name"].as_str().unwrap_or_default()).collect();
    let processes = stack.synapse_processes();
    ensure_eq!(names, processes.iter().map(String::as_str).collect(), "the supervised processes");
    for process in supervised(&status) {
        let pid = process["pid"].as_u64().unwrap_or_default();
        ensure!(std::path::Path::new(&format!("/proc/{pid}")).exists(), "no process has the id in {process}");
        ensure_eq!(process["state"], "ready", "{process}");
        ensure!(process["restarts"].is_u64() && process.get("last_exit").is_some(), "{process}");
    }
    Ok(())
}

fn supervised(status: &Value) -> impl Iterator<Item = &Value> {
    status["supervised"].as_array().into_iter().flatten()
}

/// Every process that serves requests is in a pool, at the address of its listener, and is well.
fn check_pools(stack: &Stack, status: &Value) -> Result<(), Failed> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut pools = BTreeSet::new();
    for pool in status["pools"].as_array().into_iter().flatten() {
        let name = pool["name"].as_str().unwrap_or_default();
        ensure!(pools.insert(name), "the pool {name} is there twice");
        let processes = pool["processes"].as_array().cloned().unwrap_or_default();
        ensure!(!processes.is_empty(), "the pool {name} is empty");
        for process in processes {
            ensure_eq!(process["healthy"], true, "{name}: {process}");
            ensure_eq!((&process["in_flight"], &process["queued"]), (&json!(0), &json!(0)), "{name}: {process}");
            ensure!(process["requests"].is_u64(), "{name}: {process}");
            ensure!(process["ejected"] == false && process["ejections"].is_u64(), "{name}: {process}");
            ensure_eq!(process["server"], status["synapse"], "{name}: {process}");
            let field = |key: &str| process[key].as_str().unwrap_or_default().to_owned();
            let before = found.insert(field("name"), field("address"));
            ensure!(before.is_none_or(|before| before == field("address")), "{process} has two addresses");
        }
    }
    check_classes(status, &pools)?;
    let processes = stack.facts["synapse"]["processes"].as_array().ok_or("stack.json names no processes")?;
    let field = |process: &Value, key: &str| process[key].as_str().unwrap_or_default().to_owned();
    let address = |process: &Value| field(process, "address").trim_start_matches("http://").to_owned();
    // Whoever only writes events gets them from Synapse's other processes, and no request from outside.
    let writers = stack.facts["synapse"]["stream_writers"].as_object().ok_or("stack.json names no writers")?;
    let writes = |stream: &str, name: &str| writers.get(stream).is_some_and(|names| names.to_string().contains(name));
    let mut expected: BTreeMap<String, String> =
        processes.iter().map(|process| (field(process, "name"), address(process))).collect();
    expected
        .retain(|name, _| !writes("events", name) || writers.keys().any(|key| key != "events" && writes(key, name)));
    ensure_eq!(found, expected, "the processes of all pools");
    ensure!(pools.contains("main"), "there is no pool main");
    Ok(())
}

/// Every class is in a pool. A sync is main's, too, where its own pool is dead; media never is.
fn check_classes(status: &Value, pools: &BTreeSet<&str>) -> Result<(), Failed> {
    let classes = status["classes"].as_array().ok_or("no classes")?;
    ensure_eq!(classes.len(), Class::ALL.len(), "classes");
    for class in classes {
        let pool = class["pool"].as_str().unwrap_or_default();
        ensure!(pools.contains(pool), "{class}");
        match class["name"].as_str() {
            Some("sync") if pool != "main" => ensure_eq!(class["fallback"], "main", "{class}"),
            Some("sync" | "media") => ensure_eq!(class["fallback"], json!(null), "{class}"),
            _ => {}
        }
    }
    Ok(())
}

fn every_metric_has_help_and_type(stacks: &Stacks) -> Result<(), Failed> {
    // These have no series while nothing fails, waits or is encrypted; `without_synapse_…` and `queues` have them.
    let seldom = [
        "dendron_upstream_retries_total",
        "dendron_certificate_expiry_timestamp_seconds",
        "dendron_class_queued_requests",
        "dendron_logins_forwarded_total",
        // Nor these, while no doubt arises and nobody's sync is quiet; `replication`, `tokens` and `quiet` have them.
        "dendron_replication_doubts_total",
        "dendron_token_questions_total",
        "dendron_tokens_forgotten_total",
        "dendron_sync_outcomes_total",
        "dendron_sync_wakes_total",
        "dendron_sync_predictions_total",
        "dendron_sync_answers_total",
        "dendron_sync_gaps_total",
        "dendron_sync_misses_total",
    ];
    stacks.on_workers(|stack| {
        // Something that dendron forwards.
        let unknown = stack.client().get("/_matrix/client/v3/nothing_here")?;
        ensure_eq!(unknown.status, 404, "an unknown path");
        let prometheus = Prometheus::start(&stack.admin())?;
        let target = prometheus.target()?;
        ensure_eq!((&target["health"], &target["lastError"]), (&json!("up"), &json!("")), "the target");
        let expected: BTreeMap<String, Metadata> = TABLE
            .iter()
            .map(|row| (row.name.to_owned(), Metadata { kind: kind(row.name).into(), help: row.help.to_owned() }))
            .collect();
        let found = eventually(SOON, || {
            let found = prometheus.metadata()?;
            let missing = expected.keys().find(|name| !found.contains_key(*name) && !seldom.contains(&name.as_str()));
            missing.map_or(Ok(found), |name| Err(format!("Prometheus does not know {name}").into()))
        })?;
        for (name, metadata) in &found {
            ensure_eq!(Some(metadata), expected.get(name), "{name}");
        }
        ensure_eq!(promtool(&scrape_text(&stack.admin())?)?, "", "what promtool says");
        Ok(())
    })
}

/// What a metric is, by Prometheus's conventions for names.
fn kind(name: &str) -> &'static str {
    if name.ends_with("_total") {
        "counter"
    } else if name.ends_with("_seconds") && !name.ends_with("_time_seconds") && !name.ends_with("_timestamp_seconds") {
        "histogram"
    } else {
        "gauge"
    }
}

/// A request's place among the counts: class, method, code, who answered.
type Place = (&'static str, &'static str, &'static str, &'static str);

fn requests_are_counted_exactly(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_workers(|stack| {
        let admin = stack.admin();
        let user = User::register(&stack.client(), "counted")?;
        let prometheus = Prometheus::start(&admin)?;
        everything_is_learned(stack)?;
        let before = settled(&admin, is_count)?;
        let sent = send_some_of_everything(&user)?;

        let mut expected = before;
        for ((class, method, code, answered_by), times) in &sent {
            let labels = [("class", *class), ("method", *method), ("code", *code), ("answered_by", *answered_by)];
            add(&mut expected, "dendron_requests_total", &labels, *times);
            let is_poll = matches!(*class, "sync" | "sliding_sync");
            let durations = if is_poll { "dendron_sync_duration_seconds" } else { "dendron_request_duration_seconds" };
            add(&mut expected, &format!("{durations}_count"), &[("class", *class)], *times);
        }
        let whole: f64 = sent.values().sum();
        let of_synapse: f64 =
            sent.iter().filter(|((.., answered_by), _)| *answered_by == "synapse").map(|(_, times)| times).sum();
        ensure!(of_synapse != whole, "nothing was answered by dendron itself");
        let counts = settled(&admin, is_count)?;
        let of = |numbers: &BTreeMap<Series, f64>, metric: &str| -> f64 {
            numbers.iter().filter(|((name, _), _)| name == metric).map(|(_, number)| number).sum()
        };
        for metric in ["dendron_process_requests_total", "dendron_upstream_connect_seconds_count"] {
            // Before the requests were added, `expected` held these as they were.
            ensure_eq!(of(&counts, metric) - of(&expected, metric), of_synapse, "{metric} grew");
        }
        let by_class = ["dendron_requests_total", "dendron_request_duration_seconds_count"];
        for metric in by_class.iter().chain(&["dendron_sync_duration_seconds_count"]) {
            let mut expected = expected.clone();
            expected.retain(|(name, _), _| name == metric);
            eventually(SOON, || {
                let found = prometheus.numbers(metric)?;
                ensure!(found == expected, "{metric}: {}", difference(&expected, &found));
                Ok(())
            })?;
        }
        Ok(())
    })
}

fn is_count((name, _): &Series) -> bool {
    name.ends_with("_total") && name != "dendron_connections_accepted_total" || name.ends_with("_count")
}

fn add(numbers: &mut BTreeMap<Series, f64>, metric: &str, labels: &[(&str, &str)], times: f64) {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    *numbers.entry((metric.to_owned(), labels)).or_default() += times;
}

fn difference(expected: &BTreeMap<Series, f64>, found: &BTreeMap<Series, f64>) -> String {
    let all: BTreeSet<&Series> = expected.keys().chain(found.keys()).collect();
    let differ = all.into_iter().filter(|series| expected.get(*series) != found.get(*series));
    let told = differ.map(|series| format!("{series:?}: {:?}, not {:?}", found.get(series), expected.get(series)));
    told.collect::<Vec<_>>().join("\n")
}

/// Sends requests of many kinds; says how often it has sent which.
/// Waits until dendron answers what it can: before that it forwards.
fn everything_is_learned(stack: &Stack) -> Result<(), Failed> {
    let (client, admin) = (stack.client(), stack.admin());
    eventually(SOON, || {
        client.get("/_matrix/client/versions")?;
        client.get("/_matrix/client/v3/account/whoami")?;
        client.send("OPTIONS", "/_matrix/client/v3/sync", &[], b"")?;
        let counts = scrape(&admin)?;
        for answer in ["versions", "missing_token", "preflight"] {
            let labels = [("answer".to_owned(), answer.to_owned())].into();
            let count = counts.get(&("dendron_answers_total".to_owned(), labels));
            ensure!(count.is_some_and(|count| *count > 0.0), "{answer} is not answered yet");
        }
        let logins = &admin.get("/status")?.json()["logins"];
        ensure!(logins["ready"] == true, "logins are not answered yet: {logins}");
        Ok(())
    })
}

fn send_some_of_everything(user: &User) -> Result<BTreeMap<Place, f64>, Failed> {
    let mut sent: BTreeMap<Place, f64> = BTreeMap::new();
    let mut count = |place: Place| *sent.entry(place).or_default() += 1.0;
    let client = &user.client;

    let room = user.create_room()?;
    count(("room_create", "POST", "200", "synapse"));
    for number in 0..5 {
        user.say(&room, &format!("t{number}"), "hello")?;
        count(("event_send", "PUT", "200", "synapse"));
    }
    let first = expect_ok(&user.get("/_matrix/client/v3/sync?timeout=0")?, "sync")?;
    count(("initial_sync", "GET", "200", "synapse"));
    let since = first["next_batch"].as_str().unwrap_or_default();
    for number in 0..2 {
        // Each is another one, so that Synapse has to answer both.
        let target = format!("/_matrix/client/v3/sync?timeout=0&since={since}&number={number}");
        expect_ok(&user.get(&target)?, "sync")?;
        count(("sync", "GET", "200", "synapse"));
    }
    let messages = format!("/_matrix/client/v3/rooms/{}/messages?dir=b", encoded(&room));
    let table = [
        (3, "GET", "/_matrix/client/versions", "", ("client_read", "GET", "200", "edge")),
        (2, "GET", "/_matrix/client/v3/account/whoami", "", ("client_read", "GET", "401", "edge")),
        (4, "GET", "/_matrix/client/v3/nothing_here", "", ("unknown", "GET", "404", "synapse")),
        (1, "GET", &messages, "", ("room_messages", "GET", "401", "edge")),
        (2, "POST", "/_matrix/client/v3/login", "{}", ("login", "POST", "400", "edge")),
        (3, "OPTIONS", "/_matrix/client/v3/sync", "", ("preflight", "OPTIONS", "204", "edge")),
        (2, "GET", "/_synapse/admin/v1/server_version", "", ("admin", "GET", "404", "edge")),
        (1, "POST", "/_synapse/replication/x/y", "{}", ("private", "POST", "404", "edge")),
    ];
    for (times, method, target, body, place) in table {
        for _ in 0..times {
            let answer = client.send(method, target, &[], body.as_bytes())?;
            ensure_eq!(answer.status.to_string(), place.2, "{method} {target}: {}", answer.text());
            count(place);
        }
    }
    Ok(sent)
}

fn connections_are_counted(stacks: &Stacks) -> Result<(), Failed> {
    const ONCE: &[u8] = b"GET /_matrix/client/versions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let open = ("dendron_connections".to_owned(), BTreeMap::new());
    let accepted = ("dendron_connections_accepted_total".to_owned(), BTreeMap::new());
    stacks.on_monolith(|stack| {
        let admin = stack.admin();
        let address = stack.client().base().trim_start_matches("http://").to_owned();
        let is_meant = |series: &Series| *series == open || *series == accepted;
        let before = settled(&admin, is_meant)?;
        for _ in 0..7 {
            let answer = raw_tcp(&address, ONCE, SOON)?;
            ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        let after = settled(&admin, is_meant)?;
        ensure_eq!(after[&accepted], before[&accepted] + 7.0, "connections ever accepted");
        ensure_eq!(after[&open], before[&open], "connections that are still open");

        let held = (0..5).map(|_| TcpStream::connect(&address)).collect::<Result<Vec<_>, _>>()?;
        eventually(SOON, || {
            ensure_eq!(scrape(&admin)?[&open], before[&open] + 5.0, "connections with 5 held");
            Ok(())
        })?;
        drop(held);
        eventually(SOON, || {
            ensure_eq!(scrape(&admin)?[&open], before[&open], "connections after the 5 ended");
            Ok(())
        })
    })
}

fn a_held_sync_is_in_flight(stacks: &Stacks) -> Result<(), Failed> {
    let in_flight = |admin: &Client, pool: &str| -> Result<f64, Failed> {
        let numbers = scrape(admin)?;
        let of_pool = |series: &Series| series.0 == "dendron_in_flight_requests" && series.1["pool"] == pool;
        Ok(numbers.iter().filter(|(series, _)| of_pool(series)).map(|(_, number)| number).sum())
    };
    stacks.on_workers(|stack| {
        let admin = stack.admin();
        let user = User::register(&stack.client(), "held")?;
        let first = expect_ok(&user.get("/_matrix/client/v3/sync?timeout=0")?, "sync")?;
        let since = first["next_batch"].as_str().unwrap_or_default();
        eventually(SOON, || {
            ensure_eq!(in_flight(&admin, "sync")?, 0.0, "syncs in flight before");
            Ok(())
        })?;
        let address = stack.client().base().trim_start_matches("http://").to_owned();
        let mut connection = TcpStream::connect(address)?;
        let head = format!(
            "GET /_matrix/client/v3/sync?timeout=600000&since={since} HTTP/1.1\r\nHost: localhost\r\n\
             Authorization: Bearer {}\r\n\r\n",
            user.token
        );
        connection.write_all(head.as_bytes())?;
        eventually(SOON, || {
            ensure_eq!(in_flight(&admin, "sync")?, 1.0, "syncs in flight");
            Ok(())
        })?;
        std::thread::sleep(Duration::from_secs(1));
        ensure_eq!(in_flight(&admin, "sync")?, 1.0, "syncs in flight, a second later");
        drop(connection);
        eventually(SOON, || {
            ensure_eq!(in_flight(&admin, "sync")?, 0.0, "syncs in flight after the client went");
            Ok(())
        })
    })
}

fn strange_requests_make_no_series(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        let (admin, client) = (stack.admin(), stack.client());
        let strange = |number: u32| -> Result<(), Failed> {
            client.send(&format!("BREW{number}"), "/_matrix/client/v3/sync", &[], b"")?;
            client.get(&format!("/strange/{number}"))?;
            client.get(&format!("/_matrix/client/v3/rooms/!room{number}:localhost/messages?access_token=t{number}"))?;
            client.get(&format!("/_matrix/client/v3/profile/@user{number}:localhost"))?;
            Ok(())
        };
        strange(0)?;
        let before = settled(&admin, |series| series.0.ends_with("_total"))?;
        (1..20).try_for_each(strange)?;
        let after = settled(&admin, |series| series.0.ends_with("_total"))?;
        ensure_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>(), "the series");
        let other = |numbers: &BTreeMap<Series, f64>| -> f64 {
            let of_others = |series: &Series| series.1.get("method").is_some_and(|method| method == "other");
            numbers.iter().filter(|(series, _)| of_others(series)).map(|(_, number)| number).sum()
        };
        ensure_eq!(other(&after) - other(&before), 19.0, "requests of another method");
        Ok(())
    })
}

fn nothing_of_a_request_is_shown(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        let user = User::register(&stack.client(), "unseen")?;
        let room = user.create_room()?;
        let event = user.say(&room, "transaction-unseen", "words-unseen")?;
        let by_query = format!("/_matrix/client/v3/sync?timeout=0&access_token={}", user.token);
        expect_ok(&user.client.get(&by_query)?, "sync")?;
        let login = json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.user", "user": user.localpart() },
            "password": PASSWORD,
        });
        let login = user.client.send("POST", "/_matrix/client/v3/login", &[], login.to_string().as_bytes())?;
        let second = expect_ok(&login, "login")?["access_token"].as_str().unwrap_or_default().to_owned();
        user.client.get("/path-unseen?query-unseen")?;
        user.client.send("GET", "/_matrix/client/versions", &[("User-Agent", "agent-unseen")], b"")?;

        settled(&stack.admin(), is_count)?;
        let used = [user.localpart(), &room, &event, &user.token, &second, &user.device_id, PASSWORD, "unseen"];
        for path in ["/metrics", "/status", "/ready"] {
            let shown = stack.admin().get(path)?.text();
            for word in used {
                ensure!(!word.is_empty() && !shown.contains(word), "{path} shows {word}");
            }
        }
        Ok(())
    })
}
