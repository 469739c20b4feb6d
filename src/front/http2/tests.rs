//! A connection of a real HTTP/2 client, before processes that are played and a proxy that answers with its own name.

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest, handshake};
use h2::{Reason, RecvStream};
use http::{Method, Request as Asked, StatusCode};
use tokio::io::duplex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::relay::tests::{Books, Proxy};
use super::super::{Front, WOKEN_MAX};
use super::serve;
use crate::exchange::Ended;
use crate::listener::ClientTimes;

struct Scene {
    client: SendRequest<Bytes>,
    books: Arc<Books>,
    front: Arc<Front<Proxy, Arc<Books>>>,
    stop: watch::Sender<bool>,
    served: JoinHandle<()>,
}

impl Scene {
    async fn begin() -> Self {
        let (server, client) = duplex(1 << 16);
        let books = Arc::new(Books::default());
        let requests = NonZeroU32::new(100).unwrap();
        let front = Arc::new(Front::new(Proxy, Arc::clone(&books), ClientTimes::default(), requests));
        let (stop, shutdown) = watch::channel(false);
        let served = tokio::spawn(serve(Arc::clone(&front), Box::new(server), shutdown));
        let (client, connection) = handshake(client).await.unwrap();
        tokio::spawn(async { drop(connection.await) });
        Scene { client, books, front, stop, served }
    }

    async fn ask(&mut self, target: &str) -> ResponseFuture {
        let request = Asked::get(format!("https://a{target}")).body(()).unwrap();
        self.client = self.client.clone().ready().await.unwrap();
        self.client.send_request(request, true).unwrap().0
    }
}

/// An answer's body, or the reason why it broke off.
async fn body(mut body: RecvStream) -> Result<String, Option<Reason>> {
    let mut all = Vec::new();
    while let Some(part) = body.data().await {
        let part = part.map_err(|error| error.reason())?;
        body.flow_control().release_capacity(part.len()).unwrap();
        all.extend_from_slice(&part);
    }
    Ok(String::from_utf8(all).unwrap())
}

fn told(target: &str, status: u16, ended: Ended, bytes: u64) -> (String, u16, Ended, u64) {
    (target.to_owned(), status, ended, bytes)
}

#[tokio::test]
async fn answers_come_in_the_order_in_which_processes_give_them() {
    let mut scene = Scene::begin().await;
    let mut slow = scene.books.process(false);
    let first = scene.ask("/slow").await;
    let request = slow.request().await;
    let mut fast = scene.books.process(false);
    let second = scene.ask("/fast").await;
    fast.answer("HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n").await;
    let second = second.await.unwrap();
    assert_eq!((second.status(), second.headers().contains_key("transfer-encoding")), (StatusCode::NOT_FOUND, false));
    assert_eq!(body(second.into_body()).await, Ok("hello!".to_owned()));
    assert_eq!(request, "GET /slow HTTP/1.1\r\n\r\n");
    slow.say("HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 2\r\n\r\n{}").await;
    let first = first.await.unwrap();
    assert_eq!(
        (&first.headers()["server"], &first.headers()["content-length"]),
        (&"s".parse().unwrap(), &"2".parse().unwrap())
    );
    assert!(first.headers().contains_key("date"));
    assert_eq!(body(first.into_body()).await, Ok("{}".to_owned()));
    let expected = [told("/fast", 404, Ended::Complete, 6), told("/slow", 200, Ended::Complete, 2)];
    assert_eq!(scene.books.told(2).await, expected);
}

#[tokio::test]
async fn what_breaks_off_breaks_off_for_its_client_alone() {
    let mut scene = Scene::begin().await;
    let mut process = scene.books.process(false);
    let answer = scene.ask("/cut").await;
    process.answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello").await;
    let answer = answer.await.unwrap();
    drop(process);
    assert_eq!(body(answer.into_body()).await, Err(Some(Reason::INTERNAL_ERROR)));
    assert_eq!(scene.books.told(1).await, [told("/cut", 200, Ended::BrokenOff, 5)]);

    // One that has not begun is answered, or the proxy's.
    let process = scene.books.process(false);
    let answer = scene.ask("/failed").await;
    drop(process);
    assert_eq!(answer.await.unwrap().status(), StatusCode::BAD_GATEWAY);
    let mut process = scene.books.process(false);
    let answer = scene.ask("/odd").await;
    process.answer("HTTP/1.0 200 OK\r\n\r\n").await;
    assert_eq!(body(answer.await.unwrap().into_body()).await, Ok("proxy".to_owned()));
}

#[tokio::test]
async fn who_gives_a_request_up_is_noticed() {
    let mut scene = Scene::begin().await;
    let mut process = scene.books.process(false);
    let answer = scene.ask("/left").await;
    process.request().await;
    drop(answer);
    assert_eq!(scene.books.told(1).await, [told("/left", 0, Ended::ClientGone, 0)]);
}

#[tokio::test]
async fn one_that_was_woken_takes_its_turn() {
    let mut scene = Scene::begin().await;
    let mut process = scene.books.process(false);
    let turns = Arc::clone(&scene.front.woken).acquire_many_owned(u32::try_from(WOKEN_MAX).unwrap()).await.unwrap();
    let answer = scene.ask("/held").await;
    tokio::task::yield_now().await;
    drop(turns);
    process.answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await;
    assert_eq!(body(answer.await.unwrap().into_body()).await, Ok("{}".to_owned()));
    assert_eq!(scene.front.woken.available_permits(), WOKEN_MAX);
}

#[tokio::test]
async fn a_long_body_and_an_unusual_head_are_the_proxys() {
    let mut scene = Scene::begin().await;
    for (method, name, value) in [(Method::POST, "content-length", "99999"), (Method::GET, "expect", "100-continue")] {
        let request = Asked::builder().method(method).uri("https://a/x").header(name, value).body(()).unwrap();
        scene.client = scene.client.clone().ready().await.unwrap();
        let (answer, _body) = scene.client.send_request(request, false).unwrap();
        assert_eq!(body(answer.await.unwrap().into_body()).await, Ok("proxy".to_owned()));
    }
}

#[tokio::test]
async fn a_stop_lets_requests_end() {
    let mut scene = Scene::begin().await;
    let mut process = scene.books.process(false);
    let answer = scene.ask("/last").await;
    process.request().await;
    scene.stop.send(true).unwrap();
    tokio::task::yield_now().await;
    process.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await;
    assert_eq!(body(answer.await.unwrap().into_body()).await, Ok("{}".to_owned()));
    scene.served.await.unwrap();
}
