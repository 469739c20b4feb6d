//! What every request goes through: forwarded whole, told who the client is, answered in time, failed in Matrix's words.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::Test;
use crate::harness::child::Child;
use crate::harness::eventually::{SOON, eventually};
use crate::harness::http::{Client, raw_tcp, raw_unix};
use crate::harness::matrix::{User, encoded, expect_ok};
use crate::harness::stack::{Stack, bare_dendron};
use crate::harness::stacks::Stacks;
use crate::harness::{dendron, ensure, ensure_eq, fail};

pub const TESTS: &[Test] = &[
    ("forward::answers_are_synapses_own", answers_are_synapses_own),
    ("forward::target_reaches_synapse_byte_for_byte", target_reaches_synapse_byte_for_byte),
    ("forward::client_address_cannot_be_forged", client_address_cannot_be_forged),
    ("forward::request_id_is_in_both_logs", request_id_is_in_both_logs),
    ("forward::access_log_tells_no_secret", access_log_tells_no_secret),
    ("forward::long_poll_is_held_and_woken", long_poll_is_held_and_woken),
    ("forward::media_streams_through", media_streams_through),
    ("forward::private_paths_are_not_offered", private_paths_are_not_offered),
    ("forward::unix_socket_listener_serves", unix_socket_listener_serves),
    ("forward::keep_alive_and_pipelining", keep_alive_and_pipelining),
    ("forward::missing_host_is_refused", missing_host_is_refused),
    ("forward::homeserver_yaml_alone_is_enough_to_run", homeserver_yaml_alone_is_enough_to_run),
    ("forward::hanging_process_is_given_up_in_time", hanging_process_is_given_up_in_time),
    ("forward::client_that_leaves_is_noted", client_that_leaves_is_noted),
];

/// Headers that differ between any two answers of Synapse, or that belong to one hop.
const VOLATILE: [&str; 4] = ["date", "connection", "synapse-trace-id", "transfer-encoding"];

/// A client that speaks with Synapse's main process directly.
fn direct(stack: &Stack) -> Client {
    Client::new(&main_address(stack))
}

/// Where a monolith's Synapse listens, as a URL.
fn main_address(stack: &Stack) -> String {
    stack.facts["synapse"]["processes"][0]["address"].as_str().unwrap_or_default().to_owned()
}

fn headers_of(answer: &crate::harness::http::Answer) -> Vec<(String, String)> {
    let headers = answer
        .head
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let mut headers: Vec<_> = headers.filter(|(name, _)| !VOLATILE.contains(&name.as_str())).collect();
    headers.sort();
    headers
}

fn answers_are_synapses_own(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        let user = User::register(&stack.client(), "own")?;
        let room = user.create_room()?;
        let behind = user.through(&direct(stack));
        let encoded = encoded(&room);
        let targets = [
            ("GET", "/_matrix/client/versions".to_owned()),
            ("GET", "/_matrix/client/v3/login".to_owned()),
            ("GET", "/_matrix/client/v3/capabilities".to_owned()),
            ("GET", "/_matrix/client/v3/account/whoami".to_owned()),
            ("GET", "/_matrix/client/v3/pushrules/".to_owned()),
            ("GET", format!("/_matrix/client/v3/rooms/{encoded}/state")),
            ("GET", format!("/_matrix/client/v3/rooms/{encoded}/messages?dir=b&limit=3")),
            ("GET", format!("/_matrix/client/v3/rooms/{encoded}/nothing")),
            ("GET", "/_matrix/client/v3/rooms/!unknown:nowhere/messages?dir=b".to_owned()),
            ("GET", "/_matrix/client/v3/no_such_endpoint".to_owned()),
            ("DELETE", "/_matrix/client/v3/sync".to_owned()),
            ("OPTIONS", "/_matrix/client/v3/sync".to_owned()),
            ("HEAD", "/_matrix/client/versions".to_owned()),
            ("GET", "/_matrix/client/v3/sync?filter=%7Bbroken".to_owned()),
            ("GET", "/_matrix/federation/v1/version".to_owned()),
            ("GET", "/_matrix/federation/v1/event/$x".to_owned()),
            ("GET", "/_matrix/key/v2/server".to_owned()),
            ("GET", "/.well-known/matrix/client".to_owned()),
            ("GET", "/_matrix/media/v3/config".to_owned()),
            ("GET", "/".to_owned()),
            ("GET", "/nonsense".to_owned()),
        ];
        for (method, target) in &targets {
            let (ours, theirs) = (user.send(method, target, &Value::Null)?, behind.send(method, target, &Value::Null)?);
            ensure_eq!(ours.status, theirs.status, "{method} {target}: status");
            ensure_eq!(headers_of(&ours), headers_of(&theirs), "{method} {target}: headers");
            // Bodies that tell an event's age differ from one moment to the next, and keys are signed anew.
            let volatile = ["/key/v2/server", "/messages", "/state"].iter().any(|part| target.contains(part));
            ensure!(
                volatile || ours.body == theirs.body,
                "{method} {target}: {} is not {}",
                ours.text(),
                theirs.text()
            );
        }
        Ok(())
    })
}

