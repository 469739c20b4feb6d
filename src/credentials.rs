//! What a request carries to say who sends it: a user's access token, or another server's name.
//!
//! A token is held only while its request is looked at; it is never stored, logged or formatted. Not here: whose an
//! opaque token is, which only Synapse knows.

use std::borrow::Cow;
use std::fmt;

use crate::query::query_value;

/// An access token as the client sent it. Its `Debug` never shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken<'request>(Cow<'request, str>);

impl<'request> AccessToken<'request> {
    /// The token of a request: from its `Authorization` header, else from the query's `access_token`. `None` if there
    /// is none. Synapse refuses a request with both; which one is taken here then does not matter, because the token
    /// only chooses a process.
    pub fn of_request(authorization: Option<&'request [u8]>, query: Option<&'request str>) -> Option<Self> {
        if let Some(value) = authorization {
            return visible(value)?.strip_prefix("Bearer ").map(|token| AccessToken(Cow::Borrowed(token)));
        }
        query_value(query?, "access_token").map(AccessToken)
    }

    /// A token that was found where Synapse looks for it.
    pub fn new(token: Cow<'request, str>) -> Self {
        AccessToken(token)
    }

    /// The token itself, for whoever asks Synapse about it. Nothing that is written anywhere may be made of it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether the token itself tells whose it is.
    pub fn names_user(&self) -> bool {
        self.encoded_user().is_some()
    }

    /// What requests of one user have in common: the user in the token where the token names it, else the token.
    pub fn user_key(&self) -> &[u8] {
        self.encoded_user().unwrap_or(&self.0).as_bytes()
    }

    /// The user's localpart as it stands in a token that Synapse made, still in unpadded base64. A token is
    /// `syt_<localpart>_<random>_<checksum>` (Synapse, `handlers/auth.py`, `generate_access_token`).
    fn encoded_user(&self) -> Option<&str> {
        let rest = self.0.strip_prefix("syt_")?;
        let (user, rest) = rest.split_once('_')?;
        (!user.is_empty() && rest.contains('_')).then_some(user)
    }
}

impl fmt::Debug for AccessToken<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AccessToken(…)")
    }
}

/// The server that a federation request says it comes from: the `origin` of its `X-Matrix` authorization, with or
/// without quotes (Matrix server-server API, "Request Authentication").
pub fn origin(authorization: &[u8]) -> Option<&str> {
    let (scheme, parameters) = visible(authorization)?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("X-Matrix") {
        return None;
    }
    parameters.split(',').find_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        let value = value.trim().trim_matches('"');
        (name.trim().eq_ignore_ascii_case("origin") && !value.is_empty()).then_some(value)
    })
}

/// A header's value, if nothing is in it that cannot be seen.
fn visible(value: &[u8]) -> Option<&str> {
    let is_visible = value.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    std::str::from_utf8(value).ok().filter(|_| is_visible)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(header: Option<&str>, query: Option<&str>) -> Option<String> {
        let token = AccessToken::of_request(header.map(str::as_bytes), query)?;
        Some(String::from_utf8(token.user_key().to_vec()).unwrap())
    }

    #[test]
    fn the_key_is_the_user_where_the_token_names_it() {
        let table = [
            (Some("Bearer syt_YWxpY2U_random_0sum"), None, Some("YWxpY2U")),
            (Some("Bearer syt_YWxpY2U_other_1sum"), None, Some("YWxpY2U")),
            (None, Some("access_token=syt_YWxpY2U_random_0sum"), Some("YWxpY2U")),
            (None, Some("a=b&access%5Ftoken=opaque%21"), Some("opaque!")),
            (Some("Bearer mct_opaque"), None, Some("mct_opaque")),
            (Some("Bearer syt_"), None, Some("syt_")),
            (Some("Bearer syt__x_y"), None, Some("syt__x_y")),
            (Some("Basic abc"), None, None),
            (Some("Bearer mäx"), None, None),
            (None, Some("since=s1"), None),
            (None, None, None),
        ];
        for (header, query, expected) in table {
            assert_eq!(key(header, query).as_deref(), expected, "{header:?} {query:?}");
        }
    }

    #[test]
    fn a_token_does_not_show_itself() {
        assert_eq!(format!("{:?}", AccessToken(Cow::Borrowed("secret"))), "AccessToken(…)");
    }

    #[test]
    fn origins_are_read_as_the_specification_writes_them() {
        let table = [
            (r#"X-Matrix origin="a.example",destination="b.example",key="ed25519:1",sig="x""#, Some("a.example")),
            ("X-Matrix origin=a.example,key=\"ed25519:1\",sig=\"x\"", Some("a.example")),
            ("x-matrix  destination=\"b\" , origin=\"a.example:8448\"", Some("a.example:8448")),
            ("X-Matrix key=\"ed25519:1\"", None),
            ("X-Matrix origin=\"\"", None),
            ("Bearer origin=a", None),
            ("X-Matrix", None),
        ];
        for (value, expected) in table {
            assert_eq!(origin(value.as_bytes()), expected, "{value}");
        }
    }
}
