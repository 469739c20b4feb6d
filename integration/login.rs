//! Logins through dendron are Synapse's own: every login here is sent to Synapse directly and through dendron, and both
//! answers must be equal, whoever answers.
//!
//! - `cases`: the table of logins; `mutations`: as many that nobody has thought of.
//! - `compare`: what of two answers must be equal.
//! - `connections`: a login among other requests, and one whose body does not come.
//! - `declining`: configurations in which the edge must not decide; `forwarder`: a database that goes away.
//! - `outage`: databases that go away for Synapse, too.
//! - `others`: homeservers that really log people in otherwise.
//! - `secrets`: what a login shows to nobody.
//! - `sessions`: what a login gives is used.
//! - `limits`: how often one may try.
//! - `shared`: how often one may try at two edges.
//! - `signed_tokens`: logins by such.
//! - `storm`: many logins at once.
//! - `users`: the users that log in.
//! - `edge`: a dendron with a homeserver.yaml of its own beside a stack's.

mod cases;
mod compare;
mod connections;
mod declining;
pub mod edge;
mod forwarder;
mod limits;
mod mutations;
pub mod others;
mod outage;
mod secrets;
mod sessions;
mod shared;
mod signed_tokens;
mod storm;
mod users;

use std::collections::{BTreeMap, HashMap};

use libtest_mimic::Failed;
use serde_json::Value;

use crate::Test;
use crate::harness::ensure;
use crate::harness::stack::Stack;
use crate::harness::stacks::Stacks;
use crate::transparency::client::{Answer, send};
use cases::{Case, Expect, LOGIN, Reply};
use compare::shape;
use edge::Edge;

pub const TESTS: &[Test] = &[
    ("login::answers_are_synapses_own", answers_are_synapses_own),
    ("login::answers_are_an_older_synapses_own", answers_are_an_older_synapses_own),
    ("login::mutations_are_answered_alike", mutations_are_answered_alike),
    ("login::a_login_is_a_session", sessions::a_login_is_a_session),
    ("login::a_login_is_a_session_with_workers", sessions::a_login_is_a_session_with_workers),
    ("login::the_same_attempt_is_refused", limits::the_same_attempt_is_refused),
    ("login::edges_refuse_the_same_attempt_together", shared::edges_refuse_the_same_attempt_together),
    ("login::a_forged_address_does_not_help", limits::a_forged_address_does_not_help),
    ("login::a_forged_address_behind_a_proxy_does_not_help", limits::a_forged_address_behind_a_proxy_does_not_help),
    ("login::a_connection_carries_more_than_a_login", connections::a_connection_carries_more_than_a_login),
    ("login::half_a_login_holds_up_nobody", connections::half_a_login_holds_up_nobody),
    ("login::half_a_login_over_http2_is_given_up", connections::half_a_login_over_http2_is_given_up),
    ("login::no_secret_is_told", secrets::no_secret_is_told),
    ("login::no_secret_is_told_at_any_level", secrets::no_secret_is_told_at_any_level),
    ("login::no_secret_is_told_of_what_fails", secrets::no_secret_is_told_of_what_fails),
    (
        "login::an_unknown_user_takes_as_long_as_a_wrong_password",
        secrets::an_unknown_user_takes_as_long_as_a_wrong_password,
    ),
    ("login::a_storm_is_over_sooner", storm::a_storm_is_over_sooner),
    ("login::what_is_not_known_is_forwarded", declining::what_is_not_known_is_forwarded),
    ("login::a_database_that_stops_delays_no_login", declining::a_database_that_stops_delays_no_login),
    ("login::databases_that_stop_for_all_stop_no_login_for_long", outage::databases_that_stop_for_all),
    ("login::homeservers_that_log_in_otherwise", others::homeservers_that_log_in_otherwise),
    ("login::clients_log_in_by_signed_token", signed_tokens::clients_log_in_by_signed_token),
    ("login::passwords_log_in_where_tokens_do", signed_tokens::passwords_log_in_where_tokens_do),
];

/// Whether the edge answers logins: what a case says of who should answer, and of how long that takes, holds only then.
const ANSWERED_AT_THE_EDGE: bool = true;

/// How many secrets a long log is searched for.
const SECRETS_MAX: usize = 40;

/// How many of Synapse's answers have which status.
type Statuses = BTreeMap<u16, usize>;

/// What came of a comparison.
struct Compared {
    /// How answers differ from each other, or from what the table says of them.
    faults: Vec<String>,
    statuses: Statuses,
}

/// Who answered each request that bore a name.
pub struct Answers(HashMap<String, String>);

impl Answers {
    /// How a request was answered otherwise than it should have been.
    fn fault(&self, name: &str, expected: Option<Expect>) -> Option<String> {
        let Some(answerer) = self.0.get(name) else { return Some("is not in the access log".to_owned()) };
        let expected = expected.filter(|_| ANSWERED_AT_THE_EDGE)?;
        let by_edge = answerer == "edge";
        (by_edge != (expected == Expect::Edge)).then(|| format!("was answered by {answerer}, not {expected:?}"))
    }
}

