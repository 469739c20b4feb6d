//! What Synapse's answer to `/account/whoami` tells (`rest/client/account.py`).

use serde::Deserialize;

use super::{Caller, CallerKind};

/// The label of the endpoint, which is also its path.
pub const PATH: &str = "/_matrix/client/v3/account/whoami";

/// The answer's body.
#[derive(Deserialize)]
struct WhoAmI {
    user_id: String,
    device_id: Option<String>,
    #[serde(default)]
    is_guest: bool,
}

/// The caller that an answer names.
pub fn caller(body: &[u8]) -> Option<Caller> {
    let WhoAmI { user_id, device_id, is_guest } = serde_json::from_slice(body).ok()?;
    let kind = if is_guest { CallerKind::Guest } else { CallerKind::User };
    Some(Caller::new(&user_id, device_id.as_deref(), kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_a_caller() {
        let table = [
            (r#"{"user_id":"@a:b","is_guest":false,"device_id":"D"}"#, Some(("@a:b", Some("D"), CallerKind::User))),
            (r#"{"user_id":"@a:b","is_guest":true,"device_id":"D"}"#, Some(("@a:b", Some("D"), CallerKind::Guest))),
            (r#"{"user_id":"@a:b","is_guest":false}"#, Some(("@a:b", None, CallerKind::User))),
            (r#"{"user_id":"@a:b","more":[]}"#, Some(("@a:b", None, CallerKind::User))),
            (r#"{"device_id":"D"}"#, None),
            (r#"{"user_id":1}"#, None),
            ("", None),
        ];
        for (body, expected) in table {
            let expected = expected.map(|(user, device, kind)| Caller::new(user, device, kind));
            assert_eq!(caller(body.as_bytes()), expected, "{body}");
        }
    }
}
