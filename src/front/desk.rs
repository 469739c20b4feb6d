//! Whom the front asks about requests, and tells what became of them: the proxy, which says the same to its own filters.

use std::any::Any;
use std::future::Future;
use std::net::IpAddr;
use std::time::Instant;

use http::request::Parts as RequestHead;
use http::{Method, StatusCode};
use pingora_core::protocols::Stream;

use crate::answer::{Asked, Head, Headers};
use crate::exchange::{AnsweredBy, Ended, Exchange};
use crate::proxy::held::{self, Early, Held};
use crate::proxy::relay::{Connected, Errand, Peer, Unanswered, is_relayed};
use crate::proxy::{self, Edge};
use crate::reply::{Failure, Reply};

/// Decides about requests, and keeps the books.
pub trait Desk: Send + Sync + 'static {
    /// A request that waits. When it is dropped, it waits no longer.
    type Held: Send + Sync + 'static;

    /// Whether a request with this head and a body could be asked of its process. The body of any other is not to be read.
    fn may_ask(&self, head: &Head<'_>) -> bool;

    /// What becomes of a request with this head and this body, of which nothing more is to come.
    fn consider(&self, head: &Head<'_>, body: &[u8], peer: Peer) -> Verdict<Self::Held>;

    /// Waits until a request need wait no longer. The future may be dropped and made again.
    fn ended(&self, held: &mut Self::Held) -> impl Future<Output = Ending> + Send;

    /// The answer to a request that has waited until its time was over, or until the server stops.
    fn replayed(&self, held: Self::Held) -> Answered;

    /// What the proxy is to know of a request that goes on to it, though its time is not over.
    fn woken(&self, held: Self::Held) -> Option<Mark>;

    /// The question that a request with this head is, of which the proxy would know this. For any other request that is
    /// given back.
    fn question(&self, head: &Head<'_>, peer: Peer, mark: Option<Mark>) -> Result<Box<Errand>, Option<Mark>>;

    /// A request's client has gone.
    fn left(&self, held: Self::Held);

    /// A connection to the process that a question goes to.
    fn connect(&self, errand: &mut Errand) -> impl Future<Output = Result<Connected, Unanswered>> + Send;

    /// What follows when the process has broken the connection before it answered.
    fn broke(&self, errand: &mut Errand, is_reused: bool) -> Unanswered;

    /// What follows when the process has answered in a way that is not plain.
    fn was_odd(&self, errand: &mut Errand) -> Unanswered;

    /// The answer to a question begins, with this status and these bytes.
    fn answers(&self, errand: &mut Errand, status: StatusCode, head: &[u8]);

    /// A part of its body passes.
    fn overhears(&self, errand: &mut Errand, part: &[u8]);

    /// Its body has come as a whole, and the end of it is about to leave.
    fn heard_out(&self, errand: &mut Errand);

    /// Writes down a question that has ended like this. The connection is one that can be used again.
    fn relayed(&self, errand: Errand, ended: Ended, stream: Option<Stream>);

    /// Writes down a request that was answered, when its answer has left, or could not.
    fn answered(&self, answered: Answered, has_left: bool);

    /// Writes down one that was refused.
    fn refused(&self, refused: Refused<'_>);
}

/// What becomes of a request.
#[expect(clippy::large_enum_variant, reason = "it is made once a request and looked at at once; a box would cost more")]
pub enum Verdict<H> {
    /// It is answered.
    Answer(Answered),
    /// It waits.
    Hold(Box<H>),
    /// It is asked of its process.
    Relay(Box<Errand>),
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
/// `on_connection_reuse`, and over HTTP/2 in the head.
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
    type Held = Held;

    fn may_ask(&self, head: &Head<'_>) -> bool {
        let Ok(method) = Method::from_bytes(head.method.as_bytes()) else { return false };
        let is_asked = |asked: Asked<'_>| !self.may_refuse(&asked) && is_relayed(&method, &asked.endpoint);
        self.asked(&method, head).is_some_and(is_asked)
    }

    fn consider(&self, head: &Head<'_>, body: &[u8], peer: Peer) -> Verdict<Held> {
        let started = Instant::now();
        let Ok(method) = Method::from_bytes(head.method.as_bytes()) else { return Verdict::Pass(None) };
        let Some(asked) = self.asked(&method, head) else { return Verdict::Pass(None) };
        if matches!(method, Method::PUT | Method::POST) {
            return self.sent_on(&asked, head, body, peer, started);
        }
        if let Some((exchange, reply)) = self.answered_at_once(&asked, peer.address, started) {
            return Verdict::Answer(Answered { exchange, method, reply });
        }
        let mark = match self.consider_early(&asked, peer.address, started) {
            None => None,
            Some(Early::Answer(exchange, reply)) => return Verdict::Answer(Answered { exchange, method, reply }),
            Some(Early::Hold(held)) => return Verdict::Hold(held),
            Some(Early::Pass(mark)) => Some(Box::new(mark)),
        };
        match self.errand(&asked, head, &[], peer, started, mark) {
            Ok(errand) => Verdict::Relay(Box::new(errand)),
            Err(mark) => Verdict::Pass(mark.map(|mark| mark as Mark)),
        }
    }

    async fn ended(&self, held: &mut Held) -> Ending {
        if held.is_over().await { Ending::Answer } else { Ending::Pass }
    }

    fn replayed(&self, held: Held) -> Answered {
        let (exchange, reply) = self.over(&held);
        Answered { exchange, method: Method::GET, reply }
    }

    fn woken(&self, held: Held) -> Option<Mark> {
        self.resumed(held).map(|mark| Box::new(mark) as Mark)
    }

    fn question(&self, head: &Head<'_>, peer: Peer, mark: Option<Mark>) -> Result<Box<Errand>, Option<Mark>> {
        let mark = mark.map(<Box<dyn Any + Send + Sync>>::downcast::<held::Mark>).transpose().map_err(Some)?;
        let started = mark.as_ref().map_or_else(Instant::now, |mark| mark.started());
        let method = Method::from_bytes(head.method.as_bytes());
        let asked = method.as_ref().ok().and_then(|method| self.asked(method, head));
        let errand = match asked {
            Some(asked) => self.errand(&asked, head, &[], peer, started, mark),
            None => Err(mark),
        };
        errand.map(Box::new).map_err(|mark| mark.map(|mark| mark as Mark))
    }

    fn left(&self, held: Held) {
        self.parts().record(&self.gone(&held), Method::GET.as_str());
    }

    async fn connect(&self, errand: &mut Errand) -> Result<Connected, Unanswered> {
        Edge::connect(self, errand).await
    }

    fn broke(&self, errand: &mut Errand, is_reused: bool) -> Unanswered {
        Edge::broke(self, errand, is_reused)
    }

    fn was_odd(&self, errand: &mut Errand) -> Unanswered {
        Edge::was_odd(errand)
    }

    fn answers(&self, errand: &mut Errand, status: StatusCode, head: &[u8]) {
        Edge::answers(self, errand, status, head);
    }

    fn overhears(&self, errand: &mut Errand, part: &[u8]) {
        errand.overhears(part);
    }

    fn heard_out(&self, errand: &mut Errand) {
        Edge::heard_out(self, errand);
    }

    fn relayed(&self, errand: Errand, ended: Ended, stream: Option<Stream>) {
        Edge::relayed(self, errand, ended, stream);
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
    /// A head as those see it who decide about it. `None` where that is not text.
    fn asked<'head>(&self, method: &'head Method, head: &Head<'head>) -> Option<Asked<'head>> {
        let target = std::str::from_utf8(head.target).ok()?;
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        Some(self.parts().asked(method, path, query, head.headers))
    }

    /// What becomes of a request that may have a body. Those that dendron could answer itself are left to the filters: they
    /// are few, and what follows from a body that nobody will read is theirs to know.
    fn sent_on(&self, asked: &Asked<'_>, head: &Head<'_>, body: &[u8], peer: Peer, started: Instant) -> Verdict<Held> {
        if self.may_refuse(asked) {
            return Verdict::Pass(None);
        }
        match self.errand(asked, head, body, peer, started, None) {
            Ok(errand) => Verdict::Relay(Box::new(errand)),
            Err(_) => Verdict::Pass(None),
        }
    }

    /// The answer to a request that its head alone decides, with its story.
    fn answered_at_once(&self, asked: &Asked<'_>, peer: Option<IpAddr>, started: Instant) -> Option<(Exchange, Reply)> {
        let (reply, ended) = self.answer(asked, started)?;
        let mut exchange = self.parts().unread(started);
        self.parts().describe(&mut exchange, peer, asked);
        exchange.status = reply.status.as_u16();
        exchange.bytes_out = if *asked.method == Method::HEAD { 0 } else { reply.body.len() as u64 };
        exchange.answered_by = AnsweredBy::Edge;
        exchange.ended = ended;
        Some((exchange, reply))
    }
}
