//! The near-static answers: word for word Synapse's own, without Synapse.
//!
//! - `relay`: a way to a real Synapse that can be cut.
//! - `impostor`: a server that says it is Synapse, of whatever version the test wants.

mod impostor;
mod relay;

use libtest_mimic::Failed;

use crate::Test;
use crate::harness::ensure;
use crate::harness::eventually::{SOON, eventually};
use crate::harness::http::{Answer, Client};
use crate::harness::matrix::User;
use crate::harness::metrics::Metrics;
use crate::harness::stack::{Stack, bare_dendron};
use crate::harness::stacks::Stacks;
pub use impostor::Impostor;
use relay::Relay;

pub const TESTS: &[Test] = &[
    ("learned::answers_are_synapses_own", |stacks| stacks.on_monolith(answers_are_synapses_own)),
    ("learned::answers_are_an_older_synapses_own", |stacks| stacks.on_older(answers_are_synapses_own)),
    ("learned::workers_say_the_same", workers_say_the_same),
    ("learned::what_depends_on_who_asks_goes_on", what_depends_on_who_asks_goes_on),
    ("learned::synapse_may_be_down", |stacks| stacks.on_monolith(synapse_may_be_down)),
    ("learned::an_older_synapse_may_be_down", |stacks| stacks.on_older(synapse_may_be_down)),
    ("learned::another_version_drops_everything", another_version_drops_everything),
    ("learned::mixed_versions_are_not_answered_for", mixed_versions_are_not_answered_for),
    ("learned::answers_can_be_switched_off_and_written", answers_can_be_switched_off_and_written),
];

/// What is answered: the method, the path, and the name in the metrics.
const ANSWERED: [(&str, &str, &str); 26] = [
    ("OPTIONS", "/", "preflight"),
    ("OPTIONS", "/_matrix/client/v3/sync", "preflight"),
    ("OPTIONS", "/nothing/at/all", "preflight"),
    ("OPTIONS", "/_synapse/client/rendezvous", "preflight"),
    ("OPTIONS", "/_synapse/client/rendezvous/a", "preflight"),
    ("OPTIONS", "/_matrix/client/unstable/org.matrix.msc4108/rendezvous", "preflight"),
    ("GET", "/_matrix/client/versions", "versions"),
    ("HEAD", "/_matrix/client/versions", "versions"),
    ("GET", "/_matrix/client/v3/login", "login_flows"),
    ("GET", "/_matrix/client/r0/login", "login_flows"),
    ("GET", "/_matrix/client/api/v1/login", "login_flows"),
    ("GET", "/_matrix/client/unstable/login", "login_flows"),
    ("HEAD", "/_matrix/client/v3/login", "login_flows"),
    ("GET", "/.well-known/matrix/client", "well_known_client"),
    ("HEAD", "/.well-known/matrix/client", "well_known_client"),
    ("GET", "/.well-known/matrix/server", "well_known_server"),
    ("HEAD", "/.well-known/matrix/server", "well_known_server"),
    ("GET", "/_matrix/key/v2/server", "server_keys"),
    ("GET", "/_matrix/key/v2/server/", "server_keys"),
    ("GET", "/_matrix/key/v2/server/ed25519:auto", "server_keys"),
    ("HEAD", "/_matrix/key/v2/server", "server_keys"),
    ("GET", "/_matrix/federation/v1/version", "federation_version"),
    ("HEAD", "/_matrix/federation/v1/version", "federation_version"),
    ("GET", "/_matrix/client/v3/account/whoami", "missing_token"),
    ("HEAD", "/_matrix/client/v3/sync", "missing_token"),
    ("PUT", "/_matrix/client/v3/presence/@a:b/status", "missing_token"),
];

/// Headers that are not compared, and why.
const HEADERS: [(&str, &str); 4] = [
    ("date", "the moment"),
    ("connection", "belongs to one hop"),
    ("transfer-encoding", "belongs to one hop"),
    ("content-length", "dendron knows the length, where Synapse sends chunks"),
];

