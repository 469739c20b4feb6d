//! A plain question: a request with a short body or none, and without anything unusual in its head. What stands before the
//! proxy asks it itself and passes the answer on, for less than half of what a session costs.
//!
//! It is asked of a process in service that has a place free, over a connection of Pingora's making. That is its first try.
//! If it fails before the answer has begun, the question goes to the proxy for the next one, under the same rules as when
//! the first one had been the proxy's (`attempt`, `retry`).
//!
//! Not here: bytes (`front`); and requests whose body a filter reads, or whose success means something for tokens.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use http::header::{
    AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, USER_AGENT,
};
use http::{Method, StatusCode};
use pingora_core::protocols::Stream;

use super::attempt::Attempts;
use super::held::Mark;
use super::retry::{Broken, Retry};
use super::sync::X_DENDRON;
use super::{Context, Edge, forward};
use crate::answer::{Asked, Head, Headers};
use crate::credentials::AccessToken;
use crate::endpoint::{Class, Endpoint};
use crate::exchange::{AnsweredBy, Ended, Exchange};
use crate::reply::Failure;
use crate::route::poll_timeout;
use crate::token::passing::meaning;
use crate::upstream::Tried;

/// The longest body of a request that is asked of its process without Pingora's proxy. Who waits for an answer keeps it; most
/// that clients send is far shorter.
pub(crate) const SHORT_BODY_BYTES_MAX: usize = 16 * 1024;

/// Headers that concern one connection, besides `Connection` itself. Pingora has rules for them.
pub(super) const OF_ONE_CONNECTION: [HeaderName; 7] = [
    TE,
    TRAILER,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];

/// A question on its way. When it is dropped, its place at the process is free.
pub struct Errand {
    /// Its story so far.
    pub(crate) exchange: Exchange,
    /// Its method.
    pub(crate) method: Method,
    attempts: Attempts,
    request: Vec<u8>,
    patience: Duration,
    /// What was found of it, if it is a sync that could have been parked.
    mark: Option<Box<Mark>>,
    /// What whoever asked is told of it.
    told: Option<String>,
}

/// What whoever asked is told of a question, and in which header.
pub(crate) type Told<'errand> = (HeaderName, &'errand str);

/// The other end of a client's connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its address; `None` over a unix socket.
    pub address: Option<IpAddr>,
    /// Whether it comes over TLS.
    pub is_encrypted: bool,
}

/// Why there is no answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The next try is the proxy's.
    Retry,
    /// There is none.
    Failed(Failure),
}

/// A connection to the process that a question goes to.
pub struct Connected {
    /// The connection.
    pub(crate) stream: Stream,
    /// Whether another request came before on it, so that the process may just be closing it.
    pub(crate) is_reused: bool,
}

impl Edge {
    /// The question that this request is. For anything else, and where the request would have to wait, the mark is given
    /// back.
    pub(crate) fn errand(
        &self,
        asked: &Asked<'_>,
        head: &Head<'_>,
        body: &[u8],
        peer: Peer,
        started: Instant,
        mark: Option<Box<Mark>>,
    ) -> Result<Errand, Option<Box<Mark>>> {
        let remaining = mark.as_ref().and_then(|mark| mark.remaining);
        match self.unmarked(asked, head, body, peer, started, remaining) {
            Some(errand) => Ok(match mark {
                Some(mark) => self.marked(errand, mark),
                None => errand,
            }),
            None => Err(mark),
        }
    }

