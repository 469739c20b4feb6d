//! Every way to name a user: a name, an id, an address, and the fields that were there before identifiers.

use super::Expect::{Edge, Forwarded};
use super::Reply::User;
use super::{Case, FAULT, INVALID, MISSING, bad, passwords};

const PLAIN: super::Reply = User("@l-plain:localhost");

pub fn cases() -> Vec<Case> {
    [names(), addresses(), phones(), legacy()].concat()
}

fn names() -> Vec<Case> {
    let rows = [
        ("l-plain", PLAIN, Some(Edge)),
        ("@l-plain:localhost", PLAIN, Some(Edge)),
        ("L-PLAIN", PLAIN, Some(Edge)),
        ("@L-Plain:localhost", PLAIN, Some(Edge)),
        ("@l-plain:LOCALHOST", PLAIN, None),
        ("@l-plain:elsewhere", INVALID, None),
        ("@l-plain:localhost:8448", INVALID, None),
        ("@l-plain:", INVALID, None),
        ("@l-plain", INVALID, None),
        ("@", INVALID, None),
        ("@:localhost", INVALID, None),
        ("l-plain:localhost", INVALID, None),
        ("@@l-plain:localhost", INVALID, None),
        (" l-plain", INVALID, None),
        ("l-plain ", INVALID, None),
        ("@l-plain:localhost ", INVALID, None),
        ("nobody-of-this-name", INVALID, Some(Edge)),
        ("@nobody-of-this-name:localhost", INVALID, Some(Edge)),
        ("%", INVALID, None),
        ("_-plain", INVALID, None),
        ("l-plain' OR 'a'='a", INVALID, None),
        ("l\u{2d}plain", PLAIN, None),
        ("ｌ-plain", INVALID, None),
        ("l-plaın", INVALID, None),
        ("\u{212a}", INVALID, None),
        ("👩\u{200d}🚀", INVALID, None),
        ("L-Upper", User("@L-Upper:localhost"), Some(Edge)),
        ("l-upper", User("@L-Upper:localhost"), Some(Edge)),
        ("@l-UPPER:localhost", User("@L-Upper:localhost"), Some(Edge)),
    ];
    let passwords = rows.iter().map(|(name, reply, answerer)| {
        let password = if name.to_lowercase().contains("upper") { "hush-upper" } else { "hush-plain" };
        Case::new(&super::password_body(name, password), Some(*reply), *answerer)
    });
    let mut cases: Vec<Case> = passwords.collect();
    for (name, password, reply) in [
        ("l-twin", "hush-lower-twin", User("@l-twin:localhost")),
        ("L-Twin", "hush-upper-twin", User("@L-Twin:localhost")),
        ("l-twin", "hush-upper-twin", INVALID),
        ("L-Twin", "hush-lower-twin", INVALID),
        ("L-TWIN", "hush-lower-twin", INVALID),
        ("L-TWIN", "hush-upper-twin", INVALID),
        ("l-pair", "hush-pair", INVALID),
        ("L-Pair", "hush-pair", User("@L-Pair:localhost")),
        ("L-PAIR", "hush-pair", User("@L-PAIR:localhost")),
    ] {
        cases.push(Case::new(&super::password_body(name, password), Some(reply), Some(Edge)));
    }
    let long = "a".repeat(300);
    cases.push(Case::new(&super::password_body(&long, "hush-plain"), Some(INVALID), None));
    cases.push(Case::new(&super::password_body("l-plain\0", "hush-plain"), Some(FAULT), Some(Forwarded)));
    cases
}