fn target_reaches_synapse_byte_for_byte(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        let spellings =
            ["!a:b", "!a%3Ab", "%21a%3Ab", "%21a%3ab", "!a:b%2Fc", "%E2%9C%93", "a+b", "a;b=c", "a'b", "%25", "%zz"];
        for spelling in spellings {
            let target = format!("/_matrix/client/v3/rooms/{spelling}/byte_for_byte?x=%7E&&y=a+b&z=");
            stack.client().get(&target)?;
            eventually(SOON, || {
                let log = stack.synapse_log("main")?;
                if log.contains(&format!("\"GET {target} HTTP/1.1\"")) {
                    Ok(())
                } else {
                    fail!("{target} is not in Synapse's log")
                }
            })?;
        }
        Ok(())
    })
}

fn client_address_cannot_be_forged(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        let forged = [("X-Forwarded-For", "6.6.6.6"), ("Forwarded", "for=6.6.6.6"), ("X-Real-IP", "6.6.6.6")];
        stack.client().send("GET", "/_matrix/client/versions?forged", &forged, b"")?;
        let log = eventually(SOON, || {
            let log = stack.synapse_log("main")?;
            if log.contains("versions?forged") { Ok(log) } else { fail!("the request is not in Synapse's log") }
        })?;
        let line = log.lines().find(|line| line.contains("versions?forged")).unwrap_or_default();
        ensure!(line.contains("127.0.0.1"), "Synapse was told another address: {line}");
        ensure!(!log.contains("6.6.6.6"), "the forged address reached Synapse");
        Ok(())
    })
}

fn request_id_is_in_both_logs(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        stack.client().get("/_matrix/client/v3/request_id_probe")?;
        eventually(SOON, || {
            let synapse = stack.synapse_log("main")?;
            let line = synapse.lines().rev().find(|line| line.contains("GET /_matrix/client/v3/request_id_probe"));
            let line = line.ok_or("the request is not in Synapse's log")?;
            let ours = access_log(stack)?;
            let known =
                ours.lines().filter_map(|line| line.split(' ').nth(1)).any(|id| id.len() > 9 && line.contains(id));
            if known { Ok(()) } else { fail!("no request id of dendron's is in {line}") }
        })
    })
}

fn access_log(stack: &Stack) -> Result<String, Failed> {
    Ok(std::fs::read_to_string(stack.dendron_log())?)
}

fn access_log_tells_no_secret(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        let user = User::register(&stack.client(), "secret")?;
        let room = user.create_room()?;
        user.say(&room, "transaction-secret", "body-secret")?;
        let target = format!("/_matrix/client/v3/account/whoami?access_token={}&query-secret=1", user.token);
        expect_ok(&stack.client().get(&target)?, "whoami")?;
        stack.client().get("/_matrix/client/v3/unknown-secret")?;
        let whoami = "/_matrix/client/v3/account/whoami 200 class=client_read pool=main process=main";
        let log = eventually(SOON, || {
            let log = access_log(stack)?;
            if log.contains(whoami) { Ok(log) } else { fail!("no line of the access log contains {whoami}") }
        })?;
        let token_tail = user.token.rsplit('_').nth(1).unwrap_or_default().to_owned();
        let room_tail = room.trim_start_matches('!').split(':').next().unwrap_or_default().to_owned();
        for secret in [
            &user.token,
            &token_tail,
            &room_tail,
            user.localpart(),
            "secret=1",
            "transaction-secret",
            "body-secret",
            "unknown-secret",
            crate::harness::matrix::PASSWORD,
        ] {
            ensure!(!secret.is_empty() && !log.contains(secret), "dendron's log contains {secret}");
        }
        Ok(())
    })
}

