//! Questions before a process that is played, and a proxy that answers with its own name.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use http::{Response, StatusCode};
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::http::ServerSession;
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::super::desk::{Ending, Mark, Refused, Verdict};
use super::super::transport::Transport;
use super::super::{Front, WOKEN_MAX};
use super::*;
use crate::answer::Head;
use crate::listener::ClientTimes;
use crate::proxy::relay::{Connected, Peer};

/// Answers with its name.
pub(in crate::front) struct Proxy;

#[async_trait]
impl ServeHttp for Proxy {
    async fn response(&self, _session: &mut ServerSession) -> Response<Vec<u8>> {
        Response::builder().header("Content-Length", 5).body(b"proxy".to_vec()).unwrap()
    }
}

/// Has every request asked over the connections that there are (after it was held, if it begins with `/held`), and remembers
/// what became of each: its target, its status, how it ended, how long its body was.
#[derive(Default)]
pub(in crate::front) struct Books {
    connections: Mutex<Vec<(Stream, bool)>>,
    told: Mutex<Vec<(String, u16, Ended, u64)>>,
    /// Whether the connections were used before that broke.
    broken: Mutex<Vec<bool>>,
    /// What was overheard of each body.
    heard: Mutex<Vec<String>>,
}

impl Desk for Arc<Books> {
    type Held = ();

    fn may_ask(&self, _head: &Head<'_>) -> bool {
        true
    }

    fn consider(&self, head: &Head<'_>, _body: &[u8], _peer: Peer) -> Verdict<()> {
        let target = String::from_utf8(head.target.to_vec()).unwrap();
        if target.starts_with("/held") {
            return Verdict::Hold(Box::new(()));
        }
        Verdict::Relay(Box::new(Errand::sample(&target, head.method.parse().unwrap())))
    }

    async fn connect(&self, _errand: &mut Errand) -> Result<Connected, Unanswered> {
        let (stream, is_reused) = self.connections.lock().unwrap().pop().ok_or(Unanswered::Retry)?;
        Ok(Connected { stream, is_reused })
    }

    fn broke(&self, _errand: &mut Errand, is_reused: bool) -> Unanswered {
        self.broken.lock().unwrap().push(is_reused);
        if is_reused { Unanswered::Retry } else { Unanswered::Failed(Failure::BrokenOff) }
    }

    fn was_odd(&self, _errand: &mut Errand) -> Unanswered {
        Unanswered::Retry
    }

    fn answers(&self, errand: &mut Errand, status: StatusCode, head: &[u8]) {
        assert!(head.ends_with(b"\r\n\r\n"));
        errand.exchange.status = status.as_u16();
    }

    fn overhears(&self, errand: &mut Errand, part: &[u8]) {
        errand.overhears(part);
        self.hear(&String::from_utf8_lossy(part));
    }

    fn heard_out(&self, _errand: &mut Errand) {
        self.hear(" the end");
    }

    fn relayed(&self, errand: Errand, ended: Ended, stream: Option<Stream>) {
        self.tell(&errand.exchange, ended);
        self.connections.lock().unwrap().extend(stream.map(|stream| (stream, true)));
    }

    fn answered(&self, answered: Answered, _has_left: bool) {
        self.tell(&answered.exchange, answered.exchange.ended);
    }

    async fn ended(&self, (): &mut ()) -> Ending {
        Ending::Pass
    }

    fn replayed(&self, (): ()) -> Answered {
        unreachable!("nothing is held")
    }

    fn woken(&self, (): ()) -> Option<Mark> {
        None
    }

    fn question(&self, head: &Head<'_>, _peer: Peer, _mark: Option<Mark>) -> Result<Box<Errand>, Option<Mark>> {
        let target = String::from_utf8(head.target.to_vec()).unwrap();
        Ok(Box::new(Errand::sample(&target, head.method.parse().unwrap())))
    }

    fn left(&self, (): ()) {}