/// All of an answer that must be equal.
fn comparable(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let headers = answer.head.headers().iter().filter(|(name, _)| HEADERS.iter().all(|(known, _)| known != name));
    let mut headers: Vec<_> = headers
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    headers.sort();
    (answer.status, headers, answer.text())
}

/// Waits until the keeper has learned everything; every item is given then.
fn until_learned(edge: &Client, admin: &Client) -> Result<(), Failed> {
    eventually(SOON, || {
        let before = Metrics::scrape(admin)?.sum("dendron_answers_total", &[]);
        for (method, path, _) in ANSWERED {
            edge.send(method, path, &[], b"")?;
        }
        let given = Metrics::scrape(admin)?.sum("dendron_answers_total", &[]) - before;
        if given == ANSWERED.len() as f64 { Ok(()) } else { Err(format!("{given} are answered").into()) }
    })
}

/// The main process of a stack whose listener is on TCP.
pub fn main_process(stack: &Stack) -> String {
    stack.facts["synapse"]["processes"][0]["address"].as_str().unwrap_or_default().to_owned()
}

fn answers_are_synapses_own(stack: &mut Stack) -> Result<(), Failed> {
    let (edge, direct) = (stack.client(), Client::new(&main_process(stack)));
    until_learned(&edge, &stack.admin())?;
    let before = Metrics::scrape(&stack.admin())?;
    for (method, path, _) in ANSWERED {
        let theirs = direct.send(method, &format!("{path}?asked=directly"), &[], b"")?;
        let ours = edge.send(method, &format!("{path}?asked=edge"), &[("Accept-Encoding", "gzip")], b"")?;
        ensure!(comparable(&ours) == comparable(&theirs), "{method} {path}:\n{ours:?}\n{theirs:?}");
        ensure!(ours.header("server").starts_with("Synapse/"), "{method} {path}: {ours:?}");
    }
    let after = Metrics::scrape(&stack.admin())?;
    for (_, _, name) in ANSWERED {
        let labels = [("answer", name)];
        let given = after.sum("dendron_answers_total", &labels) - before.sum("dendron_answers_total", &labels);
        let expected = ANSWERED.iter().filter(|(_, _, other)| *other == name).count();
        ensure!(given == expected as f64, "{name}: {given} were given, not {expected}");
    }
    let log = stack.synapse_log("main")?;
    ensure!(log.contains("?asked=directly"), "Synapse logs what it was asked");
    ensure!(!log.contains("?asked=edge"), "Synapse was asked");
    Ok(())
}

fn workers_say_the_same(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_workers(|stack| {
        let edge = stack.client();
        until_learned(&edge, &stack.admin())?;
        let processes = stack.facts["synapse"]["processes"].as_array().cloned().unwrap_or_default();
        let mut compared = 0;
        for process in &processes {
            let address = process["address"].as_str().unwrap_or_default();
            let serves_clients = process["resources"].as_array().is_some_and(|all| all.contains(&"client".into()));
            if !address.starts_with("http://") || !serves_clients {
                continue;
            }
            let direct = Client::new(address);
            // Whose keys are signed when differs from process to process, as it does without dendron.
            let shared = ANSWERED.iter().filter(|(_, path, _)| !path.contains("/key/") && !path.contains("federation"));
            for (method, path, _) in shared {
                let (theirs, ours) = (direct.send(method, path, &[], b"")?, edge.send(method, path, &[], b"")?);
                // Presence and the like are served by their writers.
                let is_served = theirs.status != 404 || ours.status == 404;
                ensure!(
                    !is_served || comparable(&ours) == comparable(&theirs),
                    "{method} {path} at {address}:\n{ours:?}\n{theirs:?}"
                );
                compared += usize::from(is_served);
            }
        }
        ensure!(compared >= 40, "only {compared} answers were compared");
        Ok(())
    })
}

