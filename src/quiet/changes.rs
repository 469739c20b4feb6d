//! What a change of Synapse's does to all that is known: first it is written to the ledger, then whoever is parked and
//! concerned is woken.

use std::time::{Duration, Instant};

use super::book::Book;
use super::gaps::Detector;
use super::lookups::Wanted;
use super::marks::Mark;
use super::members::UserIndex;
use super::names::Name;
use super::state::State;
use super::verdict::WakeReason;
use super::writers::Place;
use crate::replication::{Change, Concerns, Doubt, Event, Gap, Stream, WriterPosition};

/// How late a change may be read, before nobody is parked.
const LAG_MAX: Duration = Duration::from_millis(250);
/// How late it may be, before somebody is parked again.
const LAG_OVER: Duration = Duration::from_millis(50);
/// How long processes may go on answering with a position from before its writer went back.
const BACKWARDS: Duration = Duration::from_secs(5);

impl Book {
    /// Takes note of what the follower tells, in order.
    pub fn apply(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Live(positions) => self.followed(positions, now),
            Event::Lost(_) => self.cease(State::NotFollowed, WakeReason::NotLive, now),
            Event::Change(change) => self.change(change, now),
        }
    }

    /// The stream is followed from these positions on: what is behind them may have been missed.
    fn followed(&mut self, positions: &[WriterPosition], now: Instant) {
        for told in positions {
            if let Some(place) = self.writers.place(told.stream, &told.writer) {
                if self.see(place, told.position) {
                    self.ledger.forget(place);
                    self.ledger.touch_everybody(Mark::Moment(now + BACKWARDS));
                }
                self.ledger.touch_everybody(Mark::At(place, told.position));
            }
        }
        if self.state != State::Latched {
            self.state = State::Opening;
        }
        self.schedule.want_standing();
    }

    /// Notes where a writer is, and tells whether it was further before. Then its positions compare with nothing from
    /// before, and no later token would ever cover those: they have to be forgotten, and a moment to stand for them all.
    fn see(&mut self, place: Place, position: i64) -> bool {
        let went_back = self.seen.get(place).is_some_and(|seen| position < seen);
        self.seen.set(place, position);
        went_back
    }

    fn change(&mut self, change: &Change, now: Instant) {
        let late = now.saturating_duration_since(change.received);
        if late > LAG_MAX {
            self.lagging = Some(now);
        } else if late < LAG_OVER {
            self.lagging = None;
        }
        let place = self.writers.place(change.stream, &change.writer);
        let mark = place.map_or(Mark::Moment(now), |place| Mark::At(place, change.position));
        let went_back = place.is_some_and(|place| self.see(place, change.position));
        let stream = change.stream;
        match &change.concerns {
            Concerns::Room(room) => self.touch_room(self.namer.room(room), stream, mark),
            Concerns::User(user) => self.touch_user(user, WakeReason::Stream(stream), mark),
            Concerns::Member(member) => {
                let room = self.namer.room(&member.room);
                if !member.is_rejected {
                    self.moved(room, &member.user);
                }
                self.touch_user(&member.user, WakeReason::Stream(stream), mark);
                self.touch_room(room, stream, mark);
            }
            Concerns::RoomRewritten(room) => {
                self.lookups.moved_all();
                self.touch_room(self.namer.room(room), stream, mark);
                self.look_up(stream, mark, Wanted::MembersOf(room.clone()), now);
            }
            Concerns::Sharing(user) => self.touch_sharing(user, stream, mark, now),
            Concerns::SharingUntilNow(user) => {
                self.ledger.touch_everybody(mark);
                self.touch_sharing(user, stream, mark, now);
            }
            Concerns::Devices(user) => {
                self.touch_user(user, WakeReason::Stream(stream), mark);
                self.look_up(stream, mark, Wanted::DeviceChanges(change.after, change.position), now);
            }
            Concerns::Everybody(doubt) => self.doubt(*doubt, stream, mark, went_back, now),
            concerns => self.learn_of(concerns, now),
        }
    }

    /// What has no position of its own.
    fn learn_of(&mut self, concerns: &Concerns, now: Instant) {
        let mark = Mark::Moment(now);
        match concerns {
            Concerns::StaleMembers { room, users } => {
                let room = self.namer.room(room);
                users.iter().for_each(|user| self.moved(room, user));
            }
            Concerns::StaleRooms(Some(user)) => {
                self.members.doubt(user);
                self.lookups.moved(user);
            }
            Concerns::StaleRooms(None) => {
                self.members.doubt_all();
                self.lookups.moved_all();
            }
            Concerns::RoomPurged(room) => self.members.stale(self.namer.room(room)),
            Concerns::Keys(device) => {
                self.touch_device(&device.user, device.device.as_deref(), WakeReason::Keys, mark);
            }
            Concerns::DeviceChanged(device) => {
                self.touch_device(&device.user, device.device.as_deref(), WakeReason::Device, mark);
            }
            Concerns::AccountChanged(user) => self.touch_user(user, WakeReason::Account, mark),
            Concerns::TokenEnded(token) => {
                let token = self.namer.token(*token);
                self.ledger.touch(token, mark);
                if let Some(user) = self.parked.user_of(token) {
                    let is_meant = |subject: Name| subject == token;
                    self.parked.wake(user, WakeReason::Token, |record| is_meant(record.subject.token), &mut self.wakes);
                }
            }
            // The others have a position, or concern nobody.
            _ => {}
        }
    }

    fn moved(&mut self, room: Name, user: &str) {
        let added = self.members.moved(room, user);
        self.lookups.moved(user);
        // Another writer may have told already of what has happened there since.
        added.into_iter().for_each(|user| self.compare_again(user));
    }

    pub(super) fn touch_room(&mut self, room: Name, stream: Stream, mark: Mark) {
        self.ledger.touch_room(room, mark);
        for user in self.members.in_room(room) {
            let is_meant = |record: &super::kept::Record| !record.point.covers(mark);
            self.parked.wake(*user, WakeReason::Stream(stream), is_meant, &mut self.wakes);
        }
    }

    fn touch_user(&mut self, user: &str, reason: WakeReason, mark: Mark) {
        self.ledger.touch(self.namer.user(user), mark);
        if let Some(index) = self.members.find(user) {
            self.parked.wake(index, reason, |record| !record.point.covers(mark), &mut self.wakes);
        }
    }

    /// A device, or all of a user's.
    fn touch_device(&mut self, user: &str, device: Option<&str>, reason: WakeReason, mark: Mark) {
        let name = self.namer.device(user, device);
        self.ledger.touch(name, mark);
        if let Some(index) = self.members.find(user) {
            let is_meant = |record: &super::kept::Record| {
                (device.is_none() || record.subject.device == name) && !record.point.covers(mark)
            };
            self.parked.wake(index, reason, is_meant, &mut self.wakes);
        }
    }

    /// A user, and whoever shares a room.
    fn touch_sharing(&mut self, user: &str, stream: Stream, mark: Mark, now: Instant) {
        self.touch_user(user, WakeReason::Stream(stream), mark);
        let own = self.members.find(user).and_then(|index| self.members.rooms(index)).map(<[Name]>::to_vec);
        let rooms = own.or_else(|| Some(self.lookups.rooms_of(user)?.to_vec()));
        match rooms {
            // While it is asked who has come into a room, nobody's rooms are sure to be all.
            Some(rooms) if !self.lookups.asks_for_members() => {
                rooms.into_iter().for_each(|room| self.touch_room(room, stream, mark));
            }
            _ => self.look_up(stream, mark, Wanted::RoomsOf(user.into()), now),
        }
    }

    fn look_up(&mut self, stream: Stream, mark: Mark, wanted: Wanted, now: Instant) {
        let is_about_members = matches!(wanted, Wanted::MembersOf(_));
        if self.lookups.add(stream, mark, wanted, now).is_err() {
            self.give_up_lookup(stream, mark, is_about_members, now);
        }
    }

    /// The database did not say in time whom a change concerns.
    pub(super) fn give_up_lookup(&mut self, stream: Stream, mark: Mark, is_about_members: bool, now: Instant) {
        self.counts.lookups_given_up += 1;
        if is_about_members {
            self.members.doubt_all();
        }
        self.touch_everybody(stream, mark, now);
    }

    /// Whoever has come into a room, as the database says.
    pub(super) fn joined(&mut self, room: Name, user: &str) {
        let added = self.members.joined(room, user);
        added.into_iter().for_each(|user| self.compare_again(user));
    }

    /// A user's rooms are others than before: what has happened in them already may be news.
    pub(super) fn compare_again(&mut self, user: UserIndex) {
        let Some(rooms) = self.members.rooms(user) else { return };
        let ledger = &self.ledger;
        let is_meant = |record: &super::kept::Record| ledger.touched(record.subject, rooms, &record.point);
        self.parked.wake(user, WakeReason::Stream(Stream::Events), is_meant, &mut self.wakes);
    }

    /// Something that may concern everybody.
    pub(super) fn touch_everybody(&mut self, stream: Stream, mark: Mark, now: Instant) {
        self.ledger.touch_everybody(mark);
        self.wake_all(WakeReason::Doubt(stream), |record| !record.point.covers(mark), now);
    }

    /// Something that was not understood, or was missed.
    fn doubt(&mut self, doubt: Doubt, stream: Stream, mark: Mark, went_back: bool, now: Instant) {
        let (moment, hides_members) = match doubt {
            Doubt::Gap(gap) => {
                self.counts.gap(Detector::Stream);
                // A writer that was silent for a while comes back as a new one.
                let is_back = went_back || gap == Gap::Backwards;
                if is_back && let Mark::At(place, _) = mark {
                    self.ledger.forget(place);
                }
                (Some(if is_back { now + BACKWARDS } else { now }), true)
            }
            Doubt::MalformedCommand | Doubt::TooManyWriters => (Some(now), true),
            Doubt::UnknownCommand | Doubt::UnknownStream => (Some(now), false),
            Doubt::UnknownRow | Doubt::UnknownWriter => (None, matches!(stream, Stream::Events | Stream::Caches)),
        };
        if hides_members {
            self.members.doubt_all();
            self.lookups.moved_all();
        }
        self.touch_everybody(stream, mark, now);
        if let Some(moment) = moment {
            self.touch_everybody(stream, Mark::Moment(moment), now);
        }
    }
}
