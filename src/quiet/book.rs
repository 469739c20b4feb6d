//! All that is known, joined: what stands behind the gate's one lock. Pure: the time is handed in, and who is to be
//! woken is handed out.
//!
//! Since every change is written to the ledger and shown to the parked in one step, and every sync is compared with the
//! ledger and parked in one step, no wake can fall between.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::counts::{Counts, Sizes};
use super::gaps::{Detector, Gaps};
use super::gate::Limits;
use super::kept::{Bounds, Kept, KeptAnswer, Record};
use super::ledger::{Ledger, Subject};
use super::lookups::Lookups;
use super::marks::{Marks, Point};
use super::members::{Members, UserIndex};
use super::misses::{AT_ONCE, Expectation, Misses, Suspect};
use super::names::Namer;
use super::parked::{ParkedSet, Ticket, Wake, Woken};
use super::poll::{Poll, PollKind};
use super::schedule::Schedule;
use super::since::{SyncToken, TokenError};
use super::state::State;
use super::trust::{Distrust, judge};
use super::verdict::{Reason, Seen, WakeReason};
use super::writers::Writers;
use crate::token::{Caller, TokenHash};

/// For how long an answer that is too old to be given again is remembered, to see what its renewal tells.
const REMEMBERED: Duration = Duration::from_secs(120);
/// Over how long those are spread who are released all at once.
const SPREAD: Duration = Duration::from_secs(2);
/// How old the last word of the stream's delay may be.
const LAG_FORGOTTEN: Duration = Duration::from_secs(1);

/// All that is known.
#[derive(Debug)]
pub struct Book {
    pub(super) limits: Limits,
    pub(super) state: State,
    /// Counts how often the gate began to be live, or ceased to be.
    pub(super) epoch: u64,
    pub(super) namer: Namer,
    pub(super) writers: Writers,
    /// Where each writer is, as far as the stream has told.
    pub(super) seen: Marks,
    pub(super) ledger: Ledger,
    pub(super) members: Members,
    pub(super) lookups: Lookups,
    pub(super) kept: Kept,
    pub(super) parked: ParkedSet,
    pub(super) gaps: Gaps,
    pub(super) misses: Misses,
    pub(super) counts: Counts,
    /// Since when the stream is read too slowly.
    pub(super) lagging: Option<Instant>,
    pub(super) schedule: Schedule,
    pub(super) wakes: Vec<Wake>,
    pub(super) rubbish: Vec<Rubbish>,
    jitter: u64,
}

/// What takes a while to be freed, and is freed where nobody waits.
pub type Rubbish = Box<dyn std::fmt::Debug + Send>;

/// A sync that was forwarded, until its answer has been looked at. Dropping it is no harm: then nothing is learned.
#[derive(Debug)]
pub struct Watch {
    poll: Poll,
    epoch: u64,
    since: Option<Point>,
    expectation: Expectation,
}

/// A sync that was parked.
#[derive(Debug)]
pub struct Place {
    /// How it is found again.
    pub ticket: Ticket,
    /// Tells when it is woken.
    pub woken: oneshot::Receiver<Woken>,
    /// What it gets when its time is over.
    pub answer: Arc<KeptAnswer>,
}

/// What is to be done with a sync.
#[derive(Debug)]
pub enum Decision {
    /// Forward it.
    Forward(Reason),
    /// Give this.
    Replay(Arc<KeptAnswer>),
    /// It is parked.
    Park(Place),
}

// === impl Book ===

impl Book {
    /// Knows nothing yet. The seed decides how those are spread who are released all at once.
    pub fn new(limits: Limits, seed: u64) -> Self {
        let bounds = Bounds {
            age_max: limits.renew_after + REMEMBERED,
            count_max: limits.kept_max,
            bytes_max: limits.kept_bytes_max,
        };
        Book {
            limits,
            state: State::Off,
            epoch: 0,
            namer: Namer::default(),
            writers: Writers::default(),
            seen: Marks::default(),
            ledger: Ledger::new(limits.touches_max),
            members: Members::new(limits.users_max, limits.pairs_max),
            lookups: Lookups::default(),
            kept: Kept::new(bounds),
            parked: ParkedSet::default(),
            gaps: Gaps::default(),
            misses: Misses::default(),
            counts: Counts::default(),
            lagging: None,
            schedule: Schedule::default(),
            wakes: Vec::new(),
            rubbish: Vec::new(),
            jitter: seed,
        }
    }

    /// Parks a sync if it may be.
    pub fn consider(&mut self, poll: &Poll, now: Instant) -> Decision {
        let decision = match self.may_park(poll, now) {
            Err(reason) => Decision::Forward(reason),
            Ok((_, record)) if poll.timeout.is_zero() => Decision::Replay(Arc::clone(&record.answer)),
            Ok((user, record)) => self.park(user, record),
        };
        match &decision {
            Decision::Forward(reason) => self.counts.forwarded(*reason),
            Decision::Replay(_) => self.counts.replayed_at_once += 1,
            Decision::Park(_) => self.counts.parked += 1,
        }
        decision
    }