    fn unmarked(
        &self,
        asked: &Asked<'_>,
        head: &Head<'_>,
        body: &[u8],
        peer: Peer,
        started: Instant,
        remaining: Option<Duration>,
    ) -> Option<Errand> {
        let class = asked.endpoint.class;
        if !is_relayed(asked.method, &asked.endpoint)
            || OF_ONE_CONNECTION.iter().any(|name| head.headers.first(name).is_some())
        {
            return None;
        }
        let route = self.parts.routes.of(class);
        let authorization = asked.headers.first(&AUTHORIZATION);
        let key = self.key(route, &asked.endpoint, asked.path, asked.query, authorization);
        let (pool, backend) = self.in_service(route, key, &Tried::default(), Instant::now())?;
        let place = self.parts.pools.grant(&backend, class).now_or_never()?.ok()?;
        let mut exchange = self.parts.unread(started);
        self.parts.describe(&mut exchange, peer.address, asked);
        // One that was parked has waited already.
        let target = remaining.map(|remaining| forward::with_timeout(head.target, remaining));
        let head = Head { target: target.as_deref().unwrap_or(head.target), ..*head };
        let trusted = self.parts.trusted.trusts(peer.address);
        let request = forward::rewritten(&head, body, &exchange, peer.is_encrypted, trusted);
        exchange.bytes_in = body.len() as u64;
        exchange.pool = Some(pool.name().clone());
        exchange.backend = Some(backend.name().clone());
        exchange.waited = Some(started.elapsed());
        let patience = route.patience.for_poll(poll_timeout(asked.query));
        let method = asked.method.clone();
        Some(Errand { exchange, method, attempts: Attempts::at(place), request, patience, mark: None, told: None })
    }

    fn marked(&self, mut errand: Errand, mark: Box<Mark>) -> Errand {
        let wake = mark.watched.as_ref().and_then(|watched| watched.wake());
        errand.told = self.told(errand.exchange.client, wake);
        (errand.exchange.parked, errand.exchange.declined) = (mark.parked, Some(mark.declined));
        Errand { mark: Some(mark), ..errand }
    }

    /// A connection to the process.
    pub(crate) async fn connect(&self, errand: &mut Errand) -> Result<Connected, Unanswered> {
        let backend = errand.attempts.backend().ok_or(Unanswered::Retry)?;
        let connected = match backend.take_kept(Instant::now()) {
            Some(stream) => Connected { stream, is_reused: true },
            None => Connected { stream: self.connect_anew(errand).await?, is_reused: false },
        };
        errand.exchange.connected = Some(errand.exchange.started.elapsed());
        Ok(connected)
    }

    async fn connect_anew(&self, errand: &mut Errand) -> Result<Stream, Unanswered> {
        let peer = errand.attempts.backend().and_then(|backend| backend.peer(errand.patience));
        let Some(peer) = peer else {
            errand.attempts.stay();
            return Err(Unanswered::Retry);
        };
        // Kilobytes, for what most questions find done.
        Box::pin(self.parts.connector.new_stream(&*peer)).await.map_err(|error| {
            let may_retry = self.not_connected(&errand.exchange, &mut errand.attempts, &error);
            if may_retry { Unanswered::Retry } else { Unanswered::Failed(Failure::Unreachable) }
        })
    }

    /// What follows when the process has broken the connection before it answered.
    pub(crate) fn broke(&self, errand: &mut Errand, is_reused: bool) -> Unanswered {
        let class = errand.exchange.endpoint.class;
        let broken = first_try(&errand.method, &errand.exchange.endpoint, is_reused);
        let may_retry = self.broken(&broken, class, &mut errand.attempts);
        if may_retry { Unanswered::Retry } else { Unanswered::Failed(Failure::BrokenOff) }
    }

    /// What follows when the process has answered in a way that is not plain. The proxy could read that, but the process
    /// would have to be asked once more, which is not for every request.
    pub(crate) fn was_odd(errand: &mut Errand) -> Unanswered {
        match first_try(&errand.method, &errand.exchange.endpoint, false).retry() {
            None => return Unanswered::Failed(Failure::BrokenOff),
            Some(Retry::Same) => errand.attempts.stay_bound(),
            Some(Retry::Other) => errand.attempts.stay(),
        }
        Unanswered::Retry
    }

    /// Takes note that the answer begins, with this status and these bytes.
    pub(crate) fn answers(&self, errand: &mut Errand, status: StatusCode, head: &[u8]) {
        let now = Instant::now();
        errand.attempts.answered();
        let exchange = &mut errand.exchange;
        exchange.first_byte = Some(now.saturating_duration_since(exchange.started));
        (exchange.answered_by, exchange.status) = (AnsweredBy::Synapse, status.as_u16());
        if status == StatusCode::UNAUTHORIZED || (status == StatusCode::OK && is_sync(exchange.endpoint.class)) {
            self.token_seen(errand, status);
        }
        if let Some(watched) = errand.mark.as_mut().and_then(|mark| mark.watched.as_mut()) {
            watched.begins(status, &headers(head));
        }
    }

