//! The gate's only I/O: questions to Synapse's database, a few at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::gate::Shared;
use super::lookups::Wanted;
use super::schedule::{Done, Standing, Work};
use crate::database::{Database, Unavailable};

/// How often time passes for the gate.
const TICK: Duration = Duration::from_millis(100);
/// How many questions may be under way; others wait.
const QUESTIONS_MAX: usize = 16;

/// Asks whatever is to be asked, and hands in the answers. For ever.
pub(super) async fn run(shared: &Shared, database: Arc<Database>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut under_way: JoinSet<Done> = JoinSet::new();
    let mut said = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => shared.with(|book| book.tick(Instant::now())),
            () = shared.work() => {}
            Some(done) = under_way.join_next() => {
                if let Ok(done) = done {
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
        tell(&mut said, shared.with(|book| book.state()));
    }
}

/// Tells of a change of the gate's state, once.
fn tell(said: &mut Option<super::State>, state: super::State) {
    if said.replace(state) != Some(state) {
        tracing::info!("quiet: {}", state.name());
    }
}

async fn ask(database: &Database, work: Work) -> Done {
    match work {
        Work::Standing => Done::Standing(told("where its writers are", standing(database).await)),
        Work::Rooms(questions) => {
            let names: Vec<&str> = questions.iter().map(|question| &*question.name).collect();
            let rooms = told("rooms of users", database.rooms_of(&names).await);
            Done::Rooms(questions, rooms)
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
            Done::Lookup(id, told("whom a change concerns", found))
        }
    }
}

async fn standing(database: &Database) -> Result<Standing, Unavailable> {
    database.may_read_rooms().await?;
    let instances = database.instances().await?;
    Ok(Standing { instances, positions: database.stream_positions().await? })
}

fn told<T>(what: &str, answer: Result<T, Unavailable>) -> Option<T> {
    answer.inspect_err(|error| tracing::debug!(%error, "quiet: the database does not tell {what}")).ok()
}
