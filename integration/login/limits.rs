//! The limits of logins, as Synapse has them by default: the same attempts, sent to Synapse directly and through
//! dendron, are refused at the same place and with the same words.
//!
//! Each way has addresses and accounts of its own, because it is the same Synapse that counts. All sequences run at
//! once: a refused login is answered only after half a second, and nothing may trickle out of a bucket meanwhile.

use std::thread::ScopedJoinHandle;

use libtest_mimic::Failed;
use serde_json::Value;

use super::cases::{Case, Expect, password_body};
use super::compare::shape;
use super::edge::Edge;
use super::{status, synapse_address, users};
use crate::harness::stacks::Stacks;
use crate::harness::{ensure, ensure_eq};
use crate::transparency::client::{Answer, send};

/// After how long one more attempt is allowed where an address or an account has no more, by default: 1/0.003 s.
const SLOW_MS: u64 = 333_334;
/// The same where a password was wrong too often: 1/0.17 s.
const FAILED_MS: u64 = 5_883;

/// Attempts that belong together, and how they are answered.
struct Sequence {
    name: &'static str,
    attempts: Vec<Attempt>,
    statuses: Vec<u16>,
    /// Who should answer all of them.
    answerer: Option<Expect>,
    /// The longest that a refused client is told to wait.
    wait_max_ms: u64,
}

/// One login from one address.
#[derive(Clone)]
struct Attempt {
    /// Which of the sequence's addresses it comes from.
    from: usize,
    /// `{way}` in it is another word on each way.
    body: Vec<u8>,
}

/// One of the two ways to Synapse.
#[derive(Clone, Copy)]
struct Way<'stack> {
    address: &'stack str,
    /// What tells its accounts from those of the other way.
    word: &'static str,
    /// What tells its client addresses from those of the other way.
    network: u8,
}

pub fn the_same_attempt_is_refused(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_limited(|stack| {
        users::make(stack)?;
        let synapse = synapse_address(stack);
        let mut edge = Edge::answering(stack, "login-limits", "")?;
        let direct = Way { address: &synapse, word: "direct", network: 1 };
        let through = Way { address: &edge.address, word: "through", network: 2 };
        let sequences = sequences();
        let faults = std::thread::scope(|scope| {
            let both = |(number, sequence)| {
                let theirs = scope.spawn(move || run(direct, number, sequence));
                (sequence, theirs, scope.spawn(move || run(through, number, sequence)))
            };
            let running: Vec<_> = sequences.iter().enumerate().map(both).collect();
            let compared = running.into_iter().map(|(sequence, theirs, ours)| {
                let (theirs, ours) = (joined(theirs)?, joined(ours)?);
                compare(sequence, &theirs, &ours)
            });
            compared.filter_map(Result::err).collect::<Vec<_>>()
        });
        let faults: Vec<_> = faults.iter().map(|fault| fault.message().unwrap_or_default()).collect();
        ensure!(faults.is_empty(), "{}", faults.join("\n"));
        let answers = edge.stop()?;
        for (number, sequence) in sequences.iter().enumerate() {
            for attempt in 0..sequence.attempts.len() {
                let fault = answers.fault(&name_of(number, attempt), sequence.answerer);
                ensure!(fault.is_none(), "{}, attempt {attempt}: {fault:?}", sequence.name);
            }
        }
        Ok(())
    })
}

/// Who is not believed is counted under his own address, whatever he says of it.
pub fn a_forged_address_does_not_help(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_limited(|stack| {
        users::make(stack)?;
        let mut edge = Edge::with(stack, "login-forged", "", "")?;
        let mut statuses = Vec::new();
        for number in 0..7 {
            let case = Case {
                headers: format!(
                    "X-Forwarded-For: 203.0.113.{number}, 203.0.113.1{number}\r\nX-Forwarded-For: 203.0.113.2{number}\r\n\
                     X-Real-IP: 203.0.113.3{number}\r\nForwarded: for=203.0.113.4{number}\r\n\
                     CF-Connecting-IP: 203.0.113.5{number}\r\nTrue-Client-IP: 203.0.113.6{number}\r\n"
                ),
                ..Case::new(&password_body(&format!("l-forged-{number}"), "wrong"), None, None)
            };
            statuses.push(status(&send(&edge.address, &case.bytes(&format!("forged-{number}")))?));
        }
        edge.stop()?;
        ensure_eq!(statuses, [403, 403, 403, 403, 403, 429, 429], "attempts from one address");
        Ok(())
    })
}