fn what_depends_on_who_asks_goes_on(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        let (edge, direct) = (stack.client(), Client::new(&main_process(stack)));
        until_learned(&edge, &stack.admin())?;
        let user = User::register(&direct, "reader")?;
        let authorization = format!("Bearer {}", user.token);
        let cases: [(&str, &str, (&str, &str), u16); 7] = [
            ("GET", "/_matrix/client/versions?on=1", ("Authorization", &authorization), 200),
            ("GET", "/_matrix/client/versions?on=2", ("Authorization", "Bearer wrong"), 401),
            ("GET", "/_matrix/client/versions?on=3", ("Authorization", ""), 401),
            ("GET", "/_matrix/client/versions?on=4&access_token=", ("X-A", "b"), 401),
            ("GET", "/_matrix/federation/v1/version?on=5", ("Authorization", "X-Matrix origin=a"), 400),
            ("POST", "/_matrix/client/versions?on=6", ("X-A", "b"), 405),
            ("GET", "/_matrix/client/v3/account/whoami?on=7", ("Authorization", "Bearer wrong"), 401),
        ];
        for (method, path, header, status) in cases {
            let (ours, theirs) = (edge.send(method, path, &[header], b"")?, direct.send(method, path, &[header], b"")?);
            ensure!(ours.status == theirs.status && ours.body == theirs.body, "{path}:\n{ours:?}\n{theirs:?}");
            ensure!(status == ours.status, "{path}: {ours:?}");
        }
        let log = stack.synapse_log("main")?;
        for number in 1..=cases.len() {
            let asked = log
                .lines()
                .filter(|line| line.contains("Processed request") && line.contains(&format!("?on={number}")));
            ensure!(asked.count() == 2, "case {number} did not go on");
        }
        Ok(())
    })
}

fn synapse_may_be_down(stack: &mut Stack) -> Result<(), Failed> {
    let folder = stack.subfolder("down")?;
    let mut relay = Relay::start(main_process(stack).trim_start_matches("http://"))?;
    let (edge, _dendron) = bare_dendron(&folder, &format!("pools: {{main: [\"{}\"]}}\n", relay.url()))?;
    let direct = Client::new(&main_process(stack));
    let ask_all = |is_aged: bool| {
        for (method, path, _) in ANSWERED {
            let (ours, theirs) = (edge.send(method, path, &[], b"")?, direct.send(method, path, &[], b"")?);
            ensure!(ours.header("age").is_empty() != is_aged, "{method} {path}: {ours:?}");
            let (mut ours, theirs) = (comparable(&ours), comparable(&theirs));
            ours.1.retain(|(name, _)| name != "age");
            ensure!(ours == theirs, "{method} {path}:\n{ours:?}\n{theirs:?}");
        }
        Ok(())
    };
    until_unasked(stack, &edge)?;
    ask_all(false)?;
    relay.cut();
    eventually(SOON, || ask_all(true))?;
    // Other requests are told the truth.
    let answer = edge.get("/_matrix/client/v3/publicRooms")?;
    ensure!([502, 503].contains(&answer.status), "{answer:?}");
    relay.mend()?;
    eventually(SOON, || ask_all(false))
}

/// Waits until Synapse's log has nothing of what is asked, preflights aside, which it does not log: then everything is
/// learned, since preflights are learned first.
fn until_unasked(stack: &Stack, edge: &Client) -> Result<(), Failed> {
    let mut round = 0;
    eventually(SOON, || {
        round += 1;
        let mark = format!("?round={round}x{}", std::process::id());
        for (method, path, _) in ANSWERED {
            edge.send(method, &format!("{path}{mark}"), &[], b"")?;
        }
        // Synapse's line comes a moment after its answer.
        std::thread::sleep(std::time::Duration::from_millis(200));
        if stack.synapse_log("main")?.contains(&mark) { Err("not all is learned".into()) } else { Ok(()) }
    })
}

