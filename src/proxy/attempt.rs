//! One try after the other: which process has a request next, and what is learned from a try that failed.
//!
//! A process in service of the class's own pool comes first, then main where it may stand in, then whoever was not
//! tried yet: what counts as dead may have come back. The decision about a request that may have reached Synapse is
//! `retry`'s.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, HeaderValue};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorSource, ErrorType};
use pingora_proxy::Session;
use xxhash_rust::xxh3::xxh3_64;

use super::retry::{Broken, Retry};
use super::{Context, Edge};
use crate::endpoint::{Class, Endpoint};
use crate::exchange::Exchange;
use crate::reply::Failure;
use crate::route::{ClassRoute, Key, key, poll_timeout};
use crate::upstream::{Backend, Fault, Granted, Pool, Tried, backlog};

/// At how many processes a request is tried that cannot be connected to.
const PROCESSES_MAX: usize = 16;
/// How often a request may be tried in all, which is for Pingora to know.
pub(crate) const TRIES_MAX: usize = PROCESSES_MAX + backlog::TRIES_MAX as usize;

/// A request's tries so far.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// The request's place at the process that it was last sent to.
    place: Option<Granted>,
    /// The processes that it has failed at.
    tried: Tried,
    /// How often it was repeated after it may have reached Synapse.
    repeats: u32,
    /// How often it found no room among the connections that a process has to accept.
    crowded: u32,
    /// When it first found none.
    crowded_since: Option<Instant>,
    /// How long it waits before the next try.
    pause: Duration,
    /// Whether the next try is at the process of the last one.
    stays: bool,
    /// Whether no other process may have it, because that one may have begun with it.
    is_bound: bool,
}

impl Attempts {
    /// A first try at the process where the request has this place.
    pub(super) fn at(place: Granted) -> Self {
        Attempts { place: Some(place), ..Attempts::default() }
    }

    /// The process of the last try.
    pub(super) fn backend(&self) -> Option<&Arc<Backend>> {
        self.place.as_ref().map(Granted::backend)
    }

    /// Has the next try be at the same process.
    pub(super) fn stay(&mut self) {
        self.stays = true;
    }

    /// The same, and lets no other process have it.
    pub(super) fn stay_bound(&mut self) {
        (self.stays, self.is_bound) = (true, true);
    }

    /// Whether no other process may have it, because that one may have begun with it.
    pub(super) fn is_bound(&self) -> bool {
        self.is_bound
    }

    /// Gives the request's place up.
    pub(super) fn end(&mut self) {
        self.place = None;
    }

    /// Has the next try be at the same process, after a pause; whether there is time for that.
    fn come_again(&mut self, pause: Duration, now: Instant) -> bool {
        let since = *self.crowded_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= backlog::PATIENCE {
            return false;
        }
        self.pause = pause;
        self.crowded += 1;
        self.stays = true;
        true
    }

    /// Takes note that the process has begun to answer.
    pub(super) fn answered(&self) {
        if let Some(place) = &self.place {
            place.backend().answered(Instant::now());
        }
    }
}

impl Edge {
    /// The process for this try, as Pingora takes it.
    pub(super) async fn peer(&self, session: &Session, context: &mut Context) -> Result<Box<HttpPeer>, Failure> {
        let pause = std::mem::take(&mut context.attempts.pause);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        loop {
            let patience = self.place(session, context).await?;
            let attempts = &mut context.attempts;
            let backend = attempts.place.as_ref().ok_or(Failure::Internal)?.backend();
            if let Some(peer) = backend.resolved_peer(patience).await {
                return Ok(peer);
            }
            attempts.tried.insert(backend);
        }
    }

    /// Chooses the process for this try; returns how long it may be silent.
    async fn place(&self, session: &Session, context: &mut Context) -> Result<Duration, Failure> {
        let head = session.req_header();
        let endpoint = context.exchange.endpoint;
        let route = self.parts.routes.of(endpoint.class);
        let attempts = &mut context.attempts;
        let exchange = &mut context.exchange;
        if !std::mem::take(&mut attempts.stays) || attempts.place.is_none() {
            let authorization = head.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
            let key = self.key(route, &endpoint, head.uri.path(), head.uri.query(), authorization);
            let (pool, backend) = self.next(route, key, &attempts.tried).ok_or_else(|| self.nobody(route))?;
            exchange.pool = Some(Arc::clone(pool.name()));
            attempts.place = None;
            let place = self.parts.pools.grant(&backend, endpoint.class).await;
            attempts.place = Some(place.map_err(|_| Failure::Overloaded)?);
        }
        // A failure is counted as a retry only where somebody is left to try.
        exchange.retries += u32::from(exchange.backend.is_some());
        exchange.backend = attempts.place.as_ref().map(|place| Arc::clone(place.backend().name()));
        exchange.waited = Some(exchange.started.elapsed());
        Ok(route.patience.for_poll(poll_timeout(head.uri.query())))
    }

