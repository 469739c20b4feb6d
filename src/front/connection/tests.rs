//! A connection's life before a proxy that echoes and a desk that answers some, without a socket.

use std::num::NonZeroU32;
use std::sync::Mutex;

use async_trait::async_trait;
use http::{Response, StatusCode};
use pingora_core::apps::http_app::ServeHttp;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::{Semaphore, oneshot, watch};

use super::super::desk::{Answered, Desk, Ending, Mark, Refused, Verdict};
use super::*;
use crate::answer::Head;
use crate::endpoint::{Class, Endpoint, Subject};
use crate::exchange::{Ended, Exchange, RequestId};
use crate::listener::ClientTimes;
use crate::proxy;
use crate::proxy::relay::{Connected, Errand, Peer, Unanswered};
use crate::reply::Reply;

/// Answers with what it was asked.
struct Echo;

#[async_trait]
impl ServeHttp for Echo {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let head = session.req_header();
        let mut said = format!("{} {} ", head.method, head.uri).into_bytes();
        while let Ok(Some(part)) = session.read_request_body().await {
            said.extend_from_slice(&part);
        }
        let mark = session.take_connection_user_context().and_then(|mark| mark.downcast::<String>().ok());
        said.extend_from_slice(mark.map(|mark| *mark).unwrap_or_default().as_bytes());
        let answer = Response::builder().header("Content-Length", said.len());
        answer.body(said).unwrap()
    }
}

/// Answers what begins with `/known`, holds what begins with `/held`, and remembers what was answered and refused, and
/// whether it could be told; 0 is the status of one whose client went.
#[derive(Default)]
struct Notes {
    told: Mutex<Vec<(u16, Option<String>, bool)>>,
    waiting: Mutex<Vec<oneshot::Sender<Ending>>>,
}

struct Held {
    target: String,
    ending: oneshot::Receiver<Ending>,
}

fn known(method: &str, target: &str) -> Answered {
    let endpoint = Endpoint { class: Class::Unknown, label: "known", subject: Subject::None };
    let exchange = Exchange::new(Instant::now().into_std(), RequestId::Given(target.into()), endpoint, None);
    let reply = Reply { status: StatusCode::OK, headers: Arc::default(), body: target.to_owned().into() };
    Answered { exchange, method: method.parse().unwrap(), reply }
}

impl Desk for Arc<Notes> {
    type Held = Held;

    fn may_ask(&self, _head: &Head<'_>) -> bool {
        true
    }

    fn consider(&self, head: &Head<'_>, _body: &[u8], _peer: Peer) -> Verdict<Held> {
        let target = String::from_utf8(head.target.to_vec()).unwrap();
        if target.starts_with("/known") {
            return Verdict::Answer(known(head.method, &target));
        }
        if target.starts_with("/held") {
            let (end, ending) = oneshot::channel();
            self.waiting.lock().unwrap().push(end);
            return Verdict::Hold(Box::new(Held { target, ending }));
        }
        Verdict::Pass(None)
    }

    async fn ended(&self, held: &mut Held) -> Ending {
        (&mut held.ending).await.unwrap()
    }

    fn replayed(&self, held: Held) -> Answered {
        known("GET", &held.target)
    }

    fn woken(&self, _held: Held) -> Option<Mark> {
        Some(Box::new("woken".to_owned()))
    }

    fn question(&self, _head: &Head<'_>, _peer: Peer, mark: Option<Mark>) -> Result<Box<Errand>, Option<Mark>> {
        Err(mark)
    }

    fn left(&self, held: Held) {
        self.told.lock().unwrap().push((0, Some(held.target), false));
    }

    async fn connect(&self, _errand: &mut Errand) -> Result<Connected, Unanswered> {
        Err(Unanswered::Retry)
    }

    fn broke(&self, _errand: &mut Errand, _is_reused: bool) -> Unanswered {
        Unanswered::Retry
    }

    fn was_odd(&self, _errand: &mut Errand) -> Unanswered {
        Unanswered::Retry
    }

    fn answers(&self, _errand: &mut Errand, _status: StatusCode, _head: &[u8]) {}

    fn overhears(&self, _errand: &mut Errand, _part: &[u8]) {}

    fn heard_out(&self, _errand: &mut Errand) {}

    fn relayed(&self, _errand: Errand, _ended: Ended, _stream: Option<Stream>) {}

    fn answered(&self, answered: Answered, has_left: bool) {
        let target = answered.exchange.request_id.to_string();
        self.told.lock().unwrap().push((answered.reply.status.as_u16(), Some(target), has_left));
    }

