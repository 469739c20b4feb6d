//! One learned answer, and what may still be said of it later.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::header::{self, HeaderName, HeaderValue};

use super::Item;
use crate::reply::Reply;
use crate::synapse::Answer;

/// Headers that belong to one hop or to one moment. Everything else that Synapse said is said again.
const NOT_KEPT: [HeaderName; 8] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::DATE,
    header::TRANSFER_ENCODING,
    header::TRAILER,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    // Names one request in a tracing system.
    HeaderName::from_static("synapse-trace-id"),
];

/// Whether a header can be said again.
pub fn is_lasting(name: &HeaderName) -> bool {
    !NOT_KEPT.contains(name)
}

/// An answer as Synapse gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    reply: Reply,
    learned: Instant,
    /// When it ends to be true, whatever else is known.
    ends: Option<Instant>,
}

impl Document {
    /// What an answer to an item's question teaches; `None` if it is not one that lasts.
    pub fn learn(item: Item, answer: Answer, now: Instant, today: SystemTime) -> Option<Self> {
        if !item.accepts(&answer) {
            return None;
        }
        let ends = match item {
            Item::ServerKeys => Some(now + remaining(&answer.body, today)?),
            _ => None,
        };
        let kept = answer.headers.iter().filter(|(name, _)| is_lasting(name));
        let headers = Arc::new(kept.map(|(name, value)| (name.clone(), value.clone())).collect());
        Some(Document { reply: Reply { status: answer.status, headers, body: answer.body }, learned: now, ends })
    }

    /// How old it is.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.learned)
    }

    /// Whether it may still be told to anybody.
    pub fn holds(&self, now: Instant, age_max: Duration) -> bool {
        self.age(now) <= age_max && self.ends.is_none_or(|ends| now < ends)
    }

    /// The answer; with its `Age` if it is told from memory while nobody can be asked.
    pub fn reply(&self, aged: Option<Duration>) -> Reply {
        let mut reply = self.reply.clone();
        if let Some(age) = aged {
            // RFC 9111, 5.1.
            reply.add(header::AGE, HeaderValue::from(age.as_secs()));
        }
        reply
    }
}

/// How long keys are still to be believed (Matrix server-server API, "Publishing Keys").
fn remaining(body: &[u8], today: SystemTime) -> Option<Duration> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let until = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(body["valid_until_ts"].as_u64()?))?;
    // What lasts longer than a year is not known to end; it is asked for again long before.
    Some(until.duration_since(today).ok()?.min(Duration::from_secs(365 * 86_400)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, StatusCode};

    fn answer(body: &'static str) -> Answer {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("server", "Synapse/1"),
            ("date", "Mon, 23 Nov 2026 08:15:01 GMT"),
            ("vary", "Authorization"),
            ("vary", "Origin"),
            ("transfer-encoding", "chunked"),
            ("connection", "close"),
            ("synapse-trace-id", "a"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        Answer { status: StatusCode::OK, headers, body: body.into() }
    }

    #[test]
    fn all_is_kept_but_what_belongs_to_a_hop_or_a_moment() {
        let now = Instant::now();
        let document = Document::learn(Item::Versions, answer("{}"), now, SystemTime::now()).unwrap();
        let reply = document.reply(None);
        let names: Vec<&str> = reply.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((names.as_slice(), &*reply.body), (&["server", "vary", "vary"][..], &b"{}"[..]));
        let aged = document.reply(Some(Duration::from_millis(7_900)));
        assert_eq!(aged.headers.last(), Some(&(header::AGE, HeaderValue::from(7))));
    }

    #[test]
    fn keys_end_with_their_validity() {
        let (now, today) = (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000));
        let day = Duration::from_secs(86_400);
        let learn = |body| Document::learn(Item::ServerKeys, answer(body), now, today);
        let document = learn(r#"{"valid_until_ts":1060000}"#).unwrap();
        assert!(document.holds(now + Duration::from_secs(59), day));
        assert!(!document.holds(now + Duration::from_secs(60), day));
        for body in ["{}", "", r#"{"valid_until_ts":999999}"#, r#"{"valid_until_ts":-1}"#] {
            assert_eq!(learn(body), None, "{body}");
        }
        assert!(learn(r#"{"valid_until_ts":18446744073709551615}"#).is_some());
    }

    #[test]
    fn nothing_is_told_for_ever() {
        let now = Instant::now();
        let document = Document::learn(Item::Versions, answer("{}"), now, SystemTime::now()).unwrap();
        let hour = Duration::from_secs(3_600);
        assert!(document.holds(now + hour, hour));
        assert!(!document.holds(now + hour + Duration::from_millis(1), hour));
    }
}
