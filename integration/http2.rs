//! What HTTP/2 demands of a server (RFC 9113, and RFC 7541 for the compression of headers), held against the running
//! binary by a client that writes frames itself.
//!
//! - `play`: a row of the tables: what a client does, and what is right then.
//! - `connection`, `streams`, `messages`: the tables.
//! - `flow`: windows, the server's settings, and its good-bye.
//! - `descriptors`: many streams under a low limit of open files.
//! - `edge`: the dendron that is asked, and the stub behind it.

mod connection;
mod descriptors;
mod edge;
mod flow;
mod messages;
mod play;
mod streams;

use std::collections::BTreeSet;

use libtest_mimic::Failed;

use crate::Test;
use crate::harness::ensure;
use edge::Edge;
use play::{PROTOCOL_ERROR, Right, Row};

pub const TESTS: &[Test] = &[
    ("http2::the_rules_are_kept", |_| the_rules_are_kept()),
    ("http2::windows_hold_data_back", |_| flow::windows_hold_data_back(&Edge::start(None)?)),
    ("http2::a_window_can_be_overdrawn", |_| flow::a_window_can_be_overdrawn(&Edge::start(None)?)),
    ("http2::uploads_are_given_windows", |_| flow::uploads_are_given_windows(&Edge::start(None)?)),
    ("http2::who_ignores_windows_is_stopped", |_| flow::who_ignores_windows_is_stopped(&Edge::start(None)?)),
    ("http2::the_server_begins_with_settings", |_| flow::the_server_begins_with_settings(&Edge::start(None)?)),
    ("http2::a_stop_is_a_goodbye", |_| flow::a_stop_is_a_goodbye(Edge::start(None)?)),
    ("http2::a_body_that_stops_is_given_up", |_| a_body_that_stops_is_given_up()),
    ("http2::many_streams_wait_for_descriptors", |_| descriptors::many_streams_wait_for_descriptors()),
];

/// What is not as the RFC demands and cannot be changed from here: why that is borne, the rows' names, and what happens.
const DEVIATIONS: &[(&str, &[&str], Right)] = &[
    (
        "the h2 crate ends the connection with the general code, where the RFC has a special one",
        &[
            "a priority of four bytes",
            "a reset of three bytes",
            "settings of five bytes",
            "a confirmation with settings",
            "a window over its limit",
            "a ping of seven bytes",
            "a good-bye of seven bytes",
            "a window update of three bytes",
            "data after the end of a stream",
            "headers after the end of a stream",
            "the index zero",
            "an index behind the table",
            "a name's index behind the table",
            "a table over its limit",
            "a table that changes after a header",
            "Huffman's code with its own end in it",
            "Huffman's code with zeros at its end",
            "Huffman's code with a byte too many",
            "a number without an end",
            "a header that is cut off",
        ],
        Right::Ends(&[PROTOCOL_ERROR]),
    ),
    (
        "the h2 crate does not mind what comes before the client's settings",
        &["a ping before the settings"],
        Right::Lives,
    ),
    ("the same, of a request", &["a request before the settings"], Right::Status(1, 200)),
    (
        "in HTTP/1.1, which Synapse is spoken to, blanks around a value mean nothing",
        &["a blank before a value", "a blank after a value"],
        Right::Status(1, 200),
    ),
    (
        "the h2 crate drops it, and so does Pingora with all trailers",
        &["a pseudo-header in trailers"],
        Right::Status(1, 200),
    ),
];

fn a_body_that_stops_is_given_up() -> Result<(), Failed> {
    let settings = format!("timeouts: {{client: {{silence: {}s}}}}\n", flow::SILENT.as_secs());
    flow::a_body_that_stops_is_given_up(&Edge::with(&settings, None)?)
}

fn the_rules_are_kept() -> Result<(), Failed> {
    let rows: Vec<Row> = [connection::rows(), streams::rows(), messages::rows()].concat();
    let names: BTreeSet<&str> = rows.iter().map(|row| row.name).collect();
    ensure!(names.len() == rows.len(), "two rows have one name");
    let unknown = DEVIATIONS.iter().flat_map(|(_, names, _)| *names).find(|name| !names.contains(*name));
    ensure!(unknown.is_none(), "no row has the name {unknown:?}");
    ensure!(rows.len() >= 100, "only {} rows", rows.len());

    let edge = Edge::start(None)?;
    let faults: Vec<String> = rows.iter().filter_map(|row| fault(&edge, row)).collect();
    ensure!(faults.is_empty(), "{} of {} rows:\n{}", faults.len(), rows.len(), faults.join("\n"));
    let said = edge.dendron.stop()?;
    ensure!(!said.contains("panicked"), "dendron panicked:\n{said}");
    Ok(())
}

/// What is wrong with what came of a row.
fn fault(edge: &Edge, row: &Row) -> Option<String> {
    let what = format!("{} (section {})", row.name, row.section);
    let Some((.., instead)) = DEVIATIONS.iter().find(|(_, names, _)| names.contains(&row.name)) else {
        let (is_right, seen) = row.play(&edge.authority, edge.tls_port);
        return (!is_right).then(|| format!("{what}: expected {:?}, came {seen:?}", row.right));
    };
    let (is_known, seen) = row.play_for(&edge.authority, edge.tls_port, &[*instead]);
    match (is_known, row.right.iter().any(|right| right.holds(&seen))) {
        (true, false) => None,
        (_, true) => Some(format!("{what}: is right now, and still in the list of deviations")),
        (false, false) => Some(format!("{what}: the known deviation is {instead:?}, came {seen:?}")),
    }
}
