//! Where syncs come: what is asked about each before the gate is, and what becomes of it.
//!
//! The front and the filters both come here with a head. What they get is a sync to forward, with what is to be told about
//! its answer; Synapse's kept answer; or a place, whose end they await beside their client.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use tokio::sync::watch;
use xxhash_rust::xxh3::xxh3_64;

use super::declined::Declined;
use super::eligible::{self, Ask, Protocol, SetPresence};
use super::mode::{Mode, Switch};
use super::online::{Online, Told};
use super::settings::{REFRESH_AFTER, SyncSettings, UntoldPresence};
use super::watched::{Prediction, Shown, Watched};
use super::{Ending, Gate, KeptAnswer, Parked, Poll, PollHasher, PollKey, PollKind, Verdict, WakeReason};
use crate::answer::Asked;
use crate::observe::metrics;
use crate::token::{Caller, CallerKind, Callers, TokenHash};

/// How many devices' last requests are remembered. A device that is not remembered has its sync forwarded once.
const GUISES_MAX: usize = 262_144;

/// What decides about syncs, and what it has decided.
pub struct Parking {
    gate: Arc<Gate>,
    callers: Arc<Callers>,
    keys: PollHasher,
    switch: Switch,
    settings: SyncSettings,
    online: Online,
    guises: Cache<(TokenHash, Protocol), Guise>,
    metrics: metrics::Syncs,
    stopping: watch::Sender<bool>,
}

/// How a device's last forwarded request looked, when it was, and how long it could wait.
#[derive(Clone, Copy)]
struct Guise {
    hash: u64,
    forwarded: Instant,
    timeout: Duration,
}

/// What becomes of a sync.
pub enum Considered {
    /// It goes to Synapse.
    Forward {
        /// Why.
        declined: Declined,
        /// What is to be told of its answer; `None` where nothing would be learned from it.
        watched: Option<Box<Watched>>,
    },
    /// Synapse's kept answer is given at once.
    Replay(Arc<KeptAnswer>),
    /// It waits.
    Park(Place),
}

/// The place of a parked sync. When it is dropped, the sync waits no longer.
pub struct Place {
    parked: Parked,
    // Of its poll, what cannot be told from the rest: it goes on from where its answer ends.
    caller: Caller,
    token: TokenHash,
    key: PollKey,
    kind: PollKind,
    begun: Instant,
    /// While this is held, Synapse takes the user for syncing.
    _told: Option<Told>,
}

// === impl Parking ===

impl Parking {
    /// Joins the parts.
    pub fn new(
        gate: Arc<Gate>,
        callers: Arc<Callers>,
        keys: PollHasher,
        settings: SyncSettings,
        online: Online,
        metrics: metrics::Syncs,
    ) -> Self {
        let switch = Switch::new(settings.park);
        let guises = Cache::new(GUISES_MAX);
        let (stopping, _) = watch::channel(false);
        Parking { gate, callers, keys, switch, settings, online, guises, metrics, stopping }
    }

    /// What becomes of a sync that came at `arrived` from this address. `body` is a sliding sync's, where it was read.
    pub fn consider(
        &self,
        protocol: Protocol,
        asked: &Asked<'_>,
        body: Option<&[u8]>,
        client: Option<IpAddr>,
        arrived: Instant,
    ) -> Considered {
        let considered = match self.judge(protocol, asked, body, client, arrived) {
            Ok(considered) => considered,
            Err(declined) => Considered::Forward { declined, watched: None },
        };
        match &considered {
            Considered::Forward { declined, .. } => self.metrics.outcome("forwarded", declined.name()),
            Considered::Replay(_) => self.metrics.outcome("replayed", "at_once"),
            // Counted when it ends.
            Considered::Park(_) => {}
        }
        considered
    }

    /// A sync goes to Synapse without being considered.
    pub fn forwarded(&self, declined: Declined) -> Considered {
        self.metrics.outcome("forwarded", declined.name());
        Considered::Forward { declined, watched: None }
    }

    /// Whether it makes any difference what a sync asks for.
    pub fn looks_at_syncs(&self) -> bool {
        self.switch.mode() != Mode::Off
    }

