//! One connection's life: its lines sequenced and told in order, its signs of life watched.

use std::collections::HashSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, watch};

use super::change::{Change, Concerns, Doubt};
use super::command::{Command, parse};
use super::connection::{ConnectionError, Subscriber};
use super::counts::Counts;
use super::follower::{Event, Reason, State};
use super::liveness::{Liveness, Step};
use super::sequencer::{Line, Sequencer};
use super::stream::Stream;

/// How much of a name is logged.
const NAME_CHARS_MAX: usize = 64;

/// One connection.
pub(super) struct Session<'follower> {
    pub(super) expected: &'follower [String],
    pub(super) sequencer: Sequencer,
    pub(super) liveness: Liveness,
    /// Asks for positions; `None` without the permission to publish.
    pub(super) ask: Option<mpsc::Sender<()>>,
    pub(super) events: &'follower mpsc::Sender<Event>,
    pub(super) state: &'follower watch::Sender<State>,
    pub(super) counts: &'follower Counts,
    pub(super) said: &'follower mut HashSet<(Stream, Doubt)>,
    /// Kept for its memory.
    pub(super) changes: Vec<Change>,
    pub(super) is_live: bool,
}

/// Why a connection has ended.
pub(super) enum End {
    Lost(Reason, Option<ConnectionError>),
    /// The user may not publish: connect again, and only listen.
    MayNotPublish,
    /// Nobody reads the events any more.
    Unread,
}

impl Session<'_> {
    /// Listens until the connection ends.
    pub(super) async fn listen(&mut self, mut subscriber: Subscriber) -> End {
        loop {
            let until = match self.step(&mut subscriber).await {
                Ok(until) => until,
                Err(end) => return end,
            };
            let message = tokio::select! {
                biased;
                message = subscriber.next() => message,
                () = tokio::time::sleep_until(until.into()) => continue,
            };
            let Some(message) = message else { return End::Lost(Reason::Disconnected, None) };
            if let Err(end) = self.read(message.get_payload_bytes()) {
                return end;
            }
        }
    }

    /// Does what is due, and returns until when nothing is.
    async fn step(&mut self, subscriber: &mut Subscriber) -> Result<Instant, End> {
        loop {
            let now = Instant::now();
            match self.liveness.step(now) {
                Step::Wait(until) => return Ok(until),
                Step::GiveUp => return Err(End::Lost(Reason::Silent, None)),
                Step::Settle if self.ask.is_some() && !self.sequencer.have_answered(&[]) => {
                    return Err(End::Lost(Reason::Silent, None));
                }
                Step::Settle => self.settle()?,
                Step::Ask => {
                    self.sequencer.begin_round();
                    self.liveness.asked(now);
                    match &self.ask {
                        // A question that still waits to be published is as good as another.
                        Some(ask) => drop(ask.try_send(())),
                        None => {
                            subscriber.ping().await.map_err(End::of_error)?;
                            self.liveness.heard(Instant::now());
                        }
                    }
                }
                Step::CountAnswers if self.ask.is_some() => {
                    let mut changes = std::mem::take(&mut self.changes);
                    self.sequencer.end_round(now, &mut changes);
                    self.tell("", &mut changes)?;
                    self.changes = changes;
                }
                Step::CountAnswers => {}
            }
        }
    }

    fn read(&mut self, message: &[u8]) -> Result<(), End> {
        let now = Instant::now();
        self.liveness.heard(now);
        // What is not UTF-8 is not Synapse's; as a line of another name it concerns everybody.
        let line = std::str::from_utf8(message).unwrap_or("?");
        let mut changes = std::mem::take(&mut self.changes);
        let kind = self.sequencer.line(line, now, &mut changes);
        if let Line::Row { stream, committed_ms } = kind {
            self.counts.row(stream);
            if let Some(lag) = committed_ms.and_then(lag) {
                self.counts.lag(lag.as_secs_f64());
            }
        }
        self.tell(line, &mut changes)?;
        self.changes = changes;
        if kind == Line::Position && !self.is_live && !self.expected.is_empty() {
            let is_settled = self.sequencer.have_answered(self.expected);
            return if is_settled { self.settle() } else { Ok(()) };
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), End> {
        self.liveness.settle();
        self.sequencer.settle();
        self.is_live = true;
        self.send(Event::Live(self.sequencer.positions()))?;
        self.state.send_replace(State::Live);
        self.counts.state(State::Live);
        tracing::info!("replication: followed");
        Ok(())
    }

    fn tell(&mut self, line: &str, changes: &mut Vec<Change>) -> Result<(), End> {
        for change in changes.drain(..) {
            if let Concerns::Everybody(doubt) = change.concerns {
                self.counts.doubt(doubt);
                if self.said.insert((change.stream, doubt)) {
                    let (kind, writer, name) = (doubt.name(), &change.writer, name(line));
                    tracing::warn!(
                        "replication: {kind} in {name:?} of {writer:?}, taken to concern everybody; said once"
                    );
                }
            }
            self.send(Event::Change(change))?;
        }
        Ok(())
    }

    fn send(&self, event: Event) -> Result<(), End> {
        self.events.try_send(event).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => End::Lost(Reason::Overflow, None),
            mpsc::error::TrySendError::Closed(_) => End::Unread,
        })
    }
}

/// The name of a line's stream, or of its command if it has none; nothing else of a line may be shown.
fn name(line: &str) -> String {
    let name = match parse(line) {
        Command::Rdata(rdata) => rdata.stream,
        Command::Position(position) => position.stream,
        Command::Unknown { name } => name,
        Command::Malformed { name } => name,
        _ => "",
    };
    name.chars().take(NAME_CHARS_MAX).collect()
}

/// How long ago a transaction took place; `None` if the clocks disagree.
fn lag(committed_ms: i64) -> Option<Duration> {
    let committed = UNIX_EPOCH + Duration::from_millis(committed_ms.try_into().ok()?);
    SystemTime::now().duration_since(committed).ok()
}

// === impl End ===

impl End {
    /// What an error ends a connection with.
    pub(super) fn of_error(error: ConnectionError) -> End {
        let reason = match &error {
            error if error.is_refusal() => Reason::Refused,
            ConnectionError::Silent => Reason::Silent,
            _ => Reason::Disconnected,
        };
        End::Lost(reason, Some(error))
    }
}
