//! Every metric that there is: a row for each, with its name, unit, help and labels.
//!
//! Labels are bounded by the configuration and by the table of endpoints: classes, pools, processes, codes. Never a
//! user, a room or a server.

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

pub(super) const REQUESTS: Row = row(
    "dendron_requests_total",
    "Requests by class, method, status code and who answered.",
    &["class", "method", "code", "answered_by"],
);
pub(super) const DURATION: Row = row(
    "dendron_request_duration_seconds",
    "From a request's head until its answer was sent, without long-polls.",
    &["class"],
);
pub(super) const POLL_DURATION: Row = row(
    "dendron_sync_duration_seconds",
    "From a sync's head until its answer was sent; long-polls wait here, so they are kept apart.",
    &["class"],
);
pub(super) const CONNECT: Row =
    row("dendron_upstream_connect_seconds", "From choosing a process until a connection to it stood.", &["pool"]);
pub(super) const FIRST_BYTE: Row = row(
    "dendron_upstream_first_byte_seconds",
    "From a connection to the answer's head, without long-polls.",
    &["pool"],
);
pub(super) const RETRIES: Row =
    row("dendron_upstream_retries_total", "Requests that were sent on again after a failure.", &["pool"]);
pub(super) const IN_FLIGHT: Row =
    row("dendron_in_flight_requests", "Requests being answered by a process right now.", &["pool", "process"]);
pub(super) const ANSWERS: Row = row(
    "dendron_answers_total",
    "Requests that dendron answered with what Synapse says the same to everybody, by answer.",
    &["answer"],
);
pub(super) const QUEUED: Row = row(
    "dendron_queued_requests",
    "Requests waiting for a process that has as many in flight as it may have.",
    &["pool", "process"],
);
pub(super) const CLASS_QUEUED: Row = row(
    "dendron_class_queued_requests",
    "The same by class: each class waits in a line of its own.",
    &["process", "class"],
);
pub(super) const HEALTHY: Row =
    row("dendron_process_healthy", "1 while the health checks of a process succeed, else 0.", &["pool", "process"]);
pub(super) const PROCESS_REQUESTS: Row =
    row("dendron_process_requests_total", "Requests sent to a process, by whatever pool.", &["process"]);
pub(super) const PROCESS_KEPT: Row = row(
    "dendron_process_kept_connections",
    "Connections to a process that wait for a question which needs no session.",
    &["process"],
);
pub(super) const EJECTIONS: Row = row(
    "dendron_process_ejections_total",
    "How often a process was taken out of service because requests failed at it.",
    &["process"],
);
pub(super) const CONNECTIONS: Row = row("dendron_connections", "Client connections that are open.", &[]);
pub(super) const ACCEPTED: Row = row("dendron_connections_accepted_total", "Client connections ever accepted.", &[]);
pub(super) const CONNECTIONS_LIMIT: Row =
    row("dendron_connections_limit", "The most client connections that may be open, as the descriptors allow.", &[]);
pub(super) const REFUSED: Row = row(
    "dendron_connections_refused_total",
    "Client connections that were closed because as many were open as may be.",
    &[],
);
pub(super) const HANDSHAKES_FAILED: Row =
    row("dendron_tls_handshakes_failed_total", "TLS handshakes of clients that failed or took too long.", &[]);
pub(super) const UPSTREAM_CONNECTIONS: Row =
    row("dendron_upstream_connections", "Connections to processes that requests have right now.", &[]);
pub(super) const UPSTREAM_CONNECTIONS_LIMIT: Row = row(
    "dendron_upstream_connections_limit",
    "The most connections to processes that requests may have, as the descriptors allow.",
    &[],
);
pub(super) const UPSTREAM_CONNECTIONS_QUEUED: Row = row(
    "dendron_upstream_connections_queued",
    "Requests waiting because as many have a connection to a process as may.",
    &[],
);
pub(super) const TASKS: Row = row("dendron_tasks", "Tasks alive in the runtimes that serve clients.", &[]);
pub(super) const DESCRIPTORS: Row = row("dendron_open_descriptors", "File descriptors that are open.", &[]);
pub(super) const DESCRIPTORS_LIMIT: Row =
    row("dendron_descriptors_limit", "The most file descriptors that may be open.", &[]);
