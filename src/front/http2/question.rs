//! What is plain about a request over HTTP/2: the same as over HTTP/1, once its host stands where HTTP/1.1 has it. Pure.

use http::Version;
use http::header::{HOST, HeaderValue};
use pingora_http::RequestHeader;

use crate::answer::{Head, Headers, malformed};
use crate::front::decision::plain;

/// How long the body of a plain request is, and the head with its host in its place. `None` for any other.
pub(super) fn settle(head: &mut RequestHeader) -> Option<usize> {
    if malformed(Head::parsed(head, head.raw_path(), None)).is_some() {
        return None;
    }
    let authority = head.uri.authority()?.as_str();
    let mut hosts = head.headers.get_all(HOST).iter().map(HeaderValue::as_bytes);
    match hosts.next() {
        Some(host) if host == authority.as_bytes() && hosts.next().is_none() => {}
        Some(_) => return None,
        None => {
            let host = HeaderValue::from_str(authority).ok()?;
            head.insert_header(HOST, host).ok()?;
        }
    }
    Some(plain(&as_http1(head))?.body_bytes)
}

/// The head as HTTP/1.1 has it.
pub(super) fn as_http1(head: &RequestHeader) -> Head<'_> {
    Head {
        method: head.method.as_str(),
        target: head.raw_path(),
        version: Version::HTTP_11,
        headers: Headers::Map(&head.headers),
        raw: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::relay::SHORT_BODY_BYTES_MAX;

    /// The length of the body of a plain request, and the `Host` that it has then.
    fn settled(method: &str, uri: &str, headers: &[(&'static str, &'static str)]) -> Option<(usize, String)> {
        let mut head = RequestHeader::build(method, b"/x", None).unwrap();
        head.set_uri(uri.parse().unwrap());
        head.set_version(Version::HTTP_2);
        for (name, value) in headers {
            head.append_header(*name, *value).unwrap();
        }
        let length = settle(&mut head)?;
        let hosts: Vec<_> = head.headers.get_all(HOST).iter().collect();
        assert_eq!((hosts.len(), as_http1(&head).target), (1, &b"/x?a=b"[..]));
        Some((length, hosts[0].to_str().unwrap().to_owned()))
    }

    const URI: &str = "https://a:8448/x?a=b";

    #[test]
    fn a_host_is_the_authority() {
        let plain = Some((0, "a:8448".to_owned()));
        assert_eq!(settled("GET", URI, &[]), plain);
        assert_eq!(settled("HEAD", URI, &[("host", "a:8448"), ("accept", "*/*")]), plain);
        assert_eq!(settled("OPTIONS", URI, &[]), plain);
        assert_eq!(settled("GET", URI, &[("host", "b")]), None);
        assert_eq!(settled("GET", URI, &[("host", "a:8448"), ("host", "a:8448")]), None);
        assert_eq!(settled("GET", "https://u@a:8448/x?a=b", &[]), None);
        assert_eq!(settled("GET", "/x?a=b", &[]), None);
    }

    #[test]
    fn what_is_unusual_is_not_plain() {
        for header in [("expect", "100-continue"), ("transfer-encoding", "chunked"), ("upgrade", "websocket")] {
            assert_eq!(settled("GET", URI, &[header]), None, "{header:?}");
        }
        let most: &'static str = SHORT_BODY_BYTES_MAX.to_string().leak();
        let more: &'static str = (SHORT_BODY_BYTES_MAX + 1).to_string().leak();
        let table: [(&str, &[&'static str], Option<usize>); 12] = [
            ("GET", &["0"], None),
            ("DELETE", &[], None),
            ("PUT", &["2"], Some(2)),
            ("POST", &[most], Some(SHORT_BODY_BYTES_MAX)),
            ("POST", &[more], None),
            ("POST", &["0"], Some(0)),
            ("POST", &[], None),
            ("POST", &["2", "2"], None),
            ("POST", &["02"], None),
            ("POST", &["+2"], None),
            ("POST", &["two"], None),
            ("CONNECT", &[], None),
        ];
        for (method, lengths, expected) in table {
            let headers: Vec<_> = lengths.iter().map(|length| ("content-length", *length)).collect();
            assert_eq!(settled(method, URI, &headers).map(|(length, _)| length), expected, "{method} {lengths:?}");
        }
    }
}
