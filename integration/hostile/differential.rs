//! The same bytes to a dendron with the front and to one without: the upstream sees the same requests, and the client has
//! the same answers, but for the differences that are named here.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use super::Target;
use super::exchange::{Answer, answers, none};
use super::mutants::Mutant;
use super::upstream::Seen;
use crate::harness::ensure;
use crate::harness::numbers::Numbers;

/// How long it goes on, and how many are played at least and at most.
const TIME: Duration = Duration::from_secs(45);
const COUNTS: std::ops::Range<usize> = 200..6000;
/// Where the drawing begins: another number makes other mutants.
const SEED: u64 = 0x1f20_0001;
/// How long a connection must be silent to be over; the longer ones are for those that differ, since this machine may
/// have had something else to do.
const QUIET: [Duration; 3] = [Duration::from_millis(40), Duration::from_millis(300), Duration::from_secs(2)];

/// What came of a mutant at one of the two.
#[derive(Debug)]
struct Outcome {
    answers: Vec<Answer>,
    is_closed: bool,
    seen: Vec<Seen>,
    faults: Vec<String>,
}

/// How two outcomes are related.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    /// They are the same; an error of Pingora's has no body.
    Same,
    /// The front refuses a line that Pingora would mend (`heads`, `EarlyOrMended`), and all that stands behind it.
    NotMended,
    /// The front ends a connection behind a request whose end is in doubt; Pingora goes on.
    EndsInDoubt,
    /// They are not.
    Other,
}

pub fn the_front_changes_nothing() -> Result<(), Failed> {
    let (with, without) = (Target::start()?, Target::start_with("front: off\n")?);
    let mut numbers = Numbers::new(SEED);
    let (mut faults, mut counts) = (Vec::new(), [0_usize; 4]);
    let begun = Instant::now();
    let mut count = 0;
    while count < COUNTS.start || count < COUNTS.end && begun.elapsed() < TIME {
        let mutant = Mutant::draw(&mut numbers);
        let mut last = (Relation::Other, String::new());
        for quiet in QUIET {
            let (ours, theirs) = std::thread::scope(|scope| {
                let ours = scope.spawn(|| play(&mutant, &with, quiet));
                (ours.join().unwrap_or_else(|_| Err("it panicked".into())), play(&mutant, &without, quiet))
            });
            let (ours, theirs) = (ours?, theirs?);
            let relation = relation(&ours, &theirs);
            last = (relation, format!("{}\n  with {ours:?}\n  without {theirs:?}", mutant.text()));
            if relation != Relation::Other {
                break;
            }
        }
        counts[last.0 as usize] += 1;
        if last.0 == Relation::Other {
            faults.push(format!("mutant {count}: {}", last.1));
        }
        if faults.len() >= 10 {
            break;
        }
        count += 1;
    }
    println!("{count} mutants: same, not mended, ends in doubt, other: {counts:?}");
    none(&faults)?;
    ensure!(counts[0] * 10 > count * 7, "only {} of {count} are the same", counts[0]);
    with.end()?;
    without.end()
}

fn play(mutant: &Mutant, target: &Target, quiet: Duration) -> Result<Outcome, Failed> {
    target.upstream.take();
    let mut stream = TcpStream::connect(("127.0.0.1", target.port))?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    for piece in &mutant.pieces {
        // A server that has had enough may close while it is still being sent to.
        let _ = stream.write_all(piece);
        std::thread::yield_now();
    }
    stream.set_read_timeout(Some(quiet))?;
    let (mut bytes, mut part) = (Vec::new(), [0; 16 * 1024]);
    let is_closed = loop {
        match stream.read(&mut part) {
            Ok(0) => break true,
            Ok(count) => bytes.extend_from_slice(&part[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break false,
            Err(_) => break true,
        }
    };
    drop(stream);
    let record = target.upstream.take();
    Ok(Outcome { answers: answers(&bytes), is_closed, seen: record.seen, faults: record.faults })
}

fn relation(ours: &Outcome, theirs: &Outcome) -> Relation {
    let is_clean = |outcome: &Outcome| {
        let smuggled = outcome.seen.iter().filter(|seen| seen.what.contains("smuggled")).count();
        outcome.faults.is_empty() && smuggled <= 4
    };
    if !is_clean(ours) || !is_clean(theirs) {
        return Relation::Other;
    }
    let pairs = ours.answers.iter().zip(&theirs.answers);
    let same_answers = pairs.filter(|(ours, theirs)| are_same(ours, theirs)).count();
    let same_count = ours.answers.len() == theirs.answers.len();
    // Whether a body that breaks has begun to go on is a matter of moments.
    let whole =
        |outcome: &Outcome| -> Vec<Seen> { outcome.seen.iter().filter(|seen| seen.is_whole).cloned().collect() };
    let (our_seen, their_seen) = (whole(ours), whole(theirs));
    let is_prefix = their_seen.starts_with(&our_seen);
    let refuses = ours.answers.last().is_some_and(|answer| (400..500).contains(&answer.status));
    if our_seen == their_seen && same_count && same_answers == ours.answers.len() && ours.is_closed == theirs.is_closed
    {
        Relation::Same
    } else if is_prefix && ours.is_closed && refuses && same_answers + 1 >= ours.answers.len() {
        Relation::NotMended
    } else if is_prefix && ours.is_closed && same_answers == ours.answers.len() {
        Relation::EndsInDoubt
    } else {
        Relation::Other
    }
}

/// Whether a client is told the same. Where Pingora refuses it has no words, and no status but 400.
fn are_same(ours: &Answer, theirs: &Answer) -> bool {
    let is_early = theirs.body.is_empty() && theirs.status == 400 && (400..500).contains(&ours.status);
    is_early || (ours.status, &ours.body) == (theirs.status, &theirs.body)
}
