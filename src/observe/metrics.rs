//! The handles of every metric of the [`table`].
//!
//! Handles that a request touches are looked up once and kept in arrays, because a look-up by label costs several times
//! the increment.
//!
//! Whatever is known elsewhere (health, requests in flight, restarts) is read at the time of a scrape by the admin
//! listener, so that nothing is counted twice.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::{
    Counter, Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use super::table::{self, Row};
use crate::endpoint::Class;
use crate::exchange::{AnsweredBy, Exchange};

/// Upper bounds for what should take milliseconds, up to what a slow join takes.
const BUCKETS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0];
/// Upper bounds for long-polls, close around the 30 s that clients ask for.
const POLL_BUCKETS: [f64; 11] = [0.01, 0.05, 0.25, 1.0, 5.0, 10.0, 20.0, 29.5, 30.5, 60.0, 120.0];
/// The methods that Matrix knows; another one is counted as `other`.
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "other"];
/// The codes that are counted by name; another one is counted by its hundred, for instance `4xx`.
const CODES: [u16; 20] =
    [0, 200, 201, 204, 206, 302, 304, 400, 401, 403, 404, 405, 408, 413, 429, 431, 500, 502, 503, 504];
const CODE_LABELS: usize = CODES.len() + 6;

/// The handles of every metric, in a registry of their own.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    /// Answers of dendron's own, by name; whoever gives them counts them.
    pub answers: IntCounterVec,
    /// `requests` by class, method, code and answerer, filled as they occur.
    requests_by_place: Box<[OnceLock<IntCounter>]>,
    /// Request durations by class; long-polls have a metric of their own.
    durations: Box<[Histogram]>,
    connect: HistogramVec,
    first_byte: HistogramVec,
    /// `connect` and `first_byte` of the pool that a class had first, which is nearly always its only one.
    by_class: Box<[OnceLock<OfPool>]>,
    retries: IntCounterVec,
    /// Client connections that are open.
    pub connections: IntGauge,
    /// Client connections ever accepted.
    pub connections_accepted: IntCounter,
    /// The most client connections that may be open.
    pub connections_limit: IntGauge,
    /// Client connections that were closed for want of a place.
    pub connections_refused: IntCounter,
    /// TLS handshakes that failed or took too long.
    pub handshakes_failed: IntCounter,
    /// Lines of the access log that were dropped.
    pub access_log_dropped: IntCounter,
    /// Logins that were forwarded, by reason.
    pub logins_forwarded: IntCounterVec,
    /// What is counted of Synapse's replication stream.
    pub replication: Replication,
    /// Who is behind access tokens.
    pub tokens: Tokens,
    /// What becomes of syncs.
    pub syncs: Syncs,
    /// What is read at the time of a scrape.
    pub at_scrape: AtScrape,
}

/// A pool's histograms.
#[derive(Clone)]
struct OfPool {
    pool: Arc<str>,
    connect: Histogram,
    first_byte: Histogram,
}

/// The metrics of following Synapse's replication stream.
#[derive(Clone)]
pub struct Replication {
    /// The state, by name.
    pub state: IntGaugeVec,
    /// Rows, by stream.
    pub rows: IntCounterVec,
    /// What was taken to concern everybody, by kind.
    pub doubts: IntCounterVec,
    /// From a transaction until its row was read.
    pub lag: Histogram,
}

/// The metrics of who is behind access tokens.
#[derive(Clone)]
pub struct Tokens {
    /// Questions to Synapse, by outcome.
    pub questions: IntCounterVec,
    /// How often something was forgotten, by what it was.
    pub forgotten: IntCounterVec,
}

/// The metrics of quiet syncs.
#[derive(Clone)]
pub struct Syncs {
    /// Syncs, by what became of them and why.
    pub outcomes: IntCounterVec,
    /// How long they were parked.
    pub park_seconds: Histogram,
    /// Wakes, by reason and by what came of them.
    pub wakes: IntCounterVec,
    /// What would have become of syncs, by outcome.
    pub predictions: IntCounterVec,
}