    /// The body of the answer has come as a whole. What it teaches is known before the client has all of it.
    pub(crate) fn heard_out(&self, errand: &mut Errand) {
        let watched = errand.mark.as_mut().and_then(|mark| mark.watched.take());
        if let (Some(watched), Some(parking)) = (watched, self.parts.quiet.parking()) {
            parking.answered(*watched, Instant::now());
        }
    }

    /// Synapse has refused the token of a question, or taken that of a sync.
    fn token_seen(&self, errand: &Errand, status: StatusCode) {
        let mut lines = [httparse::EMPTY_HEADER; 256];
        let mut request = httparse::Request::new(&mut lines);
        // It is dendron that has written it.
        let _ = request.parse(&errand.request);
        let headers = Headers::Lines(request.headers);
        let query = request.path.and_then(|target| Some(target.split_once('?')?.1));
        let Some(token) = AccessToken::of_request(headers.first(&AUTHORIZATION), query) else { return };
        if status == StatusCode::UNAUTHORIZED {
            self.parts.callers.refused(self.parts.callers.hash(&token), Instant::now());
        } else {
            let user_agent = headers.first(&USER_AGENT).and_then(|value| HeaderValue::from_bytes(value).ok());
            self.taken(&token, &errand.exchange, user_agent.as_ref());
        }
    }

    /// Tells the story of a question that has ended, and keeps its connection, if that can be used again.
    pub(crate) fn relayed(&self, errand: Errand, ended: Ended, stream: Option<Stream>) {
        let Errand { mut exchange, method, mut attempts, .. } = errand;
        if let (Some(stream), Some(backend)) = (stream, attempts.backend()) {
            backend.keep(stream, Instant::now());
        }
        attempts.end();
        exchange.ended = ended;
        self.parts.record(&exchange, method.as_str());
    }
}

impl Errand {
    /// What the process is sent.
    pub(crate) fn request(&self) -> &[u8] {
        &self.request
    }

    /// How long the process may be silent.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// A part of the body of the answer passes.
    pub(crate) fn overhears(&mut self, part: &[u8]) {
        self.exchange.bytes_out += part.len() as u64;
        if let Some(watched) = self.mark.as_mut().and_then(|mark| mark.watched.as_mut()) {
            watched.goes_on(part);
        }
    }

    /// What whoever asked is told of it.
    pub(crate) fn told(&self) -> Option<Told<'_>> {
        Some((X_DENDRON, self.told.as_ref()?))
    }

    /// Gives the proxy all that it is to know.
    pub(super) fn hand_over(self, context: &mut Context) {
        context.begun = Some(self.exchange.started);
        (context.exchange, context.attempts, context.mark) = (self.exchange, self.attempts, self.mark);
        // That is the next try's to tell.
        context.exchange.connected = None;
    }
}

/// Whether a request is one that is relayed.
pub(crate) fn is_relayed(method: &Method, endpoint: &Endpoint) -> bool {
    match *method {
        Method::GET => true,
        Method::HEAD => !is_sync(endpoint.class),
        // A filter reads the bodies of logins and of syncs, and hears what a success means for tokens.
        Method::PUT | Method::POST => !is_sync(endpoint.class) && meaning(method, endpoint.label).is_none(),
        _ => false,
    }
}

/// A first try that has failed before its answer began.
fn first_try<'errand>(method: &'errand Method, endpoint: &Endpoint, reused: bool) -> Broken<'errand> {
    Broken { method, label: endpoint.label, reused, begun: false, replayable: true, repeats: 0 }
}

fn is_sync(class: Class) -> bool {
    matches!(class, Class::Sync | Class::SlidingSync | Class::InitialSync)
}

