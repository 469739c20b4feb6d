//! `impl ProxyHttp`: one short method a phase, each a call into the modules that decide.
//!
//! - `attempt`: one try after the other: which process has a request next.
//! - `retry`: whether a request that may have reached Synapse is sent again.
//! - `forward`: what is changed in a request's head on its way to Synapse.
//! - `failure`: what a Pingora error means: which reply it becomes, and how the story ended.
//! - `caller`: what passing answers tell of access tokens.
//! - `login`: a login's body, and its answer beside its client.
//! - `sync`: a quiet sync, held beside its client; and what passing answers tell of syncs.
//! - [`held`]: a quiet sync that is considered before its session has begun.
//! - [`relay`]: a plain question, which needs no session.
//! - `linger`: the end of a connection whose client still sends.
//! - `story`: the beginning and the end of a request's story.
//!
//! Not here: any decision about a request. A phase looks at what the modules say and tells Pingora.

mod attempt;
mod caller;
mod failure;
mod forward;
pub mod held;
pub(crate) mod linger;
mod login;
pub mod relay;
mod retry;
mod story;
mod sync;

use std::any::Any;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::Version;
use pingora_core::connectors::TransportConnector;
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use crate::answer::login::desk::Desk;
use crate::answer::{self, Answers, Asked, BodyLimits, Headers, Offer};
use crate::client_address::TrustedProxies;
use crate::endpoint::{Endpoint, Endpoints};
use crate::exchange::{AnsweredBy, Ended, Exchange, RequestId};
use crate::listener::ClientTimes;
use crate::observe::{AccessLog, Metrics};
use crate::quiet::desk::Desk as Quiet;
use crate::reply::{Failure, Reply};
use crate::route::Routes;
use crate::token::Callers;
use crate::upstream::Pools;

pub(crate) use attempt::TRIES_MAX;

use attempt::Attempts;
use caller::Passing;
pub(crate) use failure::ended;
use held::{Found, Mark};
use sync::Syncing;

/// What every listener's proxy shares. Built once, by `server`.
pub struct Parts {
    /// The table of endpoints.
    pub endpoints: Endpoints,
    /// Where each class goes.
    pub routes: Routes,
    /// Synapse's processes.
    pub pools: Pools,
    /// The proxies in front of dendron.
    pub trusted: TrustedProxies,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The access log.
    pub access_log: AccessLog,
    /// The names of requests.
    pub request_ids: RequestIds,
    /// How large bodies may be.
    pub body_limits: BodyLimits,
    /// What becomes of logins.
    pub logins: Arc<Desk>,
    /// How long clients may take.
    pub client_times: ClientTimes,
    /// What Synapse says the same to everybody.
    pub answers: Arc<Answers>,
    /// Who is behind access tokens.
    pub callers: Arc<Callers>,
    /// What becomes of quiet syncs.
    pub quiet: Arc<Quiet>,
    /// Makes connections to Synapse, for questions that need no session.
    pub connector: TransportConnector,
}

/// Gives every request a name.
#[derive(Debug)]
pub struct RequestIds {
    process: u32,
    next: AtomicU64,
}

impl RequestIds {
    /// Names that begin with a number which tells this run from others.
    pub fn new(process: u32) -> Self {
        RequestIds { process, next: AtomicU64::new(1) }
    }

    fn make(&self) -> RequestId {
        RequestId::Made { process: self.process, number: self.next.fetch_add(1, Ordering::Relaxed) }
    }
}

/// The proxy of the listeners that make the same offer. It can be added to any Pingora server.
#[derive(Clone)]
pub struct Edge {
    parts: Arc<Parts>,
    offer: Offer,
    /// Whether the front stands before it, so that a session gets one request's bytes and no more.
    is_fronted: bool,
}

/// What Pingora carries through a request's phases.
pub struct Context {
    exchange: Exchange,
    attempts: Attempts,
    /// Set where dendron itself knows why a request fails; else the Pingora error tells.
    failure: Option<Failure>,
    /// What is known of it if it is a sync.
    sync: Syncing,
    /// An answer that gives a token, while it passes.
    passing: Option<Passing>,
    /// What was found of it before it came here.
    mark: Option<Box<Mark>>,
    /// When it came, if that was before it came here.
    begun: Option<Instant>,
}

impl Edge {
    /// A proxy that makes this offer.
    pub fn new(parts: Arc<Parts>, offer: Offer) -> Self {
        Edge { parts, offer, is_fronted: false }
    }

    /// The same for an application with the front before it.
    pub fn fronted(self) -> Self {
        Edge { is_fronted: true, ..self }
    }

    /// What all edges share.
    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Whether a request that changes something could be answered.
    pub(crate) fn may_refuse(&self, asked: &Asked<'_>) -> bool {
        answer::may_refuse(asked, self.offer, self.parts.body_limits)
    }

