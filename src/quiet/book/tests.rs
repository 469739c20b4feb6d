//! The book as a whole: what is parked, what is woken, what is trusted.

use bytes::Bytes;

use super::*;
use crate::quiet::poll::PollHasher;
use crate::quiet::schedule::{Done, Standing, Work};
use crate::replication::change::{Device, Member};
use crate::replication::{Change, Concerns, Doubt, Event, Gap, Reason as LostReason, Stream, WriterPosition};
use crate::token::{CallerKind, TokenHasher};

pub(super) const POLL: Duration = Duration::from_secs(30);
const ROOMS: [(&str, &[&str]); 3] = [("@a", &["!1", "!2"]), ("@b", &["!2"]), ("@c", &[])];

/// A book with a homeserver around it.
pub(super) struct World {
    pub(super) book: Book,
    pub(super) now: Instant,
    polls: PollHasher,
    tokens: TokenHasher,
}

impl World {
    /// A gate that has just become live, with nobody known yet. Every stream is at 1.
    pub(super) fn live() -> Self {
        let limits = Limits { parked_max: 50, ..Limits::default() };
        let (polls, tokens) = (PollHasher::new().unwrap(), TokenHasher::with_key([0; 32]));
        let mut world = World { book: Book::new(limits, 7), now: Instant::now(), polls, tokens };
        world.follow();
        world
    }

    pub(super) fn follow(&mut self) {
        let streams = crate::quiet::since::LAYOUT.into_iter().flatten();
        let told = streams.map(|stream| WriterPosition { stream, writer: "w".into(), position: 1 });
        self.book.apply(&Event::Live(told.collect()), self.now);
        assert_eq!(self.book.state(), State::Opening);
        let instances = vec![(1, "w".to_owned()), (2, "v".to_owned())];
        self.book.done(Done::Standing(Some(Standing { instances, positions: Vec::new() })), self.now);
        assert_eq!(self.book.state(), State::Live);
    }