/// An answer's headers.
fn headers(head: &[u8]) -> HeaderMap {
    let mut lines = [httparse::EMPTY_HEADER; 256];
    let mut answer = httparse::Response::new(&mut lines);
    // It was read before.
    let _ = answer.parse(head);
    let named = |line: &httparse::Header<'_>| {
        Some((HeaderName::from_bytes(line.name.as_bytes()).ok()?, HeaderValue::from_bytes(line.value).ok()?))
    };
    let mut headers = HeaderMap::new();
    for (name, value) in answer.headers.iter().filter_map(named) {
        headers.append(name, value);
    }
    headers
}

#[cfg(test)]
impl Errand {
    /// A question of nobody's to a process that is not there.
    pub(crate) fn sample(target: &str, method: Method) -> Self {
        use crate::endpoint::Subject;
        use crate::exchange::RequestId;
        use crate::upstream::{BackendSettings, ConnectionTimes, Limits, PoolSettings, Pools};
        let address = "127.0.0.1:1".parse().unwrap();
        let backends = vec![BackendSettings { name: "main".to_owned(), address }];
        let pool = PoolSettings { name: "main".to_owned(), backends };
        let pools = Pools::new(&[pool], ConnectionTimes::default(), Limits::default());
        let place = pools.grant(&pools.backends()[0], Class::Main).now_or_never().unwrap().unwrap();
        let endpoint = Endpoint { class: Class::Main, label: "sample", subject: Subject::None };
        let exchange = Exchange::new(Instant::now(), RequestId::Given(target.into()), endpoint, None);
        let request = format!("{method} {target} HTTP/1.1\r\n\r\n").into_bytes();
        let patience = Duration::from_secs(60);
        Errand { exchange, method, attempts: Attempts::at(place), request, patience, mark: None, told: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoints;

    #[test]
    fn what_a_filter_must_see_is_not_relayed() {
        let table = [
            ("GET /_matrix/client/v3/sync", true),
            ("HEAD /_matrix/client/v3/sync", false),
            ("HEAD /_matrix/client/v3/joined_rooms", true),
            ("PUT /_matrix/client/v3/rooms/!a:b/send/m.room.message/1", true),
            ("POST /_matrix/client/v3/keys/query", true),
            ("PUT /_matrix/federation/v1/send/1", true),
            ("PUT /_matrix/client/v3/devices/D", true),
            ("POST /_matrix/client/v3/login", false),
            ("POST /_matrix/client/v3/register", false),
            ("POST /_matrix/client/v3/refresh", false),
            ("POST /_matrix/client/v3/logout", false),
            ("POST /_matrix/client/v3/account/password", false),
            ("POST /_matrix/client/unstable/org.matrix.simplified_msc3575/sync", false),
            ("PUT /_synapse/admin/v2/users/@a:b", false),
            ("DELETE /_matrix/client/v3/devices/D", false),
            ("OPTIONS /_matrix/client/v3/sync", false),
        ];
        for (line, expected) in table {
            let (method, path) = line.split_once(' ').unwrap();
            let method: Method = method.parse().unwrap();
            assert_eq!(is_relayed(&method, &Endpoints::new().classify(&method, path, None)), expected, "{line}");
        }
    }

    #[test]
    fn an_answer_that_is_not_plain_is_asked_for_again_where_that_is_safe() {
        let send = "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}";
        let failed = Unanswered::Failed(Failure::BrokenOff);
        for (method, label, expected, is_bound) in [
            (Method::GET, "sample", Unanswered::Retry, false),
            (Method::PUT, send, Unanswered::Retry, true),
            (Method::POST, "/_matrix/client/v3/keys/query", Unanswered::Retry, false),
            (Method::POST, "/_matrix/client/v3/createRoom", failed, false),
            (Method::PUT, "sample", failed, false),
        ] {
            let mut errand = Errand::sample("/", method.clone());
            errand.exchange.endpoint.label = label;
            assert_eq!(Edge::was_odd(&mut errand), expected, "{method} {label}");
            assert_eq!(errand.attempts.is_bound(), is_bound, "{method} {label}");
        }
    }
}
