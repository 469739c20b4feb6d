//! The book against a homeserver that is simple enough to be right: whoever is parked when all is told has nothing new.
//!
//! What the homeserver does is committed at once, told later, in order by each writer only, and may get lost, which is
//! noticed later. Clients poll and are parked at any moment in between. The database answers from any moment between the
//! question and the answer.

use std::collections::{HashMap, HashSet, VecDeque};

use proptest::prelude::*;

use super::tests::{World, answer};
use super::*;
use crate::quiet::lookups::Wanted;
use crate::quiet::members::Question;
use crate::quiet::schedule::{Done, Work};
use crate::replication::change::Member;
use crate::replication::{Change, Concerns, Doubt, Event, Gap, Stream};

const USERS: [&str; 3] = ["@a", "@b", "@c"];
const ROOMS: [&str; 3] = ["!1", "!2", "!3"];
const WRITERS: [&str; 2] = ["w", "v"];

/// What happens.
#[derive(Clone, Debug)]
enum Step {
    Commit(Written, usize),
    /// The next row of a writer is told.
    Tell(usize),
    /// The next row of a writer is lost.
    Lose(usize),
    /// What was lost is noticed.
    Notice,
    /// The database is asked.
    Ask,
    /// It reads what it was asked for.
    Read,
    /// It answers one question; not every one can be.
    Answer(bool),
    /// A client polls, and Synapse has nothing for it.
    Poll(usize),
    /// A client polls from where that ended, and may be parked.
    Park(usize),
    Leave(usize),
}

/// What is written.
#[derive(Clone, Copy, Debug)]
enum Written {
    Message(usize),
    Join(usize, usize),
    Leave(usize, usize),
    /// A user is in a room of which only the state is told.
    Rewrite(usize, usize),
    ToDevice(usize),
    Presence(usize),
    Devices(usize),
}

/// A row: who is concerned, and what is told of it.
#[derive(Clone, Debug)]
struct Row {
    stream: Stream,
    writer: usize,
    after: i64,
    position: i64,
    concerned: HashSet<usize>,
    told: Concerns,
}

/// A question, with the rows that were read for it.
enum Open {
    Rooms(Vec<Question>, Option<HashMap<String, Vec<String>>>),
    Lookup(u64, Wanted, Option<Vec<String>>),
}

struct Model {
    world: World,
    rooms: [HashSet<usize>; 3],
    /// The last position of each stream; one sequence for all its writers.
    last: HashMap<Stream, i64>,
    /// Where each writer of each stream is.
    at: HashMap<(Stream, usize), i64>,
    /// How far each is told to be.
    told: HashMap<(Stream, usize), i64>,
    rows: Vec<Row>,
    untold: [VecDeque<Row>; 2],
    lost: Vec<Row>,
    device_rooms: Vec<(i64, usize)>,
    open: VecDeque<Open>,
    /// Each client's token, and its place if it is parked.
    clients: [(String, Option<Place>); 3],
}

impl Model {
    fn new() -> Self {
        Model {
            world: World::live(),
            rooms: Default::default(),
            last: HashMap::new(),
            at: HashMap::new(),
            told: HashMap::new(),
            rows: Vec::new(),
            untold: Default::default(),
            lost: Vec::new(),
            device_rooms: Vec::new(),
            open: VecDeque::new(),
            clients: std::array::from_fn(|_| (String::new(), None)),
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Commit(written, writer) => self.commit(*written, *writer),
            Step::Tell(writer) => {
                if let Some(row) = self.untold[*writer].pop_front() {
                    self.tell(&row, row.told.clone());
                }
            }
            Step::Lose(writer) => self.lost.extend(self.untold[*writer].pop_front()),
            Step::Notice => {
                for row in std::mem::take(&mut self.lost) {
                    self.tell(&row, Concerns::Everybody(Doubt::Gap(Gap::Ahead)));
                }
            }
            Step::Ask => self.ask(),
            Step::Read => self.read(),
            Step::Answer(can) => self.answer(*can),
            Step::Poll(user) => self.poll(*user),
            Step::Park(user) => self.park(*user),
            Step::Leave(user) => {
                if let Some(place) = self.clients[*user].1.take() {
                    self.world.book.leave(place.ticket);
                }
            }
        }
    }