/// The metrics that the admin listener sets from what it finds at the time of a scrape.
pub struct AtScrape {
    /// Requests in flight, by pool and process.
    pub in_flight: IntGaugeVec,
    /// Requests waiting, by pool and process.
    pub queued: IntGaugeVec,
    /// Requests waiting, by process and class.
    pub class_queued: IntGaugeVec,
    /// Health, by pool and process.
    pub healthy: IntGaugeVec,
    /// Requests ever sent, by process.
    pub process_requests: IntCounterVec,
    /// Connections that are kept for questions, by process.
    pub process_kept: IntGaugeVec,
    /// Ejections, by process.
    pub ejections: IntCounterVec,
    /// Connections to processes that requests have.
    pub upstream_connections: IntGauge,
    /// The most of these.
    pub upstream_connections_limit: IntGauge,
    /// Requests waiting for one.
    pub upstream_connections_queued: IntGauge,
    /// Tasks alive.
    pub tasks: IntGauge,
    /// Open descriptors.
    pub descriptors: IntGauge,
    /// The limit of open descriptors.
    pub descriptors_limit: IntGauge,
    /// Resident memory, in bytes.
    pub memory: IntGauge,
    /// Access tokens whose caller is known.
    pub tokens: IntGauge,
    /// Syncs that are parked.
    pub sync_parked: IntGauge,
    /// The state of the gate, by name.
    pub sync_state: IntGaugeVec,
    /// What is done with quiet syncs, by name.
    pub sync_mode: IntGaugeVec,
    /// Devices that Synapse is told of.
    pub sync_devices: IntGauge,
    /// Answers that are kept.
    pub sync_kept: IntGauge,
    /// Their bytes.
    pub sync_kept_bytes: IntGauge,
    /// Users whose rooms are known.
    pub sync_users: IntGauge,
    /// Empty answers, by what became of them.
    pub sync_answers: IntCounterVec,
    /// Gaps, by detector.
    pub sync_gaps: IntCounterVec,
    /// Misses, seen and confirmed.
    pub sync_misses: IntCounterVec,
    /// Passwords that wait to be checked.
    pub login_queue: IntGauge,
    /// Passwords that a thread can check side by side.
    pub login_lanes: IntGauge,
    /// Passwords that are being checked.
    pub login_lanes_in_use: IntGauge,
    /// Logins that wait for their turn at the main process.
    pub login_turns: IntGauge,
    /// Passwords by what became of them.
    pub login_checks: IntCounterVec,
    /// How long threads have checked passwords, in seconds.
    pub login_check_seconds: Counter,
    /// Addresses and accounts of which the limits of logins know.
    pub login_buckets: IntGauge,
    /// Whether the users' database answers.
    pub login_database: IntGauge,
    /// Whether the limits of logins are shared.
    pub login_limits_shared: IntGauge,
    /// How often a limit that was to be shared was decided alone.
    pub login_limits_alone: IntCounter,
    /// When certificates expire, by listener, as Unix time.
    pub certificate_expiry: IntGaugeVec,
    /// Readiness of supervised processes.
    pub supervised: IntGaugeVec,
    /// Restarts of supervised processes.
    pub restarts: IntCounterVec,
}

