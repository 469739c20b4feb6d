//! Tests of [`super`].

use super::*;
use crate::answer::asked::tests::{Lines, ask as with};

const BEARER: (&str, &str) = ("authorization", "Bearer syt_a");

/// What a request asks for, in a form that can be compared.
fn read(
    line: &str,
    headers: &[(&str, &str)],
    body: Option<&[u8]>,
) -> Result<(String, String, u64, SetPresence), Unfit> {
    with(line, headers, |asked| {
        let protocol = Protocol::of(asked.endpoint).expect("a sync");
        let ask = ask(protocol, asked, body)?;
        let timeout = u64::try_from(ask.timeout.as_millis()).unwrap();
        Ok((ask.token.expose().to_owned(), ask.since.into(), timeout, ask.set_presence))
    })
}

fn likeness(line: &str, body: Option<&[u8]>) -> Likeness {
    let length = body.map_or(0, <[u8]>::len).to_string();
    let headers = [BEARER, ("content-length", length.as_str())];
    with(line, &headers, |asked| ask(Protocol::of(asked.endpoint).unwrap(), asked, body).unwrap().likeness)
}

#[test]
fn only_syncs_are_looked_at() {
    let table = [
        ("GET /_matrix/client/v3/sync?since=s1", Some(Protocol::Sync)),
        ("GET /_matrix/client/r0/sync", Some(Protocol::Sync)),
        ("GET /_matrix/client/unstable/sync?since=s1&full_state=true", Some(Protocol::Sync)),
        ("POST /_matrix/client/unstable/org.matrix.simplified_msc3575/sync", Some(Protocol::Sliding)),
        ("GET /_matrix/client/v3/events?from=s1", None),
        ("GET /_matrix/client/v3/initialSync", None),
        ("GET /_matrix/client/v1/sync", None),
        ("GET /_matrix/client/versions", None),
    ];
    for (line, expected) in table {
        assert_eq!(with(line, &[], |asked| Protocol::of(asked.endpoint)), expected, "{line}");
    }
}

#[test]
fn a_plain_sync_is_read() {
    use SetPresence::{Offline, Online, Unavailable};
    let table = [
        ("since=s1_2&timeout=30000", 30_000, Online),
        ("timeout=0&since=s1_2&filter=0&set_presence=offline", 0, Offline),
        ("set_presence=unavailable&timeout=120000&since=s1%5F2&full_state=false", 120_000, Unavailable),
        ("filter=%7B%22room%22:1%7D&timeout=00000030&%73ince=s1_2&pos=4", 30, Online),
    ];
    for (query, timeout, presence) in table {
        let line = format!("GET /_matrix/client/v3/sync?{query}");
        let expected = Ok(("syt_a".to_owned(), "s1_2".to_owned(), timeout, presence));
        assert_eq!(read(&line, &[BEARER], None), expected, "{query}");
        let line = format!("{line}&access_token=syt_a");
        assert_eq!(read(&line, &[], None), expected, "{line}");
    }
}

#[test]
fn whatever_is_odd_is_forwarded_and_says_why() {
    use Unfit::*;
    let table: [(&str, &Lines, Unfit); 32] = [
        ("", &[BEARER], Initial),
        ("timeout=30000", &[BEARER], Initial),
        ("timeout=30000&since=", &[BEARER], Initial),
        ("since=s1", &[BEARER], NoTimeout),
        ("since=s1&timeout", &[BEARER], NoTimeout),
        ("since=s1&timeout=", &[BEARER], OddQuery),
        ("since=s1&timeout=-1", &[BEARER], OddQuery),
        ("since=s1&timeout=+5", &[BEARER], OddQuery),
        ("since=s1&timeout=5.0", &[BEARER], OddQuery),
        ("since=s1&timeout=9999999999", &[BEARER], OddQuery),
        ("since=s1&timeout=120001", &[BEARER], LongTimeout),
        ("since=s1&timeout=1&timeout=2", &[BEARER], OddQuery),
        ("since=s1&since=s2&timeout=1", &[BEARER], OddQuery),
        ("since=s%201&timeout=1", &[BEARER], OddQuery),
        ("since=%C3%A9&timeout=1", &[BEARER], OddQuery),
        ("since=s1&timeout=1&full_state=true", &[BEARER], FullState),
        ("since=s1&timeout=1&full_state=1", &[BEARER], FullState),
        ("since=s1&timeout=1&from=s1", &[BEARER], OddQuery),
        ("since=s1&timeout=1&set_presence=busy", &[BEARER], OddQuery),
        ("since=s1&timeout=1&set_presence=online&set_presence=offline", &[BEARER], OddQuery),
        ("since=s1&timeout=1&user_id=@a:b", &[BEARER], Masquerade),
        ("since=s1&timeout=1&device_id=A", &[BEARER], Masquerade),
        ("since=s1&timeout=1&org.matrix.msc3202.device_id=A", &[BEARER], Masquerade),
        ("since=s1&timeout=1", &[], OddToken),
        ("since=s1&timeout=1", &[("authorization", "Basic a")], OddToken),
        ("since=s1&timeout=1", &[("authorization", "Bearer ")], OddToken),
        ("since=s1&timeout=1", &[("authorization", "Bearer a b")], OddToken),
        ("since=s1&timeout=1", &[BEARER, BEARER], OddToken),
        ("since=s1&timeout=1&access_token=syt_a", &[BEARER], OddToken),
        ("since=s1&timeout=1&access_token=a&access_token=b", &[], OddQuery),
        ("since=s1&timeout=1", &[BEARER, ("content-length", "2")], OddBody),
        ("since=s1&timeout=1", &[BEARER, ("transfer-encoding", "chunked")], OddBody),
    ];
    for (query, headers, reason) in table {
        let line = format!("GET /_matrix/client/v3/sync?{query}");
        assert_eq!(read(&line, headers, None), Err(reason), "{query} {headers:?}");
    }
    assert_eq!(read("HEAD /_matrix/client/v3/sync?since=s1&timeout=1", &[BEARER], None), Err(OtherMethod));
}