fn addresses() -> Vec<Case> {
    let unreadable = bad("M_UNKNOWN", "Unable to parse email address");
    let incomplete = bad("M_UNKNOWN", "Invalid thirdparty identifier");
    let rows = [
        (r#""medium":"email","address":"plain@example.org""#, PLAIN, Some(Edge)),
        (r#""medium":"email","address":"PLAIN@EXAMPLE.ORG""#, PLAIN, Some(Edge)),
        (r#""medium":"email","address":" plain@example.org\t""#, PLAIN, None),
        (r#""medium":"email","address":"plain @example.org""#, INVALID, None),
        (r#""medium":"email","address":"nobody@example.org""#, INVALID, Some(Edge)),
        (r#""medium":"email","address":"gone@example.org""#, INVALID, None),
        (r#""medium":"email","address":"plain""#, unreadable, None),
        (r#""medium":"email","address":"""#, unreadable, None),
        (r#""medium":"email","address":"a@b@c""#, unreadable, None),
        (r#""medium":"email","address":"@""#, INVALID, None),
        (r#""medium":"email","address":"nohash@example.org""#, INVALID, Some(Edge)),
        (r#""medium":"email","address":5"#, FAULT, Some(Forwarded)),
        (r#""medium":"email","address":["plain@example.org"]"#, FAULT, Some(Forwarded)),
        (r#""medium":"email""#, incomplete, None),
        (r#""medium":"email","address":null"#, incomplete, None),
        (r#""address":"plain@example.org""#, incomplete, None),
        (r#""medium":null,"address":"plain@example.org""#, incomplete, None),
        (r#""medium":"EMAIL","address":"plain@example.org""#, INVALID, Some(Forwarded)),
        (r#""medium":"","address":"plain@example.org""#, INVALID, Some(Forwarded)),
        (r#""medium":"msisdn","address":"447700900000""#, PLAIN, Some(Forwarded)),
        (r#""medium":"msisdn","address":"+447700900000""#, INVALID, Some(Forwarded)),
        (r#""medium":"pigeon","address":"anything""#, INVALID, Some(Forwarded)),
    ];
    let mut cases: Vec<Case> = Vec::new();
    for (members, reply, answerer) in rows {
        let identifier = format!(r#""identifier":{{"type":"m.id.thirdparty",{members}}}"#);
        let body = format!(r#"{{"type":"m.login.password","password":"hush-plain",{identifier}}}"#);
        cases.push(Case::new(body.as_bytes(), Some(reply), answerer));
    }
    for (address, reply) in [
        // Case folding makes two letters of the last one.
        ("strasse@example.org", INVALID),
        ("straße@example.org", INVALID),
        ("STRASSE@example.org", INVALID),
        ("Other@example.org", INVALID),
        ("other@example.org", INVALID),
    ] {
        let identifier = format!(r#"{{"type":"m.id.thirdparty","medium":"email","address":"{address}"}}"#);
        let body = format!(r#"{{"type":"m.login.password","password":"hush-other","identifier":{identifier}}}"#);
        cases.push(Case::new(body.as_bytes(), Some(reply), None));
    }
    cases
}

fn phones() -> Vec<Case> {
    let incomplete = bad("M_INVALID_PARAM", "Invalid phone-type identifier");
    let unreadable = bad("M_INVALID_PARAM", "Unable to parse phone number");
    let forwarded = Some(Forwarded);
    let rows = [
        (r#""country":"GB","number":"07700900000""#, PLAIN, forwarded),
        (r#""country":"GB","phone":"07700900000","number":"x""#, PLAIN, forwarded),
        (r#""country":"GB","phone":"07700900000""#, MISSING, forwarded),
        (r#""country":"GB","number":"07700900001""#, INVALID, forwarded),
        (r#""country":"GB","number":"not a number""#, unreadable, forwarded),
        (r#""country":"XX","number":"07700900000""#, unreadable, forwarded),
        (r#""country":"GB""#, incomplete, Some(Edge)),
        (r#""number":"07700900000""#, incomplete, Some(Edge)),
        (r#""country":"GB","number":7700900000"#, FAULT, forwarded),
    ];
    let case = |(members, reply, answerer)| {
        let identifier = format!(r#""identifier":{{"type":"m.id.phone",{members}}}"#);
        let body = format!(r#"{{"type":"m.login.password","password":"hush-plain",{identifier}}}"#);
        Case::new(body.as_bytes(), Some(reply), answerer)
    };
    rows.into_iter().map(case).collect()
}

/// The fields `user`, `medium` and `address`, which stand in place of an identifier where they are true in Python's
/// sense (`convert_client_dict_legacy_fields_to_identifier` in `handlers/auth.py`).
fn legacy() -> Vec<Case> {
    let other = r#""identifier":{"type":"m.id.user","user":"l-other"}"#;
    let mut cases = passwords(&[
        (r#""password":"hush-plain","user":"l-plain""#, PLAIN, Some(Edge)),
        (r#""password":"hush-plain","user":"@l-plain:localhost""#, PLAIN, Some(Edge)),
        (r#""password":"hush-plain","user":"L-PLAIN""#, PLAIN, Some(Edge)),
        (r#""password":"hush-plain","user":"nobody-of-this-name""#, INVALID, Some(Edge)),
        (r#""password":"hush-plain","user":5"#, FAULT, Some(Forwarded)),
        (r#""password":"hush-plain","user":["l-plain"]"#, FAULT, Some(Forwarded)),
        (r#""password":"hush-plain","medium":"email","address":"plain@example.org""#, PLAIN, Some(Edge)),
        (r#""password":"hush-plain","medium":"email","address":"nobody@example.org""#, INVALID, Some(Edge)),
        (
            r#""password":"hush-plain","medium":"email","address":"plain""#,
            bad("M_UNKNOWN", "Unable to parse email address"),
            None,
        ),
        (r#""password":"hush-plain","medium":"email""#, bad("M_INVALID_PARAM", "Invalid login submission"), None),
        (
            r#""password":"hush-plain","address":"plain@example.org""#,
            bad("M_INVALID_PARAM", "Invalid login submission"),
            None,
        ),
        (
            r#""password":"hush-plain","user":"l-other","medium":"email","address":"plain@example.org""#,
            PLAIN,
            Some(Edge),
        ),
        (r#""password":"hush-plain","user":"l-plain","medium":"email""#, PLAIN, None),
        (r#""password":"hush-plain","user":"l-plain","medium":"email","address":"""#, PLAIN, None),
        (r#""password":"hush-plain","user":"l-plain","medium":null,"address":"other""#, PLAIN, None),
        (r#""password":"hush-plain","user":"l-plain","medium":{},"address":[]"#, PLAIN, None),
        (r#""password":"hush-plain","medium":5,"address":5"#, FAULT, Some(Forwarded)),
    ]);
    for (members, reply) in [
        (r#""user":"l-plain""#, PLAIN),
        (r#""medium":"email","address":"plain@example.org""#, PLAIN),
        (r#""user":"""#, INVALID),
        (r#""user":null"#, INVALID),
        (r#""user":false"#, INVALID),
        (r#""medium":"email""#, INVALID),
    ] {
        let body = format!(r#"{{"type":"m.login.password","password":"hush-plain",{other},{members}}}"#);
        cases.push(Case::new(body.as_bytes(), Some(reply), None));
    }
    cases
}
