//! Every metric, in one table: [`TABLE`] gives name, kind, help and labels; [`Metrics`] holds the handles.
//!
//! Labels are bounded by the configuration and by the table of endpoints: classes, pools, processes, codes. Never a
//! user, a room or a server. Handles that a request touches are looked up once and kept in arrays, because a look-up
//! by label costs several times the increment.
//!
//! Whatever is known elsewhere (health, requests in flight, restarts) is read at the time of a scrape by the admin
//! listener, so that nothing is counted twice.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use crate::endpoint::Class;
use crate::exchange::{AnsweredBy, Exchange};

/// A metric's row: name, help, labels.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The name, ending in its base unit.
    pub name: &'static str,
    /// What it counts, in a sentence.
    pub help: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
}

const fn row(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Row {
    Row { name, help, labels }
}

const REQUESTS: Row = row(
    "dendron_requests_total",
    "Requests by class, method, status code and who answered.",
    &["class", "method", "code", "answered_by"],
);
const DURATION: Row = row(
    "dendron_request_duration_seconds",
    "From a request's head until its answer was sent, without long-polls.",
    &["class"],
);
const POLL_DURATION: Row = row(
    "dendron_sync_duration_seconds",
    "From a sync's head until its answer was sent; long-polls wait here, so they are kept apart.",
    &["class"],
);
const CONNECT: Row =
    row("dendron_upstream_connect_seconds", "From choosing a process until a connection to it stood.", &["pool"]);
const FIRST_BYTE: Row = row(
    "dendron_upstream_first_byte_seconds",
    "From a connection to the answer's head, without long-polls.",
    &["pool"],
);
const RETRIES: Row =
    row("dendron_upstream_retries_total", "Requests that were sent on again after a failure.", &["pool"]);
const IN_FLIGHT: Row =
    row("dendron_in_flight_requests", "Requests being answered by a process right now.", &["pool", "process"]);
const ANSWERS: Row = row(
    "dendron_answers_total",
    "Requests that dendron answered with what Synapse says the same to everybody, by answer.",
    &["answer"],
);
const QUEUED: Row = row(
    "dendron_queued_requests",
    "Requests waiting for a process that has as many in flight as it may have.",
    &["pool", "process"],
);
const CLASS_QUEUED: Row = row(
    "dendron_class_queued_requests",
    "The same by class: each class waits in a line of its own.",
    &["process", "class"],
);
const HEALTHY: Row =
    row("dendron_process_healthy", "1 while the health checks of a process succeed, else 0.", &["pool", "process"]);
const PROCESS_REQUESTS: Row =
    row("dendron_process_requests_total", "Requests sent to a process, by whatever pool.", &["process"]);
const EJECTIONS: Row = row(
    "dendron_process_ejections_total",
    "How often a process was taken out of service because requests failed at it.",
    &["process"],
);
const CONNECTIONS: Row = row("dendron_connections", "Client connections that are open.", &[]);
const ACCEPTED: Row = row("dendron_connections_accepted_total", "Client connections ever accepted.", &[]);
const CONNECTIONS_LIMIT: Row =
    row("dendron_connections_limit", "The most client connections that may be open, as the descriptors allow.", &[]);
const REFUSED: Row = row(
    "dendron_connections_refused_total",
    "Client connections that were closed because as many were open as may be.",
    &[],
);
const UPSTREAM_CONNECTIONS: Row =
    row("dendron_upstream_connections", "Connections to processes that requests have right now.", &[]);
const UPSTREAM_CONNECTIONS_LIMIT: Row = row(
    "dendron_upstream_connections_limit",
    "The most connections to processes that requests may have, as the descriptors allow.",
    &[],
);
const UPSTREAM_CONNECTIONS_QUEUED: Row = row(
    "dendron_upstream_connections_queued",
    "Requests waiting because as many have a connection to a process as may.",
    &[],
);
const TASKS: Row = row("dendron_tasks", "Tasks alive in the runtimes that serve clients.", &[]);
const DESCRIPTORS: Row = row("dendron_open_descriptors", "File descriptors that are open.", &[]);
const DESCRIPTORS_LIMIT: Row = row("dendron_descriptors_limit", "The most file descriptors that may be open.", &[]);
const MEMORY: Row = row("dendron_resident_memory_bytes", "Resident memory of the process.", &[]);
const LOGINS_FORWARDED: Row = row(
    "dendron_logins_forwarded_total",
    "Logins with a POST that were not answered here but forwarded, by reason.",
    &["reason"],
);
const LOGIN_QUEUE: Row = row("dendron_login_queue", "Passwords that wait to be checked.", &[]);
const LOGIN_CHECKS: Row = row(
    "dendron_login_checks_total",
    "What became of passwords: checked, dropped because nobody waited any more, or refused because too many wait.",
    &["outcome"],
);
const LOGIN_CHECK_SECONDS: Row = row(
    "dendron_login_check_seconds",
    "How long a password's check takes, as an average in which the last ones weigh most.",
    &[],
);
const LOGIN_BUCKETS: Row =
    row("dendron_login_limits", "Addresses and accounts of which the limits of logins know.", &[]);
const LOGIN_DATABASE: Row = row("dendron_login_database_up", "1 while the users' database answers, else 0.", &[]);
const CERTIFICATE: Row = row(
    "dendron_certificate_expiry_timestamp_seconds",
    "When a listener's certificate expires, as a Unix time.",
    &["listener"],
);
const SUPERVISED: Row = row("dendron_supervised_up", "1 while a process that dendron started is ready.", &["process"]);
const RESTARTS: Row = row(
    "dendron_supervised_restarts_total",
    "How often a process that dendron started was started again.",
    &["process"],
);
const LOG_DROPPED: Row = row(
    "dendron_access_log_dropped_total",
    "Lines of the access log that were dropped because the log could not be written fast enough.",
    &[],
);
const REPLICATION_STATE: Row = row(
    "dendron_replication_state",
    "1 for the state that following Synapse's replication stream is in, else 0.",
    &["state"],
);
const REPLICATION_ROWS: Row =
    row("dendron_replication_rows_total", "Rows read from Synapse's replication stream.", &["stream"]);
const REPLICATION_DOUBTS: Row = row(
    "dendron_replication_doubts_total",
    "How often a change was taken to concern everybody, because it was not understood or something may be missing.",
    &["kind"],
);
const REPLICATION_LAG: Row = row(
    "dendron_replication_lag_seconds",
    "From a transaction of Synapse's until its row was read, as far as rows tell it.",
    &[],
);
const START: Row = row("dendron_start_time_seconds", "When dendron started, as a Unix time.", &[]);
const BUILD: Row = row("dendron_build_info", "Always 1; the labels tell what was built.", &["version"]);

/// Every metric that there is.
pub const TABLE: [Row; 40] = [
    REQUESTS,
    ANSWERS,
    DURATION,
    POLL_DURATION,
    CONNECT,
    FIRST_BYTE,
    RETRIES,
    IN_FLIGHT,
    QUEUED,
    CLASS_QUEUED,
    HEALTHY,
    PROCESS_REQUESTS,
    EJECTIONS,
    CONNECTIONS,
    ACCEPTED,
    CONNECTIONS_LIMIT,
    REFUSED,
    UPSTREAM_CONNECTIONS,
    UPSTREAM_CONNECTIONS_LIMIT,
    UPSTREAM_CONNECTIONS_QUEUED,
    TASKS,
    DESCRIPTORS,
    DESCRIPTORS_LIMIT,
    MEMORY,
    LOGINS_FORWARDED,
    LOGIN_QUEUE,
    LOGIN_CHECKS,
    LOGIN_CHECK_SECONDS,
    LOGIN_BUCKETS,
    LOGIN_DATABASE,
    CERTIFICATE,
    SUPERVISED,
    RESTARTS,
    LOG_DROPPED,
    REPLICATION_STATE,
    REPLICATION_ROWS,
    REPLICATION_DOUBTS,
    REPLICATION_LAG,
    START,
    BUILD,
];

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
    retries: IntCounterVec,
    /// Client connections that are open.
    pub connections: IntGauge,
    /// Client connections ever accepted.
    pub connections_accepted: IntCounter,
    /// The most client connections that may be open.
    pub connections_limit: IntGauge,
    /// Client connections that were closed for want of a place.
    pub connections_refused: IntCounter,
    /// Lines of the access log that were dropped.
    pub access_log_dropped: IntCounter,
    /// Logins that were forwarded, by reason.
    pub logins_forwarded: IntCounterVec,
    /// What is counted of Synapse's replication stream.
    pub replication: Replication,
    /// What is read at the time of a scrape.
    pub at_scrape: AtScrape,
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
    /// Passwords that wait to be checked.
    pub login_queue: IntGauge,
    /// Passwords by what became of them.
    pub login_checks: IntCounterVec,
    /// How long a check takes, in seconds.
    pub login_check_seconds: Gauge,
    /// Addresses and accounts of which the limits of logins know.
    pub login_buckets: IntGauge,
    /// Whether the users' database answers.
    pub login_database: IntGauge,
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
        let duration = makes.histogram(DURATION, &BUCKETS)?;
        let poll_duration = makes.histogram(POLL_DURATION, &POLL_BUCKETS)?;
        let durations = Class::ALL.iter().map(|class| {
            let metric = if class.is_poll() { &poll_duration } else { &duration };
            metric.with_label_values(&[class.name()])
        });
        let places = Class::ALL.len() * METHODS.len() * CODE_LABELS * ANSWERERS.len();
        makes.gauges(START)?.with_label_values::<&str>(&[]).set(started);
        makes.gauges(BUILD)?.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Metrics {
            requests: makes.counters(REQUESTS)?,
            answers: makes.counters(ANSWERS)?,
            requests_by_place: (0..places).map(|_| OnceLock::new()).collect(),
            durations: durations.collect(),
            connect: makes.histogram(CONNECT, &BUCKETS)?,
            first_byte: makes.histogram(FIRST_BYTE, &BUCKETS)?,
            retries: makes.counters(RETRIES)?,
            connections: makes.gauges(CONNECTIONS)?.with_label_values::<&str>(&[]),
            connections_accepted: makes.counters(ACCEPTED)?.with_label_values::<&str>(&[]),
            connections_limit: makes.gauges(CONNECTIONS_LIMIT)?.with_label_values::<&str>(&[]),
            connections_refused: makes.counters(REFUSED)?.with_label_values::<&str>(&[]),
            access_log_dropped: makes.counters(LOG_DROPPED)?.with_label_values::<&str>(&[]),
            logins_forwarded: makes.counters(LOGINS_FORWARDED)?,
            replication: Replication {
                state: makes.gauges(REPLICATION_STATE)?,
                rows: makes.counters(REPLICATION_ROWS)?,
                doubts: makes.counters(REPLICATION_DOUBTS)?,
                lag: makes.histogram(REPLICATION_LAG, &BUCKETS)?.with_label_values::<&str>(&[]),
            },
            at_scrape: AtScrape {
                in_flight: makes.gauges(IN_FLIGHT)?,
                queued: makes.gauges(QUEUED)?,
                class_queued: makes.gauges(CLASS_QUEUED)?,
                healthy: makes.gauges(HEALTHY)?,
                process_requests: makes.counters(PROCESS_REQUESTS)?,
                ejections: makes.counters(EJECTIONS)?,
                upstream_connections: makes.gauges(UPSTREAM_CONNECTIONS)?.with_label_values::<&str>(&[]),
                upstream_connections_limit: makes.gauges(UPSTREAM_CONNECTIONS_LIMIT)?.with_label_values::<&str>(&[]),
                upstream_connections_queued: makes.gauges(UPSTREAM_CONNECTIONS_QUEUED)?.with_label_values::<&str>(&[]),
                tasks: makes.gauges(TASKS)?.with_label_values::<&str>(&[]),
                descriptors: makes.gauges(DESCRIPTORS)?.with_label_values::<&str>(&[]),
                descriptors_limit: makes.gauges(DESCRIPTORS_LIMIT)?.with_label_values::<&str>(&[]),
                memory: makes.gauges(MEMORY)?.with_label_values::<&str>(&[]),
                login_queue: makes.gauges(LOGIN_QUEUE)?.with_label_values::<&str>(&[]),
                login_checks: makes.counters(LOGIN_CHECKS)?,
                login_check_seconds: makes.gauge(LOGIN_CHECK_SECONDS)?,
                login_buckets: makes.gauges(LOGIN_BUCKETS)?.with_label_values::<&str>(&[]),
                login_database: makes.gauges(LOGIN_DATABASE)?.with_label_values::<&str>(&[]),
                certificate_expiry: makes.gauges(CERTIFICATE)?,
                supervised: makes.gauges(SUPERVISED)?,
                restarts: makes.counters(RESTARTS)?,
            },
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
        let Some(pool) = exchange.pool.as_deref() else { return };
        if exchange.retries > 0 {
            self.retries.with_label_values(&[pool]).inc_by(exchange.retries.into());
        }
        if let (Some(connected), Some(waited)) = (exchange.connected, exchange.waited) {
            self.connect.with_label_values(&[pool]).observe(connected.saturating_sub(waited).as_secs_f64());
            if let (Some(first_byte), false) = (exchange.first_byte, class.is_poll()) {
                let answering = first_byte.saturating_sub(connected);
                self.first_byte.with_label_values(&[pool]).observe(answering.as_secs_f64());
            }
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

    fn gauge(&self, row: Row) -> Result<Gauge, prometheus::Error> {
        let metric = Gauge::with_opts(Opts::new(row.name, row.help))?;
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
        for row in &TABLE {
            assert!(row.name.starts_with("dendron_"), "{}", row.name);
            assert!(row.help.ends_with('.'), "{}", row.name);
        }
    }
}
