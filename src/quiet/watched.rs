//! A forwarded sync whose answer is looked at as it passes: a bounded copy of it, and what was said of the request before.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CONTENT_ENCODING, SERVER, SET_COOKIE};
use http::{HeaderMap, StatusCode};

use super::eligible::Protocol;
use super::empty::{self, Content, Sections};
use super::{Ending, KeptAnswer, Parked, Seen, WakeReason, Watch, mode};
use crate::answer::learned::is_lasting;

/// An answer that comes so soon after a wake was there already: the wake was needed.
const SOON: Duration = Duration::from_millis(500);
/// How long after an answer the stream may still tell what was in it: Synapse publishes after it has woken its own clients.
const GRACE: Duration = Duration::from_millis(250);

/// A sync that was forwarded, until its answer is whole.
pub struct Watched {
    watch: Watch,
    protocol: Protocol,
    wake: Option<(WakeReason, Instant)>,
    prediction: Option<Prediction>,
    copy: Copy,
}

/// What is kept of the answer so far.
enum Copy {
    /// Nothing has come.
    Awaited,
    /// It could be an empty one.
    Possible { headers: HeaderMap, body: Vec<u8> },
    /// It is an answer to a sync, and too long to be empty.
    Long,
    /// It is an error, or one that cannot be given to anybody else.
    Other,
}

/// What the gate would have done with a sync that was forwarded all the same.
pub struct Prediction {
    parked: Parked,
}

/// What an answer has shown.
pub struct Shown {
    /// What it was, for the gate.
    pub seen: Seen,
    /// The sync that it answers, for the gate.
    pub watch: Watch,
    /// If the sync was woken: by what, and what came of it, in a word.
    pub wake: Option<(WakeReason, &'static str)>,
    /// If it was predicted: what, and whether the answer has something.
    pub prediction: Option<(Prediction, bool)>,
}

// === impl Watched ===

impl Watched {
    /// A sync that is forwarded now.
    pub fn new(watch: Watch, protocol: Protocol, prediction: Option<Prediction>) -> Self {
        Watched { watch, protocol, wake: None, prediction, copy: Copy::Awaited }
    }

    /// The same for one that was parked and woken at this moment.
    pub fn woken(self, reason: WakeReason, now: Instant) -> Self {
        Watched { wake: Some((reason, now)), ..self }
    }

    /// Why it was woken, if it was parked.
    pub fn wake(&self) -> Option<WakeReason> {
        self.wake.map(|(reason, _)| reason)
    }

    /// The answer begins. Interim answers come before it.
    pub fn begins(&mut self, status: StatusCode, headers: &HeaderMap) {
        if status.is_informational() {
            return;
        }
        let is_tested = headers.get(SERVER).and_then(|server| server.to_str().ok()).is_some_and(mode::is_tested);
        let is_plain = !headers.contains_key(CONTENT_ENCODING) && !headers.contains_key(SET_COOKIE);
        self.copy = match status == StatusCode::OK && is_tested && is_plain {
            true => Copy::Possible { headers: headers.clone(), body: Vec::new() },
            false => Copy::Other,
        };
    }

    /// More of its body comes.
    pub fn goes_on(&mut self, part: &[u8]) {
        let Copy::Possible { body, .. } = &mut self.copy else { return };
        if body.len() + part.len() > self.protocol.empty_bytes_max() {
            self.copy = Copy::Long;
        } else {
            body.extend_from_slice(part);
        }
    }

    /// It is whole.
    pub fn ends(self, now: Instant) -> Shown {
        let seen = match self.copy {
            Copy::Awaited | Copy::Other => Seen::Other,
            Copy::Long => full(Sections::UNREAD),
            Copy::Possible { headers, body } => match empty::look(self.protocol, &body) {
                Content::Empty(empty) => Seen::Empty(kept(&headers, body.into(), empty)),
                Content::Full(sections) => full(sections),
                Content::Unreadable => Seen::Other,
            },
        };
        let wake = self.wake.map(|(reason, woken)| (reason, came_of(&seen, now.saturating_duration_since(woken))));
        let prediction = match &seen {
            Seen::Empty(_) => self.prediction.map(|prediction| (prediction, false)),
            Seen::NotEmpty { .. } => self.prediction.map(|prediction| (prediction, true)),
            Seen::Other => None,
        };
        Shown { seen, watch: self.watch, wake, prediction }
    }
}

fn full(sections: Sections) -> Seen {
    Seen::NotEmpty { sections: sections.names().collect() }
}

/// An empty answer, as it can be given again.
fn kept(headers: &HeaderMap, body: Bytes, empty: empty::Empty) -> KeptAnswer {
    let headers = headers.iter().filter(|(name, _)| is_lasting(name));
    let headers = headers.map(|(name, value)| (name.clone(), value.clone())).collect();
    KeptAnswer { headers, body, next: empty.next, to_device_next: empty.to_device_next }
}

/// What came of a wake, in a word.
fn came_of(seen: &Seen, after: Duration) -> &'static str {
    match seen {
        Seen::NotEmpty { .. } if after <= SOON => "needed",
        Seen::NotEmpty { .. } => "later",
        Seen::Empty(_) => "needless",
        Seen::Other => "other",
    }
}

// === impl Prediction ===

impl Prediction {
    /// The gate would have parked it.
    pub fn new(parked: Parked) -> Self {
        Prediction { parked }
    }

    /// What has become of the prediction, in a word, now that Synapse has answered with something or nothing.
    pub async fn outcome(mut self, has_content: bool) -> &'static str {
        let wake = |ending| matches!(ending, Some(Ending::Wake(..)));
        let is_woken = wake(self.parked.ended().now_or_never());
        match (has_content, is_woken) {
            // Synapse's own answer would have been given again, and rightly.
            (false, false) => "replay_right",
            (false, true) => "wake_needless",
            (true, true) => "wake_right",
            (true, false) => match wake(tokio::time::timeout(GRACE, self.parked.ended()).await.ok()) {
                true => "wake_right",
                // It would have come late.
                false => "miss",
            },
        }
    }
}