    /// The answer that a request's head alone decides, and why the request ends with it.
    pub(crate) fn answer(&self, asked: &Asked<'_>, now: Instant) -> Option<(Reply, Ended)> {
        answer::answer(asked, self.offer, self.parts.body_limits, &self.parts.answers, now)
    }
}

/// The address at the other end of the connection; `None` for a unix socket.
fn peer_address(session: &Session) -> Option<IpAddr> {
    session.client_addr().and_then(|address| address.as_inet()).map(|address| address.ip())
}

#[async_trait]
impl ProxyHttp for Edge {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        let exchange = self.parts.unread(Instant::now());
        let (attempts, sync) = (Attempts::default(), Syncing::default());
        Context { exchange, attempts, failure: None, sync, passing: None, mark: None, begun: None }
    }

    fn on_connection_reuse(&self, _: &mut Session, context: &mut Context, previous: Box<dyn Any + Send + Sync>) {
        context.take_over(previous);
    }

    fn init_downstream_modules(&self, _modules: &mut pingora_core::modules::http::HttpModules) {
        // No modules: Pingora's default one compresses, which is Synapse's business.
    }

    async fn early_request_filter(&self, session: &mut Session, context: &mut Context) -> Result<()> {
        if let Some(found) = session.req_header_mut().extensions_mut().remove::<Found>() {
            found.take().into_iter().for_each(|found| context.take_over(found));
        }
        // Pipelined requests are legal; without this Pingora drops what comes while a request is in flight. Behind the
        // front nothing comes, and were Pingora to find a body's end elsewhere than the front did, it must close.
        session.set_pipelining_enabled(!self.is_fronted);
        let times = &self.parts.client_times;
        // Pingora waits without end for a second request, and has switched keep-alive off where it must stay off.
        if session.get_keepalive().is_some() {
            session.set_keepalive(Some(times.idle_seconds()));
        }
        session.set_read_timeout(Some(times.silence));
        session.set_write_timeout(Some(times.silence));
        context.exchange.started = context.begun.unwrap_or_else(Instant::now);
        let head = session.req_header();
        let asked = self.parts.asked(&head.method, head.uri.path(), head.uri.query(), Headers::Map(&head.headers));
        self.parts.describe(&mut context.exchange, peer_address(session), &asked);
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        if let Some(failure) = malformed(session) {
            context.exchange.ended = ended(Some(failure));
            // Where the request ends is what cannot be trusted.
            session.set_keepalive(None);
            send(session, context, failure.reply()).await?;
            return Ok(true);
        }
        let head = session.req_header_mut();
        if head.version == Version::HTTP_10 && !head.headers.contains_key(http::header::HOST) {
            // It goes on as HTTP/1.1, where a host that nobody knows is an empty one (RFC 9112, 3.2).
            head.insert_header(http::header::HOST, "")?;
        }
        let asked = asked(session.req_header(), context.exchange.endpoint);
        let answered = match self.answer(&asked, Instant::now()) {
            Some(answered) => Some(answered),
            None => match self.login(session, context).await? {
                Some(reply) => Some((reply, Ended::Complete)),
                None => self.sync(session, context).await?.map(|reply| (reply, Ended::Complete)),
            },
        };
        let Some((reply, ended)) = answered else { return Ok(false) };
        context.exchange.ended = ended;
        send(session, context, reply).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, session: &mut Session, context: &mut Context) -> Result<Box<HttpPeer>> {
        match self.peer(session, context).await {
            Ok(peer) => Ok(peer),
            Err(failure) => {
                context.failure = Some(failure);
                Error::e_explain(ErrorType::ConnectError, "no process of the pool can be connected to")
            }
        }
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        _reused: bool,
        _peer: &HttpPeer,
        #[cfg(unix)] _fd: std::os::unix::io::RawFd,
        _digest: Option<&Digest>,
        context: &mut Context,
    ) -> Result<()> {
        context.exchange.connected = Some(context.exchange.started.elapsed());
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        context: &mut Context,
    ) -> Result<()> {
        let peer = peer_address(session);
        let encrypted = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
        let trusted = self.parts.trusted.trusts(peer);
        if session.is_http2() {
            forward::join_cookies(request)?;
        }
        Self::shorten(request, context)?;
        forward::rewrite(request, &context.exchange, encrypted, trusted)?;
        // What follows is the sending. Requests that came together are all read and routed first and leave together then,
        // which wakes a process at the other end once and not for each: a tenth of the time of a forwarded request.
        tokio::task::yield_now().await;
        Ok(())
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        _body: &mut Option<Bytes>,
        _end_of_stream: bool,
        context: &mut Context,
    ) -> Result<()> {
        // The session's own count, because a body that is sent again to another process passes here twice.
        let bytes = session.body_bytes_read() as u64;
        if self.parts.body_limits.exceeded(context.exchange.endpoint.class, bytes) {
            context.failure = Some(Failure::TooLarge);
            return Error::e_explain(ErrorType::HTTPStatus(413), "the body is larger than Synapse takes");
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<()> {
        context.exchange.first_byte = Some(context.exchange.started.elapsed());
        context.exchange.answered_by = AnsweredBy::Synapse;
        context.attempts.answered();
        self.heard(session.req_header(), response, context);
        self.sync_begins(response, context)
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        context: &mut Context,
    ) -> Result<Option<Duration>> {
        self.overheard(body.as_ref(), end_of_stream, context);
        self.sync_goes_on(body.as_ref(), end_of_stream, context);
        Ok(None)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        context: &mut Context,
        mut error: Box<Error>,
    ) -> Box<Error> {
        let may_retry = self.not_connected(&context.exchange, &mut context.attempts, &error);
        if !may_retry && context.attempts.is_bound() {
            context.failure = Some(Failure::BrokenOff);
        }
        error.set_retry(may_retry);
        error
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        context: &mut Context,
        client_reused: bool,
    ) -> Box<Error> {
        self.broken_off(session, context, &mut error, client_reused);
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, context: &mut Context) -> FailToProxy {
        let (failure, ended) = failure::meaning(error, context.failure);
        context.exchange.ended = ended;
        // A `100 Continue` that was passed on is no answer yet.
        let can_answer = session.response_written().is_none_or(|head| head.status.as_u16() == 100);
        let Some(failure) = failure.filter(|_| can_answer) else {
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        };
        tracing::debug!(request_id = %context.exchange.request_id, %error, "the request failed");
        session.set_keepalive(None);
        // The process is done with this request, though its client may not be.
        context.attempts.end();
        if send(session, context, failure.reply()).await.is_err() {
            context.exchange.ended = Ended::ClientGone;
        }
        FailToProxy { error_code: failure.status().as_u16(), can_reuse_downstream: false }
    }

    fn suppress_error_log(&self, _session: &Session, _context: &Context, _error: &Error) -> bool {
        // The access log tells it, once and in one form.
        true
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Context, _: &Error, _: ProxyWarnLogContext) -> bool {
        // The line would have the request's path and query in it. How often a request was tried is in the access log.
        true
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, context: &mut Context) {
        context.attempts.end();
        if error.is_none() {
            // An answer without a body has no last part of one.
            self.sync_ends(context);
        }
        let exchange = &mut context.exchange;
        exchange.status = session.response_written().map_or(0, |response| response.status.as_u16());
        exchange.bytes_in = session.body_bytes_read() as u64;
        exchange.bytes_out = session.body_bytes_sent() as u64;
        if let Some(error) = error
            && exchange.ended == Ended::Complete
        {
            exchange.ended = failure::meaning(error, None).1;
        }
        self.parts.record(exchange, session.req_header().method.as_str());
    }
}

/// The head, as decisions see it.
fn asked(head: &RequestHeader, endpoint: Endpoint) -> Asked<'_> {
    let (path, query, headers) = (head.uri.path(), head.uri.query(), Headers::Map(&head.headers));
    Asked { method: &head.method, path, query, headers, endpoint }
}

