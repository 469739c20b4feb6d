//! The balancing key of a request: a number that is equal for requests that belong together.
//!
//! Keys are made of decoded bytes, so that every percent-encoding of a room id gives the same key. They are stable
//! across processes and versions of dendron: several edges in front of one Synapse choose alike.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::credentials::{AccessToken, origin};
use crate::endpoint::{Endpoint, segment};

use super::rules::KeyKind;

/// A balancing key. It says which requests belong together and nothing else about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(u64);

impl Key {
    /// The key of some bytes.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Key(xxh3_64(bytes))
    }

    /// The key of a user: the same that a token of the user's has which names the user itself.
    pub fn of_user(user_id: &str) -> Self {
        let localpart = user_id.strip_prefix('@').unwrap_or(user_id);
        let localpart = localpart.split_once(':').map_or(localpart, |(localpart, _)| localpart);
        Key::of_bytes(STANDARD_NO_PAD.encode(localpart).as_bytes())
    }

    /// This key's rank for somebody who is known by `seed`: the process with the highest rank serves the key
    /// (rendezvous hashing), so that one that comes or goes moves only its own share.
    pub fn rank(self, seed: u64) -> u64 {
        xxh3_64_with_seed(&self.0.to_le_bytes(), seed)
    }
}

/// The key of a request, or `None` where the class has none or the request does not carry one. `of_token` is the key of
/// the user behind a token that does not name its user, if that is known; `authorization` is the header of that name.
pub fn key_of(
    kind: KeyKind,
    endpoint: &Endpoint,
    path: &str,
    query: Option<&str>,
    authorization: Option<&[u8]>,
    of_token: impl Fn(&AccessToken<'_>) -> Option<Key>,
) -> Option<Key> {
    match kind {
        KeyKind::LeastBusy => None,
        KeyKind::User => {
            let token = AccessToken::of_request(authorization, query)?;
            let known = if token.names_user() { None } else { of_token(&token) };
            Some(known.unwrap_or_else(|| Key::of_bytes(token.user_key())))
        }
        KeyKind::Origin => origin(authorization?).map(|origin| Key::of_bytes(origin.as_bytes())),
        KeyKind::Room | KeyKind::Media => {
            let text = endpoint.subject.span()?.of(path);
            Some(Key::of_bytes(&segment::decoded(text)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of a sync with this token, given who is behind the token `known`.
    fn key_of_sync(token: &str) -> Option<Key> {
        let endpoint = crate::endpoint::Endpoints::new().classify(&http::Method::GET, "/_matrix/client/v3/sync", None);
        let value = format!("Bearer {token}");
        let of_token = |token: &AccessToken<'_>| (token.expose() == "known").then(|| Key::of_user("@alice:a.example"));
        key_of(KeyKind::User, &endpoint, "/_matrix/client/v3/sync", None, Some(value.as_bytes()), of_token)
    }

    #[test]
    fn every_token_of_a_user_has_one_key_once_the_user_is_known() {
        let alice = key_of_sync("syt_YWxpY2U_random_0sum");
        assert_eq!(alice, Some(Key::of_user("@alice:a.example")));
        assert_eq!(key_of_sync("known"), alice);
        assert_eq!(key_of_sync("unknown"), Some(Key::of_bytes(b"unknown")));
    }

    #[test]
    fn ranks_spread_keys_evenly() {
        let seeds = ["a", "b", "c", "d"].map(|name| xxh3_64(name.as_bytes()));
        let mut shares = [0_u32; 4];
        for number in 0..10_000_u32 {
            let key = Key::of_bytes(&number.to_le_bytes());
            let best = (0..4).max_by_key(|place| key.rank(seeds[*place])).unwrap();
            shares[best] += 1;
        }
        assert!(shares.iter().all(|share| (2_300..2_700).contains(share)), "{shares:?}");
    }
}
