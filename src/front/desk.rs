//! Whom the front asks about requests, and tells what became of them: the proxy, which says the same to its own filters.

use std::any::Any;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::net::IpAddr;
use std::time::Instant;

use http::Method;
use http::request::Parts as RequestHead;

use crate::answer::{Head, Headers};
use crate::exchange::{AnsweredBy, Ended, Exchange};
use crate::proxy::{self, Edge};
use crate::reply::{Failure, Reply};

/// Decides about requests, and keeps the books.
pub trait Desk: Send + Sync + 'static {
    /// A request that waits. When it is dropped, it waits no longer.
    type Held: Send + Sync + 'static;

    /// What becomes of a request of which nothing but this head is to come, from the other end of this address (`None`
    /// over a unix socket).
    fn consider(&self, head: &Head<'_>, peer: Option<IpAddr>) -> Verdict<Self::Held>;

    /// Waits until a request need wait no longer. The future may be dropped and made again.
    fn ended(&self, held: &mut Self::Held) -> impl Future<Output = Ending> + Send;

    /// The answer to a request that has waited until its time was over, or until the server stops.
    fn replayed(&self, held: Self::Held) -> Answered;

    /// What the proxy is to know of a request that goes on to it, though its time is not over.
    fn woken(&self, held: Self::Held) -> Mark;

    /// A request's client has gone.
    fn left(&self, held: Self::Held);

    /// Writes down a request that was answered, when its answer has left, or could not.
    fn answered(&self, answered: Answered, has_left: bool);

    /// Writes down one that was refused.
    fn refused(&self, refused: Refused<'_>);
}

/// What becomes of a request.
pub enum Verdict<H> {
    /// It is answered.
    Answer(Answered),
    /// It waits.
    Hold(Box<H>),
    /// It is the proxy's, which is to know this.
    Pass(Option<Mark>),
}

/// Why a request waits no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It is answered.
    Answer,
    /// It goes on to the proxy.
    Pass,
}

/// What the proxy is to know of a request that was considered here: its own matter, whatever that is. It finds this in
/// `on_connection_reuse`.
pub type Mark = Box<dyn Any + Send + Sync>;

/// A request that was answered before the proxy saw it.
#[derive(Debug)]
pub struct Answered {
    /// Its story, as it is if the answer leaves.
    pub exchange: Exchange,
    /// Its method.
    pub method: Method,
    /// The answer.
    pub reply: Reply,
}

/// A request that was refused before the proxy saw it.
#[derive(Debug)]
pub struct Refused<'request> {
    /// When its first byte came.
    pub begun: Instant,
    /// The other end of its connection; `None` over a unix socket.
    pub peer: Option<IpAddr>,
    /// Its head, where it could be read.
    pub head: Option<&'request RequestHead>,
    /// Why it was refused.
    pub failure: Failure,
    /// The bytes of the answer's body; `None` where the answer could not be sent.
    pub sent: Option<usize>,
}

impl Desk for Edge {
    type Held = Infallible;

    fn consider(&self, head: &Head<'_>, peer: Option<IpAddr>) -> Verdict<Infallible> {
        self.answered_at_once(head, peer).map_or(Verdict::Pass(None), Verdict::Answer)
    }

    async fn ended(&self, _held: &mut Infallible) -> Ending {
        pending().await
    }

    fn replayed(&self, held: Infallible) -> Answered {
        match held {}
    }

    fn woken(&self, held: Infallible) -> Mark {
        match held {}
    }

    fn left(&self, held: Infallible) {
        match held {}
    }

    fn answered(&self, answered: Answered, has_left: bool) {
        let Answered { mut exchange, method, .. } = answered;
        if !has_left {
            (exchange.answered_by, exchange.ended, exchange.bytes_out) = (AnsweredBy::Nobody, Ended::ClientGone, 0);
        }
        self.parts().record(&exchange, method.as_str());
    }

    fn refused(&self, refused: Refused<'_>) {
        let mut exchange = self.parts().unread(refused.begun);
        match refused.head {
            Some(head) => {
                let (path, query) = (head.uri.path(), head.uri.query());
                let asked = self.parts().asked(&head.method, path, query, Headers::Map(&head.headers));
                self.parts().describe(&mut exchange, refused.peer, &asked);
            }
            None => exchange.client = refused.peer.map(|peer| peer.to_canonical()),
        }
        match refused.sent {
            Some(bytes) => {
                exchange.status = refused.failure.status().as_u16();
                exchange.bytes_out = bytes as u64;
                exchange.answered_by = AnsweredBy::Edge;
                exchange.ended = proxy::ended(Some(refused.failure));
            }
            None => exchange.ended = Ended::ClientGone,
        }
        self.parts().record(&exchange, refused.head.map_or("-", |head| head.method.as_str()));
    }
}

impl Edge {
    /// A request that its head alone decides.
    fn answered_at_once(&self, head: &Head<'_>, peer: Option<IpAddr>) -> Option<Answered> {
        let started = Instant::now();
        let method = Method::from_bytes(head.method.as_bytes()).ok()?;
        let target = std::str::from_utf8(head.target).ok()?;
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let asked = self.parts().asked(&method, path, query, head.headers);
        let (reply, ended) = self.answer(&asked, started)?;
        let mut exchange = self.parts().unread(started);
        self.parts().describe(&mut exchange, peer, &asked);
        exchange.status = reply.status.as_u16();
        exchange.bytes_out = if method == Method::HEAD { 0 } else { reply.body.len() as u64 };
        exchange.answered_by = AnsweredBy::Edge;
        exchange.ended = ended;
        Some(Answered { exchange, method, reply })
    }
}
