//! Parked users must not look offline: Synapse is told that they sync, as its own workers tell it.
//!
//! A worker publishes `USER_SYNC … start` when a device begins to sync there, and `end` some time after its last sync has
//! ended (`handlers/presence.py`, `WorkerPresenceHandler`); whoever writes presence keeps a set of devices for each process,
//! and drops a process that it has not heard of for five minutes. Dendron is one more such process: a device is told when its
//! first sync is parked, and ended ten seconds after its last one was. What state the user is in is not told: the sync that
//! was forwarded before has done that.
//!
//! Pure. [`Presence`] is handed the time and says what to publish; `desk` has it published.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use crate::replication::command::{Command, UserSync};
use crate::token::Caller;

/// How long after the last sync of a device it still counts as syncing: as long as a worker of Synapse's waits, so that
/// nothing is told between two syncs.
const LINGER: Duration = Duration::from_secs(10);
/// How often something is told while anybody syncs. Synapse drops a process after five minutes of silence.
const REASSURE: Duration = Duration::from_secs(120);
/// How many devices can be told. Nobody else is parked.
const DEVICES_MAX: usize = 200_000;

/// The devices that sync here.
#[derive(Debug)]
pub struct Presence {
    /// The name that dendron has as a process of Synapse's.
    instance: Box<str>,
    devices: HashMap<Device, Syncs>,
    /// What is to be published, in order.
    unsent: VecDeque<(Device, bool)>,
    /// Whether anybody reads what is published.
    is_followed: bool,
    last_sent: Option<Instant>,
}

/// A user's device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Device {
    user: Box<str>,
    device: Box<str>,
}

/// The syncs of one device.
#[derive(Clone, Copy, Debug)]
struct Syncs {
    parked: u32,
    /// When the last one has ended; while some are parked, without meaning.
    ended: Instant,
}

// === impl Presence ===

impl Presence {
    /// Nobody syncs yet. The name must be no other process's.
    pub fn new(instance: &str) -> Self {
        Presence {
            instance: instance.into(),
            devices: HashMap::new(),
            unsent: VecDeque::new(),
            is_followed: false,
            last_sent: None,
        }
    }

    /// A sync of this device is parked; `false` where it cannot be told: there are too many, or its name, which users
    /// choose, would not be one word of a command.
    pub fn begin(&mut self, caller: &Caller, now: Instant) -> bool {
        let device = Device::of(caller);
        if [&device.user, &device.device].iter().any(|name| name.is_empty() || name.contains(char::is_whitespace)) {
            return false;
        }
        if let Some(syncs) = self.devices.get_mut(&device) {
            syncs.parked += 1;
            return true;
        }
        if self.devices.len() >= DEVICES_MAX {
            return false;
        }
        self.devices.insert(device.clone(), Syncs { parked: 1, ended: now });
        self.tell(device, true);
        true
    }

    /// A sync of this device is parked no longer.
    pub fn end(&mut self, caller: &Caller, now: Instant) {
        if let Some(syncs) = self.devices.get_mut(&Device::of(caller)) {
            syncs.parked = syncs.parked.saturating_sub(1);
            syncs.ended = now;
        }
    }

    /// The replication stream is followed from now on, or no longer: whoever writes presence may have forgotten everything.
    pub fn follow(&mut self, is_followed: bool) {
        self.is_followed = is_followed;
        self.unsent.clear();
        if is_followed {
            self.unsent.extend(self.devices.keys().map(|device| (device.clone(), true)));
        }
    }

    /// Lets time pass: ends devices whose last sync is over, and reassures Synapse that this process is still there.
    pub fn tick(&mut self, now: Instant) {
        let over = |syncs: &Syncs| syncs.parked == 0 && now.saturating_duration_since(syncs.ended) >= LINGER;
        let gone: Vec<Device> = self.devices.extract_if(|_, syncs| over(syncs)).map(|(device, _)| device).collect();
        gone.into_iter().for_each(|device| self.tell(device, false));
        let is_quiet = self.last_sent.is_some_and(|sent| now.saturating_duration_since(sent) >= REASSURE);
        if is_quiet && let Some(device) = self.devices.keys().next().cloned() {
            self.tell(device, true);
        }
    }

    /// Publishes what is due. `publish` says whether it has taken a command; the rest waits for the next time.
    pub fn send(&mut self, now: Instant, today: SystemTime, mut publish: impl FnMut(&Command<'_>) -> bool) {
        let today = today.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let last_sync_ms = i64::try_from(today).unwrap_or(i64::MAX);
        while let Some((device, is_start)) = self.unsent.front() {
            let command = UserSync {
                instance_id: &self.instance,
                user: &device.user,
                device: Some(&device.device),
                is_syncing: *is_start,
                last_sync_ms,
            };
            if !publish(&Command::UserSync(command)) {
                return;
            }
            self.last_sent = Some(now);
            self.unsent.pop_front();
        }
    }

    /// The last thing to publish: that this process has no users any more.
    pub fn farewell(&self) -> Command<'_> {
        Command::ClearUserSync { instance_id: &self.instance }
    }