    fn refused(&self, refused: Refused<'_>) {
        let target = refused.head.map(|head| head.uri.to_string());
        self.told.lock().unwrap().push((refused.failure.status().as_u16(), target, refused.sent.is_some()));
    }
}

fn front(notes: Arc<Notes>, requests: u32) -> Arc<Front<Echo, Arc<Notes>>> {
    Arc::new(Front::new(Echo, notes, ClientTimes::default(), NonZeroU32::new(requests).unwrap()))
}

struct Scene {
    client: DuplexStream,
    notes: Arc<Notes>,
    turns: Arc<Semaphore>,
    stop: watch::Sender<bool>,
}

impl Scene {
    fn begin() -> Self {
        Self::with(1 << 20, 1_000_000)
    }

    /// With room for so many bytes on the way to the client, and for so many requests.
    fn with(room: usize, requests: u32) -> Self {
        let (server, client) = duplex(room);
        let notes = Arc::new(Notes::default());
        let front = front(Arc::clone(&notes), requests);
        let turns = Arc::clone(&front.woken);
        let (stop, shutdown) = watch::channel(false);
        tokio::spawn(
            Connection::new(front, Transport::new(Box::new(server), ClientTimes::default().silence), shutdown).serve(),
        );
        Scene { client, notes, turns, stop }
    }

    async fn send(&mut self, text: &str) {
        self.client.write_all(text.as_bytes()).await.unwrap();
    }

    /// The body of the next answer.
    async fn answer(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.client.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
        let mut body = vec![0; length];
        self.client.read_exact(&mut body).await.unwrap();
        String::from_utf8(body).unwrap()
    }

    /// All that comes until the connection ends, and after how long that was.
    async fn rest(&mut self) -> (String, Duration) {
        let begun = Instant::now();
        let mut rest = String::new();
        self.client.read_to_string(&mut rest).await.unwrap();
        (rest, begun.elapsed())
    }

    /// Ends the waiting of the request that waits.
    async fn release(&self, ending: Ending) {
        loop {
            let waiting = self.notes.waiting.lock().unwrap().pop();
            match waiting {
                Some(waiting) => return waiting.send(ending).unwrap(),
                None => tokio::task::yield_now().await,
            }
        }
    }

