//! Brings the metrics up to date that are read, not counted: health, requests in flight, restarts, descriptors, memory.

use prometheus::IntCounterVec;
use rustix::process::{Resource, getrlimit};

use super::Admin;
use crate::quiet::State;
use crate::quiet::gaps::Detector;
use crate::quiet::mode::Mode;
use crate::quiet::trust::Distrust;
use crate::supervise::ProcessState;

/// Sets every metric of [`crate::observe::metrics::AtScrape`].
pub(super) fn refresh(admin: &Admin) {
    let metrics = &admin.metrics.at_scrape;
    for pool in admin.pools.all() {
        for backend in pool.backends() {
            let labels = [&**pool.name(), &**backend.name()];
            metrics.healthy.with_label_values(&labels).set(backend.is_healthy().into());
            metrics.in_flight.with_label_values(&labels).set(as_i64(backend.in_flight()));
            metrics.queued.with_label_values(&labels).set(as_i64(backend.queued()));
        }
    }
    // Anew, so that only classes that wait now have a row.
    metrics.class_queued.reset();
    for backend in admin.pools.backends() {
        for (class, queued) in backend.queued_by_class() {
            metrics.class_queued.with_label_values(&[&**backend.name(), class.name()]).set(as_i64(queued));
        }
        let counter = metrics.process_requests.with_label_values(&[&**backend.name()]);
        counter.inc_by(backend.requests().saturating_sub(counter.get()));
        metrics.process_kept.with_label_values(&[&**backend.name()]).set(as_i64(backend.kept()));
        let ejections = metrics.ejections.with_label_values(&[&**backend.name()]);
        ejections.inc_by(backend.ejections().saturating_sub(ejections.get()));
    }
    for (address, certificates) in &admin.certificates {
        if let Some(expires) = certificates.expires() {
            metrics.certificate_expiry.with_label_values(&[address.to_string()]).set(expires);
        }
    }
    for process in admin.supervisor.iter().flat_map(|supervisor| supervisor.status()) {
        let is_up = process.state == ProcessState::Ready;
        metrics.supervised.with_label_values(&[&process.name]).set(is_up.into());
        let restarts = metrics.restarts.with_label_values(&[&process.name]);
        restarts.inc_by(process.restarts.saturating_sub(restarts.get()));
    }
    let connections = admin.pools.connections();
    metrics.upstream_connections.set(as_i64(connections.open()));
    metrics.upstream_connections_limit.set(as_i64(connections.limit()));
    metrics.upstream_connections_queued.set(as_i64(connections.queued()));
    metrics.tasks.set(as_i64(admin.runtimes.tasks()));
    metrics.tokens.set(as_i64(admin.callers.known()));
    refresh_logins(admin);
    refresh_syncs(admin);
    metrics.descriptors.set(open_descriptors().unwrap_or(-1));
    metrics.descriptors_limit.set(descriptors_limit());
    metrics.memory.set(resident_bytes().unwrap_or(-1));
}

fn refresh_logins(admin: &Admin) {
    let metrics = &admin.metrics.at_scrape;
    metrics.login_database.set(admin.logins.has_database().into());
    if let Some(shared) = admin.logins.shared_limits() {
        metrics.login_limits_shared.set(shared.is_connected().into());
        let alone = &metrics.login_limits_alone;
        alone.inc_by(shared.alone().saturating_sub(alone.get()));
    }
    let Ok(logins) = admin.logins.logins() else { return };
    let figures = logins.hashing().figures();
    metrics.login_queue.set(as_i64(figures.queue_length));
    metrics.login_lanes.set(as_i64(logins.hashing().lanes().get()));
    metrics.login_lanes_in_use.set(as_i64(figures.in_hand));
    metrics.login_turns.set(as_i64(logins.devices().waiting()));
    let seconds = &metrics.login_check_seconds;
    seconds.inc_by((figures.busy_seconds - seconds.get()).max(0.0));
    metrics.login_buckets.set(as_i64(logins.limits().bucket_count()));
    let outcomes = [("checked", figures.checked), ("dropped", figures.dropped), ("refused", figures.refused)];
    for (outcome, count) in outcomes {
        let counter = metrics.login_checks.with_label_values(&[outcome]);
        counter.inc_by(count.saturating_sub(counter.get()));
    }
}

fn refresh_syncs(admin: &Admin) {
    let metrics = &admin.metrics.at_scrape;
    let parking = admin.quiet.parking();
    let mode = parking.map_or(Mode::Off, |parking| parking.switch().mode());
    for known in Mode::ALL {
        metrics.sync_mode.with_label_values(&[known.name()]).set((known == mode).into());
    }
    let Some(parking) = parking else { return };
    let state = parking.gate().state();
    for known in State::ALL {
        metrics.sync_state.with_label_values(&[known.name()]).set((known == state).into());
    }
    let (sizes, counts) = (parking.gate().sizes(), parking.gate().counts());
    metrics.sync_parked.set(as_i64(sizes.parked));
    metrics.sync_devices.set(as_i64(parking.online().devices()));
    metrics.sync_kept.set(as_i64(sizes.kept));
    metrics.sync_kept_bytes.set(as_i64(sizes.kept_bytes));
    metrics.sync_users.set(as_i64(sizes.users));
    let distrusted = Distrust::ALL.iter().map(|distrust| distrust.name()).zip(counts.distrusted);
    for (what, count) in [("learned", counts.learned), ("expired", counts.expired)].into_iter().chain(distrusted) {
        raise(&metrics.sync_answers, what, count);
    }
    for (detector, count) in Detector::ALL.iter().zip(counts.gaps) {
        raise(&metrics.sync_gaps, detector.name(), count);
    }
    for (what, count) in [("seen", counts.missed), ("confirmed", counts.confirmed_misses)] {
        raise(&metrics.sync_misses, what, count);
    }
}

/// Brings a counter to where it is counted elsewhere.
fn raise(counters: &IntCounterVec, label: &str, count: u64) {
    let counter = counters.with_label_values(&[label]);
    counter.inc_by(count.saturating_sub(counter.get()));
}

/// The most descriptors that may be open now.
pub(super) fn descriptors_limit() -> i64 {
    getrlimit(Resource::Nofile).current.map_or(i64::MAX, |limit| i64::try_from(limit).unwrap_or(i64::MAX))
}

fn open_descriptors() -> Option<i64> {
    // The listing itself holds one descriptor open.
    i64::try_from(std::fs::read_dir("/proc/self/fd").ok()?.count()).ok().map(|count| count - 1)
}

/// The second number of `statm` is the resident set in pages.
fn resident_bytes() -> Option<i64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: i64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * i64::try_from(rustix::param::page_size()).ok()?)
}

fn as_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
