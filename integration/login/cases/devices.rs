//! Devices, tokens, and what else a good login may ask for.

use super::Expect::{Edge, Forwarded};
use super::Reply::{Refused, User};
use super::{Case, FAULT, PLAIN, Reply, bad, passwords};

/// PostgreSQL keeps no NUL.
const NOT_STORED: Reply = Refused(500, "M_UNKNOWN", "Problem storing device.");
const GOOD: Reply = User("@l-plain:localhost");

pub fn cases() -> Vec<Case> {
    [named(), of_other_types(), too_long()].concat()
}

fn named() -> Vec<Case> {
    passwords(&[
        ("{plain}", GOOD, Some(Edge)),
        (r#"{plain},"refresh_token":true"#, GOOD, Some(Edge)),
        (r#"{plain},"refresh_token":false"#, GOOD, Some(Edge)),
        (r#"{plain},"device_id":"CHOSEN""#, GOOD, Some(Edge)),
        // The device is there already.
        (r#"{plain},"device_id":"CHOSEN""#, GOOD, Some(Edge)),
        (r#"{plain},"device_id":"CHOSEN","refresh_token":true"#, GOOD, Some(Edge)),
        (r#"{plain},"device_id":"CHOSEN","initial_device_display_name":"another name""#, GOOD, Some(Edge)),
        (r#"{plain},"device_id":null"#, GOOD, Some(Edge)),
        (r#"{plain},"device_id":"""#, GOOD, Some(Forwarded)),
        (r#"{plain},"device_id":" ""#, GOOD, None),
        (r#"{plain},"device_id":"ä/ö ü?#%""#, GOOD, None),
        (r#"{plain},"device_id":"🦊""#, GOOD, None),
        (r#"{plain},"device_id":"\"quoted\\\u0007""#, GOOD, None),
        (r#"{plain},"device_id":"NUL\u0000""#, NOT_STORED, Some(Forwarded)),
        (r#"{plain},"device_id":"HIDDEN""#, bad("M_FORBIDDEN", "The device ID is in use"), None),
        (r#"{plain},"device_id":5"#, FAULT, Some(Forwarded)),
        (r#"{plain},"device_id":true"#, FAULT, Some(Forwarded)),
        (r#"{plain},"initial_device_display_name":"a name""#, GOOD, Some(Edge)),
        (r#"{plain},"initial_device_display_name":"""#, GOOD, None),
        (r#"{plain},"initial_device_display_name":null"#, GOOD, Some(Edge)),
        (r#"{plain},"initial_device_display_name":"Fox 🦊 \n \u0001""#, GOOD, None),
        (r#"{plain},"initial_device_display_name":5"#, FAULT, Some(Forwarded)),
        (r#"{plain},"initial_device_display_name":true"#, FAULT, Some(Forwarded)),
        (r#"{plain},"inhibit_login":true,"unknown":{"a":[1,2,3]},"session":"x""#, GOOD, Some(Edge)),
        (r#"{plain},"token":"not for this type""#, GOOD, Some(Edge)),
    ])
}

/// What is a list or an object here is not decided the same way everywhere: only that both answer alike counts.
fn of_other_types() -> Vec<Case> {
    let mut cases = Vec::new();
    for members in [
        r#""device_id":["A"]"#,
        r#""device_id":{"a":"b"}"#,
        r#""device_id":[]"#,
        r#""device_id":{}"#,
        r#""device_id":0"#,
        r#""device_id":false"#,
        r#""initial_device_display_name":["a"]"#,
        r#""initial_device_display_name":{"a":1}"#,
        r#""initial_device_display_name":[]"#,
        r#""initial_device_display_name":0"#,
        r#""initial_device_display_name":"NUL\u0000""#,
    ] {
        let body = format!(r#"{{"type":"m.login.password",{PLAIN},{members}}}"#);
        cases.push(Case::new(body.as_bytes(), None, Some(Forwarded)));
    }
    cases
}

fn too_long() -> Vec<Case> {
    let mut cases = Vec::new();
    let too_long = bad("M_INVALID_PARAM", "device_id cannot be longer than 512 characters.");
    let name_too_long = bad("M_TOO_LARGE", "Device display name is too long (max 100)");
    for (member, text, reply) in [
        ("device_id", "D".repeat(512), GOOD),
        ("device_id", "D".repeat(513), too_long),
        ("device_id", "ö".repeat(512), GOOD),
        ("device_id", "🦊".repeat(513), too_long),
        ("initial_device_display_name", "n".repeat(100), GOOD),
        ("initial_device_display_name", "n".repeat(101), name_too_long),
        ("initial_device_display_name", "🦊".repeat(100), GOOD),
        ("initial_device_display_name", "🦊".repeat(101), name_too_long),
    ] {
        let body = format!(r#"{{"type":"m.login.password",{PLAIN},"{member}":"{text}"}}"#);
        cases.push(Case::new(body.as_bytes(), Some(reply), None));
    }
    // Who is locked or gone is told so before the device is looked at.
    for (user, status, errcode, error) in [
        ("dead", 403, "M_USER_DEACTIVATED", "This account has been deactivated"),
        ("locked", 401, "M_USER_LOCKED", "User account has been locked"),
    ] {
        let device = "D".repeat(513);
        let body = format!(
            r#"{{"type":"m.login.password","user":"l-{user}","password":"hush-{user}","device_id":"{device}"}}"#
        );
        cases.push(Case::new(body.as_bytes(), Some(Refused(status, errcode, error)), None));
    }
    cases
}