    /// The balancing key of a request. `authorization` is its header of that name.
    pub(super) fn key(
        &self,
        route: &ClassRoute,
        endpoint: &Endpoint,
        path: &str,
        query: Option<&str>,
        authorization: Option<&[u8]>,
    ) -> Option<Key> {
        key::key_of(route.key, endpoint, path, query, authorization, |token| self.user_key(token))
    }

    /// The process in service that should have a request next, and the pool that it was chosen from.
    pub(super) fn in_service(
        &self,
        route: &ClassRoute,
        key: Option<Key>,
        tried: &Tried,
        now: Instant,
    ) -> Option<(&Pool, Arc<Backend>)> {
        self.pools_of(route).find_map(|pool| Some((pool, pool.choose(key, tried, now)?)))
    }

    fn next(&self, route: &ClassRoute, key: Option<Key>, tried: &Tried) -> Option<(&Pool, Arc<Backend>)> {
        let in_service = self.in_service(route, key, tried, Instant::now());
        in_service.or_else(|| self.pools_of(route).find_map(|pool| Some((pool, pool.choose_any(key, tried)?))))
    }

    /// The pools that may serve a class: its own, then main where that may stand in.
    fn pools_of(&self, route: &ClassRoute) -> impl Iterator<Item = &Pool> {
        [Some(route.pool), route.fallback].into_iter().flatten().filter_map(|place| self.parts.pools.at(place))
    }

    /// The failure when nobody is left: news, or known already.
    fn nobody(&self, route: &ClassRoute) -> Failure {
        if self.pools_of(route).any(Pool::is_healthy) { Failure::Unreachable } else { Failure::Down }
    }

    /// What follows when no connection could be made: the next process may have the request, whatever its method, for
    /// nothing was sent; unless an earlier try was. A process that has many connections to accept is given the time.
    /// Whether there is another try.
    pub(super) fn not_connected(&self, exchange: &Exchange, attempts: &mut Attempts, error: &Error) -> bool {
        let now = Instant::now();
        let class = exchange.endpoint.class;
        let is_full = backlog::is_full(error);
        let is_awaited = || attempts.is_bound || !self.has_others(class, attempts, now);
        let pause = if is_full {
            Some(backlog::pause(attempts.crowded))
        } else {
            let spread = || backlog::spread(xxh3_64(exchange.request_id.to_string().as_bytes()));
            (backlog::is_silent(error) && is_awaited()).then(spread)
        };
        if pause.is_some_and(|pause| attempts.come_again(pause, now)) {
            return true;
        }
        if let Some(place) = &attempts.place {
            attempts.tried.insert(place.backend());
            self.parts.pools.failed(place.backend(), Fault::Refused, now);
        }
        !attempts.is_bound && attempts.tried.count() < PROCESSES_MAX
    }

    /// Whether another process in service is left that could have the request.
    fn has_others(&self, class: Class, attempts: &Attempts, now: Instant) -> bool {
        let mut tried = attempts.tried.clone();
        if let Some(place) = &attempts.place {
            tried.insert(place.backend());
        }
        self.pools_of(self.parts.routes.of(class)).any(|pool| pool.choose(None, &tried, now).is_some())
    }

    /// What follows when a try failed after a connection stood.
    pub(super) fn broken_off(&self, session: &Session, context: &mut Context, error: &mut Error, reused: bool) {
        let broken = Broken {
            method: &session.req_header().method,
            label: context.exchange.endpoint.label,
            reused,
            begun: context.exchange.first_byte.is_some() || session.response_written().is_some(),
            replayable: !session.as_ref().retry_buffer_truncated(),
            repeats: context.attempts.repeats,
        };
        let class = context.exchange.endpoint.class;
        let may_retry = is_break(error) && self.broken(&broken, class, &mut context.attempts);
        error.set_retry(may_retry);
    }

    /// What follows when a process has broken the connection; whether there is another try.
    pub(super) fn broken(&self, broken: &Broken<'_>, class: Class, attempts: &mut Attempts) -> bool {
        let Some(place) = &attempts.place else { return false };
        if !broken.reused && !broken.begun {
            self.parts.pools.failed(place.backend(), Fault::Broken, Instant::now());
        }
        let Some(retry) = broken.retry() else { return false };
        attempts.repeats += 1;
        match retry {
            Retry::Same => attempts.stay_bound(),
            Retry::Other => {
                attempts.tried.insert(place.backend());
                // With nobody else in service the same process may have it once more: it may just have been started anew.
                attempts.stays = !self.has_others(class, attempts, Instant::now());
            }
        }
        true
    }
}

/// Whether the process closed or broke the connection, which is neither its silence nor an answer that is no HTTP.
fn is_break(error: &Error) -> bool {
    let kinds = [ErrorType::ConnectionClosed, ErrorType::ReadError, ErrorType::WriteError];
    *error.esource() == ErrorSource::Upstream && kinds.contains(error.etype())
}