    /// Whether a sync may be parked, and with which answer.
    ///
    /// # Errors
    ///
    /// The reason to forward it.
    pub fn may_park(&mut self, poll: &Poll, now: Instant) -> Result<(UserIndex, Arc<Record>), Reason> {
        match self.state {
            State::Live => {}
            State::Latched => return Err(Reason::Latched),
            _ => return Err(Reason::NotLive),
        }
        // Seen first, so that the rooms are known when the answer to this very request is.
        let user = self.members.using(poll.caller.user_id(), now).ok_or(Reason::Full)?;
        if self.is_lagging(now) {
            return Err(Reason::Lagging);
        }
        if poll.timeout > self.limits.timeout_max {
            return Err(Reason::LongTimeout);
        }
        let record = Arc::clone(self.kept.get(poll.key).ok_or(Reason::NothingKept)?);
        if !continues(poll, &record.answer) {
            return Err(Reason::OtherSince);
        }
        if now.saturating_duration_since(record.learned) >= self.limits.renew_after {
            return Err(Reason::Renewal);
        }
        let rooms = self.members.rooms(user).ok_or(Reason::MembersUnknown)?;
        if record.point.beyond(&self.seen).next().is_some() {
            return Err(Reason::Ahead);
        }
        if self.ledger.touched(record.subject, rooms, &record.point) {
            return Err(Reason::Touched);
        }
        Ok((user, record))
    }

    fn park(&mut self, user: UserIndex, record: Arc<Record>) -> Decision {
        let answer = Arc::clone(&record.answer);
        let place = (self.parked.len() < self.limits.parked_max).then(|| self.parked.insert(user, record)).flatten();
        match place {
            Some((ticket, woken)) => Decision::Park(Place { ticket, woken, answer }),
            None => Decision::Forward(Reason::Full),
        }
    }

    /// A parked sync has ended, or its client has gone; `false` if it was woken before.
    pub fn leave(&mut self, ticket: Ticket) -> bool {
        self.parked.remove(ticket)
    }

    /// A sync goes to Synapse.
    pub fn forwarded(&mut self, poll: Poll, now: Instant) -> Watch {
        let since = parse(&poll.since, &poll.kind).ok();
        let since = since.and_then(|token| Point::new(&token, poll.arrived, &self.writers));
        let expectation = self.expectation(&poll, since.as_ref(), now);
        Watch { poll, epoch: self.epoch, since, expectation }
    }

    fn expectation(&mut self, poll: &Poll, since: Option<&Point>, now: Instant) -> Expectation {
        if self.state != State::Live || self.is_lagging(now) {
            return Expectation::None;
        }
        let user = self.members.using(poll.caller.user_id(), now);
        let Some((since, user)) = since.zip(user) else { return Expectation::None };
        let subject = self.subject(poll);
        let Some(rooms) = self.members.rooms(user) else { return Expectation::None };
        if self.ledger.touched(subject, rooms, since) {
            return Expectation::None;
        }
        let is_renewal = self.kept.get(poll.key).is_some_and(|record| {
            continues(poll, &record.answer)
                && now.saturating_duration_since(record.learned) >= self.limits.renew_after
                && !self.ledger.touched(subject, rooms, &record.point)
        });
        if is_renewal { Expectation::Renewal } else { Expectation::Quiet }
    }

    /// Synapse has answered a sync that was forwarded.
    pub fn answered(&mut self, watch: Watch, seen: Seen, now: Instant) {
        let was_live = self.state == State::Live && watch.epoch == self.epoch;
        if was_live && watch.expectation != Expectation::None {
            self.compare(&watch, &seen, now);
        }
        if let Seen::Empty(answer) = seen {
            let learned = if was_live { self.learn(&watch, answer, now) } else { Err(Distrust::NotLive) };
            match learned {
                Ok(()) => self.counts.learned += 1,
                Err(reason) => self.counts.distrusted(reason),
            }
        }
    }

    /// Compares an answer with what was expected of it.
    fn compare(&mut self, watch: &Watch, seen: &Seen, now: Instant) {
        let Some(since) = &watch.since else { return };
        let Some(is_touched) = self.is_touched(&watch.poll, since) else { return };
        match (seen, is_touched) {
            (Seen::Empty(_), false) => self.counts.quiet_and_empty += 1,
            (Seen::Empty(_), true) => self.counts.touched_and_empty += 1,
            (Seen::NotEmpty { .. }, true) => self.counts.touched_and_full += 1,
            (Seen::NotEmpty { sections }, false) => {
                let is_at_once = now.saturating_duration_since(watch.poll.arrived) < AT_ONCE;
                self.misses.suspect(Suspect {
                    caller: watch.poll.caller.clone(),
                    token: watch.poll.token,
                    since: since.clone(),
                    sections: sections.clone(),
                    is_grave: watch.expectation == Expectation::Renewal && is_at_once,
                    answered: now,
                });
            }
            (Seen::Other, _) => {}
        }
    }

