//! What a decision at the edge may know of a request: its head, however it was read.

use http::Method;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, TRANSFER_ENCODING};

use super::Headers;
use crate::endpoint::Endpoint;
use crate::query::query_value;

/// A request's head.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'head> {
    /// The method.
    pub method: &'head Method,
    /// The path, as it was sent.
    pub path: &'head str,
    /// The query, as it was sent.
    pub query: Option<&'head str>,
    /// The headers.
    pub headers: Headers<'head>,
    /// What it was classified as.
    pub endpoint: Endpoint,
}

impl Asked<'_> {
    /// How long the body is that was announced; `None` where only its end will tell.
    pub fn body_bytes(&self) -> Option<u64> {
        if self.headers.first(&TRANSFER_ENCODING).is_some() {
            return None;
        }
        match self.headers.first(&CONTENT_LENGTH) {
            None => Some(0),
            Some(length) => std::str::from_utf8(length).ok()?.trim().parse().ok(),
        }
    }

    /// Whether anything stands where Synapse looks for an access token: a header, whatever is in it, or a parameter
    /// of the query (Synapse, `api/auth/base.py`, `has_access_token`).
    pub fn has_credentials(&self) -> bool {
        self.headers.first(&AUTHORIZATION).is_some() || self.has_token_in_query()
    }

    /// Whether the query has a parameter `access_token`, even an empty one.
    pub fn has_token_in_query(&self) -> bool {
        self.query.is_some_and(|query| query_value(query, "access_token").is_some())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use http::HeaderMap;
    use http::header::HeaderName;

    use super::*;
    use crate::endpoint::Endpoints;

    /// Lines of headers.
    pub(crate) type Lines = [(&'static str, &'static str)];

    /// Decides on a request that is written as a method and a target, and lines of headers.
    pub(crate) fn ask<T>(line: &str, headers: &[(&str, &str)], decide: impl FnOnce(&Asked<'_>) -> T) -> T {
        let (method, target) = line.split_once(' ').unwrap();
        let method: Method = method.parse().unwrap();
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let endpoint = Endpoints::new().classify(&method, path, query);
        decide(&Asked { method: &method, path, query, headers: Headers::Map(&map), endpoint })
    }

    #[test]
    fn a_body_is_as_long_as_it_was_announced() {
        let table: [(&Lines, Option<u64>); 6] = [
            (&[], Some(0)),
            (&[("content-length", "0")], Some(0)),
            (&[("content-length", "12")], Some(12)),
            (&[("content-length", "x")], None),
            (&[("transfer-encoding", "chunked")], None),
            (&[("content-length", "0"), ("transfer-encoding", "chunked")], None),
        ];
        for (headers, expected) in table {
            assert_eq!(ask("POST /", headers, |asked| asked.body_bytes()), expected, "{headers:?}");
        }
    }

    #[test]
    fn credentials_are_seen_wherever_synapse_looks() {
        let table: [(&str, &Lines, bool); 8] = [
            ("GET /", &[], false),
            ("GET /?access_token", &[], false),
            ("GET /?xaccess_token=a", &[], false),
            ("GET /?access_token=", &[], true),
            ("GET /?a=b;access%5ftoken=c", &[], true),
            ("GET /", &[("authorization", "Bearer a")], true),
            ("GET /", &[("authorization", "")], true),
            ("GET /", &[("authorization", "nonsense")], true),
        ];
        for (line, headers, expected) in table {
            assert_eq!(ask(line, headers, |asked| asked.has_credentials()), expected, "{line} {headers:?}");
        }
    }
}
