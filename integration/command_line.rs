//! The command line of the built program: how it is told what to do, and what it says of it. No stack is needed.

mod secrets;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use dendron::endpoint::Class;
use libtest_mimic::Failed;

use crate::harness::alone::{Folder, free_port, run};
use crate::harness::stacks::Stacks;
use crate::harness::{dendron, ensure, ensure_eq};

pub const TESTS: &[crate::Test] = &[
    ("command_line::help_lists_what_is_for_people", help_lists_what_is_for_people),
    ("command_line::wrong_arguments_are_told_apart_from_failures", wrong_arguments),
    ("command_line::complete_configurations_are_good", complete_configurations_are_good),
    ("command_line::homeserver_yaml_alone_is_enough", homeserver_yaml_alone_is_enough),
    ("command_line::every_error_is_shown_at_once", every_error_is_shown_at_once),
    ("command_line::a_file_that_is_not_there_is_named", a_file_that_is_not_there_is_named),
    ("command_line::an_address_in_use_is_named_at_once", an_address_in_use_is_named_at_once),
    ("command_line::routes_has_a_row_for_each_class", routes_has_a_row_for_each_class),
    ("command_line::delegated_logins_are_shown", delegated_logins_are_shown),
    ("command_line::routes_explains_a_request", routes_explains_a_request),
    ("command_line::every_spelling_of_a_room_names_one_process", every_spelling_of_a_room),
    ("command_line::users_and_servers_are_spread", users_and_servers_are_spread),
    ("command_line::what_is_never_offered_is_said_to_be", what_is_never_offered_is_said_to_be),
    ("command_line::a_reader_who_leaves_is_no_failure", a_reader_who_leaves_is_no_failure),
    ("command_line::no_secret_is_shown_of_a_good_configuration", secrets::of_a_good_configuration),
    ("command_line::no_secret_is_shown_of_a_bad_one", secrets::of_a_bad_configuration),
    ("command_line::no_secret_is_logged", secrets::while_serving),
];

/// How long a refusal may take. A start that hangs must not count as one.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Pools written out: several processes wherever a key decides.
const POOLS: &str = "\
listeners:
  - address: 127.0.0.1:8080
admin: {address: 127.0.0.1:9180}
pools:
  main: ['http://127.0.0.1:8008']
  sync: ['http://127.0.0.1:8081', 'unix:/run/synapse/sync2.sock']
  room_read: ['http://127.0.0.1:8091', 'http://127.0.0.1:8092', 'http://127.0.0.1:8093', 'http://127.0.0.1:8094']
  federation: ['http://127.0.0.1:8101', 'http://127.0.0.1:8102']
";

/// A homeserver with one worker, as Synapse's documentation writes them.
const HOMESERVER: &str = "\
server_name: example.org
listeners:
  - port: 8008
    bind_addresses: [127.0.0.1]
    type: http
    x_forwarded: true
    resources: [{names: [client, federation]}]
  - {port: 9093, bind_addresses: [127.0.0.1], type: http, resources: [{names: [replication]}]}
redis: {enabled: true}
instance_map:
  main: {host: 127.0.0.1, port: 9093}
";
const WORKER: &str = "\
worker_app: synapse.app.generic_worker
worker_name: sync1
worker_listeners:
  - {path: /run/synapse/sync1.sock, type: http, resources: [{names: [client]}]}
";

fn help_lists_what_is_for_people(_: &Stacks) -> Result<(), Failed> {
    let (output, said, _) = texts(run(&["--help"])?);
    ensure!(output.status.success(), "{}", output.status);
    let commands = said.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<&str> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    ensure_eq!(commands, ["run", "check", "routes", "help"], "the commands");
    ensure!(!said.contains("launch"), "{said}");
    for command in ["run", "check", "routes"] {
        let (output, said, _) = texts(run(&[command, "--help"])?);
        let told = said.contains("--config <FILE>") && said.contains("--synapse <FILE>");
        ensure!(output.status.success() && told, "{command}: {said}");
    }
    let (output, said, _) = texts(run(&["--version"])?);
    ensure_eq!(
        (output.status.code(), said),
        (Some(0), format!("dendron {}\n", env!("CARGO_PKG_VERSION"))),
        "--version"
    );
    Ok(())
}