    fn commit(&mut self, written: Written, writer: usize) {
        let members = |rooms: &[HashSet<usize>; 3], room: usize| rooms[room].clone();
        let sharing = |rooms: &[HashSet<usize>; 3], user: usize| -> HashSet<usize> {
            let shared = rooms.iter().filter(|room| room.contains(&user)).flatten().copied();
            shared.chain([user]).collect()
        };
        let name = |user: usize| -> Box<str> { USERS[user].into() };
        let member = |room: usize, user: usize| {
            let membership = None;
            Concerns::Member(Box::new(Member {
                room: ROOMS[room].into(),
                user: name(user),
                membership,
                is_rejected: false,
            }))
        };
        let (stream, concerned, told) = match written {
            Written::Message(room) => (Stream::Events, members(&self.rooms, room), Concerns::Room(ROOMS[room].into())),
            Written::Join(room, user) => {
                self.rooms[room].insert(user);
                (Stream::Events, members(&self.rooms, room), member(room, user))
            }
            Written::Leave(room, user) => {
                let before = members(&self.rooms, room);
                self.rooms[room].remove(&user);
                (Stream::Events, before.into_iter().chain([user]).collect(), member(room, user))
            }
            Written::Rewrite(room, user) => {
                self.rooms[room].insert(user);
                (Stream::Events, members(&self.rooms, room), Concerns::RoomRewritten(ROOMS[room].into()))
            }
            Written::ToDevice(user) => (Stream::ToDevice, [user].into(), Concerns::User(name(user))),
            Written::Presence(user) => (Stream::Presence, sharing(&self.rooms, user), Concerns::Sharing(name(user))),
            Written::Devices(user) => (Stream::DeviceLists, sharing(&self.rooms, user), Concerns::Devices(name(user))),
        };
        // Only events have two writers here.
        let writer = if stream == Stream::Events { writer } else { 0 };
        let position = self.last.entry(stream).or_insert(1);
        *position += 1;
        let position = *position;
        if let Written::Devices(user) = written {
            let rooms = (0..ROOMS.len()).filter(|room| self.rooms[*room].contains(&user));
            self.device_rooms.extend(rooms.map(|room| (position, room)));
        }
        let after = self.at.insert((stream, writer), position).unwrap_or(1);
        let row = Row { stream, writer, after, position, concerned, told };
        self.rows.push(row.clone());
        self.untold[writer].push_back(row);
    }

    fn tell(&mut self, row: &Row, concerns: Concerns) {
        let Row { stream, writer, after, position, .. } = *row;
        // What is noticed late is noticed where the writer is by then.
        let told = self.told.entry((stream, writer)).or_insert(position);
        *told = position.max(*told);
        let position = *told;
        let received = self.world.now;
        let change = Change { stream, writer: WRITERS[writer].into(), after, position, concerns, received };
        self.world.book.apply(&Event::Change(change), self.world.now);
    }

    fn ask(&mut self) {
        for work in self.world.book.work(self.world.now) {
            match work {
                Work::Standing => self.world.book.done(Done::Standing(None), self.world.now),
                Work::Rooms(questions) => self.open.push_back(Open::Rooms(questions, None)),
                Work::Lookup(id, wanted) => self.open.push_back(Open::Lookup(id, wanted, None)),
            }
        }
    }

    fn rooms_of(&self, user: &str) -> Vec<String> {
        let user = USERS.iter().position(|known| *known == user).unwrap();
        let rooms = ROOMS.iter().zip(&self.rooms).filter(|(_, members)| members.contains(&user));
        rooms.map(|(room, _)| (*room).to_owned()).collect()
    }