fn long_poll_is_held_and_woken(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_workers(|stack| {
        let user = User::register(&stack.client(), "poll")?;
        let room = user.create_room()?;
        let first = expect_ok(&user.get("/_matrix/client/v3/sync?timeout=0")?, "first sync")?;
        let mut since = first["next_batch"].as_str().unwrap_or_default().to_owned();
        // What the room's creation still sends through the streams must not be taken for the message.
        for _ in 0..10 {
            let next = expect_ok(&user.get(&format!("/_matrix/client/v3/sync?timeout=1000&since={since}"))?, "sync")?;
            let is_quiet = next["rooms"].is_null();
            since = next["next_batch"].as_str().unwrap_or_default().to_owned();
            if is_quiet {
                break;
            }
        }
        let poller = user.clone();
        let poll = std::thread::spawn(move || {
            let begun = Instant::now();
            let answer = poller.get(&format!("/_matrix/client/v3/sync?timeout=20000&since={since}"));
            answer
                .map(|answer| (begun.elapsed(), answer))
                .map_err(|error| error.message().unwrap_or_default().to_owned())
        });
        std::thread::sleep(Duration::from_secs(2));
        user.say(&room, "wake", "wake up")?;
        let (held, answer) = poll.join().map_err(|_| "the poll panicked")??;
        ensure!(held > Duration::from_secs(2) && held < Duration::from_secs(12), "the poll was held for {held:?}");
        ensure!(answer.text().contains("wake up"), "the poll was not woken by the message: {}", answer.text());
        Ok(())
    })
}

fn media_streams_through(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_workers(|stack| {
        let user = User::register(&stack.client(), "media")?;
        let bytes: Vec<u8> = (0..5_000_000_u32).map(|number| (number % 251) as u8).collect();
        let authorization = format!("Bearer {}", user.token);
        let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/octet-stream")];
        let uploaded = stack.client().send("POST", "/_matrix/media/v3/upload?filename=bytes", &headers, &bytes)?;
        let uploaded = expect_ok(&uploaded, "upload")?;
        let place = uploaded["content_uri"].as_str().unwrap_or_default().trim_start_matches("mxc://").to_owned();
        let downloaded = user.get(&format!("/_matrix/client/v1/media/download/{place}"))?;
        ensure_eq!(downloaded.status, 200, "download");
        ensure!(downloaded.body == bytes, "the media came back changed");
        Ok(())
    })
}

fn private_paths_are_not_offered(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_workers(|stack| {
        let paths = [
            "/_synapse/admin/v1/server_version",
            "/_synapse/%61dmin/v1/server_version",
            "/_synapse/admin/v2/users",
            "/_synapse/admin/v1/rooms/!a:b",
            "/_synapse/mas/query_user?localpart=a",
            "/_synapse/%6Das/query_user?localpart=a",
            "/_synapse/replication/",
            "/_synapse/metrics",
            "/_synapse/me%74rics",
        ];
        for path in paths {
            let answer = stack.client().get(path)?;
            ensure_eq!(answer.status, 404, "{path}");
            ensure_eq!(answer.json(), json!({"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"}), "{path}");
            ensure_eq!(answer.header("access-control-allow-origin"), "*", "{path}");
        }
        for process in stack.synapse_processes() {
            let log = stack.synapse_log(&process)?;
            ensure!(!log.contains("/_synapse/admin/v1/server_version"), "an admin request reached {process}");
        }
        Ok(())
    })
}

fn unix_socket_listener_serves(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        let request = b"GET /_matrix/client/v3/password_policy?unix HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 192.0.2.7\r\nConnection: close\r\n\r\n";
        let answer = raw_unix(&stack.edge_socket(), request, SOON)?;
        ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        // Whoever may open the socket is a proxy whose word is taken.
        eventually(SOON, || {
            let log = stack.synapse_log("main")?;
            let line = log.lines().find(|line| line.contains("password_policy?unix") && line.contains("192.0.2.7"));
            if line.is_some() { Ok(()) } else { fail!("Synapse was not told the client's address") }
        })
    })
}

fn keep_alive_and_pipelining(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        let request = "GET /_matrix/client/versions HTTP/1.1\r\nHost: localhost\r\n";
        let pipeline = format!("{request}\r\n{request}\r\n{request}Connection: close\r\n\r\n");
        let address = stack.client().base().trim_start_matches("http://").to_owned();
        let answers = raw_tcp(&address, pipeline.as_bytes(), SOON)?;
        ensure_eq!(answers.matches("HTTP/1.1 200 ").count(), 3, "{answers}");
        Ok(())
    })
}