    fn refused(&self, _refused: Refused<'_>) {}
}

impl Books {
    /// The process at the other end of the next connection.
    pub(in crate::front) fn process(&self, is_reused: bool) -> Process {
        let (own, process) = duplex(1 << 16);
        self.connections.lock().unwrap().push((Box::new(own), is_reused));
        Process(process)
    }

    /// What was told, once so much was.
    pub(in crate::front) async fn told(&self, count: usize) -> Vec<(String, u16, Ended, u64)> {
        while self.told.lock().unwrap().len() < count {
            tokio::task::yield_now().await;
        }
        self.told.lock().unwrap().clone()
    }

    fn hear(&self, part: &str) {
        let told = self.told.lock().unwrap().len();
        let mut heard = self.heard.lock().unwrap();
        heard.resize(told + 1, String::new());
        heard[told].push_str(part);
    }

    fn tell(&self, exchange: &crate::exchange::Exchange, ended: Ended) {
        let told = (exchange.request_id.to_string(), exchange.status, ended, exchange.bytes_out);
        self.told.lock().unwrap().push(told);
    }
}

struct Scene {
    client: DuplexStream,
    books: Arc<Books>,
    turns: Arc<Semaphore>,
    _stop: watch::Sender<bool>,
}

impl Scene {
    /// A client that has room for so many bytes.
    fn with(room: usize) -> Self {
        let (server, client) = duplex(room);
        let books = Arc::new(Books::default());
        let times = ClientTimes::default();
        let front = Arc::new(Front::new(Proxy, Arc::clone(&books), times, NonZeroU32::new(100).unwrap()));
        let turns = Arc::clone(&front.woken);
        let (stop, shutdown) = watch::channel(false);
        let connection = Connection::new(front, Transport::new(Box::new(server), times.silence), shutdown);
        tokio::spawn(connection.serve());
        Scene { client, books, turns, _stop: stop }
    }

    /// One whose question goes to this process.
    async fn asking(target: &str, is_reused: bool) -> (Self, Process) {
        let mut scene = Scene::with(1 << 20);
        let process = scene.process(is_reused);
        scene.ask(target).await;
        (scene, process)
    }

    fn process(&self, is_reused: bool) -> Process {
        self.books.process(is_reused)
    }

    async fn ask(&mut self, target: &str) {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        self.client.write_all(request.as_bytes()).await.unwrap();
    }

    /// All that comes until there has been so much text in it, without the date.
    async fn hear(&mut self, end: &str) -> String {
        let mut heard = Vec::new();
        while !heard.ends_with(end.as_bytes()) {
            assert_ne!(self.client.read_buf(&mut heard).await.unwrap(), 0, "{}", String::from_utf8_lossy(&heard));
        }
        let heard = String::from_utf8(heard).unwrap();
        heard.split_inclusive("\r\n").filter(|line| !line.to_ascii_lowercase().starts_with("date:")).collect()
    }

    async fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.client.read_to_string(&mut rest).await.unwrap();
        rest
    }

    /// What was told, once something was.
    async fn told(&self) -> Vec<(String, u16, Ended, u64)> {
        self.books.told(1).await
    }

    fn kept(&self) -> usize {
        self.books.connections.lock().unwrap().len()
    }
}

/// Plays a process.
pub(in crate::front) struct Process(DuplexStream);

impl Process {
    /// Waits for a request, and answers.
    pub(in crate::front) async fn answer(&mut self, text: &str) {
        self.request().await;
        self.say(text).await;
    }

    pub(in crate::front) async fn request(&mut self) -> String {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert_ne!(self.0.read_buf(&mut request).await.unwrap(), 0);
        }
        String::from_utf8(request).unwrap()
    }

    pub(in crate::front) async fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    async fn is_closed(&mut self) -> bool {
        self.0.read_u8().await.is_err()
    }
}

const CHUNKS: &str = "5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nTrailer: z\r\n\r\n";