    fn learn(&mut self, watch: &Watch, answer: KeptAnswer, now: Instant) -> Result<(), Distrust> {
        let poll = &watch.poll;
        let elapsed = now.saturating_duration_since(poll.arrived);
        judge(poll.timeout, elapsed, answer.next == poll.since)?;
        let token = parse(&answer.next, &poll.kind).map_err(|_| Distrust::Token)?;
        let Some(point) = Point::new(&token, poll.arrived, &self.writers) else {
            // A process that is new; its number stands in the database.
            self.schedule.want_standing();
            return Err(Distrust::Token);
        };
        for (beyond, position) in point.beyond(&self.seen) {
            self.gaps.note(beyond, position, Detector::Answer, now);
        }
        let subject = self.subject(poll);
        let user = self.members.using(poll.caller.user_id(), now);
        let rooms = user.and_then(|user| self.members.rooms(user)).unwrap_or_default();
        if self.ledger.touched(subject, rooms, &point) {
            return Err(Distrust::Touched);
        }
        self.kept.keep(poll.key, Record { answer: Arc::new(answer), point, subject, learned: now });
        Ok(())
    }

    /// Whether a caller was touched since; `None` if that is not known.
    fn is_touched(&self, poll: &Poll, since: &Point) -> Option<bool> {
        let rooms = self.members.rooms(self.members.find(poll.caller.user_id())?)?;
        Some(self.ledger.touched(self.subject(poll), rooms, since))
    }

    pub(super) fn subject(&self, poll: &Poll) -> Subject {
        self.subject_of(&poll.caller, poll.token)
    }

    pub(super) fn subject_of(&self, caller: &Caller, token: TokenHash) -> Subject {
        let (user, namer) = (caller.user_id(), &self.namer);
        Subject { user: namer.user(user), device: namer.device(user, caller.device_id()), token: namer.token(token) }
    }

    /// Lets go of all who are parked, each at a moment of its own.
    pub fn release_all(&mut self, reason: WakeReason, now: Instant) {
        self.wake_all(reason, |_| true, now);
    }

    pub(super) fn wake_all(&mut self, reason: WakeReason, is_meant: impl Fn(&Record) -> bool, now: Instant) {
        let jitter = &mut self.jitter;
        self.parked.wake_all(reason, is_meant, || now + delay(jitter), &mut self.wakes);
    }

    /// Nothing is parked any more, and nothing that was kept is used again.
    pub(super) fn cease(&mut self, state: State, reason: WakeReason, now: Instant) {
        if self.state != State::Latched {
            self.state = state;
        }
        self.epoch += 1;
        self.wake_all(reason, |_| true, now);
        let kept = self.kept.take();
        self.rubbish.push(Box::new(kept));
        self.lookups.clear();
        self.gaps.clear();
        self.misses.clear();
        self.members.doubt_all();
    }

    fn is_lagging(&self, now: Instant) -> bool {
        self.lagging.is_some_and(|last| now.saturating_duration_since(last) < LAG_FORGOTTEN)
    }

    /// How the gate is doing.
    pub fn state(&self) -> State {
        self.state
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How much there is.
    pub fn sizes(&self) -> Sizes {
        Sizes {
            parked: self.parked.len(),
            kept: self.kept.len(),
            kept_bytes: self.kept.bytes(),
            users: self.members.len(),
            pairs: self.members.pairs(),
            touches: self.ledger.len(),
            lookups: self.lookups.len(),
        }
    }

    /// Who is to be woken, and what is to be freed, once the lock is released.
    pub fn take_outcome(&mut self) -> (Vec<Wake>, Vec<Rubbish>) {
        (std::mem::take(&mut self.wakes), std::mem::take(&mut self.rubbish))
    }
}

/// Whether a request goes on where an answer ends.
fn continues(poll: &Poll, answer: &KeptAnswer) -> bool {
    let has_messages = match &poll.kind {
        PollKind::Sync => true,
        PollKind::Sliding { to_device_since } => *to_device_since == answer.to_device_next,
    };
    has_messages && poll.since == answer.next
}

fn parse(token: &str, kind: &PollKind) -> Result<SyncToken, TokenError> {
    match kind {
        PollKind::Sync => SyncToken::parse(token),
        PollKind::Sliding { .. } => SyncToken::parse_sliding(token),
    }
}

/// The next delay: SplitMix64, of which the top bits are as good as any.
fn delay(state: &mut u64) -> Duration {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let top = u32::try_from(mixed >> 32).unwrap_or(u32::MAX);
    SPREAD.mul_f64(f64::from(top) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