impl Metrics {
    /// Registers every metric. `started` is the Unix time of the start, in seconds.
    ///
    /// # Errors
    ///
    /// What the registry says of a row that it does not take; the tests show that it takes them all.
    pub fn new(started: i64) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let makes = Maker { registry: &registry };
        let duration = makes.histogram(table::DURATION, &BUCKETS)?;
        let poll_duration = makes.histogram(table::POLL_DURATION, &POLL_BUCKETS)?;
        let durations = Class::ALL.iter().map(|class| {
            let metric = if class.is_poll() { &poll_duration } else { &duration };
            metric.with_label_values(&[class.name()])
        });
        let places = Class::ALL.len() * METHODS.len() * CODE_LABELS * ANSWERERS.len();
        makes.gauges(table::START)?.with_label_values::<&str>(&[]).set(started);
        makes.gauges(table::BUILD)?.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Metrics {
            requests: makes.counters(table::REQUESTS)?,
            answers: makes.counters(table::ANSWERS)?,
            requests_by_place: (0..places).map(|_| OnceLock::new()).collect(),
            durations: durations.collect(),
            connect: makes.histogram(table::CONNECT, &BUCKETS)?,
            first_byte: makes.histogram(table::FIRST_BYTE, &BUCKETS)?,
            by_class: Class::ALL.iter().map(|_| OnceLock::new()).collect(),
            retries: makes.counters(table::RETRIES)?,
            connections: makes.gauges(table::CONNECTIONS)?.with_label_values::<&str>(&[]),
            connections_accepted: makes.counters(table::ACCEPTED)?.with_label_values::<&str>(&[]),
            connections_limit: makes.gauges(table::CONNECTIONS_LIMIT)?.with_label_values::<&str>(&[]),
            connections_refused: makes.counters(table::REFUSED)?.with_label_values::<&str>(&[]),
            handshakes_failed: makes.counters(table::HANDSHAKES_FAILED)?.with_label_values::<&str>(&[]),
            access_log_dropped: makes.counters(table::LOG_DROPPED)?.with_label_values::<&str>(&[]),
            logins_forwarded: makes.counters(table::LOGINS_FORWARDED)?,
            replication: Replication {
                state: makes.gauges(table::REPLICATION_STATE)?,
                rows: makes.counters(table::REPLICATION_ROWS)?,
                doubts: makes.counters(table::REPLICATION_DOUBTS)?,
                lag: makes.histogram(table::REPLICATION_LAG, &BUCKETS)?.with_label_values::<&str>(&[]),
            },
            tokens: Tokens {
                questions: makes.counters(table::TOKEN_QUESTIONS)?,
                forgotten: makes.counters(table::TOKENS_FORGOTTEN)?,
            },
            syncs: Syncs {
                outcomes: makes.counters(table::SYNC_OUTCOMES)?,
                park_seconds: makes.histogram(table::SYNC_PARK_SECONDS, &POLL_BUCKETS)?.with_label_values::<&str>(&[]),
                wakes: makes.counters(table::SYNC_WAKES)?,
                predictions: makes.counters(table::SYNC_PREDICTIONS)?,
            },
            at_scrape: AtScrape::new(&makes)?,
            registry,
        })
    }

    /// Counts a request that has ended after `total`.
    pub fn count(&self, exchange: &Exchange, method: &str, total: Duration) {
        let class = exchange.endpoint.class;
        let method = METHODS.iter().position(|known| *known == method).unwrap_or(METHODS.len() - 1);
        let code = code_place(exchange.status);
        let answerer = exchange.answered_by as usize;
        let place = ((class.index() * METHODS.len() + method) * CODE_LABELS + code) * ANSWERERS.len() + answerer;
        if let Some(slot) = self.requests_by_place.get(place) {
            let counter = slot.get_or_init(|| {
                let labels = [class.name(), METHODS[method], &code_label(code), ANSWERERS[answerer].name()];
                self.requests.with_label_values(&labels)
            });
            counter.inc();
        }
        if let Some(histogram) = self.durations.get(class.index()) {
            histogram.observe(total.as_secs_f64());
        }
        let Some(pool) = &exchange.pool else { return };
        if exchange.retries > 0 {
            self.retries.with_label_values(&[&**pool]).inc_by(exchange.retries.into());
        }
        if let (Some(connected), Some(waited)) = (exchange.connected, exchange.waited) {
            let histograms = self.of_pool(class, pool);
            histograms.connect.observe(connected.saturating_sub(waited).as_secs_f64());
            if let (Some(first_byte), false) = (exchange.first_byte, class.is_poll()) {
                histograms.first_byte.observe(first_byte.saturating_sub(connected).as_secs_f64());
            }
        }
    }

    /// The histograms of a pool that served this class.
    fn of_pool(&self, class: Class, pool: &Arc<str>) -> Cow<'_, OfPool> {
        let look_up = || OfPool {
            pool: Arc::clone(pool),
            connect: self.connect.with_label_values(&[&**pool]),
            first_byte: self.first_byte.with_label_values(&[&**pool]),
        };
        let known = self.by_class.get(class.index()).map(|slot| slot.get_or_init(look_up));
        match known.filter(|known| known.pool == *pool) {
            Some(known) => Cow::Borrowed(known),
            None => Cow::Owned(look_up()),
        }
    }

    /// Everything in Prometheus's text format.
    ///
    /// # Errors
    ///
    /// What the encoder says; it does not fail on metrics of this table.
    pub fn text(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

impl Syncs {
    /// Counts a sync by what became of it, and why.
    pub fn outcome(&self, outcome: &str, reason: &str) {
        self.outcomes.with_label_values(&[outcome, reason]).inc();
    }
}

impl AtScrape {
    fn new(makes: &Maker<'_>) -> Result<Self, prometheus::Error> {
        Ok(AtScrape {
            in_flight: makes.gauges(table::IN_FLIGHT)?,
            queued: makes.gauges(table::QUEUED)?,
            class_queued: makes.gauges(table::CLASS_QUEUED)?,
            healthy: makes.gauges(table::HEALTHY)?,
            process_requests: makes.counters(table::PROCESS_REQUESTS)?,
            process_kept: makes.gauges(table::PROCESS_KEPT)?,
            ejections: makes.counters(table::EJECTIONS)?,
            upstream_connections: makes.gauges(table::UPSTREAM_CONNECTIONS)?.with_label_values::<&str>(&[]),
            upstream_connections_limit: makes.gauges(table::UPSTREAM_CONNECTIONS_LIMIT)?.with_label_values::<&str>(&[]),
            upstream_connections_queued: makes
                .gauges(table::UPSTREAM_CONNECTIONS_QUEUED)?
                .with_label_values::<&str>(&[]),
            tasks: makes.gauges(table::TASKS)?.with_label_values::<&str>(&[]),
            descriptors: makes.gauges(table::DESCRIPTORS)?.with_label_values::<&str>(&[]),
            descriptors_limit: makes.gauges(table::DESCRIPTORS_LIMIT)?.with_label_values::<&str>(&[]),
            memory: makes.gauges(table::MEMORY)?.with_label_values::<&str>(&[]),
            tokens: makes.gauges(table::TOKENS)?.with_label_values::<&str>(&[]),
            sync_parked: makes.gauges(table::SYNC_PARKED)?.with_label_values::<&str>(&[]),
            sync_state: makes.gauges(table::SYNC_STATE)?,
            sync_mode: makes.gauges(table::SYNC_MODE)?,
            sync_devices: makes.gauges(table::SYNC_DEVICES)?.with_label_values::<&str>(&[]),
            sync_kept: makes.gauges(table::SYNC_KEPT)?.with_label_values::<&str>(&[]),
            sync_kept_bytes: makes.gauges(table::SYNC_KEPT_BYTES)?.with_label_values::<&str>(&[]),
            sync_users: makes.gauges(table::SYNC_USERS)?.with_label_values::<&str>(&[]),
            sync_answers: makes.counters(table::SYNC_ANSWERS)?,
            sync_gaps: makes.counters(table::SYNC_GAPS)?,
            sync_misses: makes.counters(table::SYNC_MISSES)?,
            login_queue: makes.gauges(table::LOGIN_QUEUE)?.with_label_values::<&str>(&[]),
            login_lanes: makes.gauges(table::LOGIN_LANES)?.with_label_values::<&str>(&[]),
            login_lanes_in_use: makes.gauges(table::LOGIN_LANES_IN_USE)?.with_label_values::<&str>(&[]),
            login_turns: makes.gauges(table::LOGIN_TURNS)?.with_label_values::<&str>(&[]),
            login_checks: makes.counters(table::LOGIN_CHECKS)?,
            login_check_seconds: makes.seconds(table::LOGIN_CHECK_SECONDS)?,
            login_buckets: makes.gauges(table::LOGIN_BUCKETS)?.with_label_values::<&str>(&[]),
            login_database: makes.gauges(table::LOGIN_DATABASE)?.with_label_values::<&str>(&[]),
            login_limits_shared: makes.gauges(table::LOGIN_LIMITS_SHARED)?.with_label_values::<&str>(&[]),
            login_limits_alone: makes.counters(table::LOGIN_LIMITS_ALONE)?.with_label_values::<&str>(&[]),
            certificate_expiry: makes.gauges(table::CERTIFICATE)?,
            supervised: makes.gauges(table::SUPERVISED)?,
            restarts: makes.counters(table::RESTARTS)?,
        })
    }
}

const ANSWERERS: [AnsweredBy; 3] = [AnsweredBy::Nobody, AnsweredBy::Synapse, AnsweredBy::Edge];

fn code_place(status: u16) -> usize {
    let named = CODES.iter().position(|code| *code == status);
    named.unwrap_or_else(|| CODES.len() + usize::from(status / 100).min(5))
}

fn code_label(place: usize) -> String {
    match CODES.get(place) {
        Some(code) => code.to_string(),
        None => format!("{}xx", place - CODES.len()),
    }
}

/// Makes a metric of a row and registers it.
struct Maker<'registry> {
    registry: &'registry Registry,
}

