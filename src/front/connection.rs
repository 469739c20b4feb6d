//! The life of an HTTP/1 connection: a head is awaited, decided about, and passed on or refused, until the client goes,
//! is too slow, or the server stops.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::{Shutdown, Stream};
use pingora_core::server::ShutdownWatch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Front;
use super::decision::{Decision, Passage, Refusal, decide};
use super::head;
use super::refusal::refuse;
use super::transport::Transport;
use crate::reply::Failure;

/// How long a connection may take to be closed.
const CLOSE: Duration = Duration::from_secs(5);
/// What a session is told of the time between requests. It is the front that waits for the next one, so that this is only
/// to say that there may be one.
const KEEPALIVE_SECONDS: u64 = 60;

/// A client's connection and what serves it.
pub(super) struct Connection<A> {
    front: Arc<Front<A>>,
    transport: Box<Transport>,
    shutdown: ShutdownWatch,
}

/// What came of waiting for a head.
enum Heard {
    /// A request that may pass.
    Request(Passage),
    /// One that may not, and when it began.
    Refused(Instant, Refusal),
    /// Nothing that could be answered: the client has gone or was silent, or the server stops.
    Nothing,
}

impl<A: HttpServerApp + Send + Sync + 'static> Connection<A> {
    /// A connection of which nothing has been read.
    pub(super) fn new(front: Arc<Front<A>>, transport: Transport, shutdown: ShutdownWatch) -> Self {
        Connection { front, transport: Box::new(transport), shutdown }
    }

    /// Serves it to its end.
    pub(super) async fn serve(mut self) {
        // Browsers connect ahead of need, so a new connection may be silent for longer than a head may take.
        let mut patience = self.front.times.silence;
        loop {
            match self.hear(patience).await {
                Heard::Request(passage) => match self.pass(passage).await {
                    Some(served) => self = served,
                    None => return,
                },
                Heard::Refused(begun, refusal) => {
                    let Front { journal, times, .. } = &*self.front;
                    return refuse(&mut self.transport, &**journal, times.silence, begun, refusal).await;
                }
                Heard::Nothing => break,
            }
            patience = self.front.times.idle;
        }
        let _ = timeout(CLOSE, Shutdown::shutdown(&mut *self.transport)).await;
    }

    /// Waits for a head: `patience` for its first byte, and then once for all the rest.
    async fn hear(&mut self, patience: Duration) -> Heard {
        self.transport.rest();
        if self.transport.received().is_empty() && !self.is_spoken_to(patience).await {
            return Heard::Nothing;
        }
        let begun = Instant::now();
        let mut seen = 0;
        loop {
            let arrived = self.transport.received();
            if head::is_news(arrived, seen) {
                match decide(arrived) {
                    Decision::Wait => {}
                    Decision::Pass(passage) => return Heard::Request(passage),
                    Decision::Refuse(refusal) => return Heard::Refused(begun, refusal),
                }
            }
            seen = arrived.len();
            match timeout_at(begun + self.front.times.head, self.transport.fill()).await {
                Ok(Ok(1..)) => {}
                Ok(_) => return Heard::Nothing,
                Err(_) => return Heard::Refused(begun, Refusal::of(self.transport.received(), Failure::TooSlow)),
            }
        }
    }

    /// Whether the client says something before its time is over and before the server stops.
    async fn is_spoken_to(&mut self, patience: Duration) -> bool {
        tokio::select! {
            biased;
            filled = self.transport.fill() => matches!(filled, Ok(1..)),
            () = sleep(patience) => false,
            () = stopped(&mut self.shutdown) => false,
        }
    }

    /// Has the proxy serve one request. `None` when the connection carries no other.
    async fn pass(mut self, passage: Passage) -> Option<Self> {
        let head = self.transport.begin(passage.head_bytes, passage.fence, passage.may_switch);
        let session = session(self.transport, head, *self.shutdown.borrow());
        let reused = self.front.proxy.process_new_http(session, &self.shutdown).await?;
        let (stream, _settings) = reused.consume();
        let transport = stream.into_any().downcast::<Transport>().ok()?;
        // Were the body's end another one for Pingora than for the front, nothing behind it could be trusted.
        transport.is_at_the_fence().then_some(Connection { transport, ..self })
    }
}

/// A session that finds this head already read.
fn session(transport: Box<Transport>, head: BytesMut, is_ending: bool) -> ServerSession {
    let mut session = ServerSession::new_http1(transport as Stream);
    session.set_keepalive((!is_ending).then_some(KEEPALIVE_SECONDS));
    session.set_pipelined_prefix(head);
    session
}

/// Waits until the server stops.
async fn stopped(shutdown: &mut ShutdownWatch) {
    // Whoever could tell is gone: that is the end as well.
    let _ = shutdown.wait_for(|is_ending| *is_ending).await;
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use http::Response;
    use pingora_core::apps::http_app::ServeHttp;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::sync::watch;

    use super::super::{Journal, Refused};
    use super::*;
    use crate::listener::ClientTimes;

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
            let answer = Response::builder().header("Content-Length", said.len());
            answer.body(said).unwrap()
        }
    }

    /// Remembers what was refused.
    #[derive(Default)]
    struct Notes(Mutex<Vec<(u16, Option<String>, bool)>>);

    impl Journal for Notes {
        fn refused(&self, refused: Refused<'_>) {
            let target = refused.head.map(|head| head.uri.to_string());
            self.0.lock().unwrap().push((refused.failure.status().as_u16(), target, refused.sent.is_some()));
        }
    }

    struct Scene {
        client: DuplexStream,
        notes: Arc<Notes>,
        stop: watch::Sender<bool>,
    }

    impl Scene {
        fn begin() -> Self {
            let (server, client) = duplex(1 << 20);
            let notes = Arc::new(Notes::default());
            let front = Arc::new(Front::new(Echo, Arc::clone(&notes) as Arc<_>, ClientTimes::default()));
            let (stop, shutdown) = watch::channel(false);
            tokio::spawn(Connection::new(front, Transport::new(Box::new(server)), shutdown).serve());
            Scene { client, notes, stop }
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

        fn noted(&self) -> Vec<(u16, Option<String>, bool)> {
            self.notes.0.lock().unwrap().clone()
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
        assert_eq!(scene.notes.0.lock().unwrap()[..], [(408, None, true)]);
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
        scene
            .send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nHEAD /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n")
            .await;
        assert_eq!(scene.answer().await, "GET /1 ");
        let (rest, _) = scene.rest().await;
        assert!(rest.starts_with("HTTP/1.1 400 Bad Request\r\n") && rest.ends_with("\r\n\r\n"), "{rest}");
        assert_eq!(scene.noted(), [(400, Some("/2".to_owned()), true)]);
    }

    #[test]
    fn a_connection_that_waits_is_small() {
        let front = Arc::new(Front::new(Echo, Arc::new(Notes::default()), ClientTimes::default()));
        let (server, _client) = duplex(1);
        let (_stop, shutdown) = watch::channel(false);
        let connection = Connection::new(front, Transport::new(Box::new(server)), shutdown);
        let bytes = size_of_val(&connection.serve()) + size_of::<Transport>();
        assert!(bytes < 2048, "{bytes} bytes");
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
}