    /// How many devices count as syncing here.
    pub fn devices(&self) -> usize {
        self.devices.len()
    }

    fn tell(&mut self, device: Device, is_start: bool) {
        // While nobody listens nothing is kept: everything is told again when somebody does.
        if self.is_followed {
            self.unsent.push_back((device, is_start));
        }
    }
}

// === impl Device ===

impl Device {
    fn of(caller: &Caller) -> Self {
        Device { user: caller.user_id().into(), device: caller.device_id().unwrap_or_default().into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::CallerKind;

    const SECOND: Duration = Duration::from_secs(1);

    fn caller(device: &str) -> Caller {
        Caller::new("@a:b", Some(device), CallerKind::User)
    }

    /// What is published now, in short.
    fn sent(presence: &mut Presence, now: Instant) -> Vec<String> {
        let mut lines = Vec::new();
        presence.send(now, SystemTime::UNIX_EPOCH + SECOND, |command| {
            lines.push(command.line().unwrap());
            true
        });
        lines
    }

    fn followed() -> Presence {
        let mut presence = Presence::new("dendron-1");
        presence.follow(true);
        presence
    }

    #[test]
    fn a_device_is_told_once_and_ended_after_its_last_sync() {
        let (mut presence, now) = (followed(), Instant::now());
        assert!(presence.begin(&caller("A"), now) && presence.begin(&caller("A"), now));
        assert_eq!(sent(&mut presence, now), ["USER_SYNC dendron-1 @a:b A start 1000"]);
        presence.end(&caller("A"), now);
        presence.tick(now + 60 * SECOND);
        presence.end(&caller("A"), now + 60 * SECOND);
        presence.tick(now + 69 * SECOND);
        assert_eq!(sent(&mut presence, now), [""; 0]);
        // The next one comes in time.
        presence.begin(&caller("A"), now + 69 * SECOND);
        presence.end(&caller("A"), now + 99 * SECOND);
        presence.tick(now + 108 * SECOND);
        assert_eq!((sent(&mut presence, now), presence.devices()), (Vec::new(), 1));
        presence.tick(now + 109 * SECOND);
        assert_eq!(sent(&mut presence, now), ["USER_SYNC dendron-1 @a:b A end 1000"]);
        assert_eq!(presence.devices(), 0);
        assert_eq!(presence.farewell().line().as_deref(), Some("CLEAR_USER_SYNC dendron-1"));
    }

    #[test]
    fn all_is_told_again_to_those_who_may_have_forgotten() {
        let (mut presence, now) = (Presence::new("dendron-1"), Instant::now());
        presence.begin(&caller("A"), now);
        presence.begin(&caller("B"), now);
        assert_eq!(sent(&mut presence, now), [""; 0]);
        for _ in 0..2 {
            presence.follow(true);
            assert_eq!(sent(&mut presence, now).len(), 2);
            presence.follow(false);
        }
        presence.end(&caller("A"), now);
        presence.tick(now + LINGER);
        presence.follow(true);
        assert_eq!(sent(&mut presence, now), ["USER_SYNC dendron-1 @a:b B start 1000"]);
    }

    #[test]
    fn synapse_is_reassured_while_anybody_syncs() {
        let (mut presence, now) = (followed(), Instant::now());
        presence.begin(&caller("A"), now);
        assert_eq!(sent(&mut presence, now).len(), 1);
        presence.tick(now + REASSURE - SECOND);
        assert_eq!(sent(&mut presence, now).len(), 0);
        presence.tick(now + REASSURE);
        assert_eq!(sent(&mut presence, now + REASSURE), ["USER_SYNC dendron-1 @a:b A start 1000"]);
        presence.tick(now + REASSURE);
        assert_eq!(sent(&mut presence, now).len(), 0);
    }

    #[test]
    fn a_name_of_several_words_is_not_told() {
        let (mut presence, now) = (followed(), Instant::now());
        for name in ["A end 0", "A\nREPLICATE ", "", "A\u{a0}B"] {
            assert!(!presence.begin(&caller(name), now), "{name:?}");
        }
        assert_eq!(presence.devices(), 0);
    }

    #[test]
    fn what_is_not_taken_waits() {
        let (mut presence, now) = (followed(), Instant::now());
        presence.begin(&caller("A"), now);
        presence.send(now, SystemTime::UNIX_EPOCH, |_| false);
        assert_eq!(sent(&mut presence, now).len(), 1);
    }
}