    /// Waits until a request waits.
    async fn until_held(&self) {
        while self.notes.waiting.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until so many stories have been told.
    async fn until_noted(&self, count: usize) -> Vec<(u16, Option<String>, bool)> {
        while self.noted().len() < count {
            tokio::task::yield_now().await;
        }
        self.noted()
    }

    fn noted(&self) -> Vec<(u16, Option<String>, bool)> {
        self.notes.told.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn requests_follow_each_other_however_they_are_cut() {
    let requests = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\
                    POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
                    POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n\
                    GET /4 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n\
                    GET /5 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n\
                    GET /never HTTP/1.1\r\nHost: a\r\n\r\n";
    for piece in [1, 2, 3, 7, 30, 100, 1000] {
        let mut scene = Scene::begin();
        for part in requests.as_bytes().chunks(piece) {
            // Behind `close` nobody reads.
            let _ = scene.client.write_all(part).await;
            tokio::task::yield_now().await;
        }
        for expected in ["GET /1 ", "POST /2 hello", "POST /3 hello", "GET /4 ", "GET /5 "] {
            assert_eq!(scene.answer().await, expected, "in pieces of {piece}");
        }
        assert_eq!(scene.rest().await.0, "", "in pieces of {piece}");
        assert_eq!(scene.noted(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_has_one_deadline_however_it_trickles_in() {
    let scene = Scene::begin();
    let begun = Instant::now();
    let (mut reader, mut writer) = tokio::io::split(scene.client);
    let trickle = tokio::spawn(async move {
        for byte in b"GET / HTTP/1.1\r\nHost: a\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy" {
            let _ = writer.write_all(&[*byte]).await;
            sleep(Duration::from_secs(1)).await;
        }
    });
    let mut text = vec![0; 1000];
    let count = reader.read(&mut text).await.unwrap();
    let text = String::from_utf8_lossy(&text[..count]).into_owned();
    assert_eq!(begun.elapsed().as_secs(), ClientTimes::default().head.as_secs());
    assert!(text.starts_with("HTTP/1.1 408 ") && text.contains("\"errcode\":\"M_UNKNOWN\""), "{text}");
    trickle.abort();
    assert_eq!(scene.notes.told.lock().unwrap()[..], [(408, None, true)]);
    scene.stop.send(true).unwrap();
}

#[tokio::test(start_paused = true)]
async fn silence_is_ended_without_a_word() {
    let mut scene = Scene::begin();
    let (rest, waited) = scene.rest().await;
    assert_eq!((rest.as_str(), waited.as_secs()), ("", ClientTimes::default().silence.as_secs()));
    let mut scene = Scene::begin();
    scene.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(scene.answer().await, "GET /1 ");
    let (rest, waited) = scene.rest().await;
    assert_eq!((rest.as_str(), waited.as_secs()), ("", ClientTimes::default().idle.as_secs()));
    assert_eq!(scene.noted(), []);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_the_last_answer() {
    let mut scene = Scene::begin();
    scene.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nHEAD /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(scene.answer().await, "GET /1 ");
    let (rest, _) = scene.rest().await;
    assert!(rest.starts_with("HTTP/1.1 400 Bad Request\r\n") && rest.ends_with("\r\n\r\n"), "{rest}");
    assert_eq!(scene.noted(), [(400, Some("/2".to_owned()), true)]);
}

/// The room that a future needs which such a function returns.
fn room<A, F: Future>(_: impl FnOnce(A) -> F) -> usize {
    size_of::<F>()
}

/// Each part of what a connection costs while it waits, in bytes, so that none grows unseen.
#[test]
fn a_connection_that_waits_is_small() {
    type Real = Connection<Echo, proxy::Edge>;
    type Parked = proxy::held::Held;
    let idle = room(|connection: &'static mut Real| connection.is_spoken_to(Duration::ZERO));
    let hear = room(|connection: &'static mut Real| connection.hear());
    let ending = room(|(connection, held): (&'static mut Real, &'static mut Parked)| connection.ending(held));
    let relay = room(|(connection, question): (&'static mut Real, Question)| connection.relay(question));
    for (part, bytes, most) in [
        ("a question on its way", relay, 1408),
        ("what is asked", size_of::<Errand>(), 448),
        // With what belongs to every task this is 768, and the next step were 128 more.
        ("its task", room(Real::serve), 656),
        ("of that, waiting for a request", idle, 344),
        ("of that, waiting for the rest of its head", hear, 400),
        ("of that, waiting with one", ending, 480),
        ("what stands between it and the session", size_of::<Transport>(), 104),
        ("a sync that waits", size_of::<Parked>(), 288),
    ] {
        println!("{part}: {bytes}");
        assert!(bytes <= most, "{part}: {bytes} bytes, and {most} at most");
    }
}

#[tokio::test]
async fn the_end_of_the_server_closes_what_is_idle() {
    let mut scene = Scene::begin();
    scene.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(scene.answer().await, "GET /1 ");
    scene.stop.send(true).unwrap();
    assert_eq!(scene.rest().await.0, "");
}

#[tokio::test]
async fn nothing_follows_a_request_whose_end_is_in_doubt() {
    let mut scene = Scene::begin();
    // Pingora takes an empty line for a size.
    scene.send("POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n").await;
    let answer = scene.answer().await;
    assert!(answer.starts_with("POST /1 "), "{answer}");
    assert_eq!(scene.rest().await.0, "");
}

/// Requests that are answered here and others, in turn.
const MIXED: &str = "GET /known/1 HTTP/1.1\r\nHost: a\r\n\r\n\
    HEAD /known/22 HTTP/1.1\r\nHost: a\r\n\r\n\
    OPTIONS /known/3 HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n\
    POST /4 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
    GET /known/5 HTTP/1.1\r\nHost: a\r\n\r\n\
    GET /6 HTTP/1.1\r\nHost: a\r\n\r\n\
    GET /known/7 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n\
    GET /known/never HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn what_is_answered_keeps_its_place_among_the_others() {
    for piece in [1, 3, 30, 1000] {
        let mut scene = Scene::begin();
        for part in MIXED.as_bytes().chunks(piece) {
            // Behind `close` nobody reads.
            let _ = scene.client.write_all(part).await;
            tokio::task::yield_now().await;
        }
        AsyncWriteExt::shutdown(&mut scene.client).await.unwrap();
        let (said, _) = scene.rest().await;
        let said = said.replace("\r\n", "\n");
        let answers: Vec<&str> = said.split("HTTP/1.1 200 OK\n").skip(1).collect();
        let bodies: Vec<&str> = answers.iter().map(|answer| answer.split_once("\n\n").unwrap().1).collect();
        let expected = ["/known/1", "", "/known/3", "POST /4 hello", "/known/5", "GET /6 ", "/known/7"];
        assert_eq!(bodies, expected, "in pieces of {piece}: {said}");
        assert!(answers[1].contains("Content-Length: 9\n"), "{said}");
        let ends: Vec<bool> = answers.iter().map(|answer| answer.contains("Connection: close\n")).collect();
        assert_eq!(ends, [false, false, false, false, false, false, true], "in pieces of {piece}: {said}");
        let noted: Vec<String> = scene.noted().into_iter().filter_map(|(_, target, _)| target).collect();
        assert_eq!(noted, ["/known/1", "/known/22", "/known/3", "/known/5", "/known/7"], "in pieces of {piece}");
    }
}

#[tokio::test]
async fn a_connection_ends_with_its_last_request() {
    for (last, requests) in [("/known", ["/1", "/known", "/known", "/4"]), ("/3 ", ["/known", "/2", "/3", "/known"])] {
        let mut scene = Scene::with(1 << 20, 3);
        for target in requests {
            scene.send(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        }
        AsyncWriteExt::shutdown(&mut scene.client).await.unwrap();
        let (said, _) = scene.rest().await;
        assert_eq!(said.matches("HTTP/1.1 200 OK").count(), 3, "{said}");
        assert!(said.ends_with(last), "{said}");
        assert_eq!(said.to_ascii_lowercase().matches("connection: close").count(), 1, "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_no_answers_is_not_read_and_is_cut() {
    let mut scene = Scene::with(4096, 1_000_000);
    let begun = Instant::now();
    let request = b"GET /known HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut sent = 0;
    while scene.client.write_all(request).await.is_ok() {
        sent += 1;
    }
    assert!(sent < 2000, "{sent} requests were taken in");
    assert_eq!(begun.elapsed().as_secs() / 10, ClientTimes::default().silence.as_secs() / 10);
    assert!(scene.noted().iter().any(|(_, _, has_left)| !has_left), "all is said to have left");
}

const HELD: &str = "GET /held HTTP/1.1\r\nHost: a\r\n\r\n";
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn a_request_waits_until_it_is_answered_or_passes() {
    for behind in ["", NEXT] {
        let mut scene = Scene::begin();
        scene.send(&format!("GET /known HTTP/1.1\r\nHost: a\r\n\r\n{HELD}{HELD}{HELD}{behind}")).await;
        assert_eq!(scene.answer().await, "/known", "an answer waits with the request behind it");
        for (ending, expected) in
            [(Ending::Answer, "/held"), (Ending::Pass, "GET /held woken"), (Ending::Answer, "/held")]
        {
            scene.release(ending).await;
            assert_eq!(scene.answer().await, expected);
        }
        if behind.is_empty() {
            scene.send(NEXT).await;
        }
        assert_eq!(scene.answer().await, "GET /next ");
    }
}

#[tokio::test]
async fn a_client_that_goes_waits_no_longer() {
    for behind in ["", NEXT, "GET /nex"] {
        let mut scene = Scene::begin();
        scene.send(&format!("{HELD}{behind}")).await;
        scene.until_held().await;
        AsyncWriteExt::shutdown(&mut scene.client).await.unwrap();
        assert_eq!(scene.until_noted(1).await, [(0, Some("/held".to_owned()), false)], "{behind:?}");
        assert_eq!(scene.rest().await.0, "");
    }
}

#[tokio::test]
async fn whoever_waits_is_answered_when_the_server_stops() {
    let mut scene = Scene::begin();
    scene.send(&format!("{HELD}{NEXT}")).await;
    scene.until_held().await;
    scene.stop.send(true).unwrap();
    let (said, _) = scene.rest().await;
    assert!(said.contains("Connection: close\r\n") && said.ends_with("\r\n\r\n/held"), "{said}");
    assert_eq!(scene.noted(), [(200, Some("/held".to_owned()), true)]);
}

#[tokio::test]
async fn those_who_are_woken_take_turns() {
    let turns = |scene: &Scene| scene.turns.forget_permits(usize::MAX >> 4);
    let mut scene = Scene::begin();
    turns(&scene);
    scene.send(HELD).await;
    scene.release(Ending::Pass).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(scene.turns.available_permits(), 0);
    scene.turns.add_permits(1);
    assert_eq!(scene.answer().await, "GET /held woken");
    scene.send(NEXT).await;
    assert_eq!(scene.answer().await, "GET /next ");
    assert_eq!(scene.turns.available_permits(), 1, "the turn was not given back");
    // One that waits for its turn may go as well.
    let mut scene = Scene::begin();
    turns(&scene);
    scene.send(HELD).await;
    scene.release(Ending::Pass).await;
    AsyncWriteExt::shutdown(&mut scene.client).await.unwrap();
    assert_eq!(scene.until_noted(1).await, [(0, Some("/held".to_owned()), false)]);
}