    fn judge(
        &self,
        protocol: Protocol,
        asked: &Asked<'_>,
        body: Option<&[u8]>,
        client: Option<IpAddr>,
        arrived: Instant,
    ) -> Result<Considered, Declined> {
        let mode = self.switch.mode();
        if mode == Mode::Off {
            return Err(Declined::SwitchedOff);
        }
        if *self.stopping.borrow() {
            return Err(Declined::Stopping);
        }
        let ask = eligible::ask(protocol, asked, body)?;
        let hash = self.callers.hash(&ask.token);
        let caller = self.callers.get(hash, arrived).ok_or(Declined::UnknownCaller)?;
        self.may_be_parked(&caller)?;
        let guise = xxh3_64(eligible::guise(asked, client, ask.set_presence).as_bytes());
        let last = self.guises.get(&(hash, protocol));
        let (presence, timeout) = (ask.set_presence, ask.timeout);
        let poll = self.poll(ask, hash, caller, arrived);
        let declined = match last {
            Some(last) if last.hash == guise => self.presence_against(presence, last, timeout, arrived),
            _ => Some(Declined::OtherGuise),
        };
        let considered = match declined {
            Some(declined) => self.forward(poll, protocol, declined, None, arrived),
            None => self.ask_gate(poll, protocol, presence, mode, arrived),
        };
        if matches!(considered, Considered::Forward { .. }) {
            self.guises.insert((hash, protocol), Guise { hash: guise, forwarded: arrived, timeout });
        }
        Ok(considered)
    }

    fn may_be_parked(&self, caller: &Caller) -> Result<(), Declined> {
        match caller {
            caller if caller.kind() != CallerKind::User => Err(Declined::Guest),
            caller if caller.device_id().is_none() => Err(Declined::NoDevice),
            caller if !self.settings.share.includes(caller.user_id()) => Err(Declined::OutsideShare),
            _ => Ok(()),
        }
    }

    fn poll(&self, ask: Ask<'_>, token: TokenHash, caller: Caller, arrived: Instant) -> Poll {
        let key = self.keys.key([ask.token.expose().as_bytes(), ask.likeness.as_bytes()]);
        let kind = match ask.protocol {
            Protocol::Sync => PollKind::Sync,
            Protocol::Sliding => PollKind::Sliding { to_device_since: ask.to_device_since },
        };
        Poll { caller, token, key, since: ask.since, timeout: ask.timeout, arrived, kind }
    }

    /// Why a sync must reach Synapse for what others see of the user, if it must.
    fn presence_against(
        &self,
        presence: SetPresence,
        last: Guise,
        timeout: Duration,
        now: Instant,
    ) -> Option<Declined> {
        let is_fine = presence == SetPresence::Offline || self.online.is_untracked() || self.online.can_be_told();
        let must = match self.settings.untold_presence {
            _ if is_fine => false,
            UntoldPresence::Forward => true,
            // One that waits longer than the last one did could outlast the time until the user looks gone.
            UntoldPresence::Refresh => {
                now.saturating_duration_since(last.forwarded) >= REFRESH_AFTER || timeout > last.timeout
            }
        };
        must.then_some(Declined::Presence)
    }

    fn ask_gate(&self, poll: Poll, protocol: Protocol, presence: SetPresence, mode: Mode, now: Instant) -> Considered {
        let verdict = self.gate.consider(&poll, now);
        if mode != Mode::On {
            let prediction = match verdict {
                Verdict::Park(parked) => Some(Prediction::new(parked)),
                Verdict::Forward(_) | Verdict::Replay(_) => None,
            };
            return self.forward(poll, protocol, Declined::Shadow, prediction, now);
        }
        let told = match &verdict {
            Verdict::Forward(reason) => return self.forward(poll, protocol, Declined::Gate(*reason), None, now),
            Verdict::Park(_) | Verdict::Replay(_) if presence == SetPresence::Offline => None,
            Verdict::Park(_) | Verdict::Replay(_) => match self.online.tell(&poll.caller, now) {
                Ok(told) => told,
                Err(_) => return self.forward(poll, protocol, Declined::Presence, None, now),
            },
        };
        match verdict {
            Verdict::Replay(answer) => Considered::Replay(answer),
            Verdict::Park(parked) => {
                let Poll { caller, token, key, kind, arrived, .. } = poll;
                Considered::Park(Place { parked, caller, token, key, kind, begun: arrived, _told: told })
            }
            Verdict::Forward(reason) => self.forward(poll, protocol, Declined::Gate(reason), None, now),
        }
    }

    fn forward(
        &self,
        poll: Poll,
        protocol: Protocol,
        declined: Declined,
        prediction: Option<Prediction>,
        now: Instant,
    ) -> Considered {
        let watch = self.gate.forwarded(poll, now);
        let watched = Some(Box::new(Watched::new(watch, protocol, prediction)));
        Considered::Forward { declined, watched }
    }