pub(super) const MEMORY: Row = row("dendron_resident_memory_bytes", "Resident memory of the process.", &[]);
pub(super) const LOGINS_FORWARDED: Row = row(
    "dendron_logins_forwarded_total",
    "Logins with a POST that were not answered here but forwarded, by reason.",
    &["reason"],
);
pub(super) const LOGIN_QUEUE: Row = row("dendron_login_queue", "Passwords that wait to be checked.", &[]);
pub(super) const LOGIN_LANES: Row =
    row("dendron_login_lanes", "Passwords that each thread can check side by side, as measured at the start.", &[]);
pub(super) const LOGIN_LANES_IN_USE: Row =
    row("dendron_login_lanes_in_use", "Passwords that are being checked, by all threads.", &[]);
pub(super) const LOGIN_TURNS: Row = row(
    "dendron_login_turns",
    "Logins whose password was right and that wait for their turn at the main process, which others ask, too.",
    &[],
);
pub(super) const LOGIN_CHECKS: Row = row(
    "dendron_login_checks_total",
    "What became of passwords: checked, dropped because nobody waited any more, or refused because too many wait.",
    &["outcome"],
);
pub(super) const LOGIN_CHECK_SECONDS: Row = row(
    "dendron_login_check_seconds_total",
    "Seconds that threads have spent on checking passwords, with the pauses that they made for others.",
    &[],
);
pub(super) const LOGIN_BUCKETS: Row =
    row("dendron_login_limits", "Addresses and accounts of which the limits of logins know.", &[]);
pub(super) const LOGIN_DATABASE: Row =
    row("dendron_login_database_up", "1 while the users' database answers, else 0.", &[]);
pub(super) const LOGIN_LIMITS_SHARED: Row =
    row("dendron_login_limits_shared", "1 while the limits of logins are shared through Redis, else 0.", &[]);
pub(super) const LOGIN_LIMITS_ALONE: Row = row(
    "dendron_login_limits_alone_total",
    "How often a limit of logins was to be shared, and was decided by this edge alone.",
    &[],
);
pub(super) const CERTIFICATE: Row = row(
    "dendron_certificate_expiry_timestamp_seconds",
    "When a listener's certificate expires, as a Unix time.",
    &["listener"],
);
pub(super) const SUPERVISED: Row =
    row("dendron_supervised_up", "1 while a process that dendron started is ready.", &["process"]);
pub(super) const RESTARTS: Row = row(
    "dendron_supervised_restarts_total",
    "How often a process that dendron started was started again.",
    &["process"],
);
pub(super) const LOG_DROPPED: Row = row(
    "dendron_access_log_dropped_total",
    "Lines of the access log that were dropped because the log could not be written fast enough.",
    &[],
);
pub(super) const REPLICATION_STATE: Row = row(
    "dendron_replication_state",
    "1 for the state that following Synapse's replication stream is in, else 0.",
    &["state"],
);
pub(super) const REPLICATION_ROWS: Row =
    row("dendron_replication_rows_total", "Rows read from Synapse's replication stream.", &["stream"]);
pub(super) const REPLICATION_DOUBTS: Row = row(
    "dendron_replication_doubts_total",
    "How often a change was taken to concern everybody, because it was not understood or something may be missing.",
    &["kind"],
);
pub(super) const REPLICATION_LAG: Row = row(
    "dendron_replication_lag_seconds",
    "From a transaction of Synapse's until its row was read, as far as rows tell it.",
    &[],
);
pub(super) const TOKENS: Row = row("dendron_tokens", "Access tokens of which it is known whose they are.", &[]);
pub(super) const TOKEN_QUESTIONS: Row = row(
    "dendron_token_questions_total",
    "Questions to Synapse whose a token is: learned, refused, failed, or dropped because too many wait.",
    &["outcome"],
);
pub(super) const TOKENS_FORGOTTEN: Row = row(
    "dendron_tokens_forgotten_total",
    "How often a token, a device's, a user's or every token was no longer believed.",
    &["what"],
);
pub(super) const SYNC_OUTCOMES: Row = row(
    "dendron_sync_outcomes_total",
    "Syncs by what became of them and why: replayed, woken, forwarded, or their client went away.",
    &["outcome", "reason"],
);
pub(super) const SYNC_PARKED: Row =
    row("dendron_sync_parked", "Syncs that are parked; in shadow mode, that would be.", &[]);
