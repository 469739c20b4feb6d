//! Every condition under which Synapse refuses a login with a password, in its order. `LoginRestServlet.on_POST` in
//! `rest/client/login.py` and `AuthHandler.validate_login` in `handlers/auth.py` have them.

use super::Expect::{Edge, Forwarded};
use super::Reply::{Refused, User};
use super::{Case, FAULT, INVALID, MISSING, bad, passwords};

const TYPE: &str = "Bad parameter: type";
const PASSWORD: &str = "Bad parameter: password";
const REFRESH: &str = "`refresh_token` should be true or false.";
const SUBMISSION: &str = "Invalid login submission";
const NO_TYPE: &str = "'identifier' dict has no key 'type'";
const UNKNOWN_TYPE: &str = "Unknown login identifier type";
const NO_USER: &str = "User identifier is missing 'user' key";

pub fn cases() -> Vec<Case> {
    [types(), passwords_and_identifiers(), one_before_the_other()].concat()
}

/// Bodies whose type is not, or not surely, that of a login with a password.
fn types() -> Vec<Case> {
    let unknown = |name: &'static str| bad("M_UNKNOWN", name);
    let rows = [
        ("{}", MISSING, None),
        (r#"{"password":"hush-plain"}"#, MISSING, None),
        (r#"{"type":null}"#, bad("M_INVALID_PARAM", TYPE), None),
        (r#"{"type":1}"#, bad("M_INVALID_PARAM", TYPE), None),
        (r#"{"type":true}"#, bad("M_INVALID_PARAM", TYPE), None),
        (r#"{"type":["m.login.password"]}"#, bad("M_INVALID_PARAM", TYPE), None),
        (r#"{"type":{"m.login.password":1}}"#, bad("M_INVALID_PARAM", TYPE), None),
        (r#"{"type":""}"#, bad("M_INVALID_PARAM", SUBMISSION), Some(Forwarded)),
        (r#"{"type":"","user":"l-plain"}"#, unknown("Unknown login type "), Some(Forwarded)),
        (
            r#"{"type":"m.login.passwort","user":"l-plain"}"#,
            unknown("Unknown login type m.login.passwort"),
            Some(Forwarded),
        ),
        (
            r#"{"type":"M.LOGIN.PASSWORD","user":"l-plain"}"#,
            unknown("Unknown login type M.LOGIN.PASSWORD"),
            Some(Forwarded),
        ),
        (
            r#"{"type":" m.login.password","user":"l-plain"}"#,
            unknown("Unknown login type  m.login.password"),
            Some(Forwarded),
        ),
        (r#"{"type":"m.login.dummy","user":"l-plain"}"#, unknown("Unknown login type m.login.dummy"), Some(Forwarded)),
        (r#"{"type":"m.login.sso","user":"l-plain"}"#, unknown("Unknown login type m.login.sso"), Some(Forwarded)),
        (r#"{"type":"m.login.token"}"#, MISSING, Some(Forwarded)),
        (
            r#"{"type":"m.login.token","token":"syl_no"}"#,
            Refused(403, "M_FORBIDDEN", "Invalid login token"),
            Some(Forwarded),
        ),
        (
            r#"{"type":"org.matrix.login.jwt","user":"l-plain"}"#,
            unknown("Unknown login type org.matrix.login.jwt"),
            Some(Forwarded),
        ),
        (
            r#"{"type":"m.login.application_service"}"#,
            Refused(401, "M_MISSING_TOKEN", "Missing access token"),
            Some(Forwarded),
        ),
        (
            r#"{"type":"m\u002elogin.password","user":"l-plain","password":"hush-plain"}"#,
            User("@l-plain:localhost"),
            None,
        ),
    ];
    rows.iter().map(|(body, reply, answerer)| Case::new(body.as_bytes(), Some(*reply), *answerer)).collect()
}

/// What is wrong with one member, while all others are right.
fn passwords_and_identifiers() -> Vec<Case> {
    let submission = bad("M_INVALID_PARAM", SUBMISSION);
    passwords(&[
        (r#"{plain},"refresh_token":null"#, bad("M_UNKNOWN", REFRESH), None),
        (r#"{plain},"refresh_token":"true""#, bad("M_UNKNOWN", REFRESH), None),
        (r#"{plain},"refresh_token":1"#, bad("M_UNKNOWN", REFRESH), None),
        (r#"{plain},"refresh_token":0"#, bad("M_UNKNOWN", REFRESH), None),
        (r#"{plain},"refresh_token":{}"#, bad("M_UNKNOWN", REFRESH), None),
        (r#""user":"l-plain""#, bad("M_INVALID_PARAM", PASSWORD), None),
        (r#""user":"l-plain","password":null"#, bad("M_INVALID_PARAM", PASSWORD), None),
        (r#""user":"l-plain","password":1"#, bad("M_INVALID_PARAM", PASSWORD), None),
        (r#""user":"l-plain","password":false"#, bad("M_INVALID_PARAM", PASSWORD), None),
        (r#""user":"l-plain","password":["hush-plain"]"#, bad("M_INVALID_PARAM", PASSWORD), None),
        (r#""user":"l-plain","password":{}"#, bad("M_INVALID_PARAM", PASSWORD), None),
        (r#""user":"l-plain","password":"""#, INVALID, Some(Edge)),
        (r#""user":"l-plain","password":"wrong""#, INVALID, Some(Edge)),
        (r#""user":"l-plain","password":"Hush-plain""#, INVALID, Some(Edge)),
        (r#""user":"l-plain","password":"hush-plain ""#, INVALID, Some(Edge)),
        (r#""user":"l-plain","password":" hush-plain""#, INVALID, Some(Edge)),
        (r#""user":"l-plain","password":"hush-plai""#, INVALID, Some(Edge)),
        (r#""user":"l-plain","password":"hush-plain\u0000""#, INVALID, None),
        (r#""user":"l-plain","password":"\u0000""#, INVALID, None),
        (r#""password":"hush-plain""#, submission, None),
        (r#""password":"hush-plain","identifier":null"#, submission, None),
        (r#""password":"hush-plain","identifier":{}"#, submission, None),
        (r#""password":"hush-plain","identifier":[]"#, submission, None),
        (r#""password":"hush-plain","identifier":"""#, submission, None),
        (r#""password":"hush-plain","identifier":0"#, submission, None),
        (r#""password":"hush-plain","identifier":false"#, submission, None),
        (r#""password":"hush-plain","identifier":1"#, FAULT, Some(Forwarded)),
        (r#""password":"hush-plain","identifier":true"#, FAULT, Some(Forwarded)),
        (r#""password":"hush-plain","identifier":1.5"#, FAULT, Some(Forwarded)),
        (r#""password":"hush-plain","identifier":"l-plain""#, bad("M_MISSING_PARAM", NO_TYPE), Some(Forwarded)),
        (r#""password":"hush-plain","identifier":"my type""#, FAULT, Some(Forwarded)),
        (r#""password":"hush-plain","identifier":["type"]"#, FAULT, Some(Forwarded)),
        (r#""password":"hush-plain","identifier":["l-plain"]"#, bad("M_MISSING_PARAM", NO_TYPE), Some(Forwarded)),
        (r#""password":"hush-plain","identifier":{"user":"l-plain"}"#, bad("M_MISSING_PARAM", NO_TYPE), None),
        (
            r#""password":"hush-plain","identifier":{"type":null,"user":"l-plain"}"#,
            bad("M_UNKNOWN", UNKNOWN_TYPE),
            None,
        ),
        (r#""password":"hush-plain","identifier":{"type":1,"user":"l-plain"}"#, bad("M_UNKNOWN", UNKNOWN_TYPE), None),
        (r#""password":"hush-plain","identifier":{"type":[],"user":"l-plain"}"#, bad("M_UNKNOWN", UNKNOWN_TYPE), None),
        (r#""password":"hush-plain","identifier":{"type":"","user":"l-plain"}"#, bad("M_UNKNOWN", UNKNOWN_TYPE), None),
        (
            r#""password":"hush-plain","identifier":{"type":"m.id.users","user":"l-plain"}"#,
            bad("M_UNKNOWN", UNKNOWN_TYPE),
            None,
        ),
        (
            r#""password":"hush-plain","identifier":{"type":"M.ID.USER","user":"l-plain"}"#,
            bad("M_UNKNOWN", UNKNOWN_TYPE),
            None,
        ),
        (r#""password":"hush-plain","identifier":{"type":"m.id.user"}"#, bad("M_UNKNOWN", NO_USER), None),
        (r#""password":"hush-plain","identifier":{"type":"m.id.user","user":null}"#, bad("M_UNKNOWN", NO_USER), None),
        (r#""password":"hush-plain","identifier":{"type":"m.id.user","user":""}"#, bad("M_UNKNOWN", NO_USER), None),
        (r#""password":"hush-plain","identifier":{"type":"m.id.user","user":0}"#, bad("M_UNKNOWN", NO_USER), None),
        (r#""password":"hush-plain","identifier":{"type":"m.id.user","user":[]}"#, bad("M_UNKNOWN", NO_USER), None),
        (r#""password":"hush-plain","identifier":{"type":"m.id.user","user":{}}"#, bad("M_UNKNOWN", NO_USER), None),
        (r#""password":"hush-plain","identifier":{"type":"m.id.user","user":5}"#, FAULT, Some(Forwarded)),
        (r#""password":"hush-plain","identifier":{"type":"m.id.user","user":["l-plain"]}"#, FAULT, Some(Forwarded)),
        (r#""password":"hush-plain","identifier":{"type":"m.id.user","user":{"a":1}}"#, FAULT, Some(Forwarded)),
        (r#""password":"hush-plain","identifier":{"type":"m.id.user","user":true}"#, FAULT, Some(Forwarded)),
    ])
}

/// Bodies with two faults: which one is told shows which is looked for first.
fn one_before_the_other() -> Vec<Case> {
    let rows = [
        (r#"{"refresh_token":1}"#, bad("M_UNKNOWN", REFRESH)),
        (r#"{"refresh_token":1,"type":5}"#, bad("M_UNKNOWN", REFRESH)),
        (r#"{"refresh_token":1,"type":"m.login.token"}"#, bad("M_UNKNOWN", REFRESH)),
        (r#"{"type":5,"password":5}"#, bad("M_INVALID_PARAM", TYPE)),
        (r#"{"type":"m.login.password","password":5,"identifier":5}"#, bad("M_INVALID_PARAM", PASSWORD)),
        (
            r#"{"type":"m.login.password","password":5,"identifier":{"type":"m.id.phone"}}"#,
            bad("M_INVALID_PARAM", PASSWORD),
        ),
        (r#"{"type":"m.login.password","identifier":{"type":"m.id.user"}}"#, bad("M_INVALID_PARAM", PASSWORD)),
        (r#"{"type":"m.login.password","password":"wrong","user":"l-plain","device_id":[1]}"#, INVALID),
        (r#"{"type":"m.login.password","password":"wrong","user":"l-locked"}"#, INVALID),
        (r#"{"type":"m.login.password","password":"wrong","user":"l-dead"}"#, INVALID),
        (r#"{"type":"m.login.password","password":"wrong","user":"l-malformed-plain"}"#, FAULT),
        (
            r#"{"type":"m.login.password","password":"hush-both","user":"l-both"}"#,
            Refused(403, "M_USER_DEACTIVATED", "This account has been deactivated"),
        ),
        (
            r#"{"type":"m.login.unheard","password":5,"user":"l-plain"}"#,
            bad("M_UNKNOWN", "Unknown login type m.login.unheard"),
        ),
        (r#"{"type":"m.login.unheard","identifier":{"type":"m.id.nothing"}}"#, bad("M_UNKNOWN", UNKNOWN_TYPE)),
    ];
    rows.iter().map(|(body, reply)| Case::new(body.as_bytes(), Some(*reply), None)).collect()
}