#[tokio::test]
async fn answers_pass_one_after_the_other_over_one_connection() {
    let (mut scene, mut process) = Scene::asking("/1", false).await;
    process.answer("HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 2\r\n\r\n{}").await;
    let expected = "HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n{}";
    assert_eq!(scene.hear("{}").await, expected);
    scene.ask("/2").await;
    process.answer(&format!("HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n{CHUNKS}")).await;
    let expected =
        "HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n".to_owned() + CHUNKS;
    assert_eq!(scene.hear("z\r\n\r\n").await, expected);
    scene.ask("/3").await;
    process.answer("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
    assert!(scene.hear("\r\n\r\n").await.contains("Connection: keep-alive\r\n"));
    let told = [("/1", 200, 2), ("/2", 404, 6), ("/3", 204, 0)];
    let told: Vec<_> = told.map(|(target, status, bytes)| (target.to_owned(), status, Ended::Complete, bytes)).into();
    assert_eq!(scene.told().await, told);
    assert_eq!(*scene.books.heard.lock().unwrap(), ["{} the end", "hello! the end", " the end"]);
    assert_eq!(scene.kept(), 0, "a connection is kept that its process ends");
}

#[tokio::test]
async fn an_answer_comes_in_pieces() {
    let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{CHUNKS}");
    for piece in [1, 2, 7, 40] {
        let (mut scene, mut process) = Scene::asking("/1", true).await;
        for part in answer.as_bytes().chunks(piece) {
            process.0.write_all(part).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert!(scene.hear("z\r\n\r\n").await.ends_with(&format!("keep-alive\r\n\r\n{CHUNKS}")), "by {piece}");
        assert_eq!((scene.told().await.len(), scene.kept()), (1, 1), "by {piece}");
    }
}

#[tokio::test]
async fn a_question_that_is_not_answered_plainly_becomes_the_proxys() {
    for (answer, is_reused, broken, expected) in [
        ("", false, &[false][..], "HTTP/1.1 502 "),
        ("", true, &[true], "proxy"),
        ("HTTP/1.1 200 OK\r\nContent-Le", false, &[false], "HTTP/1.1 502 "),
        ("HTTP/1.1 200 OK\r\n\r\nto the end", false, &[], "proxy"),
        ("HTTP/1.1 103 Early Hints\r\n\r\n", false, &[], "proxy"),
        ("nonsense\r\n\r\n", true, &[], "proxy"),
    ] {
        let (mut scene, mut process) = Scene::asking("/1", is_reused).await;
        process.answer(answer).await;
        drop(process);
        let heard = scene.hear(if expected == "proxy" { "proxy" } else { "}" }).await;
        assert!(heard.contains(expected), "{answer:?}: {heard}");
        assert_eq!(heard.matches("HTTP/1.1").count(), 1, "{answer:?}: {heard}");
        assert_eq!(*scene.books.broken.lock().unwrap(), broken, "{answer:?}");
        assert_eq!(scene.kept(), 0, "{answer:?}");
    }
    let mut scene = Scene::with(1 << 16);
    scene.ask("/no/connection").await;
    scene.hear("proxy").await;
}

#[tokio::test]
async fn a_request_ends_with_its_body() {
    let mut scene = Scene::with(1 << 16);
    let mut process = scene.process(false);
    let put = "PUT /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let get = "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    scene.client.write_all(format!("{put}{get}").as_bytes()).await.unwrap();
    for body in ["{}", "[]"] {
        process.answer(&format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{body}")).await;
        scene.hear(body).await;
    }
    let told: Vec<String> = scene.told().await.into_iter().map(|(target, ..)| target).collect();
    assert_eq!(told, ["/1", "/2"]);
    // One whose body is still to come is the proxy's.
    scene.client.write_all(&put.as_bytes()[..put.len() - 1]).await.unwrap();
    scene.hear("proxy").await;
}

#[tokio::test]
async fn what_breaks_off_breaks_off_for_the_client() {
    for (answer, bytes) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", 5),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello", 5),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello", 0),
    ] {
        let (mut scene, mut process) = Scene::asking("/1", false).await;
        process.answer(answer).await;
        drop(process);
        let rest = scene.rest().await;
        assert!(rest.starts_with("HTTP/1.1 200 OK\r\n") && !rest.ends_with("0\r\n\r\n"), "{rest}");
        assert_eq!(scene.told().await, [("/1".to_owned(), 200, Ended::BrokenOff, bytes)], "{answer:?}");
    }
}

#[tokio::test]
async fn what_a_process_says_beyond_its_answer_is_nobodys() {
    let (mut scene, mut process) = Scene::asking("/1", false).await;
    process.answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n\r\n").await;
    assert_eq!(scene.hear("{}").await.matches("HTTP/1.1").count(), 1);
    assert_eq!((scene.told().await.len(), scene.kept()), (1, 0));
    assert!(process.is_closed().await);
}

#[tokio::test]
async fn a_client_that_goes_leaves_nothing_under_way() {
    for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"] {
        let (mut scene, mut process) = Scene::asking("/1", false).await;
        process.answer(answer).await;
        if !answer.is_empty() {
            scene.hear("hello").await;
        }
        scene.client.shutdown().await.unwrap();
        let told = scene.told().await;
        assert_eq!((told.len(), told[0].2), (1, Ended::ClientGone), "{answer:?}");
        assert!(process.is_closed().await, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_has_so_much_time_for_each_part() {
    let begun = Instant::now();
    let (mut scene, _process) = Scene::asking("/1", false).await;
    let rest = scene.rest().await;
    assert!(rest.starts_with("HTTP/1.1 504 ") && rest.contains("Connection: close\r\n"), "{rest}");
    let told = scene.told().await;
    assert_eq!((told[0].1, told[0].2, begun.elapsed().as_secs()), (504, Ended::TimedOut, 60));
    let (mut scene, mut process) = Scene::asking("/2", false).await;
    process.answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello").await;
    assert!(scene.rest().await.ends_with("\r\n\r\nhello"));
    assert_eq!(scene.told().await, [("/2".to_owned(), 200, Ended::TimedOut, 5)]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_waited_for_and_then_cut() {
    let mut scene = Scene::with(1024);
    let mut process = scene.process(false);
    scene.ask("/1").await;
    process.answer("HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n").await;
    let mut taken = 0;
    let begun = Instant::now();
    while let Ok(count) = process.0.write(&[b'x'; 4096]).await {
        taken += count;
    }
    assert!(taken < 300_000, "{taken} bytes were taken from the process");
    assert_eq!(begun.elapsed(), ClientTimes::default().silence);
    assert_eq!(scene.told().await[0].2, Ended::ClientGone);
}

#[tokio::test]
async fn a_request_that_was_woken_is_asked_in_its_turn() {
    let (mut scene, mut process) = Scene::asking("/held", false).await;
    process.answer("").await;
    let turns = |scene: &Scene| scene.turns.available_permits();
    assert_eq!(turns(&scene), WOKEN_MAX - 1);
    process.0.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
    scene.hear("{}").await;
    assert_eq!((turns(&scene), scene.told().await.len()), (WOKEN_MAX, 1));
}

#[tokio::test]
async fn a_last_request_has_the_last_answer() {
    let (mut scene, mut process) = Scene::asking("/1", false).await;
    let last = "HEAD /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n";
    scene.client.write_all(last.as_bytes()).await.unwrap();
    for _ in 0..2 {
        process.answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    }
    let rest = scene.rest().await;
    assert_eq!(rest.matches("HTTP/1.1 200 OK").count(), 2, "{rest}");
    assert!(rest.ends_with("Connection: close\r\n\r\n"), "{rest}");
    assert_eq!(scene.told().await.len(), 2);
}
