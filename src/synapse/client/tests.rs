//! Questions to a server that answers as each test says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const WITHIN: Duration = Duration::from_secs(5);

/// A server that gives the n-th connection the n-th list of answers, one for each request; an empty answer closes. It
/// returns its address, how many connections it has had, and what it was sent.
async fn server(scripts: Vec<Vec<&'static [u8]>>) -> (HttpPeer, Arc<AtomicUsize>, Arc<std::sync::Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = HttpPeer::new(listener.local_addr().unwrap(), false, String::new());
    let connections = Arc::new(AtomicUsize::new(0));
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (counted, written) = (Arc::clone(&connections), Arc::clone(&heard));
    tokio::spawn(async move {
        for script in scripts {
            let (stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve(stream, script, Arc::clone(&written)));
        }
    });
    (peer, connections, heard)
}

async fn serve(mut stream: TcpStream, script: Vec<&'static [u8]>, heard: Arc<std::sync::Mutex<Vec<u8>>>) {
    for answer in script {
        let mut request = vec![0; 4096];
        let read = stream.read(&mut request).await.unwrap();
        heard.lock().unwrap().extend_from_slice(&request[..read]);
        if answer.is_empty() {
            return;
        }
        stream.write_all(answer).await.unwrap();
    }
    let _ = stream.read(&mut [0; 1]).await;
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 2\r\n\r\n{}";
const CHUNKED: &[u8] =
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";

#[tokio::test]
async fn answers_come_whole_over_one_connection() {
    let (peer, connections, heard) = server(vec![vec![OK, CHUNKED, OK]]).await;
    let client = Client::default();
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_static("Bearer x"));
    let questions = [
        (Question::get("/a?b=c"), 200, "{}"),
        (Question::post("/d", headers, "body"), 404, "abcde"),
        (Question::post("/e", HeaderMap::new(), ""), 200, "{}"),
    ];
    for (question, status, body) in questions {
        let answer = client.ask(&peer, &question, WITHIN).await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (status, body.as_bytes()), "{}", question.path);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    let heard = String::from_utf8(heard.lock().unwrap().clone()).unwrap().to_ascii_lowercase();
    let expected = [
        "get /a?b=c http/1.1\r\nhost: localhost\r\n\r\n",
        "post /d http/1.1\r\nauthorization: bearer x\r\nhost: localhost\r\ncontent-length: 4\r\n\r\nbody",
        "post /e http/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n",
    ];
    assert_eq!(heard, expected.concat());
}

#[tokio::test]
async fn a_safe_question_is_asked_again_when_a_kept_connection_breaks() {
    for (question, is_repeated) in [(Question::get("/"), true), (Question::post("/", HeaderMap::new(), "x"), false)] {
        let (peer, connections, _) = server(vec![vec![OK, b""], vec![OK]]).await;
        let client = Client::default();
        client.ask(&peer, &Question::get("/first"), WITHIN).await.ok().unwrap();
        let outcome = client.ask(&peer, &question, WITHIN).await;
        assert_eq!(outcome.is_ok(), is_repeated, "{}", question.method);
        assert_eq!(connections.load(Ordering::SeqCst), if is_repeated { 2 } else { 1 });
        if let Err(error) = outcome {
            assert!(matches!(error, AskError::BrokenOff(_)) && !error.nothing_was_sent(), "{error}");
        }
    }
}

#[tokio::test]
async fn an_error_says_whether_anything_was_sent() {
    let client = Client::default();
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let nobody = HttpPeer::new(free, false, String::new());
    let error = client.ask(&nobody, &Question::get("/"), WITHIN).await.err().unwrap();
    assert!(matches!(error, AskError::NotConnected(_)) && error.nothing_was_sent(), "{error}");

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = HttpPeer::new(silent.local_addr().unwrap(), false, String::new());
    let error = client.ask(&peer, &Question::get("/"), Duration::from_millis(50)).await.err().unwrap();
    assert!(matches!(error, AskError::Silent) && !error.nothing_was_sent(), "{error}");

    let error = client.ask(&peer, &Question::get("/a b\r\n"), WITHIN).await.err().unwrap();
    assert!(!matches!(error, AskError::Silent), "{error}");
}

#[tokio::test]
async fn an_endless_body_is_not_read_to_its_end() {
    const ENDLESS: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n";
    let mut long = ENDLESS.to_vec();
    long.resize(ENDLESS.len() + BODY_BYTES_MAX + 1, b'x');
    let (peer, ..) = server(vec![vec![Vec::leak(long)]]).await;
    let error = Client::default().ask(&peer, &Question::get("/"), WITHIN).await.err().unwrap();
    assert!(matches!(error, AskError::TooLong), "{error}");
}

#[tokio::test]
async fn a_body_that_ends_early_is_no_answer() {
    let (peer, ..) = server(vec![vec![b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", b""]]).await;
    let error = Client::default().ask(&peer, &Question::get("/"), Duration::from_millis(300)).await.err().unwrap();
    assert!(matches!(error, AskError::BrokenOff(_) | AskError::Silent), "{error}");
}
