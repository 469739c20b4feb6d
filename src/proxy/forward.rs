//! What is changed in a request's head on its way to Synapse: who the client is, how it came, and its name.
//!
//! The request target, `Host` and everything else stay as they came: federation signatures cover the target.

use std::io::Write;
use std::time::Duration;

use http::{HeaderName, header};
use pingora_core::Result;
use pingora_http::RequestHeader;

use crate::answer::{Head, Headers};
use crate::exchange::Exchange;
use crate::query::stands_for;

/// The header that carries a request's name, as `request_id_header` of a Synapse listener can read it.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the own headers of a rewritten head have room in.
const ROOM_FOR_OWN: usize = 160;

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const X_FORWARDED_PROTO: &str = "x-forwarded-proto";

/// Headers by which proxies describe a client. Whatever came in them is the word of a stranger, so it ends here.
const DESCRIPTIONS: [&str; 9] = [
    X_FORWARDED_FOR,
    "forwarded",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-server",
    "x-forwarded-prefix",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
];

/// Rewrites the head for Synapse. `encrypted` says whether the client's connection to dendron is; `trusted`, whether
/// the peer is a proxy whose word is taken on that.
pub(super) fn rewrite(request: &mut RequestHeader, exchange: &Exchange, encrypted: bool, trusted: bool) -> Result<()> {
    let scheme = scheme(Headers::Map(&request.headers), encrypted, trusted);
    for name in DESCRIPTIONS {
        request.remove_header(&HeaderName::from_static(name));
    }
    if let Some(client) = exchange.client {
        request.insert_header(X_FORWARDED_FOR, client.to_string())?;
    }
    request.insert_header(X_FORWARDED_PROTO, scheme)?;
    request.insert_header(X_REQUEST_ID, exchange.request_id.to_string())?;
    Ok(())
}

/// A request with a plain head as Synapse gets it, in its bytes: the head rewritten in the same way, and the body.
pub(super) fn rewritten(head: &Head<'_>, body: &[u8], exchange: &Exchange, encrypted: bool, trusted: bool) -> Vec<u8> {
    let cookies = joined_cookies(head.headers);
    let is_replaced = |name: &str| {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        is(X_REQUEST_ID.as_str())
            || is(header::CONNECTION.as_str())
            || (cookies.is_some() && is(header::COOKIE.as_str()))
            || DESCRIPTIONS.into_iter().any(is)
    };
    let head_bytes = head.raw.map_or_else(|| head.target.len() + 2 * head.headers.sizes(), <[u8]>::len);
    let mut bytes = Vec::with_capacity(head_bytes + ROOM_FOR_OWN + body.len());
    for part in [head.method.as_bytes(), b" ", head.target, b" HTTP/1.1\r\n"] {
        bytes.extend_from_slice(part);
    }
    let mut put = |name: &str, value: &[u8]| {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    };
    head.headers.for_each(|name, value| {
        if !is_replaced(name) {
            put(name, value);
        }
    });
    if let Some(cookies) = &cookies {
        put(header::COOKIE.as_str(), cookies);
    }
    // Writing into memory cannot fail.
    if let Some(client) = exchange.client {
        let _ = write!(bytes, "{X_FORWARDED_FOR}: {client}\r\n");
    }
    let scheme = scheme(head.headers, encrypted, trusted);
    let _ = write!(bytes, "{X_FORWARDED_PROTO}: {scheme}\r\n{X_REQUEST_ID}: {}\r\n\r\n", exchange.request_id);
    bytes.extend_from_slice(body);
    bytes
}

