//! What is to be asked of the database, when; and what its answers mean.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::book::Book;
use super::gaps::Detector;
use super::lookups::{Lookup, Wanted};
use super::marks::{Beyond, Mark};
use super::members::Question;
use super::misses::Suspect;
use super::names::Name;
use super::since::LAYOUT;
use super::state::State;
use super::verdict::WakeReason;
use crate::replication::Stream;

/// How often it is asked where every writer is.
const STANDING_INTERVAL: Duration = Duration::from_secs(5);
/// How soon it is asked again where that is urgent.
const STANDING_PAUSE: Duration = Duration::from_secs(1);
/// How long nobody may have said where every writer is, before nobody is parked any more.
const STANDING_AGE_MAX: Duration = Duration::from_secs(15);
/// About how many users' rooms is asked at once.
const USERS_AT_ONCE: usize = 100;

/// How many changes it is asked about at once.
const LOOKUPS_AT_ONCE: usize = 64;

/// When the database was asked what.
#[derive(Debug, Default)]
pub struct Schedule {
    is_wanted: bool,
    is_asked: bool,
    asked: Option<Instant>,
    answered: Option<Instant>,
}

/// A question for the database.
#[derive(Debug)]
pub enum Work {
    /// Where every writer is, and which number each has.
    Standing,
    /// The rooms of these users.
    Rooms(Vec<Question>),
    /// Whom the change of this number concerns.
    Lookup(u64, Wanted),
}

/// Its answer; `None` if there is none.
#[derive(Debug)]
pub enum Done {
    /// Where every writer is.
    Standing(Option<Standing>),
    /// The rooms of those users who are in any, by their ids.
    Rooms(Vec<Question>, Option<HashMap<String, Vec<String>>>),
    /// Rooms, or users, as was asked.
    Lookup(u64, Option<Vec<String>>),
}

/// What two tables of Synapse's say of its writers.
#[derive(Debug, Default)]
pub struct Standing {
    /// `instance_map`: numbers and names.
    pub instances: Vec<(u32, String)>,
    /// `stream_positions`: the stream's name there, the writer's name, and where it is.
    pub positions: Vec<(String, String, i64)>,
}

impl Schedule {
    /// It is urgent to know the writers.
    pub fn want_standing(&mut self) {
        self.is_wanted = true;
    }

    fn is_due(&self, now: Instant) -> bool {
        let interval = if self.is_wanted { STANDING_PAUSE } else { STANDING_INTERVAL };
        !self.is_asked && self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= interval)
    }
}

impl Book {
    /// Lets time pass: what is too old goes, what was not told in time is missed.
    pub fn tick(&mut self, now: Instant) {
        self.counts.expired += self.kept.expire(now) as u64;
        let parked = &self.parked;
        self.members.forget_idle(now, |user| parked.has(user));
        for lookup in self.lookups.overdue(now) {
            self.give_up(&lookup, now);
        }
        for (beyond, position, detector) in self.gaps.missed(&self.seen, now) {
            self.missed(beyond, position, detector, now);
        }
        for suspect in self.misses.due(now) {
            self.judge(&suspect, now);
        }
        let last = self.schedule.answered;
        if self.state == State::Live && last.is_none_or(|last| now.saturating_duration_since(last) >= STANDING_AGE_MAX)
        {
            self.cease(State::NoDatabase, WakeReason::NotLive, now);
        }
        let retired = self.ledger.take_retired();
        if !retired.is_empty() {
            self.rubbish.push(Box::new(retired));
        }
    }

    /// Whether there is something to ask that should not wait for the next tick.
    pub fn has_urgent_work(&self) -> bool {
        self.schedule.is_wanted && self.state == State::Opening || self.lookups.has_questions()
    }

    /// What is to be asked now; each answer is to be handed to [`Book::done`].
    pub fn work(&mut self, now: Instant) -> Vec<Work> {
        if !matches!(self.state, State::Opening | State::Live | State::NoDatabase) {
            return Vec::new();
        }
        let mut work = Vec::new();
        if self.schedule.is_due(now) {
            self.schedule = Schedule { is_wanted: false, is_asked: true, asked: Some(now), ..self.schedule };
            work.push(Work::Standing);
        }
        work.extend(
            self.lookups.questions(LOOKUPS_AT_ONCE, now).into_iter().map(|(id, wanted)| Work::Lookup(id, wanted)),
        );
        let questions = self.members.questions(USERS_AT_ONCE, now);
        if !questions.is_empty() {
            work.push(Work::Rooms(questions));
        }
        work
    }

    /// Takes note of an answer.
    pub fn done(&mut self, done: Done, now: Instant) {
        match done {
            Done::Standing(standing) => {
                self.schedule.is_asked = false;
                if let Some(standing) = standing {
                    self.schedule.answered = Some(now);
                    self.standing(&standing, now);
                }
            }
            Done::Rooms(questions, Some(mut rooms)) => {
                for question in questions {
                    let rooms = rooms.remove(&*question.name).unwrap_or_default();
                    let names: Vec<Name> = rooms.iter().map(|room| self.namer.room(room)).collect();
                    if self.members.answered(&question, names) {
                        self.compare_again(question.user);
                    }
                }
            }
            Done::Rooms(questions, None) => questions.iter().for_each(|question| self.members.failed(question)),
            Done::Lookup(id, Some(found)) => self.found(id, &found),
            Done::Lookup(id, None) => {
                if let Some(lookup) = self.lookups.failed(id) {
                    self.give_up(&lookup, now);
                }
            }
        }
    }