    pub(super) fn seconds(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    pub(super) fn poll(&self, user: &str, since: &str, timeout: Duration) -> Poll {
        Poll {
            caller: Caller::new(user, Some("D"), CallerKind::User),
            token: self.tokens.hash(user),
            key: self.polls.key([user.as_bytes()]),
            since: since.into(),
            timeout,
            arrived: self.now,
            kind: PollKind::Sync,
        }
    }

    /// Answers whatever is asked of the database, with these rooms.
    pub(super) fn load(&mut self, rooms: &[(&str, &[&str])]) {
        for work in self.book.work(self.now) {
            let done = match work {
                Work::Standing => Done::Standing(Some(Standing::default())),
                Work::Rooms(questions) => {
                    let owned = |rooms: &[&str]| rooms.iter().map(|room| (*room).to_owned()).collect();
                    let rooms = rooms.iter().map(|(user, rooms)| ((*user).to_owned(), owned(rooms)));
                    Done::Rooms(questions, Some(rooms.collect()))
                }
                Work::Lookup(id, _) => Done::Lookup(id, None),
            };
            self.book.done(done, self.now);
        }
    }

    /// A user whose poll from `next` on found nothing.
    pub(super) fn learn(&mut self, user: &str, next: &str) {
        let watch = self.book.forwarded(self.poll(user, next, POLL), self.now);
        self.load(&ROOMS);
        self.now += POLL;
        self.book.answered(watch, Seen::Empty(answer(next)), self.now);
    }

    pub(super) fn consider(&mut self, user: &str, since: &str) -> Decision {
        let poll = self.poll(user, since, POLL);
        self.book.consider(&poll, self.now)
    }

    /// A user who is parked.
    pub(super) fn parked(&mut self, user: &str) -> Place {
        self.learn(user, NEXT);
        self.park(user)
    }

    pub(super) fn park(&mut self, user: &str) -> Place {
        match self.consider(user, NEXT) {
            Decision::Park(place) => place,
            decision => panic!("{decision:?}"),
        }
    }

    pub(super) fn change(&mut self, stream: Stream, writer: &str, position: i64, concerns: Concerns) {
        let (writer, received) = (writer.into(), self.now);
        let change = Change { stream, writer, after: position - 1, position, concerns, received };
        self.book.apply(&Event::Change(change), self.now);
    }

    /// Tells all who are to be woken, and returns why this one is, if it is.
    pub(super) fn woken(&mut self, place: &mut Place) -> Option<WakeReason> {
        self.book.take_outcome().0.into_iter().for_each(Wake::send);
        place.woken.try_recv().ok().map(|woken| woken.reason)
    }
}

const NEXT: &str = "s1_1_1_1_1_1_1_1_1_1_1_1_1_1";

pub(super) fn answer(next: &str) -> KeptAnswer {
    KeptAnswer { headers: [].into(), body: Bytes::from_static(b"{}"), next: next.into(), to_device_next: None }
}

fn reason(decision: &Decision) -> Option<Reason> {
    match decision {
        Decision::Forward(reason) => Some(*reason),
        Decision::Replay(_) | Decision::Park(_) => None,
    }
}

#[test]
fn a_quiet_sync_is_parked_from_its_second_poll_on() {
    let mut world = World::live();
    assert_eq!(reason(&world.consider("@a", NEXT)), Some(Reason::NothingKept));
    world.learn("@a", NEXT);
    assert_eq!(reason(&world.consider("@a", "s1")), Some(Reason::OtherSince));
    let place = world.park("@a");
    assert_eq!(place.answer.body, "{}");
    assert_eq!(world.book.sizes().parked, 1);
    assert!(world.book.leave(place.ticket));
    assert!(!world.book.leave(place.ticket));
    assert_eq!(world.book.sizes().parked, 0);
    let poll = world.poll("@a", NEXT, Duration::ZERO);
    assert!(matches!(world.book.consider(&poll, world.now), Decision::Replay(_)));
    let poll = world.poll("@a", NEXT, Duration::from_secs(121));
    assert_eq!(reason(&world.book.consider(&poll, world.now)), Some(Reason::LongTimeout));
    world.seconds(120);
    assert_eq!(reason(&world.consider("@a", NEXT)), Some(Reason::Renewal));
}

#[test]
fn rooms_have_to_be_known() {
    let mut world = World::live();
    let watch = world.book.forwarded(world.poll("@a", NEXT, POLL), world.now);
    world.now += POLL;
    world.book.answered(watch, Seen::Empty(answer(NEXT)), world.now);
    assert_eq!(reason(&world.consider("@a", NEXT)), Some(Reason::MembersUnknown));
    world.load(&ROOMS);
    assert!(reason(&world.consider("@a", NEXT)).is_none());
}

#[test]
fn whom_a_change_wakes() {
    let user = |name: &str| Concerns::User(name.into());
    let room = |name: &str| Concerns::Room(name.into());
    let device = |user: &str, device: Option<&str>| Device { user: user.into(), device: device.map(Into::into) };
    let member = |room: &str, user: &str| {
        let (room, user) = (room.into(), user.into());
        Concerns::Member(Box::new(Member { room, user, membership: Some("leave".into()), is_rejected: false }))
    };
    let doubt = Concerns::Everybody;
    let stale = Concerns::StaleMembers { room: "!1".into(), users: vec!["@a".into()] };
    let token = Concerns::TokenEnded(TokenHasher::with_key([0; 32]).hash("@a"));
    // The last are who of @a, @b and @c is woken, and whether a request that comes then is forwarded.
    let table = [
        (Stream::Events, 2, room("!1"), "a", "a"),
        (Stream::Events, 2, room("!2"), "ab", "ab"),
        (Stream::Events, 2, room("!3"), "", ""),
        (Stream::Events, 1, room("!2"), "", ""),
        (Stream::Events, 2, member("!2", "@c"), "abc", "abc"),
        (Stream::Events, 2, member("!3", "@c"), "c", "c"),
        (Stream::ToDevice, 2, user("@b"), "b", "b"),
        (Stream::ToDevice, 1, user("@b"), "", ""),
        (Stream::Presence, 2, Concerns::Sharing("@b".into()), "ab", "ab"),
        (Stream::ProfileUpdates, 2, Concerns::SharingUntilNow("@c".into()), "c", "abc"),
        (Stream::Caches, 9, user("@a"), "a", "a"),
        (Stream::Caches, 9, stale, "", ""),
        (Stream::Caches, 9, Concerns::Keys(device("@a", Some("D"))), "a", "a"),
        (Stream::Caches, 9, Concerns::Keys(device("@a", Some("E"))), "", ""),
        (Stream::Caches, 9, Concerns::Keys(device("@a", None)), "a", "a"),
        (Stream::Caches, 9, Concerns::DeviceChanged(device("@a", Some("D"))), "a", "a"),
        (Stream::Caches, 9, Concerns::DeviceChanged(device("@a", Some("E"))), "", ""),
        (Stream::Caches, 9, Concerns::DeviceChanged(device("@a", None)), "a", "a"),
        (Stream::Caches, 9, Concerns::AccountChanged("@b".into()), "b", "b"),
        (Stream::Caches, 9, token, "a", "a"),
        (Stream::Caches, 9, Concerns::StaleRooms(None), "", "abc"),
        (Stream::Caches, 9, Concerns::Nobody, "", ""),
        (Stream::Backfill, 9, Concerns::Nobody, "", ""),
        (Stream::Receipts, 2, doubt(Doubt::UnknownRow), "abc", "abc"),
        (Stream::Receipts, 1, doubt(Doubt::UnknownRow), "", ""),
        (Stream::Receipts, 1, doubt(Doubt::Gap(Gap::Heartbeat)), "abc", "abc"),
        (Stream::Typing, 0, doubt(Doubt::Gap(Gap::Backwards)), "abc", "abc"),
        (Stream::Unknown, 0, doubt(Doubt::UnknownStream), "abc", "abc"),
    ];
    for (stream, position, concerns, woken, touched) in table {
        let mut world = World::live();
        // So that what is learned of the first is not older than the others' for moments.
        let mut places = ["@a", "@b", "@c"].map(|user| (user, world.parked(user)));
        world.change(stream, "w", position, concerns.clone());
        let told = |users: &[&str]| users.iter().map(|user| &user[1..]).collect::<String>();
        let are_woken: Vec<&str> =
            places.iter_mut().filter_map(|(user, place)| world.woken(place).map(|_| *user)).collect();
        assert_eq!(told(&are_woken), woken, "{stream:?} {position} {concerns:?}");
        world.book.release_all(WakeReason::Switched, world.now);
        let are_touched: Vec<&str> =
            ["@a", "@b", "@c"].into_iter().filter(|user| reason(&world.consider(user, NEXT)).is_some()).collect();
        assert_eq!(told(&are_touched), touched, "{stream:?} {position} {concerns:?}");
    }
}

#[test]
fn presence_does_not_concern_a_sliding_sync() {
    let mut world = World::live();
    let pos = format!("3/{NEXT}");
    let sliding = |world: &World| {
        let kind = PollKind::Sliding { to_device_since: None };
        Poll { kind, ..world.poll("@a", &pos, POLL) }
    };
    let watch = world.book.forwarded(sliding(&world), world.now);
    world.load(&ROOMS);
    world.now += POLL;
    world.book.answered(watch, Seen::Empty(answer(&pos)), world.now);
    let Decision::Park(mut place) = world.book.consider(&sliding(&world), world.now) else { panic!("not parked") };
    world.change(Stream::Presence, "w", 2, Concerns::User("@a".into()));
    assert_eq!(world.woken(&mut place), None);
    world.change(Stream::AccountData, "w", 2, Concerns::User("@a".into()));
    assert_eq!(world.woken(&mut place), Some(WakeReason::Stream(Stream::AccountData)));
    assert_eq!(reason(&world.book.consider(&sliding(&world), world.now)), Some(Reason::Touched));
}

#[test]
fn an_answer_is_trusted_only_if_all_is_well() {
    type Happens = fn(&mut World);
    let touched = "s1_1_1_1_1_1_0_1_1_1_1_1_1_1";
    let nothing: Happens = |_| {};
    let table: [(&str, &str, u64, Happens, Option<Distrust>); 11] = [
        ("all is well", NEXT, 30, nothing, None),
        ("early", NEXT, 10, nothing, Some(Distrust::Early)),
        ("late", NEXT, 33, nothing, Some(Distrust::Late)),
        ("behind where it was followed from", touched, 30, nothing, Some(Distrust::Touched)),
        ("an unknown layout", "s1_2_3_4_5_6_7_8_9_10_11_12_13_14_15", 30, nothing, Some(Distrust::Token)),
        ("an unknown writer", "m1~7.3_1_1_1_1_1_1_1_1_1_1_1_1_1", 30, nothing, Some(Distrust::Token)),
        ("a known writer", "m1~2.3_1_1_1_1_1_1_1_1_1_1_1_1_1", 30, nothing, None),
        (
            "keys were used meanwhile",
            NEXT,
            30,
            |world| {
                let device = Device { user: "@a".into(), device: Some("D".into()) };
                world.change(Stream::Caches, "w", 9, Concerns::Keys(device));
            },
            Some(Distrust::Touched),
        ),
        (
            "following was lost and found",
            NEXT,
            30,
            |world| {
                world.book.apply(&Event::Lost(LostReason::Silent), world.now);
                world.follow();
            },
            Some(Distrust::NotLive),
        ),
        (
            "following was lost",
            NEXT,
            30,
            |world| world.book.apply(&Event::Lost(LostReason::Silent), world.now),
            Some(Distrust::NotLive),
        ),
        (
            "a message came for somebody else",
            NEXT,
            30,
            |world| world.change(Stream::ToDevice, "w", 9, Concerns::User("@b".into())),
            None,
        ),
    ];
    for (what, next, seconds, happens, expected) in table {
        let mut world = World::live();
        let watch = world.book.forwarded(world.poll("@a", "s1", POLL), world.now);
        world.load(&ROOMS);
        happens(&mut world);
        world.seconds(seconds);
        world.book.answered(watch, Seen::Empty(answer(next)), world.now);
        let distrusted = world.book.counts().distrusted;
        let counted = Distrust::ALL.into_iter().zip(distrusted).find(|(_, count)| *count > 0).map(|(reason, _)| reason);
        assert_eq!(counted, expected, "{what}");
        assert_eq!(world.book.sizes().kept, usize::from(expected.is_none()), "{what}");
    }
}

#[test]
fn keys_that_were_used_a_moment_before_make_an_answer_stale() {
    let mut world = World::live();
    let device = Device { user: "@a".into(), device: Some("D".into()) };
    world.change(Stream::Caches, "w", 9, Concerns::Keys(device));
    world.now += Duration::from_millis(900);
    world.learn("@a", NEXT);
    assert_eq!(world.book.sizes().kept, 0);
    world.learn("@a", NEXT);
    assert_eq!(world.book.sizes().kept, 1);
}

#[test]
fn nothing_is_parked_while_the_stream_is_not_followed() {
    let mut world = World::live();
    let mut place = world.parked("@a");
    world.book.apply(&Event::Lost(LostReason::Disconnected), world.now);
    assert_eq!(world.woken(&mut place), Some(WakeReason::NotLive));
    assert_eq!(reason(&world.consider("@a", NEXT)), Some(Reason::NotLive));
    world.follow();
    assert_eq!(reason(&world.consider("@a", NEXT)), Some(Reason::NothingKept));
    world.parked("@a");
}

#[test]
fn a_late_stream_parks_nobody() {
    let mut world = World::live();
    world.learn("@a", NEXT);
    let late = |world: &mut World, milliseconds| {
        let received = world.now;
        world.now += Duration::from_millis(milliseconds);
        let (stream, writer, concerns) = (Stream::Backfill, "w".into(), Concerns::Nobody);
        let change = Change { stream, writer, after: 1, position: 2, concerns, received };
        world.book.apply(&Event::Change(change), world.now);
    };
    late(&mut world, 251);
    assert_eq!(reason(&world.consider("@a", NEXT)), Some(Reason::Lagging));
    late(&mut world, 100);
    assert_eq!(reason(&world.consider("@a", NEXT)), Some(Reason::Lagging));
    late(&mut world, 10);
    assert!(reason(&world.consider("@a", NEXT)).is_none());
}

#[test]
fn a_position_that_the_stream_does_not_tell_is_a_gap() {
    let mut world = World::live();
    let mut place = world.parked("@a");
    let positions = vec![("events".to_owned(), "w".to_owned(), 2), ("backfill".to_owned(), "w".to_owned(), 99)];
    let standing = || Standing { instances: Vec::new(), positions: positions.clone() };
    world.book.done(Done::Standing(Some(standing())), world.now);
    world.seconds(2);
    world.book.tick(world.now);
    assert_eq!(world.woken(&mut place), None);
    world.now += Duration::from_millis(1);
    world.book.tick(world.now);
    assert_eq!(world.woken(&mut place), Some(WakeReason::Doubt(Stream::Events)));
    assert_eq!(reason(&world.consider("@a", NEXT)), Some(Reason::MembersUnknown));
    world.load(&ROOMS);
    assert_eq!(reason(&world.consider("@a", NEXT)), Some(Reason::Touched));
    // It is told once.
    world.book.done(Done::Standing(Some(standing())), world.now);
    world.seconds(9);
    world.book.tick(world.now);
    assert_eq!(world.book.counts().gaps, [0, 1, 0]);
}

#[test]
fn a_database_that_is_silent_parks_nobody() {
    let mut world = World::live();
    let mut place = world.parked("@a");
    world.seconds(15);
    world.book.tick(world.now);
    assert_eq!((world.book.state(), world.woken(&mut place)), (State::NoDatabase, Some(WakeReason::NotLive)));
    world.load(&ROOMS);
    assert_eq!(world.book.state(), State::Live);
}

#[test]
fn a_confirmed_miss_ends_all_parking() {
    for (seconds, told, expected) in [(0, false, State::Latched), (0, true, State::Live), (5, false, State::Live)] {
        let mut world = World::live();
        world.learn("@a", NEXT);
        world.seconds(120);
        world.load(&ROOMS);
        let watch = world.book.forwarded(world.poll("@a", NEXT, POLL), world.now);
        world.seconds(seconds);
        world.book.answered(watch, Seen::NotEmpty { sections: vec!["to_device"] }, world.now);
        if told {
            world.change(Stream::ToDevice, "w", 2, Concerns::User("@a".into()));
        }
        world.seconds(2);
        world.book.tick(world.now);
        assert_eq!(world.book.state(), expected, "{seconds} {told}");
        let counts = world.book.counts();
        assert_eq!((counts.missed, counts.touched_and_full), (u64::from(!told), u64::from(told)));
        assert_eq!(counts.confirmed_misses, u64::from(expected == State::Latched));
    }
}

#[test]
fn parked_syncs_are_bounded() {
    let mut world = World::live();
    world.learn("@a", NEXT);
    let places: Vec<Place> = (0..50).map(|_| world.park("@a")).collect();
    assert_eq!(reason(&world.consider("@a", NEXT)), Some(Reason::Full));
    world.book.leave(places[7].ticket);
    world.park("@a");
}

#[test]
fn delays_are_spread_and_of_the_seed() {
    let drawn = |mut seed: u64| -> Vec<Duration> { (0..1000).map(|_| delay(&mut seed)).collect() };
    let delays = drawn(1);
    assert_eq!(delays, drawn(1));
    assert_ne!(delays, drawn(2));
    assert!(delays.iter().all(|delay| *delay < SPREAD));
    let early = delays.iter().filter(|delay| **delay < SPREAD / 2).count();
    assert!((400..600).contains(&early), "{early}");
}

#[test]
fn a_writer_that_counts_anew_parks_again_when_its_moment_is_past() {
    let mut world = World::live();
    let mut place = world.parked("@a");
    world.change(Stream::Typing, "w", 500, Concerns::Room("!1".into()));
    assert_eq!(world.woken(&mut place), Some(WakeReason::Stream(Stream::Typing)));
    world.change(Stream::Typing, "w", 1, Concerns::Everybody(Doubt::Gap(Gap::Backwards)));
    world.load(&ROOMS);
    // An answer from about that time may still be of a process that has not heard of it.
    world.learn("@a", NEXT);
    assert_eq!(reason(&world.consider("@a", NEXT)), Some(Reason::Touched));
    world.parked("@a");
}

#[test]
fn a_writer_that_counts_anew_is_noticed_however_it_comes_back() {
    type Returns = fn(&mut World);
    let returns: [(&str, Returns); 2] = [
        ("forgotten meanwhile", |world| {
            world.change(Stream::Typing, "w", 500, Concerns::Everybody(Doubt::Gap(Gap::WriterSilent)));
            world.change(Stream::Typing, "w", 1, Concerns::Everybody(Doubt::Gap(Gap::NewWriter)));
        }),
        ("while the stream was not followed", |world| {
            world.book.apply(&Event::Lost(LostReason::Disconnected), world.now);
            world.follow();
        }),
    ];
    for (what, returns) in returns {
        let mut world = World::live();
        world.learn("@a", NEXT);
        world.change(Stream::Typing, "w", 500, Concerns::Room("!1".into()));
        // The token of this answer covers all that the writer may write in a while.
        let ahead = "s1_1_500_1_1_1_1_1_1_1_1_1_1_1";
        world.learn("@a", ahead);
        assert_eq!(reason(&world.consider("@a", ahead)), None, "{what}");
        world.book.release_all(WakeReason::Switched, world.now);
        returns(&mut world);
        world.load(&ROOMS);
        assert!(reason(&world.consider("@a", ahead)).is_some(), "{what}");
        world.learn("@a", NEXT);
        assert!(reason(&world.consider("@a", NEXT)).is_some(), "{what}");
        let mut place = world.parked("@a");
        world.change(Stream::Typing, "w", 2, Concerns::Room("!1".into()));
        assert_eq!(world.woken(&mut place), Some(WakeReason::Stream(Stream::Typing)), "{what}");
    }
}