#[test]
fn a_sliding_sync_is_read_with_its_body() {
    let line = "POST /_matrix/client/unstable/org.matrix.simplified_msc3575/sync?pos=1/s1_2&timeout=30000";
    let headers = [BEARER, ("content-length", "2")];
    let expected = ("syt_a".to_owned(), "1/s1_2".to_owned(), 30_000, SetPresence::Offline);
    assert_eq!(read(line, &headers, Some(b"{}")), Ok(expected));
    assert_eq!(read(line, &headers, Some(b"[]")), Err(Unfit::OddBody));
    assert_eq!(read(line, &[BEARER, ("content-length", "65537")], Some(b"{}")), Err(Unfit::OddBody));
    assert_eq!(read(line, &[BEARER, ("transfer-encoding", "chunked")], Some(b"{}")), Err(Unfit::OddBody));
    let since = br#"{"extensions":{"to_device":{"since":"5"}}}"#;
    let without = br#"{"extensions":{"to_device":{}}}"#;
    let to_device = |body: &'static [u8]| {
        with(line, &headers, |asked| ask(Protocol::Sliding, asked, Some(body)).unwrap().to_device_since)
    };
    assert_eq!((to_device(since).as_deref(), to_device(without)), (Some("5"), None));
    assert_eq!(likeness(line, Some(since)), likeness(line, Some(without)));
    assert_ne!(likeness(line, Some(since)), likeness(line, Some(b"{}")));
}

#[test]
fn requests_are_alike_but_for_position_and_timeout() {
    let path = "GET /_matrix/client/v3/sync";
    let plain = likeness(&format!("{path}?since=s1&timeout=1&filter=0"), None);
    for same in ["since=s2&timeout=1&filter=0", "filter=0&since=s1&timeout=5", "%73ince=s1&timeout=1&filter=0"] {
        assert_eq!(likeness(&format!("{path}?{same}"), None), plain, "{same}");
    }
    for other in ["since=s1&timeout=1&filter=1", "since=s1&timeout=1", "since=s1&timeout=1&filter=0&x=y"] {
        assert_ne!(likeness(&format!("{path}?{other}"), None), plain, "{other}");
    }
    let path = "GET /_matrix/client/r0/sync";
    assert_ne!(likeness(&format!("{path}?since=s1&timeout=1&filter=0"), None), plain);
}

#[test]
fn a_guise_is_address_agent_and_presence() {
    let one = "192.0.2.1".parse().ok();
    let guise =
        |headers: &[(&str, &str)], client, presence| with("GET /", headers, |asked| guise(asked, client, presence));
    let plain = guise(&[("user-agent", "a")], one, SetPresence::Online);
    assert_eq!(guise(&[("user-agent", "a"), ("x", "y")], one, SetPresence::Online), plain);
    assert_ne!(guise(&[("user-agent", "b")], one, SetPresence::Online), plain);
    assert_ne!(guise(&[("accept-encoding", "a")], one, SetPresence::Online), plain);
    assert_ne!(guise(&[("user-agent", "a")], "192.0.2.2".parse().ok(), SetPresence::Online), plain);
    assert_ne!(guise(&[("user-agent", "a")], one, SetPresence::Offline), plain);
    assert_ne!(guise(&[("user-agent", "a"), ("accept-encoding", "gzip")], one, SetPresence::Online), plain);
}

#[test]
fn no_token_is_shown() {
    let line = "GET /_matrix/client/v3/sync?since=s1&timeout=1&access_token=syt_secret";
    let shown = with(line, &[], |asked| format!("{:?}", ask(Protocol::Sync, asked, None).unwrap()));
    assert!(!shown.contains("secret"), "{shown}");
}
