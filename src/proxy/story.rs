//! The beginning and the end of a request's story, wherever it is told: by the filters, or by the front for a request
//! that never reaches them.

use std::net::IpAddr;
use std::time::{Instant, SystemTime};

use http::request::Parts as Head;

use super::{Parts, forward};
use crate::endpoint::{Class, Endpoint, Subject};
use crate::exchange::{Exchange, RequestId};

impl Parts {
    /// The story of a request of which nothing is known yet.
    pub fn unread(&self, started: Instant) -> Exchange {
        let endpoint = Endpoint { class: Class::Unknown, label: "unread", subject: Subject::None };
        Exchange::new(started, self.request_ids.make(), endpoint, None)
    }

    /// Adds what the head tells: who asks, what for, and under which name.
    pub fn describe(&self, exchange: &mut Exchange, peer: Option<IpAddr>, head: &Head) {
        exchange.client = self.trusted.client(peer, &head.headers);
        exchange.endpoint = self.endpoints.classify(&head.method, head.uri.path(), head.uri.query());
        if self.trusted.trusts(peer)
            && let Some(given) = head.headers.get(forward::X_REQUEST_ID).and_then(|value| value.to_str().ok())
            && let Some(request_id) = RequestId::given(given)
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
