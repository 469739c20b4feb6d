//! What is lost, cut, refused or too much.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dendron::replication::change::{Concerns, Doubt, Gap};
use dendron::replication::follower::Reason;
use dendron::replication::liveness::Times;
use dendron::replication::settings::{Password, Settings, Tls};
use dendron::replication::{Event, State, Stream};
use dendron::secret::Secret;
use libtest_mimic::Failed;
use serde_json::json;
use time::OffsetDateTime;

use super::followed::{Followed, TIMES, settings};
use super::proxy::Proxy;
use super::redis_server::{Redis, Writer};
use crate::harness::eventually::{SOON, eventually};
use crate::harness::matrix::{User, expect_ok};
use crate::harness::stack::{Stack, free_address};
use crate::harness::stacks::Stacks;
use crate::harness::tls::{Authority, Files};
use crate::harness::{ensure, ensure_eq};

/// Times at which nothing happens by itself while a test looks.
const LATER: Times = Times {
    heartbeat: Duration::from_secs(600),
    silence: Duration::from_secs(600),
    answer: Duration::from_secs(5),
    settle: Duration::from_secs(1),
};

/// A follower of a stack's Synapse behind a proxy.
fn behind_a_proxy(stack: &Stack) -> Result<(Proxy, Followed), Failed> {
    let proxy = Proxy::start(&stack.text(&["redis", "socket"]))?;
    let mut followed = Followed::start(Settings { address: proxy.address().parse()?, ..settings(stack)? }, TIMES)?;
    followed.wait_for(State::Live)?;
    Ok((proxy, followed))
}

fn send_to_device(user: &User, transaction: &str) -> Result<(), Failed> {
    let message = json!({ "messages": { user.user_id.clone(): { "*": { "a": 1 } } } });
    let path = format!("/_matrix/client/v3/sendToDevice/org.example.ping/{transaction}");
    expect_ok(&user.send("PUT", &path, &message)?, "sendToDevice").map(drop)
}