pub(super) const SYNC_PARK_SECONDS: Row = row("dendron_sync_park_seconds", "How long syncs were parked.", &[]);
pub(super) const SYNC_WAKES: Row = row(
    "dendron_sync_wakes_total",
    "Woken syncs that Synapse answered, by what woke them and what came of it: needed, if there was something within half a second.",
    &["reason", "answer"],
);
pub(super) const SYNC_PREDICTIONS: Row = row(
    "dendron_sync_predictions_total",
    "In shadow mode: what would have become of parked syncs. A miss would have been late.",
    &["outcome"],
);
pub(super) const SYNC_STATE: Row =
    row("dendron_sync_state", "1 for the state that the gate of quiet syncs is in, else 0.", &["state"]);
pub(super) const SYNC_MODE: Row =
    row("dendron_sync_mode", "1 for what is done with quiet syncs now: on, shadow or off, else 0.", &["mode"]);
pub(super) const SYNC_DEVICES: Row =
    row("dendron_sync_presence_devices", "Devices that Synapse is told of because their syncs are parked.", &[]);
pub(super) const SYNC_KEPT: Row = row("dendron_sync_kept_answers", "Empty answers of Synapse's that are kept.", &[]);
pub(super) const SYNC_KEPT_BYTES: Row =
    row("dendron_sync_kept_bytes", "Bytes of the bodies and positions of the answers that are kept.", &[]);
pub(super) const SYNC_ANSWERS: Row = row(
    "dendron_sync_answers_total",
    "Empty answers of Synapse's: learned, expired, or why one was not kept.",
    &["what"],
);
pub(super) const SYNC_GAPS: Row = row(
    "dendron_sync_gaps_total",
    "How often the gate of quiet syncs took something for missed, by what noticed it.",
    &["detector"],
);
pub(super) const SYNC_MISSES: Row = row(
    "dendron_sync_misses_total",
    "Syncs that told of something although nothing was known to have happened: seen, and confirmed as late.",
    &["what"],
);
pub(super) const SYNC_USERS: Row = row("dendron_sync_users", "Users whose rooms are known because they sync.", &[]);
pub(super) const START: Row = row("dendron_start_time_seconds", "When dendron started, as a Unix time.", &[]);
pub(super) const BUILD: Row = row("dendron_build_info", "Always 1; the labels tell what was built.", &["version"]);

/// Every metric that there is.
pub const TABLE: [Row; 64] = [
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
    PROCESS_KEPT,
    EJECTIONS,
    CONNECTIONS,
    ACCEPTED,
    CONNECTIONS_LIMIT,
    REFUSED,
    HANDSHAKES_FAILED,
    UPSTREAM_CONNECTIONS,
    UPSTREAM_CONNECTIONS_LIMIT,
    UPSTREAM_CONNECTIONS_QUEUED,
    TASKS,
    DESCRIPTORS,
    DESCRIPTORS_LIMIT,
    MEMORY,
    LOGINS_FORWARDED,
    LOGIN_QUEUE,
    LOGIN_LANES,
    LOGIN_LANES_IN_USE,
    LOGIN_TURNS,
    LOGIN_CHECKS,
    LOGIN_CHECK_SECONDS,
    LOGIN_BUCKETS,
    LOGIN_DATABASE,
    LOGIN_LIMITS_SHARED,
    LOGIN_LIMITS_ALONE,
    CERTIFICATE,
    SUPERVISED,
    RESTARTS,
    LOG_DROPPED,
    REPLICATION_STATE,
    REPLICATION_ROWS,
    REPLICATION_DOUBTS,
    REPLICATION_LAG,
    TOKENS,
    TOKEN_QUESTIONS,
    TOKENS_FORGOTTEN,
    SYNC_OUTCOMES,
    SYNC_PARKED,
    SYNC_PARK_SECONDS,
    SYNC_WAKES,
    SYNC_PREDICTIONS,
    SYNC_STATE,
    SYNC_MODE,
    SYNC_DEVICES,
    SYNC_KEPT,
    SYNC_KEPT_BYTES,
    SYNC_ANSWERS,
    SYNC_GAPS,
    SYNC_MISSES,
    SYNC_USERS,
    START,
    BUILD,
];
