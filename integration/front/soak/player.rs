//! One player of the soak: a user, and many clients of which now one and now another does something.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use serde_json::{Value, json};

use super::Scene;
use super::client::{Answer, Client};
use super::requests::{Asked, BROKEN, UPGRADE, UPGRADED};
use crate::front::edge::{poll, settled};
use crate::harness::ensure;
use crate::harness::eventually::eventually;
use crate::harness::http;
use crate::harness::matrix::{User, encoded};
use crate::harness::numbers::Numbers;

/// The most syncs of a player that wait: fewer than a user may have parked.
const WAITING_MAX: usize = 56;
/// The most requests in a pipeline.
const PIPELINE_MAX: usize = 6;
/// For how long syncs ask to wait, in milliseconds.
const TIMEOUTS: [u64; 3] = [3_000, 10_000, 30_000];
/// How long before its time is over a sync may be answered with what was kept, though something happens.
const LAST_MOMENTS: Duration = Duration::from_secs(5);
/// By when a sync that asks anew must tell what was written before.
const TOLD_WITHIN: Duration = Duration::from_millis(300);

/// A player.
pub struct Player<'scene> {
    scene: &'scene Scene<'scene>,
    /// The users whose requests are sent; one of them is the player's own, whose syncs wait.
    users: Vec<User>,
    user: User,
    /// From where on the user has nothing to hear; `None` if that is to be found out.
    since: Option<String>,
    numbers: Numbers,
    /// Those that may be asked, and those whose syncs wait.
    idle: Vec<Client>,
    waiting: Vec<Waiting>,
    wakes: usize,
}

/// A client whose sync waits, and what it has asked behind it.
struct Waiting {
    client: Client,
    since: String,
    over: Instant,
    behind: Vec<Asked>,
}

/// What became of a client: it is there still, or it has gone.
type Left = Result<Option<Client>, Failed>;

impl<'scene> Player<'scene> {
    /// A player with a number of its own.
    pub fn new(scene: &'scene Scene<'scene>, users: &[User], number: usize) -> Self {
        let user = users[number % users.len()].through(&scene.edge.client());
        Player {
            scene,
            users: users.to_vec(),
            user,
            since: None,
            numbers: Numbers::new(scene.seed + number as u64),
            idle: Vec::new(),
            waiting: Vec::new(),
            wakes: 0,
        }
    }

    /// Plays until the end is wished, and goes then as it stands.
    pub fn play(mut self) {
        let mut due = Instant::now() + self.wait_for_news();
        while self.scene.wanted.load(Ordering::Relaxed) {
            if self.idle.len() + self.waiting.len() < self.scene.plan.clients {
                self.open();
            } else {
                self.act();
                std::thread::sleep(self.scene.plan.pause);
            }
            if due < Instant::now() {
                self.wake();
                due = Instant::now() + self.wait_for_news();
            }
        }
        for client in self.idle.into_iter().chain(self.waiting.into_iter().map(|waiting| waiting.client)) {
            client.abort(self.numbers.below(2) == 0);
        }
    }

    /// How long nothing happens, so that it does not happen to all players at once.
    fn wait_for_news(&mut self) -> Duration {
        let most = self.scene.plan.wake_interval.as_millis() as usize;
        Duration::from_millis((most / 2 + self.numbers.below(most)) as u64)
    }

    fn open(&mut self) {
        let is_encrypted = self.numbers.below(3) == 0;
        let opened = Client::connect(self.scene.edge, is_encrypted);
        if let Some(client) = self.note("opened", opened) {
            self.idle.push(client);
        }
    }

    /// Has any client do anything.
    fn act(&mut self) {
        let place = self.numbers.below(self.idle.len() + self.waiting.len());
        if place >= self.idle.len() {
            let waiting = self.waiting.swap_remove(place - self.idle.len());
            return self.meddle(waiting);
        }
        let client = self.idle.swap_remove(place);
        let (what, left) = match self.numbers.below(20) {
            0 => ("upgraded", self.upgrade(client)),
            1 => ("aborted", self.abort(client)),
            2 => ("refused", self.send_broken(client)),
            3..12 if self.waiting.len() < WAITING_MAX => return self.wait(client),
            _ => ("pipelines", self.pipeline(client)),
        };
        let left = self.note(what, left).flatten();
        self.idle.extend(left);
    }

    /// Counts what ended as it must, and tells what did not.
    fn note<T>(&mut self, what: &'static str, outcome: Result<T, Failed>) -> Option<T> {
        match outcome {
            Ok(outcome) => {
                self.scene.tally.good(what);
                Some(outcome)
            }
            Err(reason) => {
                self.scene.tally.fault(what, reason.message().unwrap_or("no reason given"));
                None
            }
        }
    }

    fn draw(&mut self) -> Vec<Asked> {
        let count = self.numbers.below(PIPELINE_MAX) + 1;
        (0..count).map(|_| Asked::draw(&self.users, &mut self.numbers)).collect()
    }

    fn pipeline(&mut self, mut client: Client) -> Left {
        let asked = self.draw();
        client.send(bytes(&asked), &mut self.numbers)?;
        client.expect(&asked)?;
        Ok(Some(client))
    }

    fn upgrade(&mut self, mut client: Client) -> Left {
        client.send(UPGRADE.into(), &mut self.numbers)?;
        client.expect_bytes(UPGRADED.as_bytes())?;
        client.skip_head()?;
        let said = format!("{:>1$}", "said", self.numbers.below(10_000) + 10);
        client.send(said.clone().into_bytes(), &mut self.numbers)?;
        client.expect_bytes(said.as_bytes())?;
        client.abort(self.numbers.below(2) == 0);
        Ok(None)
    }

