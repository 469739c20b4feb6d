//! The replication stream of a real Synapse, followed: every row classified, the right users and rooms concerned, and
//! whatever is lost noticed.

mod faults;
mod followed;
pub mod proxy;
mod redis_server;
mod wakes;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use dendron::replication::command::{Command, parse};
use dendron::replication::{Event, State, Stream};
use libtest_mimic::Failed;

use crate::Test;
use crate::harness::stack::Stack;
use crate::harness::stacks::Stacks;
use crate::harness::{ensure, ensure_eq};
use followed::{Followed, TIMES, settings, shown};

pub const TESTS: &[Test] = &[
    ("replication::every_change_concerns_the_right_ones_with_workers", with_workers),
    ("replication::every_change_concerns_the_right_ones_on_a_monolith", on_a_monolith),
    ("replication::a_lost_message_is_noticed", faults::a_lost_message_is_noticed),
    ("replication::a_cut_connection_is_made_again", faults::a_cut_connection_is_made_again),
    ("replication::redis_may_be_restarted", faults::redis_may_be_restarted),
    ("replication::who_may_only_listen_listens", faults::who_may_only_listen_listens),
    ("replication::redis_is_reached_over_tls", faults::redis_is_reached_over_tls),
    ("replication::five_thousand_rows_a_second_are_followed", faults::five_thousand_rows_a_second_are_followed),
    ("replication::events_that_nobody_reads_are_bounded", faults::events_that_nobody_reads_are_bounded),
];

fn with_workers(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_workers(every_change_concerns_the_right_ones)
}

fn on_a_monolith(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(every_change_concerns_the_right_ones)
}

fn every_change_concerns_the_right_ones(stack: &mut Stack) -> Result<(), Failed> {
    let listener = Listener::start(stack)?;
    let mut followed = Followed::start(settings(stack)?, TIMES)?;
    followed.wait_for(State::Live)?;
    let live = followed.read();
    wakes::drive(stack, &mut followed)?;
    // Two heartbeats: every writer tells its positions, and none is ahead of what was seen.
    std::thread::sleep(TIMES.heartbeat * 2 + TIMES.answer);
    followed.read();
    ensure_eq!(followed.doubts(live), vec![], "what was taken to concern everybody");
    positions_follow_each_other(&followed)?;

    let heard = listener.stop()?;
    ensure!(heard.rows.len() > 50, "only {} rows were heard", heard.rows.len());
    ensure_eq!(heard.strange, BTreeSet::new(), "lines that are not understood");
    let metrics = followed.metrics()?;
    for stream in heard.rows.iter().map(|stream| Stream::of_name(stream)).collect::<BTreeSet<_>>() {
        ensure!(stream != Stream::Unknown, "a stream without a rule");
        let counted = metrics.lines().find_map(|line| {
            let place = format!("dendron_replication_rows_total{{stream=\"{}\"}} ", stream.name());
            line.strip_prefix(&place)?.parse::<usize>().ok()
        });
        let rows = heard.rows.iter().filter(|heard| *heard == stream.name()).count();
        ensure!(
            counted.is_some_and(|counted| counted <= rows && counted > 0),
            "{stream:?}: {counted:?} of {rows} rows"
        );
    }
    ensure!(metrics.contains(r#"dendron_replication_state{state="live"} 1"#), "the state in\n{metrics}");
    ensure!(!metrics.contains("dendron_replication_lag_seconds_count 0"), "no lag was measured");
    Ok(())
}

/// By writer and stream, each change begins where the one before has ended.
fn positions_follow_each_other(followed: &Followed) -> Result<(), Failed> {
    let changes = followed.changes(0).filter(|change| change.stream.is_counted());
    let mut last = std::collections::HashMap::new();
    for change in changes {
        let position = last.insert((change.stream, change.writer.clone()), change.position);
        let Some(position) = position else { continue };
        // Rows of a batch share their position; between two changes, `POSITION` may have moved it.
        let follows = change.after >= position || change.position == position;
        ensure!(follows, "{} comes behind {position}", shown(change));
    }
    let live = followed.events.iter().filter(|event| matches!(event, Event::Live(_))).count();
    ensure_eq!(live, 1, "how often it went live");
    Ok(())
}

/// Hears the same channel with nothing of dendron's between.
struct Listener {
    heard: Arc<Mutex<Heard>>,
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), String>>,
}

#[derive(Default)]
struct Heard {
    /// The stream of each row, in order.
    rows: Vec<String>,
    /// The names of what is not understood.
    strange: BTreeSet<String>,
}

impl Listener {
    fn start(stack: &Stack) -> Result<Self, Failed> {
        let client = redis::Client::open(format!("redis+unix://{}", stack.text(&["redis", "socket"])))?;
        let mut connection = client.get_connection()?;
        let (heard, ends) = (Arc::new(Mutex::new(Heard::default())), Arc::new(AtomicBool::new(false)));
        let (channel, own, own_ends) = (stack.text(&["server_name"]), Arc::clone(&heard), Arc::clone(&ends));
        connection.set_read_timeout(Some(Duration::from_millis(200)))?;
        let (subscribed, wait) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut pubsub = connection.as_pubsub();
            pubsub.subscribe(&channel).map_err(|error| error.to_string())?;
            let _ = subscribed.send(());
            while !own_ends.load(Ordering::SeqCst) {
                let message = match pubsub.get_message() {
                    Ok(message) => message,
                    Err(error) if error.is_timeout() => continue,
                    Err(error) => return Err(error.to_string()),
                };
                let line: String = message.get_payload().map_err(|error| error.to_string())?;
                let mut heard = own.lock().unwrap_or_else(PoisonError::into_inner);
                match parse(&line) {
                    Command::Rdata(rdata) => heard.rows.push(rdata.stream.to_owned()),
                    Command::Unknown { name } => drop(heard.strange.insert(name.to_owned())),
                    Command::Malformed { name } => drop(heard.strange.insert(name.to_owned())),
                    _ => {}
                }
            }
            Ok(())
        });
        wait.recv_timeout(Duration::from_secs(10))?;
        Ok(Listener { heard, ends, thread })
    }

    fn stop(self) -> Result<Heard, Failed> {
        self.ends.store(true, Ordering::SeqCst);
        self.thread.join().map_err(|_| "the listener has panicked")??;
        Ok(std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}