fn another_version_drops_everything(stacks: &Stacks) -> Result<(), Failed> {
    let _ = stacks;
    let folder = tempfile::tempdir()?;
    let synapse = Impostor::start("Synapse/1")?;
    let (edge, _dendron) = bare_dendron(folder.path(), &format!("pools: {{main: [\"{}\"]}}\n", synapse.url()))?;
    let ask = || Ok::<_, Failed>(edge.get("/_matrix/client/versions")?.text());
    // What is learned is the same twice, what is forwarded is counted.
    let until = |version: &str| {
        eventually(SOON, || {
            let (one, two) = (ask()?, ask()?);
            if one == two && one.contains(version) { Ok(()) } else { Err(format!("{one} {two}").into()) }
        })
    };
    until("Synapse/1")?;
    synapse.become_version("Synapse/2");
    eventually(SOON, || if ask()?.contains("Synapse/2") { Ok(()) } else { Err("still the old one".into()) })?;
    for _ in 0..50 {
        let answer = ask()?;
        ensure!(answer.contains("Synapse/2"), "the old version came back: {answer}");
    }
    until("Synapse/2")?;
    synapse.become_version("nginx");
    synapse.become_version("Synapse/3");
    until("Synapse/3")
}

fn mixed_versions_are_not_answered_for(stacks: &Stacks) -> Result<(), Failed> {
    let _ = stacks;
    let folder = tempfile::tempdir()?;
    let (one, two) = (Impostor::start("Synapse/1")?, Impostor::start("Synapse/2")?);
    let pools = format!("pools: {{main: [\"{}\"], login: [\"{}\"]}}\n", one.url(), two.url());
    let (edge, _dendron) = bare_dendron(folder.path(), &pools)?;
    let is_answered = || {
        Ok::<_, Failed>(edge.get("/_matrix/client/versions")?.text() == edge.get("/_matrix/client/versions")?.text())
    };
    std::thread::sleep(std::time::Duration::from_secs(6));
    ensure!(!is_answered()?, "one of two versions was chosen");
    two.become_version("Synapse/1");
    eventually(SOON, || if is_answered()? { Ok(()) } else { Err("not answered".into()) })?;
    // Who is no Synapse is asked for nothing but its health.
    let other = Impostor::start("Other/1")?;
    let folder = tempfile::tempdir()?;
    let (_, _dendron) = bare_dendron(folder.path(), &format!("pools: {{main: [\"{}\"]}}\n", other.url()))?;
    std::thread::sleep(std::time::Duration::from_secs(4));
    ensure!(other.asked() == 0, "it was asked {} times", other.asked());
    Ok(())
}

fn answers_can_be_switched_off_and_written(stacks: &Stacks) -> Result<(), Failed> {
    let _ = stacks;
    let folder = tempfile::tempdir()?;
    let synapse = Impostor::start("Synapse/1")?;
    let written = r#"well_known_server: {"m.server": "written:443"}, well_known_support: {support_page: "https://a/"}"#;
    let settings =
        format!("pools: {{main: [\"{}\"]}}\nanswers: {{preflight: off, versions: off, {written}}}\n", synapse.url());
    let (edge, _dendron) = bare_dendron(folder.path(), &settings)?;
    let counts = |method: &str, path: &str| {
        let ask = || Ok::<_, Failed>(comparable(&edge.send(method, path, &[], b"")?));
        Ok::<_, Failed>(ask()? != ask()?)
    };
    // What is on is learned in the order of the table, so that all that is off would be by then.
    let last = "/_matrix/federation/v1/version";
    eventually(SOON, || if counts("GET", last)? { Err("not learned".into()) } else { Ok(()) })?;
    for (method, path) in [("OPTIONS", "/_matrix/client/v3/sync"), ("GET", "/_matrix/client/versions")] {
        ensure!(counts(method, path)?, "{method} {path} is not forwarded");
    }
    let server = edge.get("/.well-known/matrix/server")?;
    ensure!((server.status, server.text().as_str()) == (200, r#"{"m.server":"written:443"}"#), "{server:?}");
    let support = edge.get("/.well-known/matrix/support")?;
    ensure!(support.json()["support_page"] == "https://a/", "{support:?}");
    ensure!(support.header("access-control-allow-origin") == "*", "{support:?}");
    Ok(())
}