    /// Goes in the middle of a request, or of its answer.
    fn abort(&mut self, mut client: Client) -> Left {
        let mut bytes = bytes(&self.draw());
        bytes.truncate(self.numbers.below(bytes.len()) + 1);
        client.send(bytes, &mut self.numbers)?;
        client.abort(self.numbers.below(2) == 0);
        Ok(None)
    }

    fn send_broken(&mut self, mut client: Client) -> Left {
        client.send(self.numbers.one_of(&BROKEN).into(), &mut self.numbers)?;
        let answer = client.answer(false)?;
        ensure!(answer.status == 400 && answer.body.contains("M_UNKNOWN"), "{answer:?}");
        client.expect_end()?;
        Ok(None)
    }

    /// Has a sync wait.
    fn wait(&mut self, mut client: Client) {
        if self.since.is_none() {
            // Where others keep Synapse busy, or are seen to come and go, that takes longer than one waits for it.
            self.since = settled(&self.user).ok();
            self.scene.tally.good(if self.since.is_some() { "settled" } else { "unsettled" });
        }
        let Some(since) = self.since.clone() else { return self.idle.push(client) };
        let timeout = self.numbers.one_of(&TIMEOUTS);
        let over = Instant::now() + Duration::from_millis(timeout);
        let sent = client.send(poll(&self.user, &since, timeout.into()), &mut self.numbers);
        if self.note("parked", sent).is_some() {
            self.waiting.push(Waiting { client, since, over, behind: Vec::new() });
        }
    }

    /// Does something with a client whose sync waits, if only to look at its answer when its time is over.
    fn meddle(&mut self, mut waiting: Waiting) {
        if waiting.over < Instant::now() {
            return self.collect(waiting, None);
        }
        let (what, left) = match self.numbers.below(20) {
            0 | 1 => {
                waiting.client.abort(self.numbers.below(2) == 0);
                ("aborted parked", Ok(None))
            }
            2 => ("half-closed", half_close(waiting)),
            3 | 4 if waiting.behind.is_empty() => {
                let asked = self.draw();
                let sent = waiting.client.send(bytes(&asked), &mut self.numbers);
                waiting.behind = asked;
                ("sent behind", sent.map(|()| Some(waiting)))
            }
            _ => return self.waiting.push(waiting),
        };
        let left = self.note(what, left).flatten();
        self.waiting.extend(left);
    }

    /// Reads the answer of a sync that has waited, in which this must stand, and those to what was asked behind it.
    fn collect(&mut self, mut waiting: Waiting, news: Option<&str>) {
        let answer = waiting.client.answer(false).and_then(|answer| self.judge(&answer, &waiting.since, news));
        let Some(name) = self.note("answered", answer) else { return };
        self.scene.tally.good(name);
        let behind = waiting.client.expect(&waiting.behind);
        if self.note("answered behind", behind).is_some() {
            self.idle.push(waiting.client);
        }
    }

    /// What became of a sync; a failure if that may not be.
    fn judge(&mut self, answer: &Answer, since: &str, news: Option<&str>) -> Result<&'static str, Failed> {
        ensure!(answer.status == 200, "{answer:?}");
        let body: Value = serde_json::from_str(&answer.body)?;
        let next = body["next_batch"].as_str().unwrap_or_default();
        if let Some(news) = news
            && !answer.body.contains(news)
        {
            // Something else may have ended it before; then the next one tells this.
            ensure!(next != since, "{news} is not in {answer:?}");
            let is_told = self.is_told_from(next, news);
            is_told.map_err(|failed| format!("{}, nor in {answer:?}", failed.message().unwrap_or_default()))?;
        }
        if answer.header("x-dendron") == "replay" {
            ensure!(next == since, "a sync from {since} was answered with {answer:?}");
            return Ok("replayed");
        }
        if self.since.as_deref().is_some_and(|known| known != next) {
            // Synapse has gone on, and the next sync is to begin there.
            self.since = None;
        }
        Ok(if answer.header("x-dendron").starts_with("woken:") { "woken" } else { "forwarded" })
    }

    /// Synapse answers who has written before it tells others of it, so that a sync that asks at once may come first.
    fn is_told_from(&self, since: &str, news: &str) -> Result<(), Failed> {
        let target = format!("/_matrix/client/v3/sync?timeout=0&since={since}");
        eventually(TOLD_WITHIN, || {
            let following = self.user.get(&target)?.text();
            ensure!(following.contains(news), "{news} is not in {following}");
            Ok(())
        })
    }

    /// Has something happen that all of the user's syncs must tell.
    fn wake(&mut self) {
        self.wakes += 1;
        let news = format!("news {}.", self.wakes);
        let target = format!("/_matrix/client/v3/user/{}/account_data/dendron.soak", encoded(&self.user.user_id));
        let happened = self.user.send("PUT", &target, &json!({ "news": news }));
        let is_done = |answer: http::Answer| match answer.status {
            200 => Ok(()),
            status => Err(Failed::from(format!("{status} {}", answer.text()))),
        };
        // Whoever's time was nearly over may have had its answer before.
        let late = Instant::now() + LAST_MOMENTS;
        if self.note("news", happened.and_then(is_done)).is_none() {
            return;
        }
        self.since = None;
        for waiting in std::mem::take(&mut self.waiting) {
            let must_tell = waiting.over > late;
            self.collect(waiting, must_tell.then_some(news.as_str()));
        }
        self.since = None;
    }
}

/// Ends a client's side: that is to go as well. An answer may have been on its way.
fn half_close(mut waiting: Waiting) -> Result<Option<Waiting>, Failed> {
    waiting.client.finish()?;
    waiting.client.read_out()?;
    Ok(None)
}

fn bytes(asked: &[Asked]) -> Vec<u8> {
    asked.iter().flat_map(|asked| asked.bytes.bytes()).collect()
}
