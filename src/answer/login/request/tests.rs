//! Bodies, and what comes of them. What Synapse answers stands beside each in `bodies.txt`, as it was seen.

use super::*;

/// The bodies: given, what Synapse answers, what we make of it.
const BODIES: &str = include_str!("bodies.txt");

fn read_here(body: &[u8]) -> Reading {
    read(body, "edge.test")
}

fn attempt_of(body: &str) -> Attempt {
    match read_here(body.as_bytes()).outcome {
        Outcome::Attempt(attempt) => attempt,
        other => panic!("{body}: {other:?}"),
    }
}

/// The bytes that a line of the table stands for.
fn expand(mut text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some((before, rest)) = text.split_once('<') {
        bytes.extend_from_slice(before.as_bytes());
        let (inside, after) = rest.split_once('>').unwrap();
        match inside.split_once('*') {
            Some((times, what)) => bytes.extend(what.repeat(times.parse().unwrap()).bytes()),
            None => bytes.push(u8::from_str_radix(inside, 16).unwrap()),
        }
        text = after;
    }
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

#[test]
fn every_body_gets_synapses_answer_or_is_left_to_synapse() {
    let mut seen = 0;
    for line in BODIES.lines().filter(|line| !line.starts_with('#')) {
        let [body, synapse, ours] = line.split(" => ").collect::<Vec<_>>()[..] else { panic!("{line}") };
        let reading = read_here(&expand(body));
        let what = match reading.outcome {
            Outcome::Attempt(_) => "attempt".to_owned(),
            Outcome::Decline(reason) => reason.name().to_owned(),
            Outcome::Refuse(refusal) => {
                let (status, errcode, error) = refusal.parts();
                assert_eq!(format!("{} {errcode} {error}", status.as_u16()), synapse, "{body}");
                "refuse".to_owned()
            }
        };
        let counted = if reading.counted { " +" } else { "" };
        assert_eq!(format!("{what}{counted}"), ours, "{body}");
        seen += 1;
    }
    assert!(seen >= 130, "{seen}");
}

#[test]
fn an_attempt_carries_what_was_sent() {
    let body = r#"{"type":"m.login.password","identifier":{"type":"m.id.user","user":"Alice"},"password":" p\u00e4ss ",
        "device_id":"D","initial_device_display_name":"","refresh_token":true}"#;
    let attempt = attempt_of(body);
    assert_eq!(attempt.identifier, Identifier::User("@Alice:edge.test".into()));
    assert!(attempt.password == Password::new(" päss ".into()));
    assert_eq!(attempt.device_id.as_deref(), Some("D"));
    assert_eq!(attempt.display_name.as_deref(), Some(""));
    assert!(attempt.refresh_token);
}

#[test]
fn who_logs_in() {
    let user = |user: &str| Identifier::User(user.into());
    let table = [
        (r#""user":"alice""#, user("@alice:edge.test")),
        (r#""user":"@Alice:edge.test""#, user("@Alice:edge.test")),
        (r#""user":"alice:edge.test""#, user("@alice:edge.test:edge.test")),
        (r#""user":"a","identifier":{"type":"m.id.user","user":"b"}"#, user("@a:edge.test")),
        (r#""user":"a","medium":"email","address":"B@C""#, Identifier::Email("b@c".into())),
        (r#""user":"a","medium":"email","address":"""#, user("@a:edge.test")),
        (r#""medium":"email","address":"\u001c\u000b Alice@Edge.TEST\n""#, Identifier::Email("alice@edge.test".into())),
        (r#""medium":"email","address":"@""#, Identifier::Email("@".into())),
    ];
    for (members, expected) in table {
        let attempt = attempt_of(&format!(r#"{{"type":"m.login.password","password":"x",{members}}}"#));
        assert_eq!(attempt.identifier, expected, "{members}");
    }
}

#[test]
fn no_password_is_shown() {
    let shown = format!("{:?}", read_here(br#"{"type":"m.login.password","password":"wonder","user":"alice"}"#));
    assert!(shown.contains("@alice:edge.test") && !shown.contains("wonder"), "{shown}");
}

proptest::proptest! {
    #[test]
    fn nothing_that_is_sent_makes_it_panic(body in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        read_here(&body);
    }

    #[test]
    fn nothing_that_looks_like_a_login_makes_it_panic(
        body in r#"\{("(type|password|user|medium|address|identifier)":("m.login.password"|"email"|"[@a:. \\]{0,5}"|0|null|\[\]|\{"type":"m.id.(user|phone|thirdparty)"\}),?){0,6}\}"#,
    ) {
        read_here(body.as_bytes());
    }
}