fn missing_host_is_refused(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        let address = stack.client().base().trim_start_matches("http://").to_owned();
        let answer = raw_tcp(&address, b"GET /_matrix/client/versions?hostless HTTP/1.1\r\n\r\n", SOON)?;
        ensure!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        ensure!(answer.contains("\"errcode\":\"M_UNKNOWN\""), "{answer}");
        ensure!(!stack.synapse_log("main")?.contains("hostless"), "the request reached Synapse");
        Ok(())
    })
}

/// Without a dendron.yaml the ports are the defaults, so this needs them to be free.
fn homeserver_yaml_alone_is_enough_to_run(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        if ["127.0.0.1:8080", "127.0.0.1:9180"].iter().any(|address| TcpListener::bind(address).is_err()) {
            println!("not run: 127.0.0.1:8080 or 127.0.0.1:9180 is taken on this machine");
            return Ok(());
        }
        let homeserver = stack.text(&["synapse", "homeserver"]);
        let output = stack.subfolder("synapse-alone")?.join("dendron.out");
        let mut alone = Child::start("dendron", dendron(), &["run", "--synapse", &homeserver], &output)?;
        let edge = Client::new("http://127.0.0.1:8080");
        eventually(SOON, || expect_ok(&edge.get("/_matrix/client/versions")?, "versions"))?;
        let status = expect_ok(&Client::new("http://127.0.0.1:9180").get("/status")?, "status")?;
        ensure_eq!(status["server_name"], json!(stack.text(&["server_name"])), "server name");
        alone.stop(Signal::INT)?;
        Ok(())
    })
}

/// A process that hangs cannot be shown by waiting out the minute that a class has, so a class's patience is shortened.
fn hanging_process_is_given_up_in_time(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        let main = main_address(stack);
        let folder = stack.subfolder("impatient")?;
        let pid = supervised_pid(stack, "main")?;
        let (edge, mut impatient) = bare_dendron(
            &folder,
            &format!("pools: {{main: [\"{main}\"]}}\ntimeouts: {{classes: {{client_read: 1s}}}}\n"),
        )?;
        expect_ok(&edge.get("/_matrix/client/versions")?, "before")?;
        rustix::process::kill_process(pid, Signal::STOP)?;
        let begun = Instant::now();
        let answer = edge.get("/_matrix/client/versions");
        let waited = begun.elapsed();
        rustix::process::kill_process(pid, Signal::CONT)?;
        let answer = answer?;
        ensure_eq!(answer.status, 504, "{}", answer.text());
        ensure_eq!(answer.json()["errcode"], json!("M_UNKNOWN"), "errcode");
        ensure_eq!(answer.header("access-control-allow-origin"), "*", "CORS");
        ensure!(waited < Duration::from_secs(5), "it took {waited:?}");
        impatient.stop(Signal::INT)?;
        Ok(())
    })
}

/// The id of a process that dendron started, from its status.
fn supervised_pid(stack: &Stack, name: &str) -> Result<rustix::process::Pid, Failed> {
    let status = expect_ok(&stack.admin().get("/status")?, "status")?;
    let processes = status["supervised"].as_array().cloned().unwrap_or_default();
    let pid = processes.iter().find(|process| process["name"] == name).and_then(|process| process["pid"].as_i64());
    let pid = pid.and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
    pid.ok_or_else(|| format!("the status names no process {name}: {status}").into())
}

fn client_that_leaves_is_noted(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        let user = User::register(&stack.client(), "leaves")?;
        let sync = expect_ok(&user.get("/_matrix/client/v3/sync?timeout=0")?, "sync")?;
        let since = sync["next_batch"].as_str().unwrap_or_default();
        let address = stack.client().base().trim_start_matches("http://").to_owned();
        let poll = format!(
            "GET /_matrix/client/v3/sync?timeout=30000&since={since} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
            user.token
        );
        let begun = Instant::now();
        raw_tcp(&address, poll.as_bytes(), Duration::from_secs(2))?;
        eventually(Duration::from_secs(5), || {
            if access_log(stack)?.contains("/_matrix/client/v3/sync 0 class=sync") { Ok(()) } else { fail!("no line tells of it") }
        })?;
        ensure!(access_log(stack)?.contains("by=nobody ended=client_gone"), "the reason is not given");
        ensure!(begun.elapsed() < Duration::from_secs(10), "it was noticed late");
        Ok(())
    })
}
