//! The gate's only I/O: questions to Synapse's database, a few at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::gate::Shared;
use super::lookups::Wanted;
use super::schedule::{Done, Standing, Work};
use super::state::State;
use crate::database::{Database, Unavailable};

/// How often time passes for the gate.
const TICK: Duration = Duration::from_millis(100);
/// How many questions may be under way; others wait.
const QUESTIONS_MAX: usize = 16;

/// What came of a question.
struct Answer {
    done: Done,
    /// Why there is no answer.
    obstacle: Option<Unavailable>,
}

/// What was said last, so that each change is said once.
#[derive(Default)]
struct Said {
    state: Option<State>,
    obstacle: Option<Unavailable>,
}

/// Asks whatever is to be asked, and hands in the answers. For ever.
pub(super) async fn run(shared: &Shared, database: Arc<Database>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut under_way: JoinSet<Answer> = JoinSet::new();
    let mut said = Said::default();
    loop {
        tokio::select! {
            _ = ticks.tick() => shared.with(|book| book.tick(Instant::now())),
            () = shared.work() => {}
            Some(answer) = under_way.join_next() => {
                if let Ok(Answer { done, obstacle }) = answer {
                    if matches!(done, Done::Standing(_)) {
                        said.obstacle(obstacle);
                    }
                    shared.with(|book| book.done(done, Instant::now()));
                }
            }
        }
        if under_way.len() < QUESTIONS_MAX {
            for work in shared.with(|book| book.work(Instant::now())) {
                let database = Arc::clone(&database);
                under_way.spawn(async move { ask(&database, work).await });
            }
        }
        said.state(shared.with(|book| book.state()));
    }
}

async fn ask(database: &Database, work: Work) -> Answer {
    match work {
        Work::Standing => answer(standing(database).await, Done::Standing),
        Work::Rooms(questions) => {
            let names: Vec<&str> = questions.iter().map(|question| &*question.name).collect();
            let rooms = database.rooms_of(&names).await;
            answer(rooms, |rooms| Done::Rooms(questions, rooms))
        }
        Work::Lookup(id, wanted) => {
            let found = match wanted {
                Wanted::RoomsOf(user) => {
                    let rooms = database.rooms_of(&[&*user]).await;
                    rooms.map(|mut rooms| rooms.remove(&*user).unwrap_or_default())
                }
                Wanted::DeviceChanges(after, upto) => database.rooms_of_device_changes(after, upto).await,
                Wanted::MembersOf(room) => database.local_members_of(&room).await,
            };
            answer(found, |found| Done::Lookup(id, found))
        }
    }
}

async fn standing(database: &Database) -> Result<Standing, Unavailable> {
    database.may_read_rooms().await?;
    let instances = database.instances().await?;
    Ok(Standing { instances, positions: database.stream_positions().await? })
}

fn answer<T>(found: Result<T, Unavailable>, done: impl FnOnce(Option<T>) -> Done) -> Answer {
    match found {
        Ok(found) => Answer { done: done(Some(found)), obstacle: None },
        Err(obstacle) => Answer { done: done(None), obstacle: Some(obstacle) },
    }
}

// === impl Said ===

impl Said {
    fn state(&mut self, state: State) {
        if self.state.replace(state) != Some(state) {
            tracing::info!("quiet: {}", state.name());
        }
    }

    fn obstacle(&mut self, obstacle: Option<Unavailable>) {
        if let Some(obstacle) = obstacle.as_ref().filter(|obstacle| self.obstacle.as_ref() != Some(*obstacle)) {
            tracing::warn!(%obstacle, "quiet: syncs are not parked while Synapse's database cannot be asked");
        }
        self.obstacle = obstacle;
    }
}
