//! Bodies that are no JSON, or JSON that readers understand differently: Python's reader decides.

use super::Expect::{self, Edge, Forwarded};
use super::Reply::{self, User};
use super::{Case, FAULT, INVALID, NOT_AN_OBJECT, NOT_JSON, PLAIN, password_body};

const GOOD: Reply = User("@l-plain:localhost");

pub fn cases() -> Vec<Case> {
    [no_json(), no_object(), odd_json(), huge()].concat()
}

fn no_json() -> Vec<Case> {
    let bodies: [&[u8]; 27] = [
        b"",
        b" ",
        b"\n",
        b"\0",
        b"hello",
        b"{",
        b"}",
        b"[",
        b"\"",
        b"{\"type\":}",
        b"{\"type\":\"m.login.password\"",
        b"{'type':'m.login.password'}",
        b"{type:\"m.login.password\"}",
        b"{\"type\":\"m.login.password\",}",
        b"{,\"type\":\"m.login.password\"}",
        b"// {}\n{}",
        b"{} x",
        b"{}{}",
        b"{}\0",
        b"True",
        b"nul",
        b"{\"type\":\"\xff\"}",
        b"{\"type\":\"\xc3\"}",
        b"\xff\xfe{\0}\0",
        b"{\"type\":\"\x01\"}",
        b"{\"type\":\"a\nb\"}",
        b"type=m.login.password&user=l-plain&password=hush-plain",
    ];
    let mut cases: Vec<Case> = bodies.iter().map(|body| Case::new(body, Some(NOT_JSON), None)).collect();
    for (before, after) in [("\u{feff}", ""), ("", "x"), ("", "{}"), ("", "\0"), ("", ","), ("\u{a0}", ""), ("", "]")] {
        cases.push(whole(before, "", after, Some(NOT_JSON), None));
    }
    // Numbers that only Python knows, and some that nobody does.
    for number in ["NaN", "Infinity", "-Infinity", "-NaN", "+1", "01", "1.", ".5", "0x10", "1e", "--1", "1_000"] {
        cases.push(whole("", &format!(",\"n\":{number}"), "", Some(NOT_JSON), None));
    }
    for escape in [r"\x41", r"\u12", r"\uZZZZ", r"\'", r"\", "\t"] {
        cases.push(whole("", &format!(",\"n\":\"{escape}\""), "", Some(NOT_JSON), None));
    }
    cases
}

fn no_object() -> Vec<Case> {
    let bodies = ["null", "true", "5", "-0.5e3", "\"m.login.password\"", "[]", "[{}]", " [1] "];
    bodies.iter().map(|body| Case::new(body.as_bytes(), Some(NOT_AN_OBJECT), None)).collect()
}

