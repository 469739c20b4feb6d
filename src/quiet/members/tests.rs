//! Members against the true memberships: a user who is certain has all rooms that the user is in.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::quiet::names::Namer;

const SECOND: Duration = Duration::from_secs(1);

fn members() -> (Members, Namer, Instant) {
    (Members::new(100, 1000), Namer::default(), Instant::now())
}

fn asked(members: &mut Members, now: Instant) -> Question {
    members.questions(10, now).pop().unwrap()
}

#[test]
fn a_user_is_certain_once_answered() {
    let (mut members, namer, now) = members();
    let user = members.using("@a", now).unwrap();
    assert_eq!(members.rooms(user), None);
    let question = asked(&mut members, now);
    assert_eq!(members.questions(10, now), []);
    let rooms = [namer.room("!a"), namer.room("!b"), namer.room("!a")];
    assert!(members.answered(&question, rooms));
    assert_eq!(members.rooms(user).unwrap().len(), 2);
    assert_eq!(members.in_room(rooms[1]), [user]);
    assert_eq!((members.pairs(), members.len()), (2, 1));
    // An answer that comes twice changes nothing.
    assert!(!members.answered(&question, []));
}

#[test]
fn what_is_told_meanwhile_is_added() {
    let (mut members, namer, now) = members();
    let user = members.using("@a", now).unwrap();
    let question = asked(&mut members, now);
    members.moved(namer.room("!new"), "@a");
    assert!(members.answered(&question, [namer.room("!old")]));
    assert_eq!(members.in_room(namer.room("!new")), [user]);
    // It may have been a leave: the next answer decides, after a pause.
    assert_eq!(members.questions(10, now + SECOND), []);
    let question = asked(&mut members, now + PAUSE);
    assert!(members.answered(&question, [namer.room("!old")]));
    assert_eq!(members.in_room(namer.room("!new")), []);
    assert_eq!(members.questions(10, now + PAUSE * 9), []);
}

#[test]
fn doubt_lasts_until_a_question_that_was_put_after_it() {
    let (mut members, namer, now) = members();
    let user = members.using("@a", now).unwrap();
    let question = asked(&mut members, now);
    members.doubt("@a");
    assert!(!members.answered(&question, [namer.room("!a")]));
    assert_eq!(members.rooms(user), None);
    assert_eq!(members.in_room(namer.room("!a")), [user]);
    let question = asked(&mut members, now);
    assert!(members.answered(&question, [namer.room("!a")]));
    members.doubt_all();
    assert_eq!(members.rooms(user), None);
    let question = asked(&mut members, now);
    members.failed(&question);
    let question = asked(&mut members, now);
    assert!(members.answered(&question, []));
    assert_eq!(members.rooms(user), Some(&[][..]));
}

#[test]
fn users_are_bounded_and_forgotten() {
    let (_, namer, now) = members();
    let mut members = Members::new(2, 3);
    let (one, other) = (members.using("@a", now).unwrap(), members.using("@b", now + SECOND).unwrap());
    assert_eq!(members.using("@c", now), None);
    for question in members.questions(10, now) {
        members.answered(&question, [namer.room("!a")]);
    }
    members.forget_idle(now + IDLE_MAX, |user| user == other);
    assert_eq!((members.find("@a"), members.find("@b")), (None, Some(other)));
    assert_eq!((members.in_room(namer.room("!a")), members.pairs()), (&[other][..], 1));
    // The place is given to the next.
    assert_eq!(members.using("@c", now), Some(one));
    assert_eq!(members.rooms(one), None);
    members.joined(namer.room("!b"), "@c");
    members.joined(namer.room("!c"), "@c");
    members.forget_idle(now + IDLE_MAX * 2, |user| user == one);
    assert_eq!(members.using("@d", now + IDLE_MAX), members.find("@d"));
}

/// What happens in a homeserver and on its stream.
#[derive(Clone, Debug)]
enum Step {
    /// A user comes into a room, or leaves it: committed, and told later.
    Move(usize, u8, bool),
    /// The next thing is told on the stream.
    Tell,
    /// The next thing is lost, which is noticed at once.
    Lose,
    Ask,
    /// The database reads for the question that is under way, and answers later.
    Read,
    Answer,
    Fail,
}

const USERS: [&str; 2] = ["@a", "@b"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..USERS.len(), 0_u8..4, any::<bool>()).prop_map(|(user, room, is_in)| Step::Move(user, room, is_in)),
        4 => Just(Step::Tell),
        1 => Just(Step::Lose),
        2 => Just(Step::Ask),
        2 => Just(Step::Read),
        2 => Just(Step::Answer),
        1 => Just(Step::Fail),
    ]
}

proptest! {
    /// A user who is certain has every room that the user is in, but for what is committed and not told yet.
    #[test]
    fn certain_is_never_too_little(steps in prop::collection::vec(step(), 0..80)) {
        let (mut members, namer, mut now) = members();
        let room = |number: u8| namer.room(&number.to_string());
        let mut truth: [HashSet<u8>; 2] = Default::default();
        let mut untold: Vec<(usize, u8)> = Vec::new();
        let mut open: Vec<(Question, Option<HashSet<u8>>)> = Vec::new();
        let users = USERS.map(|user| members.using(user, now).unwrap());
        for step in steps {
            now += SECOND;
            match step {
                Step::Move(user, room, true) if truth[user].insert(room) => untold.push((user, room)),
                Step::Move(user, room, false) if truth[user].remove(&room) => untold.push((user, room)),
                Step::Move(..) => {}
                Step::Tell if !untold.is_empty() => {
                    let (user, number) = untold.remove(0);
                    members.moved(room(number), USERS[user]);
                }
                Step::Lose if !untold.is_empty() => {
                    untold.remove(0);
                    members.doubt_all();
                }
                Step::Ask => open.extend(members.questions(1, now).into_iter().map(|question| (question, None))),
                Step::Read => {
                    for (question, read) in open.iter_mut().filter(|(_, read)| read.is_none()) {
                        let user = users.iter().position(|user| *user == question.user).unwrap();
                        *read = Some(truth[user].clone());
                    }
                }
                Step::Answer if open.first().is_some_and(|(_, read)| read.is_some()) => {
                    let (question, read) = open.remove(0);
                    members.answered(&question, read.unwrap().into_iter().map(room));
                }
                Step::Fail if !open.is_empty() => members.failed(&open.remove(0).0),
                Step::Tell | Step::Lose | Step::Answer | Step::Fail => {}
            }
            for (user, index) in users.iter().enumerate() {
                let Some(known) = members.rooms(*index) else { continue };
                for number in &truth[user] {
                    let is_told = !untold.contains(&(user, *number));
                    prop_assert!(!is_told || known.contains(&room(*number)), "{user} {number}");
                    prop_assert!(!is_told || members.in_room(room(*number)).contains(index));
                }
            }
        }
        let pairs: usize = (0..4).map(|number| members.in_room(room(number)).len()).sum();
        prop_assert_eq!(members.pairs(), pairs);
    }
}
