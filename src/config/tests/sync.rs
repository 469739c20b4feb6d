//! Whether quiet syncs are parked, by what Synapse's files say.

use super::super::sync::sync;
use super::{HOMESERVER, load_files};

const REDIS: &str = "redis: {enabled: true}\n";
const POSTGRES: &str = "database: {name: psycopg2, args: {user: synapse, password: hunter2, host: /run/postgresql}}\n";

/// What becomes of syncs: whether presence is kept, or the reasons' names.
fn outcome(homeserver: &str) -> Result<bool, String> {
    let files = [("dendron.yaml", "synapse: {config: [homeserver.yaml]}\n"), ("homeserver.yaml", homeserver)];
    let (config, _) = load_files(&files).expect("a good configuration");
    match sync(&config, |_| None) {
        Ok(plan) => Ok(plan.presence),
        Err(forwarded) => Err(forwarded.reasons.iter().map(|reason| reason.name()).collect::<Vec<_>>().join(" ")),
    }
}

#[test]
fn syncs_are_parked_where_redis_and_rooms_are_known() {
    let good = format!("{HOMESERVER}{REDIS}{POSTGRES}");
    let table = [
        (good.clone(), Ok(true)),
        (format!("{good}presence: {{enabled: false}}\n"), Ok(false)),
        (format!("{good}presence: {{enabled: untracked}}\n"), Ok(false)),
        (format!("{HOMESERVER}{POSTGRES}"), Err("no_redis")),
        (format!("{HOMESERVER}{REDIS}"), Err("no_postgres")),
        (HOMESERVER.to_owned(), Err("no_redis no_postgres")),
        (format!("{good}presence: {{presence_router: {{module: a.B}}}}\n"), Err("presence_router")),
        (format!("{good}presence: {{enabled: false, presence_router: {{module: a.B}}}}\n"), Ok(false)),
    ];
    for (homeserver, expected) in table {
        assert_eq!(outcome(&homeserver), expected.map_err(str::to_owned), "{homeserver}");
    }
}

#[test]
fn an_answer_is_renewed_after_a_time_that_means_something() {
    for (time, is_good) in [("1s", true), ("1h", true), ("999ms", false), ("61m", false)] {
        let dendron = format!("pools: {{main: ['http://127.0.0.1:8008']}}\nsync: {{renew_after: {time}}}\n");
        let problems = load_files(&[("dendron.yaml", &dendron)]).err();
        assert_eq!(problems.is_none(), is_good, "{time}: {problems:?}");
        assert!(is_good || problems.is_some_and(|text| text.contains("sync.renew_after")), "{time}");
    }
}