/// Behind a proxy that is believed, what the client says to that proxy is not: the last address counts.
pub fn a_forged_address_behind_a_proxy_does_not_help(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_limited(|stack| {
        users::make(stack)?;
        let mut edge = Edge::answering(stack, "login-forged-behind", "")?;
        let mut statuses = Vec::new();
        for number in 0..6 {
            let case = Case {
                headers: format!("X-Forwarded-For: 203.0.113.{number}, 198.51.100.250\r\n"),
                ..Case::new(&password_body(&format!("l-behind-{number}"), "wrong"), None, None)
            };
            statuses.push(status(&send(&edge.address, &case.bytes(&format!("behind-{number}")))?));
        }
        edge.stop()?;
        ensure_eq!(statuses, [403, 403, 403, 403, 403, 429], "attempts from one address");
        Ok(())
    })
}

fn joined(running: ScopedJoinHandle<'_, Result<Vec<Answer>, Failed>>) -> Result<Vec<Answer>, Failed> {
    running.join().map_err(|_| "a thread has panicked")?
}

fn run(way: Way<'_>, number: usize, sequence: &Sequence) -> Result<Vec<Answer>, Failed> {
    let mut answers = Vec::new();
    for attempt in &sequence.attempts {
        // Synapse has no other idea of an address's family than its text.
        let client = if sequence.name.contains("version 6") {
            format!("2001:db8:{}:{number}::{:x}", way.network, attempt.from)
        } else {
            format!("198.{}.{number}.{}", 17 + way.network, attempt.from)
        };
        let body = match std::str::from_utf8(&attempt.body) {
            Ok(text) => text.replace("{way}", way.word).into_bytes(),
            Err(_) => attempt.body.clone(),
        };
        let case = Case { headers: format!("X-Forwarded-For: {client}\r\n"), ..Case::new(&body, None, None) };
        answers.push(send(way.address, &case.bytes(&name_of(number, answers.len())))?);
    }
    Ok(answers)
}

/// The name of an attempt, for the access log.
fn name_of(sequence: usize, attempt: usize) -> String {
    format!("limit-{sequence}-{attempt}")
}

fn compare(sequence: &Sequence, theirs: &[Answer], ours: &[Answer]) -> Result<(), Failed> {
    let statuses = |answers: &[Answer]| answers.iter().map(status).collect::<Vec<_>>();
    ensure_eq!(statuses(theirs), sequence.statuses, "{}: Synapse", sequence.name);
    ensure_eq!(statuses(ours), sequence.statuses, "{}: dendron", sequence.name);
    for (number, (theirs, ours)) in theirs.iter().zip(ours).enumerate() {
        if status(ours) != 200 {
            ensure_eq!(shape(ours), shape(theirs), "{}: answer {number}", sequence.name);
        }
        for answer in [theirs, ours].into_iter().filter(|answer| status(answer) == 429) {
            tells_to_wait(answer, sequence)?;
        }
    }
    Ok(())
}

/// The wait is told twice, in milliseconds and in whole seconds that are no fewer (`LimitExceededError`).
fn tells_to_wait(answer: &Answer, sequence: &Sequence) -> Result<(), Failed> {
    let body: Value = serde_json::from_slice(&answer.body)?;
    ensure_eq!(body["errcode"], Value::from("M_LIMIT_EXCEEDED"), "{}: errcode", sequence.name);
    let wait_ms = body["retry_after_ms"].as_u64().unwrap_or_default();
    // What has trickled out since is little: all of a sequence takes a few seconds.
    let range = sequence.wait_max_ms.saturating_sub(20_000).max(1)..=sequence.wait_max_ms;
    ensure!(range.contains(&wait_ms), "{}: told to wait {wait_ms} ms", sequence.name);
    let header = answer.headers.iter().find(|(name, _)| name == "retry-after").map(|(_, value)| value.clone());
    ensure_eq!(header, Some(wait_ms.div_ceil(1000).to_string()), "{}: Retry-After", sequence.name);
    Ok(())
}

