//! Who is behind a token.

use std::sync::Arc;

/// Who is behind a token, as Synapse's answer to `/account/whoami` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user id with the device id behind it: one allocation for both.
    ids: Arc<str>,
    user_bytes: u32,
    has_device: bool,
    kind: CallerKind,
}

/// What kind of user is behind a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerKind {
    /// Somebody with an account.
    User,
    /// A guest.
    Guest,
}

impl Caller {
    /// A caller; application services and tokens of administrators have no device.
    pub fn new(user_id: &str, device_id: Option<&str>, kind: CallerKind) -> Self {
        let ids = [user_id, device_id.unwrap_or_default()].concat().into();
        let user_bytes = u32::try_from(user_id.len()).unwrap_or(u32::MAX);
        Caller { ids, user_bytes, has_device: device_id.is_some(), kind }
    }

    /// The user id.
    pub fn user_id(&self) -> &str {
        self.ids.get(..self.user_bytes as usize).unwrap_or_default()
    }

    /// The device id, if there is one.
    pub fn device_id(&self) -> Option<&str> {
        self.ids.get(self.user_bytes as usize..).filter(|_| self.has_device)
    }

    /// What kind of user it is.
    pub fn kind(&self) -> CallerKind {
        self.kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_tells_its_parts() {
        for device in [None, Some(""), Some("D")] {
            let caller = Caller::new("@a:b", device, CallerKind::Guest);
            assert_eq!((caller.user_id(), caller.device_id(), caller.kind()), ("@a:b", device, CallerKind::Guest));
        }
    }
}
