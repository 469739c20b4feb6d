//! What an answer tells that gives a token: to a login, a registration or a refresh.

use std::time::Duration;

use serde::Deserialize;

use super::{Caller, CallerKind};
use crate::secret::Secret;

/// A token that Synapse has just given. There is no user where a token was refreshed.
#[derive(Deserialize)]
pub struct Grant {
    access_token: Secret,
    user_id: Option<String>,
    device_id: Option<String>,
    expires_in_ms: Option<u64>,
}

impl Grant {
    /// The grant in an answer's body; `None` if it is none, such as that to a registration without a login.
    pub fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// The token.
    pub fn token(&self) -> &Secret {
        &self.access_token
    }

    /// Who is behind the token, if the answer says so.
    pub fn caller(&self) -> Option<Caller> {
        let user_id = self.user_id.as_deref()?;
        Some(Caller::new(user_id, self.device_id.as_deref(), CallerKind::User))
    }

    /// How long the token is good, if not for ever.
    pub fn valid_for(&self) -> Option<Duration> {
        self.expires_in_ms.map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_read() {
        let login = r#"{"user_id":"@a:b","access_token":"syt_1","home_server":"b","device_id":"D"}"#;
        let limited =
            r#"{"user_id":"@a:b","access_token":"syt_1","device_id":"D","expires_in_ms":300000,"refresh_token":"r"}"#;
        let refresh = r#"{"access_token":"syt_1","refresh_token":"r","expires_in_ms":300000}"#;
        let caller = Some(Caller::new("@a:b", Some("D"), CallerKind::User));
        let minutes = Some(Duration::from_secs(300));
        let table = [(login, caller.clone(), None), (limited, caller, minutes), (refresh, None, minutes)];
        for (body, caller, valid_for) in table {
            let grant = Grant::read(body.as_bytes()).unwrap();
            assert_eq!(grant.token().expose(), "syt_1");
            assert_eq!((grant.caller(), grant.valid_for()), (caller, valid_for), "{body}");
        }
        for body in ["", "{}", r#"{"user_id":"@a:b"}"#, r#"{"access_token":1}"#] {
            assert!(Grant::read(body.as_bytes()).is_none(), "{body}");
        }
    }
}