    /// A parked sync was answered with what was kept, because its time was over or dendron stops.
    pub fn replayed(&self, place: &Place, now: Instant) {
        let reason = if *self.stopping.borrow() { "stopping" } else { "timeout" };
        self.ended(place, "replayed", reason, now);
    }

    /// The client of a parked sync went away.
    pub fn left(&self, place: &Place, now: Instant) {
        self.ended(place, "client_gone", "client_gone", now);
    }

    /// A parked sync was woken and goes to Synapse with so much of its timeout.
    pub fn woken(&self, place: Place, reason: WakeReason, remaining: Duration, now: Instant) -> Box<Watched> {
        self.ended(&place, "woken", reason.name(), now);
        let since = place.answer().next.clone();
        let Place { caller, token, key, kind, .. } = place;
        let protocol = Protocol::of_poll(&kind);
        // Whether Synapse has to hear of the request changes with every request that it has heard of.
        if let Some(mut guise) = self.guises.get(&(token, protocol)) {
            (guise.forwarded, guise.timeout) = (now, remaining);
            self.guises.insert((token, protocol), guise);
        }
        let poll = Poll { caller, token, key, since, timeout: remaining, arrived: now, kind };
        let watch = self.gate.forwarded(poll, now);
        Box::new(Watched::new(watch, protocol, None).woken(reason, now))
    }

    /// A watched answer is whole.
    pub fn answered(&self, watched: Watched, now: Instant) {
        let Shown { seen, watch, wake, prediction } = watched.ends(now);
        if let Some((reason, came_of_it)) = wake {
            self.metrics.wakes.with_label_values(&[reason.name(), came_of_it]).inc();
        }
        self.gate.answered(watch, seen, now);
        if let Some((prediction, has_content)) = prediction {
            let predictions = self.metrics.predictions.clone();
            tokio::spawn(async move {
                let outcome = prediction.outcome(has_content).await;
                predictions.with_label_values(&[outcome]).inc();
            });
        }
    }

    fn ended(&self, place: &Place, outcome: &str, reason: &str, now: Instant) {
        self.metrics.outcome(outcome, reason);
        self.metrics.park_seconds.observe(now.saturating_duration_since(place.begun).as_secs_f64());
    }

    /// The gate.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// What is told of users.
    pub fn online(&self) -> &Online {
        &self.online
    }

    /// The switch.
    pub fn switch(&self) -> &Switch {
        &self.switch
    }

    /// Puts the switch, and lets go of those who are parked unless they stay so.
    pub fn switch_to(&self, mode: Mode) {
        if self.switch.set(mode) {
            tracing::warn!(mode = mode.name(), "syncs: parking was switched");
            self.follow_switch();
        }
    }

    /// Switches parking off, and back.
    pub fn toggle(&self) {
        let mode = self.switch.toggle();
        tracing::warn!(mode = mode.name(), "syncs: parking was switched");
        self.follow_switch();
    }

    /// Lets go of those who are parked where the mode has come to be another.
    pub fn follow_switch(&self) {
        if self.switch.mode() != Mode::On {
            self.gate.release_all(WakeReason::Switched, Instant::now());
        }
    }

    /// Answers all who are parked: dendron stops.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Waits until a sync is woken, its time is over, or dendron stops. The future may be dropped and made again.
    pub async fn ending(&self, place: &mut Place) -> Ending {
        tokio::select! {
            ending = place.ended() => ending,
            () = self.stopping() => Ending::Replay,
        }
    }

    /// Waits until dendron stops.
    async fn stopping(&self) {
        let mut stopping = self.stopping.subscribe();
        // The sender lives as long as this.
        let _ = stopping.wait_for(|stops| *stops).await;
    }
}

// === impl Place ===

impl Place {
    /// The answer that is given when the time is over.
    pub fn answer(&self) -> &Arc<KeptAnswer> {
        self.parked.answer()
    }

    /// Since when it waits: since it came.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// Why it was woken, if it was, and how much is left of its timeout now.
    pub fn woken(&self, now: Instant) -> Option<(WakeReason, Duration)> {
        let reason = self.parked.woken()?;
        Some((reason, reason.timeout(self.parked.deadline().saturating_duration_since(now))))
    }

    /// Waits until it is woken or its time is over. Whoever waits so has to see by other means that dendron stops. The
    /// future may be dropped and made again.
    pub fn ended(&mut self) -> impl Future<Output = Ending> {
        self.parked.ended()
    }
}