pub fn a_lost_message_is_noticed(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_workers(|stack| {
        let (proxy, mut followed) = behind_a_proxy(stack)?;
        let user = User::register(&stack.client(), "lost")?;
        let from = followed.read();
        send_to_device(&user, "one")?;
        let of_user = Concerns::User(user.user_id.as_str().into());
        followed.expect(from, "the first message", |change| change.concerns == of_user)?;

        proxy.lose("RDATA to_device");
        let from = followed.read();
        send_to_device(&user, "two")?;
        eventually(SOON, || if proxy.lost() == 1 { Ok(()) } else { Err("nothing was lost yet".into()) })?;
        let gap = followed.expect(from, "the gap", |change| matches!(change.concerns, Concerns::Everybody(_)))?;
        let noticed = [Concerns::Everybody(Doubt::Gap(Gap::Heartbeat)), Concerns::Everybody(Doubt::Gap(Gap::Ahead))];
        ensure_eq!(gap.stream, Stream::ToDevice, "the stream of the gap");
        ensure!(noticed.contains(&gap.concerns), "{gap:?}");
        ensure!(gap.position > gap.after, "{gap:?}");
        ensure!(!followed.changes(from).any(|change| change.concerns == of_user), "the message was not lost");

        // Behind the gap all is well.
        let from = followed.read();
        send_to_device(&user, "three")?;
        followed.expect(from, "the third message", |change| change.concerns == of_user)?;
        ensure_eq!(followed.doubts(from), vec![], "what was taken to concern everybody");
        let metrics = followed.metrics()?;
        ensure!(metrics.contains(r#"dendron_replication_doubts_total{kind="gap_"#), "{metrics}");
        Ok(())
    })
}

pub fn a_cut_connection_is_made_again(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_workers(|stack| {
        let (proxy, mut followed) = behind_a_proxy(stack)?;
        let user = User::register(&stack.client(), "cut")?;
        proxy.cut();
        followed.wait_for(State::Degraded(Reason::Disconnected))?;
        send_to_device(&user, "unheard")?;
        proxy.mend();
        followed.wait_for(State::Live)?;
        let from = followed.read();
        let kinds: Vec<&str> = followed.events.iter().filter_map(kind).collect();
        ensure!(kinds.starts_with(&["live", "lost"]) && kinds.ends_with(&["lost", "live"]), "{kinds:?}");
        send_to_device(&user, "heard")?;
        let of_user = Concerns::User(user.user_id.as_str().into());
        followed.expect(from, "the message", |change| change.concerns == of_user)?;
        Ok(())
    })
}

fn kind(event: &Event) -> Option<&'static str> {
    match event {
        Event::Live(_) => Some("live"),
        Event::Lost(_) => Some("lost"),
        Event::Change(_) => None,
    }
}

pub fn redis_may_be_restarted(_: &Stacks) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let mut redis = Redis::start(folder.path(), "")?;
    let writer = Writer::start(&redis, "POSITION to_device master 5 5");
    let mut followed = Followed::start(redis.settings()?, TIMES)?;
    followed.wait_for(State::Live)?;
    redis.stop()?;
    followed.wait_for(State::Degraded(Reason::Disconnected))?;
    redis.run()?;
    followed.wait_for(State::Live)?;
    let from = followed.read();
    redis.publish(&[r#"RDATA to_device master 6 ["@u:a.example"]"#])?;
    let change = followed.expect(from, "the row", |change| change.stream == Stream::ToDevice)?;
    ensure_eq!((change.after, change.position), (5, 6), "where the row stands");

    // Without anybody who answers, the connection is as good as none.
    drop(writer);
    followed.expect(from, "the silent writer", |change| {
        change.concerns == Concerns::Everybody(Doubt::Gap(Gap::WriterSilent))
    })?;
    Ok(())
}

pub fn who_may_only_listen_listens(_: &Stacks) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let acl = "user listener on >listens resetchannels &a.example resetkeys -@all +subscribe +ping\n";
    let redis = Redis::start(folder.path(), acl)?;
    let password = folder.path().join("password");
    std::fs::write(&password, "listens\n")?;
    let listener = |password| -> Result<Settings, Failed> {
        let username = Some("listener".to_owned());
        Ok(Settings { username, password: Some(password), ..redis.settings()? })
    };
    let mut followed = Followed::start(listener(Password::File(password))?, TIMES)?;
    followed.wait_for(State::Live)?;
    let from = followed.read();
    // Longer than silence may last: Redis itself says that it is there.
    std::thread::sleep(TIMES.silence + TIMES.answer);
    redis.publish(&[r#"RDATA to_device master 6 ["@u:a.example"]"#])?;
    followed.expect(from, "the row", |change| change.concerns == Concerns::User("@u:a.example".into()))?;
    ensure!(!followed.events.iter().any(|event| matches!(event, Event::Lost(_))), "{:?}", followed.events);

    let wrong = Password::Inline(Secret::new("wrong"));
    Followed::start(listener(wrong)?, TIMES)?.wait_for(State::Degraded(Reason::Refused))
}

pub fn redis_is_reached_over_tls(_: &Stacks) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let authority = Authority::new(folder.path())?;
    let files = Files::new(folder.path(), "redis");
    authority.sign(&files, OffsetDateTime::now_utc() + time::Duration::days(1))?;
    let address = free_address()?;
    let port = address.rsplit(':').next().unwrap_or_default();
    let tls = format!(
        "tls-port {port}\nbind 127.0.0.1\ntls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\ntls-auth-clients yes\n",
        files.certificate.display(),
        files.key.display(),
        authority.file.display(),
    );
    let redis = Redis::start(folder.path(), &tls)?;
    let _writer = Writer::start(&redis, "POSITION to_device master 5 5");
    let over_tls = |ca_file| -> Result<Settings, Failed> {
        let (certificate, private_key) = (Some(files.certificate.clone()), Some(files.key.clone()));
        let tls = Some(Tls { certificate, private_key, ca_file, ca_path: None });
        Ok(Settings { address: format!("localhost:{port}").parse()?, tls, ..redis.settings()? })
    };
    Followed::start(over_tls(Some(authority.file.clone()))?, TIMES)?.wait_for(State::Live)?;
    // The system's authorities know nothing of this one.
    Followed::start(over_tls(None)?, TIMES)?.wait_for(State::Degraded(Reason::Disconnected))
}

pub fn events_that_nobody_reads_are_bounded(_: &Stacks) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let redis = Redis::start(folder.path(), "")?;
    let _writer = Writer::start(&redis, "POSITION to_device master 5 5");
    let mut followed = Followed::start(redis.settings()?, LATER)?;
    followed.wait_for(State::Live)?;
    let rows: Vec<String> =
        (6..70_000).map(|row| format!(r#"RDATA to_device master {row} ["@u:a.example"]"#)).collect();
    redis.publish(&rows.iter().map(String::as_str).collect::<Vec<_>>())?;
    followed.wait_for(State::Degraded(Reason::Overflow))?;
    // Once there is somebody who reads, it follows again.
    eventually(SOON, || {
        followed.read();
        let kinds: Vec<&str> = followed.events.iter().filter_map(kind).collect();
        if kinds == ["live", "lost", "live"] { Ok(()) } else { Err(format!("{kinds:?}").into()) }
    })?;
    followed.wait_for(State::Live)
}

pub fn five_thousand_rows_a_second_are_followed(_: &Stacks) -> Result<(), Failed> {
    const SECONDS: usize = 5;
    const PARTS_A_SECOND: usize = 50;
    const ROWS_A_PART: usize = 100;
    let folder = tempfile::tempdir()?;
    let redis = Redis::start(folder.path(), "")?;
    let _writer = Writer::start(&redis, "POSITION to_device master 5 5");
    let mut followed = Followed::start(redis.settings()?, LATER)?;
    followed.wait_for(State::Live)?;
    let begun = Instant::now();
    for part in 0..SECONDS * PARTS_A_SECOND {
        let due = Duration::from_secs(1) * u32::try_from(part)? / u32::try_from(PARTS_A_SECOND)?;
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
        // Only this stream's rows tell when they were written.
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let row = format!(r#"RDATA caches master {part} ["get_device",["@u:a.example","D"],{now}]"#);
        redis.publish(&vec![row.as_str(); ROWS_A_PART])?;
        followed.read();
    }
    let rows = SECONDS * PARTS_A_SECOND * ROWS_A_PART;
    let metrics = eventually(SOON, || {
        let metrics = followed.metrics()?;
        let count = format!("dendron_replication_lag_seconds_count {rows}");
        if metrics.lines().any(|line| line == count) { Ok(metrics) } else { Err("not all rows were read".into()) }
    })?;
    // The goal is 50 ms; a machine that is busy with other tests is given more.
    let within = metrics.lines().find_map(|line| {
        line.strip_prefix(r#"dendron_replication_lag_seconds_bucket{le="0.25"} "#)?.parse::<usize>().ok()
    });
    ensure!(
        within.is_some_and(|within| within * 100 >= rows * 99),
        "{within:?} of {rows} rows within 250 ms:\n{metrics}"
    );
    Ok(())
}
