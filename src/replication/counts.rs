//! What the follower counts, with its handles looked up once.

use prometheus::IntCounter;

use super::change::Doubt;
use super::follower::State;
use super::stream::Stream;
use crate::observe::metrics::{Metrics, Replication};

/// The follower's metrics.
pub(super) struct Counts {
    metrics: Replication,
    /// Rows, by [`Stream::index`].
    rows: Vec<IntCounter>,
}

impl Counts {
    /// The counts of these metrics. Every kind of doubt is shown from the start, so that its first rise can be seen.
    pub(super) fn new(metrics: &Metrics) -> Self {
        let metrics = metrics.replication.clone();
        for doubt in Doubt::ALL {
            metrics.doubts.with_label_values(&[doubt.name()]);
        }
        let rows = Stream::ALL.iter().map(|stream| metrics.rows.with_label_values(&[stream.name()])).collect();
        Counts { rows, metrics }
    }

    /// A row of a stream.
    pub(super) fn row(&self, stream: Stream) {
        if let Some(counter) = self.rows.get(stream.index()) {
            counter.inc();
        }
    }

    /// A change that was taken to concern everybody.
    pub(super) fn doubt(&self, doubt: Doubt) {
        self.metrics.doubts.with_label_values(&[doubt.name()]).inc();
    }

    /// How long ago a row's transaction took place.
    pub(super) fn lag(&self, seconds: f64) {
        self.metrics.lag.observe(seconds);
    }

    /// The state from now on.
    pub(super) fn state(&self, state: State) {
        for name in State::NAMES {
            self.metrics.state.with_label_values(&[name]).set(i64::from(name == state.name()));
        }
    }
}