/// How the client came, as far as it is known.
fn scheme(headers: Headers<'_>, encrypted: bool, trusted: bool) -> &'static str {
    let told = headers.first(&HeaderName::from_static(X_FORWARDED_PROTO));
    let told_https = trusted && told.is_some_and(|scheme| scheme.trim_ascii().eq_ignore_ascii_case(b"https"));
    if encrypted || told_https { "https" } else { "http" }
}

/// A request target with another `timeout`, in whole milliseconds; all else stays byte for byte.
pub(super) fn with_timeout(target: &[u8], timeout: Duration) -> Vec<u8> {
    let Some(query) = target.iter().position(|byte| *byte == b'?') else { return target.to_vec() };
    let (before, query) = target.split_at(query + 1);
    let mut rewritten = before.to_vec();
    // A pair begins behind what parts it from the one before.
    for part in query.split_inclusive(|byte| matches!(byte, b'&' | b';')) {
        let end = part.len() - usize::from(matches!(part.last(), Some(b'&' | b';')));
        let (pair, behind) = part.split_at(end);
        let name = pair.iter().position(|byte| *byte == b'=').map_or(pair, |equals| &pair[..equals]);
        if name.len() < pair.len() && std::str::from_utf8(name).is_ok_and(|name| stands_for(name, "timeout")) {
            rewritten.extend_from_slice(name);
            rewritten.extend_from_slice(format!("={}", timeout.as_millis()).as_bytes());
        } else {
            rewritten.extend_from_slice(pair);
        }
        rewritten.extend_from_slice(behind);
    }
    rewritten
}

/// Joins the cookies of an HTTP/2 request.
pub(super) fn join_cookies(request: &mut RequestHeader) -> Result<()> {
    match joined_cookies(Headers::Map(&request.headers)) {
        Some(joined) => request.insert_header(header::COOKIE, joined),
        None => Ok(()),
    }
}

/// The cookies of an HTTP/2 request, which may come in several headers there so that they compress better, and must not in
/// HTTP/1.1 (RFC 9113, 8.2.3). `None` where there are not several.
fn joined_cookies(headers: Headers<'_>) -> Option<Vec<u8>> {
    let Headers::Map(_) = headers else { return None };
    let cookies: Vec<&[u8]> = headers.all(&header::COOKIE).collect();
    (cookies.len() > 1).then(|| cookies.join(&b"; "[..]))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Instant;

    use super::*;
    use crate::endpoint::{Class, Endpoint, Subject};
    use crate::exchange::RequestId;

    fn forwarded(headers: &[(&'static str, &'static str)], client: Option<IpAddr>, trusted: bool) -> RequestHeader {
        let mut request = RequestHeader::build("GET", b"/_matrix/client/versions", None).unwrap();
        for (name, value) in headers {
            request.append_header(*name, *value).unwrap();
        }
        let endpoint = Endpoint { class: Class::ClientRead, label: "", subject: Subject::None };
        let exchange = Exchange::new(Instant::now(), RequestId::Made { process: 1, number: 2 }, endpoint, client);
        rewrite(&mut request, &exchange, false, trusted).unwrap();
        request
    }

    #[test]
    fn exactly_one_address_reaches_synapse() {
        let headers = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "7.7.7.7"), ("X-Real-IP", "6.6.6.6")];
        let request = forwarded(&headers, Some("192.0.2.1".parse().unwrap()), false);
        let values: Vec<_> = request.headers.get_all(X_FORWARDED_FOR).iter().collect();
        assert_eq!(values, ["192.0.2.1"]);
        assert!(!request.headers.contains_key("x-real-ip"));
    }

    #[test]
    fn only_a_trusted_proxy_says_that_the_client_came_by_https() {
        let headers = [("X-Forwarded-Proto", "https"), ("Forwarded", "for=6.6.6.6;proto=https")];
        let scheme = |trusted| forwarded(&headers, None, trusted).headers[X_FORWARDED_PROTO].clone();
        assert_eq!(scheme(false), "http");
        assert_eq!(scheme(true), "https");
        assert!(!forwarded(&headers, None, true).headers.contains_key("forwarded"));
    }

    #[test]
    fn cookies_become_one() {
        let table: [(&[&str], &[&str]); 4] = [
            (&[], &[]),
            (&["a=b"], &["a=b"]),
            (&["a=b", "c=d"], &["a=b; c=d"]),
            (&["a=b; c=d", "e=f", ""], &["a=b; c=d; e=f; "]),
        ];
        for (cookies, expected) in table {
            let mut request = RequestHeader::build("GET", b"/", None).unwrap();
            for cookie in cookies {
                request.append_header(header::COOKIE, *cookie).unwrap();
            }
            join_cookies(&mut request).unwrap();
            assert_eq!(request.headers.get_all(header::COOKIE).iter().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_request_of_http2_is_one_of_http1() {
        let mut request = RequestHeader::build("PUT", b"/a?b", None).unwrap();
        for (name, value) in [("host", "a"), ("cookie", "a=b"), ("x-real-ip", "6.6.6.6"), ("cookie", "c=d")] {
            request.append_header(name, value).unwrap();
        }
        let endpoint = Endpoint { class: Class::ClientRead, label: "", subject: Subject::None };
        let exchange = Exchange::new(Instant::now(), RequestId::Made { process: 1, number: 2 }, endpoint, None);
        let head = Head::parsed(&request, request.raw_path(), None);
        let text = String::from_utf8(rewritten(&head, b"{}", &exchange, true, false)).unwrap();
        let expected = "PUT /a?b HTTP/1.1\r\nhost: a\r\ncookie: a=b; c=d\r\nx-forwarded-proto: https\r\n\
                        x-request-id: 00000001-2\r\n\r\n{}";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_timeout_is_put_in_the_place_of_another() {
        let table = [
            ("/sync?since=s1&timeout=30000", "/sync?since=s1&timeout=1500"),
            ("/sync?timeout=30000&since=s1", "/sync?timeout=1500&since=s1"),
            ("/sync?%74imeout=30000;since=s%31&", "/sync?%74imeout=1500;since=s%31&"),
            ("/sync?timeout&timeout=&xtimeout=1", "/sync?timeout&timeout=1500&xtimeout=1"),
            ("/sync?filter={\"a\":1}?&timeout=3", "/sync?filter={\"a\":1}?&timeout=1500"),
            ("/sync?", "/sync?"),
            ("/sync", "/sync"),
        ];
        for (target, expected) in table {
            let rewritten = with_timeout(target.as_bytes(), Duration::from_millis(1_500));
            assert_eq!(String::from_utf8(rewritten).unwrap(), expected);
        }
    }

    #[test]
    fn the_request_is_named() {
        assert_eq!(forwarded(&[("X-Request-Id", "mine")], None, false).headers[X_REQUEST_ID], "00000001-2");
    }
}
