//! What parked syncs cost while 100,000 are parked.
//!
//! `cargo bench --bench quiet`. Good is: a row that concerns one of them is decided in under 5 µs; a row for a room of
//! 10,000 of them wakes them all in under 20 ms; 5,000 rows a second need under half a core, so that a row of the usual
//! kind, in a room of 50, takes under 100 µs. Before it measures, it prints what one parked sync costs in memory.

use std::hint::black_box;
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use dendron::quiet::book::{Book, Decision, Place};
use dendron::quiet::parked::Wake;
use dendron::quiet::schedule::{Done, Standing, Work};
use dendron::quiet::since::LAYOUT;
use dendron::quiet::{KeptAnswer, Limits, Poll, PollHasher, PollKind, Seen};
use dendron::replication::{Change, Concerns, Event, Stream, WriterPosition};
use dendron::token::{Caller, CallerKind, TokenHasher};

/// The program's own.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const USERS: usize = 100_000;
/// Each user is in this many rooms, of 50 users each.
const ROOMS: usize = 50;
/// As many are in the one big room.
const BIG_ROOM: usize = 10_000;

struct World {
    book: Book,
    now: Instant,
    polls: Vec<Poll>,
    places: Vec<Option<Place>>,
    position: i64,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let mut book = Book::new(Limits::default(), 1);
        let streams = LAYOUT.into_iter().flatten();
        let told = streams.map(|stream| WriterPosition { stream, writer: "w".into(), position: 1 });
        book.apply(&Event::Live(told.collect()), now);
        book.done(Done::Standing(Some(Standing::default())), now);
        let (Ok(hasher), Ok(tokens)) = (PollHasher::new(), TokenHasher::new()) else { std::process::exit(1) };
        let poll = |number: usize| Poll {
            caller: Caller::new(&user(number), Some("ABCDEFGHIJ"), CallerKind::User),
            token: tokens.hash(&number.to_string()),
            key: hasher.key([&number.to_le_bytes()[..]]),
            since: "s1".into(),
            timeout: Duration::ZERO,
            arrived: now,
            kind: PollKind::Sync,
        };
        let polls: Vec<Poll> = (0..USERS).map(poll).collect();
        let places = (0..USERS).map(|_| None).collect();
        let mut world = World { book, now, polls, places, position: 1 };
        (0..USERS).for_each(|number| world.learn(number));
        world
    }

    /// Synapse has had nothing for a user, up to where everything is.
    fn learn(&mut self, number: usize) {
        let next: Box<str> = format!("s{}_1_1_1_1_1_1_1_1_1_1_1_1_1", self.position).into();
        let Some(poll) = self.polls.get_mut(number) else { return };
        poll.since = next.clone();
        let poll = poll.clone();
        let watch = self.book.forwarded(poll, self.now);
        for work in self.book.work(self.now) {
            let done = match work {
                Work::Standing => Done::Standing(None),
                Work::Rooms(questions) => {
                    let name = questions.first().map(|question| question.name.to_string()).unwrap_or_default();
                    let mut rooms: Vec<String> =
                        (0..ROOMS).map(|room| format!("!{}", room * USERS + number / 50)).collect();
                    rooms.extend((number < BIG_ROOM).then(|| "!big".to_owned()));
                    Done::Rooms(questions, Some([(name, rooms)].into()))
                }
                Work::Lookup(id, _) => Done::Lookup(id, None),
            };
            self.book.done(done, self.now);
        }
        let body =
            Bytes::from_static(br#"{"next_batch":"s1_1","device_one_time_keys_count":{"signed_curve25519":50}}"#);
        let answer = KeptAnswer { headers: [].into(), body, next, to_device_next: None };
        self.book.answered(watch, Seen::Empty(answer), self.now);
    }

    /// Parks whoever is not, from an answer that covers all that was told.
    fn park(&mut self, numbers: Range<usize>) {
        let all = self.polls.iter().zip(&mut self.places);
        for (poll, place) in all.skip(numbers.start).take(numbers.len()) {
            let poll = Poll { timeout: Duration::from_secs(30), ..poll.clone() };
            if place.as_mut().is_none_or(|place| place.woken.try_recv().is_ok())
                && let Decision::Park(parked) = self.book.consider(&poll, self.now)
            {
                *place = Some(parked);
            }
        }
    }

    fn tell(&mut self, concerns: Concerns) -> usize {
        let (stream, writer, position) = (Stream::Events, "w".into(), self.position);
        let change = Change { stream, writer, after: position, position, concerns, received: self.now };
        self.book.apply(&Event::Change(change), self.now);
        let (wakes, _) = self.book.take_outcome();
        let count = wakes.len();
        wakes.into_iter().for_each(Wake::send);
        count
    }
}

fn user(number: usize) -> String {
    format!("@somebody-{number:06}:matrix.example.org")
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn benchmark(criterion: &mut Criterion) {
    let mut world = World::new();
    let before = resident_kib();
    world.park(0..USERS);
    let grown = resident_kib().saturating_sub(before);
    println!("{} parked; {} bytes each", world.book.sizes().parked, grown * 1024 / USERS as u64);
    // A position that the answers cover wakes nobody, so that the set stays as it is.
    criterion.bench_function("a row in a room of 50, which all know already", |bencher| {
        let mut number = 0;
        bencher.iter(|| {
            number = (number + 1) % (USERS / 50);
            world.tell(black_box(Concerns::Room(format!("!{number}").into())))
        });
    });
    criterion.bench_function("a row that wakes one", |bencher| {
        let mut number = BIG_ROOM;
        bencher.iter_custom(|iterations| {
            let mut taken = Duration::ZERO;
            for _ in 0..iterations {
                number = BIG_ROOM + (number + 1) % (USERS - BIG_ROOM);
                world.learn(number);
                world.park(number..number + 1);
                world.position += 1;
                let concerns = Concerns::User(user(number).into());
                let begun = Instant::now();
                assert_eq!(world.tell(black_box(concerns)), 1);
                taken += begun.elapsed();
            }
            taken
        });
    });
    criterion.bench_function("parking one more, who goes at once", |bencher| {
        let mut number = 0;
        bencher.iter(|| {
            number = (number + 1) % BIG_ROOM;
            let timeout = Duration::from_secs(30);
            let poll = world.polls.get(number).map(|poll| Poll { timeout, ..poll.clone() });
            if let Some(Decision::Park(place)) = poll.map(|poll| world.book.consider(&poll, world.now)) {
                world.book.leave(place.ticket);
            }
        });
    });
    let mut big = criterion.benchmark_group("big");
    big.sample_size(10).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(500));
    big.bench_function("a row that wakes 10,000", |bencher| {
        bencher.iter_custom(|iterations| {
            let mut taken = Duration::ZERO;
            for _ in 0..iterations {
                (0..BIG_ROOM).for_each(|number| world.learn(number));
                world.park(0..BIG_ROOM);
                world.position += 1;
                let begun = Instant::now();
                assert_eq!(world.tell(Concerns::Room("!big".into())), BIG_ROOM);
                taken += begun.elapsed();
            }
            taken
        });
    });
    big.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