    fn read(&mut self) {
        let mut open = std::mem::take(&mut self.open);
        for question in &mut open {
            match question {
                Open::Rooms(questions, read @ None) => {
                    let rooms =
                        questions.iter().map(|question| (question.name.to_string(), self.rooms_of(&question.name)));
                    *read = Some(rooms.collect());
                }
                Open::Lookup(_, wanted, read @ None) => {
                    *read = Some(match wanted {
                        Wanted::RoomsOf(user) => self.rooms_of(user),
                        Wanted::DeviceChanges(after, upto) => {
                            let rows = self.device_rooms.iter().filter(|(at, _)| (*after + 1..=*upto).contains(at));
                            rows.map(|(_, room)| ROOMS[*room].to_owned()).collect()
                        }
                        Wanted::MembersOf(room) => {
                            let room = ROOMS.iter().position(|known| **known == **room).unwrap();
                            self.rooms[room].iter().map(|user| USERS[*user].to_owned()).collect()
                        }
                    });
                }
                _ => {}
            }
        }
        self.open = open;
    }

    fn answer(&mut self, can: bool) {
        let done = match self.open.pop_front() {
            Some(Open::Rooms(questions, read)) => Done::Rooms(questions, read.filter(|_| can)),
            Some(Open::Lookup(id, _, read)) => Done::Lookup(id, read.filter(|_| can)),
            None => return,
        };
        self.world.book.done(done, self.world.now);
    }

    /// A token that covers all that is committed.
    fn token(&self) -> String {
        let at = |stream| self.last.get(&stream).copied().unwrap_or(1);
        let (events, presence) = (at(Stream::Events), at(Stream::Presence));
        format!("s{events}_{presence}_1_1_1_1_{}_{}_1_1_1_1_1_1", at(Stream::ToDevice), at(Stream::DeviceLists))
    }

    fn poll(&mut self, user: usize) {
        self.step(&Step::Leave(user));
        let next = self.token();
        let poll = self.world.poll(USERS[user], &next, Duration::ZERO);
        let watch = self.world.book.forwarded(poll, self.world.now);
        self.world.book.answered(watch, Seen::Empty(answer(&next)), self.world.now);
        self.clients[user].0 = next;
    }

    fn park(&mut self, user: usize) {
        self.step(&Step::Leave(user));
        let since = self.clients[user].0.clone();
        if let Decision::Park(place) = self.world.consider(USERS[user], &since) {
            self.clients[user].1 = Some(place);
        }
    }

    /// Everything is told, noticed and answered.
    fn settle(&mut self) {
        for writer in 0..2 {
            while !self.untold[writer].is_empty() {
                self.step(&Step::Tell(writer));
            }
        }
        self.step(&Step::Notice);
        for _ in 0..9 {
            self.world.seconds(6);
            self.ask();
            self.read();
            while !self.open.is_empty() {
                self.answer(true);
            }
        }
    }

    /// Who is parked although there is something new.
    fn late(&mut self) -> Vec<(usize, Row)> {
        self.world.book.take_outcome().0.into_iter().for_each(Wake::send);
        let mut late = Vec::new();
        for (user, (since, place)) in self.clients.iter_mut().enumerate() {
            let is_parked = place.as_mut().is_some_and(|place| place.woken.try_recv().is_err());
            let token = SyncToken::parse(since);
            let Some(token) = token.ok().filter(|_| is_parked) else { continue };
            let covers = |row: &Row| {
                let field = crate::quiet::since::field_of(row.stream).unwrap();
                row.position <= token.fields()[field].least
            };
            late.extend(
                self.rows
                    .iter()
                    .find(|row| row.concerned.contains(&user) && !covers(row))
                    .map(|row| (user, row.clone())),
            );
        }
        late
    }
}