fn answers_are_synapses_own(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        let cases = cases::cases();
        ensure!(cases.len() >= 150, "only {} cases", cases.len());
        let good = cases.iter().filter(|case| matches!(case.reply, Some(Reply::User(_)))).count();
        ensure!(good >= 50 && cases.len() - good >= 100, "{good} of {} are good", cases.len());
        compare_all(stack, "login-table", &cases).map(drop)
    })
}

fn answers_are_an_older_synapses_own(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_older(|stack| {
        let cases = [cases::older_cases(), mutations::mutations()].concat();
        compare_all(stack, "login-table", &cases).map(drop)
    })
}

fn mutations_are_answered_alike(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        let statuses = compare_all(stack, "login-mutations", &mutations::mutations())?;
        // Neither may nearly all be good, nor nearly all be bad in the same way.
        for (status, least) in [(200, 50), (400, 100), (403, 10), (500, 5)] {
            let count = statuses.get(&status).copied().unwrap_or_default();
            ensure!(count >= least, "only {count} answers are {status}: {statuses:?}");
        }
        Ok(())
    })
}

/// Sends every case both ways, and tells all differences at once; if there are none, how many answers have which status.
fn compare_all(stack: &Stack, name: &str, cases: &[Case]) -> Result<Statuses, Failed> {
    users::make(stack)?;
    let mut edge = Edge::answering(stack, name, "")?;
    let Compared { faults, statuses } = compare_through(stack, &mut edge, cases)?;
    ensure!(faults.is_empty(), "{} faults in {} cases:\n{}", faults.len(), cases.len(), faults.join("\n"));
    Ok(statuses)
}

/// Sends every case to a stack's Synapse and through a dendron.
fn compare_through(stack: &Stack, edge: &mut Edge, cases: &[Case]) -> Result<Compared, Failed> {
    compare_with(stack, &synapse_address(stack), edge, cases)
}

/// Sends every case to a Synapse and through a dendron, which ends with that, and says how they differ. What dendron has
/// said meanwhile is searched for what it must not say.
fn compare_with(stack: &Stack, synapse: &str, edge: &mut Edge, cases: &[Case]) -> Result<Compared, Failed> {
    let mut secrets = secrets::of_the_stack(stack)?;
    let (mut faults, mut statuses) = (Vec::new(), Statuses::new());
    for (number, case) in cases.iter().enumerate() {
        let request = case.bytes(&format!("case-{number}"));
        let theirs = send(synapse, &request)?;
        let ours = send(&edge.address, &request)?;
        *statuses.entry(status(&theirs)).or_default() += 1;
        let (expected, shown) = (shape(&theirs), shape(&ours));
        if let Some(fault) = case.reply.and_then(|reply| unlike(reply, &theirs)) {
            faults.push(format!("{}:\n  Synapse {fault}", case.describe()));
        }
        if shown != expected {
            faults.push(format!("{}:\n  Synapse: {expected:?}\n  dendron: {shown:?}", case.describe()));
        }
        if secrets.len() < SECRETS_MAX {
            secrets.extend(secrets::tokens(&ours));
        }
    }
    let answers = edge.tells_none_of(&secrets)?;
    for (number, case) in cases.iter().enumerate() {
        let fault = answers.fault(&format!("case-{number}"), case.answerer);
        faults.extend(fault.map(|fault| format!("{}: {fault}", case.describe())));
    }
    Ok(Compared { faults, statuses })
}

/// One login, and what of its answer can be compared.
fn shape_of_login(address: &str, body: &[u8], name: &str) -> Result<compare::Shape, Failed> {
    Ok(shape(&send(address, &Case::new(body, None, None).bytes(name))?))
}

/// How Synapse's answer is not what the table says of it.
fn unlike(reply: Reply, answer: &Answer) -> Option<String> {
    let status = status(answer);
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let is_like = match reply {
        Reply::User(user) => status == 200 && body["user_id"] == user && body["access_token"].is_string(),
        Reply::Refused(code, errcode, error) => status == code && body["errcode"] == errcode && body["error"] == error,
        Reply::Status(code) => status == code,
    };
    (!is_like).then(|| format!("answers {} {}, not {reply:?}", answer.status, String::from_utf8_lossy(&answer.body)))
}

fn status(answer: &Answer) -> u16 {
    answer.status.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

/// Where a stack's Synapse listens, `HOST:PORT`.
pub fn synapse_address(stack: &Stack) -> String {
    let address = stack.facts["synapse"]["processes"][0]["address"].as_str().unwrap_or_default();
    address.trim_start_matches("http://").to_owned()
}