    fn standing(&mut self, standing: &Standing, now: Instant) {
        for (id, name) in &standing.instances {
            self.writers.learn_id(*id, name);
        }
        let is_live = self.state == State::Live;
        for (stream, writer, position) in &standing.positions {
            let stream = stream_of_table(stream);
            let Some(place) = stream.and_then(|stream| self.writers.place(stream, writer)) else { continue };
            let is_ahead = self.seen.get(place).is_none_or(|seen| seen < *position);
            if is_live && is_ahead {
                self.gaps.note(Beyond::Writer(place), *position, Detector::Table, now);
            } else if !is_live {
                // What a writer had written before anybody listened may be anything.
                self.ledger.touch_everybody(Mark::At(place, *position));
                if is_ahead {
                    self.seen.set(place, *position);
                }
            }
        }
        if matches!(self.state, State::Opening | State::NoDatabase) {
            self.state = State::Live;
            self.epoch += 1;
        }
    }

    fn found(&mut self, id: u64, found: &[String]) {
        let is_room = |lookup: &Wanted| !matches!(lookup, Wanted::MembersOf(_));
        let rooms: Vec<Name> = found.iter().map(|room| self.namer.room(room)).collect();
        let Some(Lookup { stream, mark, subject, .. }) = self.lookups.answered(id, &rooms) else { return };
        if is_room(&subject) {
            rooms.into_iter().for_each(|room| self.touch_room(room, stream, mark));
        } else if let Wanted::MembersOf(room) = subject {
            let room = self.namer.room(&room);
            found.iter().for_each(|user| self.joined(room, user));
        }
    }

    fn give_up(&mut self, lookup: &Lookup, now: Instant) {
        self.give_up_lookup(lookup.stream, lookup.mark, matches!(lookup.subject, Wanted::MembersOf(_)), now);
    }

    /// A position that the stream has not told in time.
    fn missed(&mut self, beyond: Beyond, position: i64, detector: Detector, now: Instant) {
        self.counts.gap(detector);
        let field = match beyond {
            Beyond::Writer(place) => place.field,
            Beyond::Field(field) => field,
        };
        let stream = LAYOUT.get(usize::from(field)).copied().flatten().unwrap_or(Stream::Unknown);
        tracing::warn!(
            "quiet: {} was not told of on the stream in time, as {} shows; all who are parked are released",
            stream.name(),
            detector.name()
        );
        let known: Vec<_> = self.seen.places().iter().map(|(place, _)| *place).collect();
        let places = known.into_iter().filter(|place| match beyond {
            Beyond::Writer(writer) => *place == writer,
            Beyond::Field(field) => place.field == field,
        });
        let named = match beyond {
            Beyond::Writer(place) => Some(place),
            Beyond::Field(_) => None,
        };
        for place in places.chain(named).collect::<Vec<_>>() {
            self.ledger.touch_everybody(Mark::At(place, position));
            if self.seen.get(place).is_none_or(|seen| seen < position) {
                self.seen.set(place, position);
            }
        }
        self.members.doubt_all();
        self.lookups.moved_all();
        self.touch_everybody(stream, Mark::Moment(now), now);
    }

    /// Judges an answer that was not expected, now that the stream has had its time to explain it.
    fn judge(&mut self, suspect: &Suspect, now: Instant) {
        let subject = self.subject_of(&suspect.caller, suspect.token);
        let user = self.members.find(suspect.caller.user_id());
        let Some(rooms) = user.and_then(|user| self.members.rooms(user)) else { return };
        if self.ledger.touched(subject, rooms, &suspect.since) {
            self.counts.touched_and_full += 1;
            return;
        }
        self.counts.missed += 1;
        if !suspect.is_grave {
            tracing::warn!(sections = ?suspect.sections, "quiet: a sync told of something that the stream did not");
            return;
        }
        self.counts.confirmed_misses += 1;
        tracing::error!(
            sections = ?suspect.sections,
            "quiet: a message was late because its sync was parked; nothing is parked any more until the next start"
        );
        self.cease(State::Latched, WakeReason::Latched, now);
    }
}

/// The stream that `stream_positions` has under this name; `None` for those that no token has a field for.
fn stream_of_table(name: &str) -> Option<Stream> {
    Some(match name {
        "events" => Stream::Events,
        "presence_stream" => Stream::Presence,
        "receipts" => Stream::Receipts,
        "account_data" => Stream::AccountData,
        "push_rules_stream" => Stream::PushRules,
        "to_device" => Stream::ToDevice,
        "device_lists_stream" => Stream::DeviceLists,
        "un_partial_stated_room_stream" => Stream::UnPartialStatedRoom,
        "thread_subscriptions" => Stream::ThreadSubscriptions,
        "sticky_events" => Stream::StickyEvents,
        "profile_updates" => Stream::ProfileUpdates,
        _ => return None,
    })
}