fn written() -> impl Strategy<Value = Written> {
    let (room, user) = (0..ROOMS.len(), 0..USERS.len());
    prop_oneof![
        3 => room.clone().prop_map(Written::Message),
        2 => (room.clone(), user.clone()).prop_map(|(room, user)| Written::Join(room, user)),
        1 => (room.clone(), user.clone()).prop_map(|(room, user)| Written::Leave(room, user)),
        1 => (room, user.clone()).prop_map(|(room, user)| Written::Rewrite(room, user)),
        1 => user.clone().prop_map(Written::ToDevice),
        1 => user.clone().prop_map(Written::Presence),
        1 => user.prop_map(Written::Devices),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let user = 0..USERS.len();
    prop_oneof![
        6 => (written(), 0..2_usize).prop_map(|(written, writer)| Step::Commit(written, writer)),
        6 => (0..2_usize).prop_map(Step::Tell),
        1 => (0..2_usize).prop_map(Step::Lose),
        1 => Just(Step::Notice),
        4 => Just(Step::Ask),
        4 => Just(Step::Read),
        4 => prop::bool::weighted(0.9).prop_map(Step::Answer),
        5 => user.clone().prop_map(Step::Poll),
        5 => user.clone().prop_map(Step::Park),
        1 => user.prop_map(Step::Leave),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// If a row concerns the user, the parked request wakes.
    #[test]
    fn whoever_is_concerned_wakes(steps in prop::collection::vec(step(), 0..60)) {
        let mut model = Model::new();
        for step in &steps {
            // Moments are told apart.
            model.world.seconds(2);
            model.step(step);
        }
        model.settle();
        prop_assert_eq!(model.late().len(), 0);
        // Nothing is left of anybody who has gone.
        (0..USERS.len()).for_each(|user| model.step(&Step::Leave(user)));
        prop_assert_eq!(model.world.book.sizes().parked, 0);
    }

    /// The same is told when all is well: without doubts, whom nothing concerns is not woken.
    #[test]
    fn whom_nothing_concerns_sleeps(rooms in prop::collection::vec(written(), 0..20)) {
        let mut model = Model::new();
        for written in rooms {
            model.commit(written, 0);
        }
        (0..3).for_each(|user| model.poll(user));
        model.settle();
        (0..3).for_each(|user| model.poll(user));
        (0..3).for_each(|user| model.park(user));
        let is_parked = model.clients.iter().filter(|(_, place)| place.is_some()).count();
        prop_assert_eq!(is_parked, 3);
        model.commit(Written::ToDevice(0), 0);
        model.settle();
        model.world.book.take_outcome().0.into_iter().for_each(Wake::send);
        let is_asleep = |place: &mut Option<Place>| place.as_mut().unwrap().woken.try_recv().is_err();
        prop_assert_eq!(model.clients.each_mut().map(|(_, place)| is_asleep(place)), [false, true, true]);
    }
}

/// What was found once: the user is in the room before anybody tells of it, and the message there is told before the
/// database has said who is.
#[test]
fn what_has_happened_in_a_room_is_news_to_whoever_turns_out_to_be_in_it() {
    let rewritten = [
        Step::Park(1),
        Step::Ask,
        Step::Read,
        Step::Commit(Written::Rewrite(0, 1), 0),
        Step::Answer(true),
        Step::Poll(1),
        Step::Commit(Written::Message(0), 0),
        Step::Tell(0),
        Step::Park(1),
    ];
    // The same, told by two writers, of which one is slower.
    let joined = [
        Step::Park(1),
        Step::Ask,
        Step::Read,
        Step::Commit(Written::Join(0, 1), 0),
        Step::Answer(true),
        Step::Poll(1),
        Step::Commit(Written::Message(0), 1),
        Step::Tell(1),
        Step::Park(1),
        Step::Tell(0),
    ];
    for steps in [&rewritten[..], &joined[..]] {
        let mut model = Model::new();
        steps.iter().for_each(|step| model.step(step));
        assert!(model.clients[1].1.is_some());
        model.settle();
        assert_eq!(model.late().len(), 0);
    }
}
