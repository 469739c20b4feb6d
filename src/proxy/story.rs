//! The beginning and the end of a request's story, wherever it is told: by the filters, or by the front for a request
//! that never reaches them.

use std::net::IpAddr;
use std::time::{Instant, SystemTime};

use http::Method;

use super::{Parts, forward};
use crate::answer::{Asked, Headers};
use crate::client_address::X_FORWARDED_FOR;
use crate::endpoint::{Class, Endpoint, Subject};
use crate::exchange::{Exchange, RequestId};

impl Parts {
    /// The story of a request of which nothing is known yet.
    pub fn unread(&self, started: Instant) -> Exchange {
        let endpoint = Endpoint { class: Class::Unknown, label: "unread", subject: Subject::None };
        Exchange::new(started, self.request_ids.make(), endpoint, None)
    }

    /// A head as those see it who decide about it.
    pub fn asked<'head>(
        &self,
        method: &'head Method,
        path: &'head str,
        query: Option<&'head str>,
        headers: Headers<'head>,
    ) -> Asked<'head> {
        let endpoint = self.endpoints.classify(method, path, query);
        Asked { method, path, query, headers, endpoint }
    }

    /// Adds what the head tells: who asks, what for, and under which name.
    pub fn describe(&self, exchange: &mut Exchange, peer: Option<IpAddr>, asked: &Asked<'_>) {
        exchange.client = self.trusted.client(peer, asked.headers.all(&X_FORWARDED_FOR));
        exchange.endpoint = asked.endpoint;
        if self.trusted.trusts(peer)
            && let Some(given) = asked.headers.first(&forward::X_REQUEST_ID)
            && let Some(request_id) = std::str::from_utf8(given).ok().and_then(RequestId::given)
        {
            exchange.request_id = request_id;
        }
    }

    /// Tells a story that has ended: a line in the access log, and the metrics.
    pub fn record(&self, exchange: &Exchange, method: &str) {
        let total = exchange.started.elapsed();
        self.metrics.count(exchange, method, total);
        self.access_log.write(exchange, method, total, SystemTime::now());
    }
}
