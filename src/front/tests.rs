//! The front and Pingora read the same: whatever passes is the same head to Pingora's session, and ends where the front
//! says. Heads and bodies are put together of good and bad parts at random.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::agreement::{Outcome, play};

/// What stands behind a request.
const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n";

/// What becomes of bytes. Panics where the two disagree.
fn played(bytes: &[u8]) -> Outcome {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(play(bytes)).unwrap()
}

fn lines() -> impl Strategy<Value = String> {
    let methods = select(vec!["GET", "POST", "OPTIONS", "CONNECT", "get", "G@T", ""]);
    let targets = select(vec![
        "/",
        "/a?b",
        "*",
        "http://a/b",
        "http://b/",
        "//a",
        "/a%00",
        "/a b",
        "/a#b",
        "/\u{e4}",
        "a",
        "/\"",
        "/[",
        "https://a",
        "http://a:1/?",
        "HTTP://a/",
        "/a\u{7f}",
        "http:///",
        "http://a\\b/",
    ]);
    let versions = select(vec!["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "http/1.1"]);
    (methods, targets, versions).prop_map(|(method, target, version)| format!("{method} {target} {version}"))
}

fn headers() -> impl Strategy<Value = Vec<&'static str>> {
    let odd = select(vec![
        "Content-Length: 5",
        "Content-Length: 05",
        "content-length:\t5 ",
        "Content-Length: 0",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length:",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: CHUNKED",
        "transfer-encoding: gzip, chunked",
        "Transfer-Encoding: identity",
        "Transfer_Encoding: chunked",
        "Host: b",
        "Connection: close",
        "Connection: keep-alive",
        "Expect: 100-continue",
        "Upgrade: websocket",
        "X: \u{e4}",
        "X:",
        "X : a",
        " folded",
        "X: a\rb",
        "X: a\nY: b",
    ]);
    vec(odd, 0..4)
}

fn bodies() -> impl Strategy<Value = String> {
    let parts = select(vec![
        "5\r\nhello\r\n",
        "0\r\n\r\n",
        "hello",
        "\r\n",
        "5",
        "0",
        "\n",
        ";a=b",
        "X: y\r\n",
        "00005\r\nworld\r\n",
        "G",
        "a\r\n",
    ]);
    vec(parts, 0..5).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn what_passes_is_the_same_to_pingora(line in lines(), more in headers(), body in bodies(), cut in 0_usize..40) {
        let mut bytes = [&[line.as_str(), "Host: a"][..], &more, &["", &body]].concat().join("\r\n").into_bytes();
        bytes.extend_from_slice(NEXT);
        played(&bytes);
        // A byte less somewhere makes another head of it.
        bytes.remove(cut.min(bytes.len() - 1));
        played(&bytes);
    }

    #[test]
    fn a_good_request_ends_where_the_next_begins(sizes in vec(1_usize..5000, 0..5), is_chunked: bool) {
        let data = |size: &usize| "x".repeat(*size);
        let (header, body) = if is_chunked {
            let chunks: String = sizes.iter().map(|size| format!("{size:x}\r\n{}\r\n", data(size))).collect();
            ("Transfer-Encoding: chunked".to_owned(), format!("{chunks}0\r\n\r\n"))
        } else {
            let body: String = sizes.iter().map(data).collect();
            (format!("Content-Length: {}", body.len()), body)
        };
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n{body}");
        prop_assert_eq!(played(&[request.as_bytes(), NEXT].concat()), Outcome::Next(NEXT.to_vec()));
    }
}
