//! A sync that is considered before a session has begun, by what stands before the proxy: it is answered there, waits
//! there for less than a session costs, or comes to the filters with what has been found, so that nobody asks twice.
//!
//! Not here: connections (`front`), and what becomes of a sync (`quiet::parking`).

use std::any::Any;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::Method;

use super::relay::Errand;
use super::{Context, Edge};
use crate::answer::Asked;
use crate::endpoint::Endpoint;
use crate::exchange::{AnsweredBy, Ended, Exchange, RequestId};
use crate::quiet::Ending;
use crate::quiet::eligible::Protocol;
use crate::quiet::parking::{Considered, Parking, Place};
use crate::quiet::watched::Watched;
use crate::reply::Reply;

/// A sync that waits. When it is dropped, it waits no longer.
pub struct Held {
    place: Place,
    request_id: RequestId,
    client: Option<IpAddr>,
    endpoint: Endpoint,
}

/// What the filters are to know of a sync that was considered before it came to them.
pub struct Mark {
    /// When it came.
    pub(super) started: Instant,
    /// How long it has waited, if it has.
    pub(super) parked: Option<Duration>,
    /// What is left of its timeout then.
    pub(super) remaining: Option<Duration>,
    /// Why it goes on.
    pub(super) declined: &'static str,
    /// What is to be told of its answer.
    pub(super) watched: Option<Box<Watched>>,
}

/// What was found of a request that came over HTTP/2, on its way to the filters: a session of HTTP/2 has no place for it but
/// its head, of which there may be copies.
#[derive(Clone)]
pub(crate) struct Found(Arc<Mutex<Option<Box<dyn Any + Send + Sync>>>>);

/// What becomes of a sync that was considered.
#[expect(clippy::large_enum_variant, reason = "it is made once a request and looked at at once; a box would cost more")]
pub(crate) enum Early {
    /// It is answered.
    Answer(Exchange, Reply),
    /// It waits.
    Hold(Box<Held>),
    /// It goes on with this.
    Pass(Mark),
}

impl Edge {
    /// What becomes of a request without a body that came at `started`. `None` where it is no sync that could be parked.
    pub(crate) fn consider_early(&self, asked: &Asked<'_>, peer: Option<IpAddr>, started: Instant) -> Option<Early> {
        let parking = self.parts.quiet.parking()?;
        let protocol = Protocol::of(asked.endpoint).filter(|protocol| *protocol == Protocol::Sync)?;
        if *asked.method != Method::GET {
            return None;
        }
        let mut exchange = self.parts.unread(started);
        self.parts.describe(&mut exchange, peer, asked);
        Some(match parking.consider(protocol, asked, None, exchange.client, started) {
            Considered::Forward { declined, watched } => {
                Early::Pass(Mark { started, parked: None, remaining: None, declined: declined.name(), watched })
            }
            Considered::Replay(answer) => {
                let reply = self.replay(&answer, exchange.client);
                Early::Answer(answered(exchange, &reply), reply)
            }
            Considered::Park(place) => {
                let Exchange { request_id, client, endpoint, .. } = exchange;
                Early::Hold(Box::new(Held { place, request_id, client, endpoint }))
            }
        })
    }

    /// The answer to a sync whose time is over.
    pub(crate) fn over(&self, held: &Held) -> (Exchange, Reply) {
        let reply = self.replay(held.place.answer(), held.client);
        let exchange = self.ends(held, Parking::replayed);
        (answered(exchange, &reply), reply)
    }

    /// What the filters are to know of a sync that was woken, and has perhaps waited for its turn since then.
    pub(crate) fn resumed(&self, held: Held) -> Option<Mark> {
        let (place, now) = (held.place, Instant::now());
        let started = place.begun();
        let parked = Some(now.saturating_duration_since(started));
        let (reason, remaining) = place.woken(now)?;
        let watched = self.parts.quiet.parking()?.woken(place, reason, remaining, now);
        Some(Mark { started, parked, remaining: Some(remaining), declined: reason.name(), watched: Some(watched) })
    }

    /// The story of a sync whose client has gone.
    pub(crate) fn gone(&self, held: &Held) -> Exchange {
        let mut exchange = self.ends(held, Parking::left);
        exchange.ended = Ended::ClientGone;
        exchange
    }

    fn ends(&self, held: &Held, tell: impl FnOnce(&Parking, &Place, Instant)) -> Exchange {
        let now = Instant::now();
        if let Some(parking) = self.parts.quiet.parking() {
            tell(parking, &held.place, now);
        }
        let started = held.place.begun();
        let mut exchange = Exchange::new(started, held.request_id.clone(), held.endpoint, held.client);
        exchange.parked = Some(now.saturating_duration_since(started));
        exchange
    }
}

impl Mark {
    /// When the request came.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }
}

impl Held {
    /// Waits until it is woken, or is to be answered: then it is `true`. The future may be dropped and made again.
    pub(crate) async fn is_over(&mut self) -> bool {
        self.place.ended().await == Ending::Replay
    }
}

impl Found {
    /// What was found, for the session of a request.
    pub(crate) fn new(found: Box<dyn Any + Send + Sync>) -> Self {
        Found(Arc::new(Mutex::new(Some(found))))
    }

    /// The same, once.
    pub(super) fn take(&self) -> Option<Box<dyn Any + Send + Sync>> {
        self.0.lock().ok()?.take()
    }
}

impl Context {
    /// Takes over what was found of a request before it came here.
    pub(super) fn take_over(&mut self, found: Box<dyn Any + Send + Sync>) {
        match found.downcast::<Mark>() {
            Ok(mark) => {
                self.begun = Some(mark.started);
                self.mark = Some(mark);
            }
            Err(other) => {
                if let Ok(errand) = other.downcast::<Errand>() {
                    errand.hand_over(self);
                }
            }
        }
    }

    /// Takes over what was found of a sync before it came here; whether anything was.
    pub(super) fn is_resumed(&mut self) -> bool {
        let Some(mark) = self.mark.take() else { return false };
        self.exchange.parked = mark.parked;
        self.exchange.declined = Some(mark.declined);
        self.sync.resume(*mark);
        true
    }
}

/// The story of a sync that is answered here.
fn answered(mut exchange: Exchange, reply: &Reply) -> Exchange {
    exchange.status = reply.status.as_u16();
    exchange.bytes_out = reply.body.len() as u64;
    exchange.answered_by = AnsweredBy::Edge;
    exchange
}