fn sequences() -> Vec<Sequence> {
    // All of these are logins with a password, of users by their names.
    let passwords = by_failures().into_iter().chain(by_account());
    let passwords = passwords.map(|sequence| Sequence { answerer: Some(Expect::Edge), ..sequence });
    by_address().into_iter().chain(passwords).collect()
}

/// Attempts as (address, body), and how they are answered.
fn sequence(name: &'static str, wait_max_ms: u64, attempts: Vec<(usize, Vec<u8>, u16)>) -> Sequence {
    let statuses = attempts.iter().map(|(_, _, status)| *status).collect();
    let attempts = attempts.into_iter().map(|(from, body, _)| Attempt { from, body }).collect();
    Sequence { name, attempts, statuses, answerer: None, wait_max_ms }
}

/// A login of a user whom nobody has, a new one for each number.
fn nobody(name: &str, number: usize) -> Vec<u8> {
    password_body(&format!("nobody-{{way}}-{name}-{number}"), "wrong")
}

/// A login by an e-mail address.
fn by_email(address: &str, password: &str) -> Vec<u8> {
    let address = format!(r#""medium":"email","address":"{address}""#);
    format!(r#"{{"type":"m.login.password","password":"{password}",{address}}}"#).into_bytes()
}

/// Everything that gets as far as to have a type counts on its address, good or bad, of whatever type and size.
fn by_address() -> Vec<Sequence> {
    let refused = |name: &str| (1, nobody(name, 99), 429);
    let mut plain: Vec<_> = (0..5).map(|number| (1, nobody("address", number), 403)).collect();
    plain.extend([refused("address"), refused("address"), (2, nobody("address", 9), 403), refused("address")]);

    const UNREAD: [&[u8]; 7] =
        [b"", b"no json", b"[]", b"{}", b"{\"password\":\"a\"}", b"{\"refresh_token\":1}", b"\xff"];
    let mut uncounted: Vec<_> = UNREAD.iter().map(|body| (1, body.to_vec(), 400)).collect();
    uncounted.extend((0..5).map(|number| (1, nobody("uncounted", number), 403)));
    uncounted.push(refused("uncounted"));
    // And they are still answered when nothing else is.
    uncounted.extend(UNREAD.iter().map(|body| (1, body.to_vec(), 400)));

    const READ: [&[u8]; 5] = [
        br#"{"type":5}"#,
        br#"{"type":"m.login.password"}"#,
        br#"{"type":"m.login.password","password":"a"}"#,
        br#"{"type":"m.login.password","password":"a","identifier":{"type":"m.id.user"}}"#,
        br#"{"type":"m.login.password","password":"a","identifier":{"type":"m.id.phone"}}"#,
    ];
    let mut counted: Vec<_> = READ.iter().map(|body| (1, body.to_vec(), 400)).collect();
    counted.push(refused("counted"));

    let mut tokens: Vec<_> = (0..4).map(|_| (1, br#"{"type":"m.login.token","token":"a"}"#.to_vec(), 403)).collect();
    tokens.push((1, br#"{"type":"m.login.token"}"#.to_vec(), 400));
    tokens.extend([refused("tokens"), (1, br#"{"type":"m.login.token","token":"a"}"#.to_vec(), 429)]);

    let unheard = br#"{"type":"m.login.unheard","user":"nobody-{way}-unheard"}"#.to_vec();
    let mut others: Vec<_> = (0..5).map(|_| (1, unheard.clone(), 400)).collect();
    others.extend([refused("others"), (1, unheard, 429)]);

    let padded = |number| [nobody("huge", number), vec![b' '; 70 << 10]].concat();
    let mut huge: Vec<_> = (0..5).map(|number| (1, padded(number), 403)).collect();
    huge.extend([(1, padded(9), 429), refused("huge")]);

    let mut version_6: Vec<_> = (0..5).map(|number| (1, nobody("six", number), 403)).collect();
    version_6.extend([refused("six"), (2, nobody("six", 9), 403)]);
    vec![
        sequence("an address", SLOW_MS, plain),
        sequence("what has no type does not count", SLOW_MS, uncounted),
        sequence("what has a type counts", SLOW_MS, counted),
        sequence("login tokens count", SLOW_MS, tokens),
        sequence("other types count", SLOW_MS, others),
        sequence("large bodies count", SLOW_MS, huge),
        sequence("an address of version 6", SLOW_MS, version_6),
    ]
}

/// Wrong passwords count on the user they are for, known or not, and on an address that belongs to nobody.
fn by_failures() -> Vec<Sequence> {
    let wrong = |user: &str| password_body(user, "wrong");
    let user = "l-limit-failed-{way}";
    let right = password_body(user, &format!("hush-{}", &user[2..]));
    let failed = vec![
        (1, wrong(user), 403),
        (2, wrong("L-LIMIT-failed-{way}"), 403),
        (3, wrong("@l-limit-failed-{way}:localhost"), 403),
        (4, right, 429),
        (5, wrong("L-LIMIT-failed-{way}"), 429),
        (6, wrong("nobody-{way}-else"), 403),
    ];
    let unknown = vec![
        (1, wrong("nobody-{way}-failed"), 403),
        (2, wrong("Nobody-{way}-Failed"), 403),
        (3, wrong("@nobody-{way}-failed:localhost"), 403),
        (4, wrong("nobody-{way}-failed"), 429),
        (5, wrong("@nobody-{way}-failing:localhost"), 403),
    ];
    let no_email = vec![
        (1, by_email("nobody-{way}@example.org", "wrong"), 403),
        (2, by_email("NOBODY-{way}@example.org", "wrong"), 403),
        (3, by_email(" nobody-{way}@EXAMPLE.org", "wrong"), 403),
        (4, by_email("nobody-{way}@example.org", "wrong"), 429),
    ];
    let email = "limit-email-{way}@example.org";
    let with_email = vec![
        (1, by_email(email, "wrong"), 403),
        (2, by_email(email, "wrong"), 403),
        (3, wrong("l-limit-email-{way}"), 403),
        (4, by_email(email, "hush-limit-email-{way}"), 429),
        (5, password_body("l-limit-email-{way}", "hush-limit-email-{way}"), 429),
    ];
    let mixed = vec![
        (1, wrong("l-limit-mixed-{way}"), 403),
        (2, password_body("l-limit-mixed-{way}", "hush-limit-mixed-{way}"), 200),
        (3, wrong("l-limit-mixed-{way}"), 403),
        (4, wrong("l-limit-mixed-{way}"), 403),
        (5, password_body("l-limit-mixed-{way}", "hush-limit-mixed-{way}"), 429),
    ];
    vec![
        sequence("wrong passwords", FAILED_MS, failed),
        sequence("wrong passwords of nobody", FAILED_MS, unknown),
        sequence("an e-mail address of nobody", FAILED_MS, no_email),
        sequence("an e-mail address of somebody", FAILED_MS, with_email),
        sequence("a right password forgives no wrong one", FAILED_MS, mixed),
    ]
}

/// Right passwords count on the account, by whatever name it is called.
fn by_account() -> Vec<Sequence> {
    let right = |user: &str| password_body(user, "hush-limit-account-{way}");
    let email = by_email("limit-account-{way}@example.org", "hush-limit-account-{way}");
    let account = vec![
        (1, right("l-limit-account-{way}"), 200),
        (2, right("L-LIMIT-ACCOUNT-{way}"), 200),
        (3, right("@l-limit-account-{way}:localhost"), 200),
        (4, email, 200),
        (5, right("l-limit-account-{way}"), 200),
        (6, right("l-limit-account-{way}"), 429),
        (7, right("@L-limit-account-{way}:localhost"), 429),
        (8, password_body("l-limit-account-{way}", "wrong"), 403),
    ];
    // Who is locked is counted before being told so.
    let mut locked: Vec<_> =
        (1..6).map(|from| (from, password_body("l-limit-locked-{way}", "hush-limit-locked-{way}"), 401)).collect();
    locked.push((6, password_body("l-limit-locked-{way}", "hush-limit-locked-{way}"), 429));
    vec![sequence("right passwords", SLOW_MS, account), sequence("right passwords of who is locked", SLOW_MS, locked)]
}