/// Why the request is refused for its head alone.
fn malformed(session: &Session) -> Option<Failure> {
    let head = session.req_header();
    let raw = session.as_downstream().as_http1().map(|session| session.get_headers_raw_bytes());
    answer::malformed(answer::Head::parsed(head, head.raw_path(), raw.as_deref()))
}

/// Sends a reply of dendron's own, and sees to it that the client hears it.
async fn send(session: &mut Session, context: &mut Context, reply: Reply) -> Result<()> {
    let is_head = session.req_header().method == http::Method::HEAD;
    let is_bodiless = is_head || reply.body.is_empty();
    session.write_response_header(head_of(&reply)?, is_bodiless).await?;
    if !is_bodiless {
        session.write_response_body(Some(reply.body), true).await?;
    }
    context.exchange.answered_by = AnsweredBy::Edge;
    linger::until_heard(session).await;
    Ok(())
}

/// The head of a reply of dendron's own. What concerns its connection is added where it is sent.
pub(crate) fn head_of(reply: &Reply) -> Result<Box<ResponseHeader>> {
    let mut head = ResponseHeader::build(reply.status, Some(reply.headers.len() + 1))?;
    for (name, value) in &*reply.headers {
        head.append_header(name, value)?;
    }
    head.insert_header(http::header::CONTENT_LENGTH, reply.body.len())?;
    Ok(Box::new(head))
}