impl Maker<'_> {
    fn counters(&self, row: Row) -> Result<IntCounterVec, prometheus::Error> {
        let metric = IntCounterVec::new(Opts::new(row.name, row.help), row.labels)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn gauges(&self, row: Row) -> Result<IntGaugeVec, prometheus::Error> {
        let metric = IntGaugeVec::new(Opts::new(row.name, row.help), row.labels)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn seconds(&self, row: Row) -> Result<Counter, prometheus::Error> {
        let metric = Counter::with_opts(Opts::new(row.name, row.help))?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn histogram(&self, row: Row, buckets: &[f64]) -> Result<HistogramVec, prometheus::Error> {
        let options = HistogramOpts::new(row.name, row.help).buckets(buckets.to_vec());
        let metric = HistogramVec::new(options, row.labels)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::endpoint::{Endpoint, Subject};
    use crate::exchange::RequestId;

    fn exchange(class: Class, status: u16) -> Exchange {
        let endpoint = Endpoint { class, label: "/label", subject: Subject::None };
        let mut exchange = Exchange::new(Instant::now(), RequestId::Made { process: 1, number: 1 }, endpoint, None);
        exchange.status = status;
        exchange.answered_by = AnsweredBy::Synapse;
        exchange.pool = Some("main".into());
        exchange
    }

    #[test]
    fn requests_are_counted_by_class_method_code_and_answerer() {
        let metrics = Metrics::new(0).unwrap();
        metrics.count(&exchange(Class::Login, 200), "POST", Duration::from_millis(3));
        metrics.count(&exchange(Class::Login, 200), "POST", Duration::from_millis(3));
        metrics.count(&exchange(Class::Sync, 418), "BREW", Duration::from_secs(30));
        let text = String::from_utf8(metrics.text().unwrap()).unwrap();
        for line in [
            r#"dendron_requests_total{answered_by="synapse",class="login",code="200",method="POST"} 2"#,
            r#"dendron_requests_total{answered_by="synapse",class="sync",code="4xx",method="other"} 1"#,
            r#"dendron_request_duration_seconds_count{class="login"} 2"#,
            r#"dendron_sync_duration_seconds_bucket{class="sync",le="30.5"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn every_code_has_a_place_and_a_bounded_label() {
        for status in 0..=u16::MAX {
            assert!(code_place(status) < CODE_LABELS, "{status}");
        }
        assert_eq!(code_label(code_place(502)), "502");
        assert_eq!(code_label(code_place(299)), "2xx");
        assert_eq!(code_label(code_place(999)), "5xx");
    }

    #[test]
    fn names_follow_the_conventions() {
        for row in &table::TABLE {
            assert!(row.name.starts_with("dendron_"), "{}", row.name);
            assert!(row.help.ends_with('.'), "{}", row.name);
        }
    }
}
