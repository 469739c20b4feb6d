//! A sync as it passes: answered with what Synapse said before, held beside its client, or forwarded with its answer
//! looked at.
//!
//! Not here: what becomes of it (`quiet::parking`). What is read of a sliding sync's body is kept by Pingora and sent on.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use pingora_core::Result;
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;

use super::held::Mark;
use super::login::{beside_client, read};
use super::{Context, Edge, asked, forward};
use crate::quiet::declined::Declined;
use crate::quiet::eligible::{self, Protocol, Unfit};
use crate::quiet::parking::{Considered, Parking, Place};
use crate::quiet::watched::Watched;
use crate::quiet::{Ending, KeptAnswer, WakeReason};
use crate::reply::Reply;

/// Tells whoever runs dendron what became of a sync.
pub(super) const X_DENDRON: HeaderName = HeaderName::from_static("x-dendron");

/// What is known of a request that is a sync, while it is forwarded. Of all others, nothing is.
#[derive(Default)]
pub(super) struct Syncing {
    /// Whether it is a sync of an edge that parks syncs.
    is_sync: bool,
    /// Its answer, if that is of use.
    watched: Option<Box<Watched>>,
    /// What is left of its timeout, if it was parked.
    remaining: Option<Duration>,
}

impl Syncing {
    /// Takes over what was found of a sync before it came here.
    pub(super) fn resume(&mut self, mark: Mark) {
        (self.remaining, self.watched) = (mark.remaining, mark.watched);
    }
}

impl Edge {
    /// Answers a sync with what was kept, if nothing has happened. `None` sends it on.
    pub(super) async fn sync(&self, session: &mut Session, context: &mut Context) -> Result<Option<Reply>> {
        let Some(protocol) = Protocol::of(context.exchange.endpoint) else { return Ok(None) };
        let Some(parking) = self.parts.quiet.parking() else { return Ok(None) };
        context.sync.is_sync = true;
        if context.is_resumed() {
            return Ok(None);
        }
        let considered = match body(parking, protocol, session, context, self.parts.client_times.silence).await? {
            Ok(body) => {
                let asked = asked(session.req_header(), context.exchange.endpoint);
                let (client, arrived) = (context.exchange.client, context.exchange.started);
                parking.consider(protocol, &asked, body.as_deref(), client, arrived)
            }
            Err(unfit) => parking.forwarded(Declined::Unfit(unfit)),
        };
        match considered {
            Considered::Forward { declined, watched } => {
                context.exchange.declined = Some(declined.name());
                context.sync.watched = watched;
                Ok(None)
            }
            Considered::Replay(answer) => Ok(Some(self.replay(&answer, context.exchange.client))),
            Considered::Park(place) => self.park(parking, place, session, context).await,
        }
    }

    /// Holds a sync until it is woken, its time is over, or its client is gone.
    async fn park(
        &self,
        parking: &Parking,
        mut place: Place,
        session: &mut Session,
        context: &mut Context,
    ) -> Result<Option<Reply>> {
        let ended = beside_client(session.as_downstream_mut(), parking.ending(&mut place)).await;
        let now = Instant::now();
        context.exchange.parked = Some(now.saturating_duration_since(place.begun()));
        match ended {
            Err(gone) => {
                parking.left(&place, now);
                Err(gone)
            }
            Ok(Ending::Replay) => {
                parking.replayed(&place, now);
                Ok(Some(self.replay(place.answer(), context.exchange.client)))
            }
            Ok(Ending::Wake(reason, remaining)) => {
                context.exchange.declined = Some(reason.name());
                context.sync.remaining = Some(remaining);
                context.sync.watched = Some(parking.woken(place, reason, remaining, now));
                Ok(None)
            }
        }
    }

    /// Synapse's answer once more. What belongs to this connection and this moment is added as to every answer.
    pub(super) fn replay(&self, answer: &KeptAnswer, client: Option<IpAddr>) -> Reply {
        let mut headers = answer.headers.to_vec();
        if self.is_told(client) {
            headers.push((X_DENDRON, HeaderValue::from_static("replay")));
        }
        Reply { status: StatusCode::OK, headers: headers.into(), body: answer.body.clone() }
    }

    /// Rewrites a sync on its way to Synapse: one that was parked has waited already.
    pub(super) fn shorten(request: &mut RequestHeader, context: &Context) -> Result<()> {
        let Some(remaining) = context.sync.remaining else { return Ok(()) };
        let target = forward::with_timeout(request.raw_path(), remaining);
        request.set_raw_path(&target)
    }

    /// The head of Synapse's answer.
    pub(super) fn sync_begins(&self, response: &mut ResponseHeader, context: &mut Context) -> Result<()> {
        let sync = &mut context.sync;
        if !sync.is_sync {
            return Ok(());
        }
        let wake = sync.watched.as_ref().and_then(|watched| watched.wake());
        if let Some(watched) = &mut sync.watched {
            watched.begins(response.status, &response.headers);
        }
        if let Some(told) = self.told(context.exchange.client, wake) {
            response.insert_header(X_DENDRON, told)?;
        }
        Ok(())
    }

    /// What whoever asked is told of a sync that was forwarded, if they are told anything.
    pub(super) fn told(&self, client: Option<IpAddr>, wake: Option<WakeReason>) -> Option<String> {
        let told = || wake.map_or_else(|| "forwarded".to_owned(), |reason| format!("woken:{}", reason.name()));
        self.is_told(client).then(told)
    }

    /// A part of the body of Synapse's answer. What it teaches is known before the client has all of it.
    pub(super) fn sync_goes_on(&self, body: Option<&Bytes>, is_end: bool, context: &mut Context) {
        if let (Some(watched), Some(part)) = (&mut context.sync.watched, body) {
            watched.goes_on(part);
        }
        if is_end {
            self.sync_ends(context);
        }
    }

    /// Synapse's answer is whole.
    pub(super) fn sync_ends(&self, context: &mut Context) {
        if let (Some(watched), Some(parking)) = (context.sync.watched.take(), self.parts.quiet.parking()) {
            parking.answered(*watched, Instant::now());
        }
    }

    /// Whether whoever asked is told what dendron did: they are among those who run it.
    fn is_told(&self, client: Option<IpAddr>) -> bool {
        self.parts.trusted.trusts(client)
    }
}

/// The body of a sliding sync that could be parked; `None` for what has none. The inner error is why it was not read.
async fn body(
    parking: &Parking,
    protocol: Protocol,
    session: &mut Session,
    context: &Context,
    time: Duration,
) -> Result<std::result::Result<Option<Vec<u8>>, Unfit>> {
    match protocol {
        // Over HTTP/2 a body needs no length.
        Protocol::Sync if !session.as_downstream_mut().is_body_empty() => return Ok(Err(Unfit::OddBody)),
        Protocol::Sync => return Ok(Ok(None)),
        Protocol::Sliding if !parking.looks_at_syncs() => return Ok(Ok(None)),
        Protocol::Sliding => {}
    }
    match eligible::is_worth_reading(&asked(session.req_header(), context.exchange.endpoint)) {
        Err(unfit) => Ok(Err(unfit)),
        Ok(length) => {
            let body = read(session.as_downstream_mut(), length, time).await?;
            Ok(Ok(Some(body.to_vec())))
        }
    }
}