/// What is JSON, in ways that not every writer knows.
fn odd_json() -> Vec<Case> {
    let mut cases = vec![
        whole(" \n\t\r", "", " \n\t\r", Some(GOOD), Some(Edge)),
        whole("", r#","n":1e400"#, "", Some(GOOD), None),
        whole("", r#","n":-0"#, "", Some(GOOD), None),
        whole("", r#","n":1E+2"#, "", Some(GOOD), None),
        whole("", &format!(r#","n":{}"#, "9".repeat(400)), "", Some(GOOD), None),
        whole("", r#","n":"\/""#, "", Some(GOOD), None),
        whole("", "\u{2028},", "", Some(NOT_JSON), None),
        whole("", ",\"n\":\"\u{2028}\u{7f}\"", "", Some(GOOD), None),
        whole("", r#","n":"\ud83e\udd8a""#, "", Some(GOOD), None),
        whole("", r#","":"","\u0000":"\u0000""#, "", Some(GOOD), None),
        // Of two members of one name the last one counts.
        whole("", r#","password":"wrong""#, "", Some(INVALID), None),
        whole("", r#","password":"wrong","password":"hush-plain""#, "", Some(GOOD), None),
        whole("", r#","type":"m.login.token""#, "", None, None),
        whole("", r#","identifier":{"type":"m.id.user","user":"l-other"}"#, "", Some(INVALID), None),
        whole("", r#","password":5"#, "", None, None),
        whole("", r#","p\u0061ssword":"wrong""#, "", Some(INVALID), None),
        // Half of a pair stands for no character. Where nobody looks at it, it does no harm.
        whole("", r#","n":"\ud800""#, "", Some(GOOD), Some(Forwarded)),
        whole("", r#","password":"\ud800""#, "", Some(FAULT), Some(Forwarded)),
        whole("", r#","password":"\udd8a\ud83e""#, "", Some(FAULT), Some(Forwarded)),
        whole("", r#","device_id":"\ud800""#, "", None, Some(Forwarded)),
        whole("", r#","user":"\udfff""#, "", None, Some(Forwarded)),
        whole("", r#","initial_device_display_name":"\ud800""#, "", None, Some(Forwarded)),
        whole("", r#","\ud800":1"#, "", Some(GOOD), Some(Forwarded)),
    ];
    // UTF-8 alone is read.
    let good = password_body("l-plain", "hush-plain");
    let utf16: Vec<u8> = good.iter().flat_map(|byte| [*byte, 0]).collect();
    cases.push(Case::new(&utf16, Some(NOT_JSON), None));
    // A surrogate as three bytes is no UTF-8 either.
    cases.push(Case::new(b"{\"type\":\"\xed\xa0\x80\"}", Some(NOT_JSON), None));
    for depth in [30, 120, 500] {
        let nested = format!(",\"n\":{}{}", "[".repeat(depth), "]".repeat(depth));
        cases.push(whole("", &nested, "", Some(GOOD), None));
        let nested = format!(",\"n\":{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        cases.push(whole("", &nested, "", Some(GOOD), None));
    }
    cases
}

/// Bodies of up to and beyond the 64 KiB that can be sent twice, and deeper ones than Python reads.
fn huge() -> Vec<Case> {
    let padded = |length: usize| {
        let bare = whole("", r#","n":"""#, "", None, None).body.len();
        format!(r#","n":"{}""#, "n".repeat(length - bare))
    };
    let deep = format!(",\"n\":{}{}", "[".repeat(30_000), "]".repeat(30_000));
    vec![
        whole("", &padded(1 << 10), "", Some(GOOD), Some(Edge)),
        whole("", &padded((64 << 10) - 1), "", Some(GOOD), None),
        whole("", &padded(64 << 10), "", Some(GOOD), None),
        whole("", &padded((64 << 10) + 1), "", Some(GOOD), Some(Forwarded)),
        whole("", &padded(70 << 10), "", Some(GOOD), Some(Forwarded)),
        whole("", &padded(1 << 20), "", Some(GOOD), Some(Forwarded)),
        whole("", "", &" ".repeat(70 << 10), Some(GOOD), Some(Forwarded)),
        whole("", &deep, "", None, None),
        Case::new(&password_body("l-plain", &"p".repeat(60_000)), Some(INVALID), Some(Edge)),
        Case::new(&password_body("l-plain", &"p".repeat(70 << 10)), Some(INVALID), Some(Forwarded)),
        Case::new(&password_body(&"u".repeat(60_000), "hush-plain"), None, None),
        Case::new(&vec![b' '; 70 << 10], Some(NOT_JSON), Some(Forwarded)),
        Case::new(&vec![b'{'; 70 << 10], Some(NOT_JSON), Some(Forwarded)),
    ]
}

/// A good login with something before it, in it and after it.
fn whole(before: &str, within: &str, after: &str, reply: Option<Reply>, answerer: Option<Expect>) -> Case {
    let body = format!(r#"{before}{{"type":"m.login.password",{PLAIN}{within}}}{after}"#);
    Case::new(body.as_bytes(), reply, answerer)
}