fn wrong_arguments(_: &Stacks) -> Result<(), Failed> {
    let table: [&[&str]; 6] = [
        &[],
        &["start"],
        &["run", "--config", "a.yaml", "--synapse", "b.yaml"],
        &["check", "--confg", "a.yaml"],
        &["routes", "GET"],
        &["routes", "GET", "/", "--user", "a", "--origin", "b"],
    ];
    for arguments in table {
        let (output, said, told) = texts(run(arguments)?);
        ensure_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
        ensure!(said.is_empty() && !told.is_empty(), "{arguments:?}: {said} {told}");
    }
    Ok(())
}

/// The two complete configurations that the documentation promises to work.
fn complete_configurations_are_good(_: &Stacks) -> Result<(), Failed> {
    let pools = "\
listeners:
  - address: 127.0.0.1:8080
admin: {address: 127.0.0.1:9180}
pools:
  main: [\"http://127.0.0.1:8008\"]
  sync: [\"http://127.0.0.1:8081\", \"unix:/run/synapse/sync2.sock\"]
";
    let synapse = "listeners:\n  - address: 127.0.0.1:8080\n\
                   synapse: {config: [homeserver.yaml], workers: [workers/]}\n";
    let table = [
        (pools, "main", "main", "127.0.0.1:8008"),
        (pools, "sync", "sync", "127.0.0.1:8081, unix:/run/synapse/sync2.sock"),
        (pools, "initial_sync", "sync", "127.0.0.1:8081, unix:/run/synapse/sync2.sock"),
        (pools, "room_messages", "main", "127.0.0.1:8008"),
        (synapse, "main", "main", "main"),
        (synapse, "sync", "sync", "sync1"),
        (synapse, "typing", "main", "main"),
        (synapse, "federation_transaction", "main", "main"),
    ];
    for (config, class, pool, processes) in table {
        let folder =
            Folder::with(&[("dendron.yaml", config), ("homeserver.yaml", HOMESERVER), ("workers/sync1.yaml", WORKER)])?;
        let file = folder.text("dendron.yaml");
        let (output, said, told) = texts(run(&["check", "--config", &file])?);
        ensure_eq!((output.status.code(), told.as_str()), (Some(0), ""), "check");
        ensure!(said.contains(" is good.\n"), "check says {said}");
        let (output, said, told) = texts(run(&["routes", "--config", &file])?);
        ensure_eq!((output.status.code(), told.as_str()), (Some(0), ""), "routes");
        let row = rows(&said).into_iter().find(|row| row[0] == class).ok_or_else(|| format!("no {class} in {said}"))?;
        ensure_eq!((row[1], row[2]), (pool, processes), "{class}");
    }
    Ok(())
}

fn homeserver_yaml_alone_is_enough(_: &Stacks) -> Result<(), Failed> {
    let folder = Folder::with(&[("homeserver.yaml", HOMESERVER), ("workers/sync1.yaml", WORKER)])?;
    let file = folder.text("homeserver.yaml");
    let (output, said, told) = texts(run(&["check", "--synapse", &file])?);
    ensure_eq!((output.status.code(), told.as_str()), (Some(0), ""), "check");
    ensure!(said.contains("example.org"), "check says {said}");
    let sync = "/_matrix/client/v3/sync?since=s1";
    let (_, said, _) = texts(run(&["routes", "GET", sync, "--user", "alice", "--synapse", &file])?);
    ensure_eq!(value(&said, "process")?, "sync1 at unix:/run/synapse/sync1.sock (the pool's only process)", "{said}");
    // What is wrong with it is an error as well without a dendron.yaml.
    folder.write("homeserver.yaml", &HOMESERVER.replace("x_forwarded: true", "x_forwarded: false"))?;
    let (output, said, told) = texts(run(&["check", "--synapse", &file])?);
    ensure_eq!((output.status.code(), said.as_str()), (Some(1), ""), "check: {told}");
    ensure!(told.starts_with(&format!("{file}:3: listeners[0].x_forwarded: ")), "check says {told}");
    Ok(())
}

fn every_error_is_shown_at_once(_: &Stacks) -> Result<(), Failed> {
    const DENDRON: &str = "\
listeners:
  - address: 127.0.0.1:8080
  - address: 0.0.0.0:8080
  - address: 127.0.0.1:8443
    tls: {certificate: missing.pem, key: missing.key}
synapse: {config: [homeserver.yaml, nowhere.yaml]}
pools:
  snyc: ['http://127.0.0.1:8081']
timeouts:
  idle: soon
threads: many
lgo: {}
";
    const HOMESERVER: &str = "\
server_name: example.org
listeners:
  - {port: 8008, bind_addresses: [127.0.0.1], type: http, resources: [{names: [client, federation]}]}
redis: {enabled: true}
stream_writers: {typing: typing1}
";
    let folder = Folder::with(&[("dendron.yaml", DENDRON), ("homeserver.yaml", HOMESERVER)])?;
    let file = folder.text("dendron.yaml");
    let (output, said, told) = texts(run(&["check", "--config", &file])?);
    ensure_eq!((output.status.code(), said.as_str()), (Some(1), ""), "check: {told}");
    let (dendron, homeserver) = (("dendron.yaml", DENDRON), ("homeserver.yaml", HOMESERVER));
    let table = [
        (dendron, "0.0.0.0:8080", "listeners[1].address", "taken by listeners[0].address"),
        (dendron, "missing.pem", "listeners[2].tls.certificate", "does not exist"),
        (dendron, "missing.key", "listeners[2].tls.key", "does not exist"),
        (dendron, "nowhere.yaml", "synapse.config[1]", "does not exist"),
        (dendron, "snyc", "pools.snyc", "did you mean sync?"),
        (dendron, "soon", "timeouts.idle", "expected a duration"),
        (dendron, "many", "threads", "expected a whole number"),
        (dendron, "lgo", "lgo", "did you mean log?"),
        (homeserver, "port: 8008", "listeners[0].x_forwarded", "add x_forwarded: true"),
        (homeserver, "typing1", "stream_writers.typing", "no pool reaches typing1"),
    ];
    for ((name, text), needle, key, message) in table {
        let number = text.lines().position(|line| line.contains(needle)).ok_or(needle)? + 1;
        let start = format!("{}:{number}: {key}: ", folder.text(name));
        let line = told.lines().find(|line| line.starts_with(&start) && line.contains(message));
        ensure!(line.is_some(), "nothing begins with {start} and says {message}:\n{told}");
    }
    // Nothing starts on it either, and what is said is the same.
    let begun = Instant::now();
    let (output, said, refused) = texts(run(&["run", "--config", &file])?);
    ensure_eq!((output.status.code(), said.as_str()), (Some(1), ""), "run: {refused}");
    ensure_eq!(refused, told, "what run says");
    ensure!(begun.elapsed() < AT_ONCE, "run took {:?}", begun.elapsed());
    let (output, said, refused) = texts(run(&["routes", "--config", &file])?);
    ensure_eq!((output.status.code(), said.as_str(), refused), (Some(1), "", told), "routes");
    Ok(())
}

fn a_file_that_is_not_there_is_named(_: &Stacks) -> Result<(), Failed> {
    let folder = Folder::with(&[])?;
    for option in ["--config", "--synapse"] {
        let file = folder.text("not-there.yaml");
        for command in ["check", "run", "routes"] {
            let (output, said, told) = texts(run(&[command, option, &file])?);
            ensure_eq!((output.status.code(), said.as_str()), (Some(1), ""), "{command} {option}");
            ensure!(told.contains(&file) && told.contains("does not exist"), "{command} {option}: {told}");
        }
    }
    Ok(())
}

fn an_address_in_use_is_named_at_once(_: &Stacks) -> Result<(), Failed> {
    let folder = Folder::with(&[])?;
    let listening = TcpListener::bind("127.0.0.1:0")?;
    let taken = listening.local_addr()?.to_string();
    let socket = folder.path("taken.sock");
    let _socket = UnixListener::bind(&socket)?;
    let socket = format!("unix:{}", socket.display());
    let [free, other] = [free_port()?, free_port()?].map(|port| format!("127.0.0.1:{port}"));
    for (public, admin, named) in [(&taken, &free, &taken), (&socket, &free, &socket), (&free, &taken, &taken)] {
        let config = format!(
            "listeners: [{{address: '{other}'}}, {{address: '{public}'}}]\nadmin: {{address: '{admin}'}}\n\
             pools: {{main: ['http://127.0.0.1:1']}}\n"
        );
        folder.write("dendron.yaml", &config)?;
        let begun = Instant::now();
        let (output, _, told) = texts(run(&["run", "--config", &folder.text("dendron.yaml")])?);
        ensure_eq!(output.status.code(), Some(1), "run: {told}");
        ensure!(told.contains(&format!("cannot listen on {named}: ")), "run does not name {named}: {told}");
        ensure!(begun.elapsed() < AT_ONCE, "run took {:?}", begun.elapsed());
    }
    Ok(())
}

fn routes_has_a_row_for_each_class(_: &Stacks) -> Result<(), Failed> {
    let said = routes(POOLS, &[])?;
    let rows = rows(&said);
    // What nobody is offered, and what is Synapse's own here.
    let is_hidden = |class: &&Class| [Class::Private, Class::Authentication].contains(class);
    let expected: Vec<&str> = Class::ALL.iter().filter(|class| !is_hidden(class)).map(|class| class.name()).collect();
    let classes: Vec<&str> = rows.iter().skip(1).map(|row| row[0]).collect();
    ensure_eq!(classes, expected, "the classes");
    ensure!(rows.iter().all(|row| row.len() == rows[0].len()), "rows of different lengths:\n{said}");
    let row = |class: &str| rows.iter().find(|row| row[0] == class).map(|row| row[1..].join(" | ")).unwrap_or_default();
    let four = "127.0.0.1:8091, 127.0.0.1:8092, 127.0.0.1:8093, 127.0.0.1:8094";
    ensure_eq!(row("room_messages"), format!("room_read | {four} | main | room | 180 s"), "room_messages");
    ensure_eq!(row("sso"), "main | 127.0.0.1:8008 | nobody | least busy | 60 s", "sso");
    ensure!(
        row("sync").starts_with("sync | 127.0.0.1:8081, unix:/run/synapse/sync2.sock | main | user | the client's"),
        "sync"
    );
    // A class's own time is shown in place of the default.
    let said = routes(&format!("{POOLS}timeouts: {{classes: {{sso: 17s}}}}\n"), &[])?;
    ensure!(said.lines().any(|line| line.starts_with("sso ") && line.ends_with("  17 s")), "{said}");
    Ok(())
}

/// Where homeserver.yaml gives logins away, `check` and `routes` say to whom.
fn delegated_logins_are_shown(_: &Stacks) -> Result<(), Failed> {
    let homeserver = format!(
        "{HOMESERVER}matrix_authentication_service: {{enabled: true, endpoint: 'http://127.0.0.1:8090/', secret: s}}\n"
    );
    let folder = Folder::with(&[("homeserver.yaml", &homeserver)])?;
    let homeserver = folder.text("homeserver.yaml");
    let (_, said, told) = texts(run(&["check", "--synapse", &homeserver])?);
    ensure!(said.contains("main (1), authentication (1).\n") && told.is_empty(), "{said} {told}");
    ensure!(said.contains("go to the Matrix Authentication Service"), "{said}");
    let (_, said, _) = texts(run(&["routes", "--synapse", &homeserver])?);
    let row = rows(&said).into_iter().find(|row| row[0] == "authentication").unwrap_or_default();
    let expected = ["authentication", "authentication", "127.0.0.1:8090", "nobody: main cannot", "least busy", "60 s"];
    ensure_eq!(row, expected, "the row");
    for (method, target, pool) in [
        ("POST", "/_matrix/client/v3/login", "authentication (the class's own pool)"),
        ("POST", "/_matrix/client/r0/logout/all?x", "authentication (the class's own pool)"),
        ("POST", "/_matrix/client/v3/login/", "main (nobody else serves this class)"),
        ("GET", "/_matrix/client/v3/log%69n", "main (nobody else serves this class)"),
    ] {
        let (_, said, _) = texts(run(&["routes", "--synapse", &homeserver, method, target])?);
        ensure!(
            said.lines().any(|line| line.starts_with("pool ") && line.ends_with(pool)),
            "{method} {target}: {said}"
        );
    }
    Ok(())
}

fn routes_explains_a_request(_: &Stacks) -> Result<(), Failed> {
    let said = routes(POOLS, &["GET", "/_matrix/client/v3/rooms/!a:b/messages"])?;
    let table = [
        ("endpoint", "/_matrix/client/v3/rooms/{roomId}/messages"),
        ("class", "room_messages"),
        ("room", "!a:b"),
        ("pool", "room_read (the class's own pool)"),
        ("stands in", "main"),
        ("patience", "180 s without a byte from Synapse"),
    ];
    for (name, expected) in table {
        ensure_eq!(value(&said, name)?, expected, "{name}");
    }
    let process = value(&said, "process")?;
    let is_one = (8091..=8094).any(|port| process == format!("127.0.0.1:{port} at 127.0.0.1:{port} (by the room)"));
    ensure!(is_one, "the process is {process}");
    // By another method, it is something else: `PUT` on this path is known to nobody.
    let said = routes(POOLS, &["PUT", "/_matrix/client/v3/rooms/!a:b/messages"])?;
    ensure_eq!(value(&said, "class")?, "unknown", "PUT");
    let said = routes(POOLS, &["PUT", "/_matrix/client/v3/rooms/!a:b/send/m.room.message/1"])?;
    ensure_eq!(value(&said, "pool")?, "main (there is no pool event_send or generic)", "a pool that is not there");
    Ok(())
}

fn every_spelling_of_a_room(_: &Stacks) -> Result<(), Failed> {
    let process = |room: &str| -> Result<String, Failed> {
        let said = routes(POOLS, &["GET", &format!("/_matrix/client/v3/rooms/{room}/messages?dir=b")])?;
        Ok(value(&said, "process")?.to_owned())
    };
    let mut named = BTreeSet::new();
    for letter in 'a'..='h' {
        let spellings = [
            format!("!{letter}:b"),
            format!("!{letter}%3Ab"),
            format!("%21{letter}%3Ab"),
            format!("%21{letter}%3ab"),
            format!("%21%{:02x}%3A%62", u32::from(letter)),
        ];
        let processes = spellings.iter().map(|room| process(room)).collect::<Result<BTreeSet<_>, _>>()?;
        ensure_eq!(processes.len(), 1, "{spellings:?} name {processes:?}");
        named.extend(processes);
    }
    ensure!(named.len() > 1, "eight rooms of four processes all name {named:?}");
    // Room ids of version 12 have no server's name.
    ensure_eq!(
        process("!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM")?,
        process("%2131hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM")?,
        "a room of version 12"
    );
    Ok(())
}

fn users_and_servers_are_spread(_: &Stacks) -> Result<(), Failed> {
    let sync = "/_matrix/client/v3/sync?since=s1";
    let send = "/_matrix/federation/v1/send/1";
    let table = [
        (
            "GET",
            sync,
            "--user",
            ["127.0.0.1:8081 at 127.0.0.1:8081", "unix:/run/synapse/sync2.sock at unix:/run/synapse/sync2.sock"],
            "(by the user)",
        ),
        (
            "PUT",
            send,
            "--origin",
            ["127.0.0.1:8101 at 127.0.0.1:8101", "127.0.0.1:8102 at 127.0.0.1:8102"],
            "(by the origin)",
        ),
    ];
    for (method, target, option, processes, why) in table {
        let expected: BTreeSet<String> = processes.iter().map(|process| format!("{process} {why}")).collect();
        let named = |name: &str| -> Result<String, Failed> {
            let said = routes(POOLS, &[method, target, option, name])?;
            Ok(value(&said, "process")?.to_owned())
        };
        ensure_eq!(named("alice")?, named("alice")?, "the same asked twice");
        let all = (0..16).map(|number| named(&format!("alice{number}"))).collect::<Result<BTreeSet<_>, _>>()?;
        ensure_eq!(all, expected, "the processes of sixteen");
        // Nobody is named: nothing is promised.
        let said = routes(POOLS, &[method, target])?;
        let process = value(&said, "process")?;
        ensure!(process.starts_with("one of ") && process.contains(option), "without {option}: {process}");
    }
    Ok(())
}

fn what_is_never_offered_is_said_to_be(_: &Stacks) -> Result<(), Failed> {
    let said = routes(POOLS, &["POST", "/_synapse/replication/send_event/1"])?;
    ensure_eq!(value(&said, "answer")?, "404 by dendron: never offered to anybody", "replication");
    ensure!(value(&said, "process").is_err(), "replication has a process: {said}");
    let said = routes(POOLS, &["GET", "/_synapse/admin/v1/server_version"])?;
    ensure!(value(&said, "offered")?.contains("else 404 by dendron"), "the admin API: {said}");
    Ok(())
}

fn a_reader_who_leaves_is_no_failure(_: &Stacks) -> Result<(), Failed> {
    let folder = Folder::with(&[("dendron.yaml", POOLS)])?;
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let mut command = Command::new(dendron());
    command.args(["routes", "--config", &folder.text("dendron.yaml")]).stdout(writer).stderr(Stdio::piped());
    let (output, _, told) = texts(command.output()?);
    ensure_eq!((output.status.code(), told.as_str()), (Some(0), ""), "routes into a closed pipe");
    Ok(())
}

/// `dendron routes` on a configuration.
fn routes(config: &str, arguments: &[&str]) -> Result<String, Failed> {
    let folder = Folder::with(&[("dendron.yaml", config)])?;
    let file = folder.text("dendron.yaml");
    let arguments = [&["routes"], arguments, &["--config", &file]].concat();
    let (output, said, told) = texts(run(&arguments)?);
    ensure_eq!((output.status.code(), told.as_str()), (Some(0), ""), "{arguments:?}");
    Ok(said)
}

/// A table's rows. Columns are two spaces apart or more.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let is_cell = |cell: &&str| !cell.is_empty();
    text.lines().map(|line| line.split("  ").map(str::trim).filter(is_cell).collect()).collect()
}

/// The value behind a name in an explanation.
fn value<'text>(text: &'text str, name: &str) -> Result<&'text str, Failed> {
    let row = rows(text).into_iter().find(|row| row[0] == name);
    row.and_then(|row| row.get(1).copied()).ok_or_else(|| format!("there is no {name} in\n{text}").into())
}

/// An output, and what was said to standard output and to standard error.
fn texts(output: Output) -> (Output, String, String) {
    let [said, told] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    (output, said, told)
}
