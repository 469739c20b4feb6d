//! The load suite once more, for the tests beside its pure parts: a benchmark's own program has no test harness.

#![allow(dead_code, reason = "what needs a run is not used by tests")]

mod accounting;
mod arguments;
mod contenders;
mod fault;
mod figures;
mod generate;
mod goals;
mod homeserver;
mod machine;
mod mix;
mod process;
mod report;
mod routing;
mod scenarios;
mod upstream;

use std::collections::BTreeSet;
use std::time::Duration;

use contenders::Name;
use figures::{Figure, Measured, Ratio};
use generate::devices::whole;
use scenarios::{Done, Scenario};
use upstream::answers::{Shape, shape};

#[test]
fn medians_and_ratios() {
    let mut measured = Measured::new("test");
    for (own, other) in [(10.0, 20.0), (30.0, 20.0), (12.0, 24.0)] {
        measured.add(Name::Dendron, Figure::Cpu, own);
        measured.add(Name::HAProxy, Figure::Cpu, other);
    }
    assert_eq!(measured.median(Name::Dendron, Figure::Cpu), Some(12.0));
    let ratio = measured.ratio(Name::Dendron, Name::HAProxy, Figure::Cpu);
    assert_eq!(ratio, Some(Ratio { of_medians: 0.6, least: 0.5, greatest: 1.5 }));
    measured.add(Name::HAProxy, Figure::Cpu, 20.0);
    measured.add(Name::HAProxy, Figure::Cpu, 21.0);
    measured.add(Name::HAProxy, Figure::Cpu, 22.0);
    assert_eq!(measured.median(Name::HAProxy, Figure::Cpu), Some(20.5));
    assert_eq!(measured.median(Name::Nginx, Figure::Cpu), None);
}

#[test]
fn a_result_with_errors_is_no_result() {
    let mut measured = Measured::new("forty endpoints");
    measured.add(Name::Dendron, Figure::Cpu, 9.0);
    measured.add(Name::HAProxy, Figure::Cpu, 10.0);
    measured.add(Name::Nginx, Figure::Cpu, 9.0);
    let reached = |measured: &Measured| -> Vec<Option<bool>> {
        let outcome = Ok(vec![measured.clone()]);
        let verdicts = goals::verdicts(&[Done { scenario: Scenario::Forward, outcome, took: Duration::ZERO }]);
        verdicts.iter().map(|verdict| verdict.is_reached).collect()
    };
    assert_eq!(reached(&measured), [Some(true), Some(false), None]);
    measured.failed(Name::HAProxy, 1);
    assert_eq!(reached(&measured), [None, Some(false), None]);
    measured.failed(Name::Dendron, 1);
    assert_eq!(reached(&measured), [None, None, None]);
}

#[test]
fn what_failed_has_no_result_and_keeps_nothing_else_from_having_one() {
    let mut measured = Measured::new("requests");
    measured.add(Name::Dendron, Figure::Cpu, 9.0);
    measured.add(Name::HAProxy, Figure::Cpu, 10.0);
    let done = |scenario, outcome| Done { scenario, outcome, took: Duration::ZERO };
    let results =
        [done(Scenario::Encrypted, Err(fault::wrong("nobody listens"))), done(Scenario::Answered, Ok(vec![measured]))];
    let verdicts = goals::verdicts(&results);
    let reached: Vec<(&str, Option<bool>)> =
        verdicts.iter().map(|verdict| (&verdict.what[..3], verdict.is_reached)).collect();
    assert_eq!(reached, [("(g)", Some(true)), ("(e)", None)]);
    let machine = machine::Machine::look(std::path::Path::new("/nowhere"));
    let text = report::markdown::report(&machine, &results, &verdicts, &[]);
    assert!(text.contains("It failed: nobody listens."), "{text}");
}

#[test]
fn a_table_has_a_column_for_each_and_strikes_out_what_failed() {
    let mut measured = Measured::new("test");
    measured.add(Name::Dendron, Figure::Cpu, 12.0);
    measured.add(Name::HAProxy, Figure::Cpu, 24.0);
    measured.failed(Name::HAProxy, 3);
    let table = report::table::table(&measured);
    assert!(table.contains("| CPU per request, µs | 12.0    | ~~24.0~~ | **0.50** (0.50–0.50) |"), "{table}");
    assert!(table.contains("| errors              | 0       | 3 "), "{table}");
}

#[test]
fn every_user_asks_for_every_endpoint() {
    let requests = mix::forty_endpoints();
    let targets: BTreeSet<&str> = requests.iter().map(|request| request.target.as_str()).collect();
    assert_eq!(requests.len(), 320);
    assert!(targets.len() > 160, "{}", targets.len());
}

#[test]
fn the_upstream_answers_in_kind() {
    assert!(matches!(shape("GET", "/_matrix/client/v3/sync?timeout=30000&since=s1"), Shape::Held(_)));
    assert!(matches!(shape("GET", "/_matrix/client/v3/sync?timeout=0"), Shape::Json(_)));
    assert_eq!(shape("OPTIONS", "/_matrix/client/v3/sync"), Shape::Preflight);
    assert_eq!(shape("GET", "/_matrix/client/v1/media/download/a/size-77"), Shape::Media(77));
    assert_ne!(shape("GET", "/_matrix/client/v3/profile/@a:b"), shape("GET", "/_matrix/client/v3/sync"));
}

#[test]
fn an_answer_is_whole_when_its_last_byte_is_there() {
    let of_length = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    let in_chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n";
    for answer in [of_length, in_chunks] {
        for end in 0..answer.len() {
            assert_eq!(whole(&answer.as_bytes()[..end]).unwrap(), None, "{}", &answer[..end]);
        }
        assert_eq!(whole(answer.as_bytes()).unwrap().as_deref(), Some(&b"{}"[..]));
    }
    assert!(whole(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").is_err());
}
