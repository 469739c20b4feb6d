//! Many logins at once, at the cost that Synapse has by default.
//!
//! In the suite it is short, and asks only that dendron is clearly faster. `DENDRON_STORM=yes` makes it long, for a machine
//! that does nothing else, and asks for what is promised.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use serde_json::Value;

use super::cases::{Case, password_body};
use super::edge::Edge;
use super::{synapse_address, users};
use crate::harness::eventually::{SOON, eventually};
use crate::harness::stacks::Stacks;
use crate::harness::{ensure, ensure_eq};
use crate::transparency::client::send_patiently;

/// Clients that log in at the same time, each again when it is through.
const CLIENTS: usize = 24;
/// How long a login may take, of which Synapse does one or two a second for each core.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long it is, and how many times as many logins a second dendron must do.
struct Plan {
    rounds: usize,
    logins_per_client: usize,
    ratio_min: f64,
}

/// A login storm through dendron is over sooner than at Synapse itself, on the same cores.
pub fn a_storm_is_over_sooner(stacks: &Stacks) -> Result<(), Failed> {
    let plan = match std::env::var_os("DENDRON_STORM") {
        Some(_) => Plan { rounds: 5, logins_per_client: 3, ratio_min: 2.7 },
        None => Plan { rounds: 1, logins_per_client: 1, ratio_min: 1.5 },
    };
    stacks.on_monolith(|stack| {
        users::make(stack)?;
        // As many threads as there are cores, as Synapse has, too.
        let threads = std::thread::available_parallelism()?;
        let settings = format!("login: {{threads: {threads}}}\n");
        let mut edge = Edge::with(stack, "login-storm", "bcrypt_rounds: 12\n", &settings)?;
        eventually(SOON, || {
            let status: Value = serde_json::from_slice(&edge.admin().get("/status")?.body)?;
            ensure!(status["logins"]["ready"] == true, "logins are not answered: {}", status["logins"]);
            Ok(())
        })?;
        let mut ratios = Vec::new();
        for round in 0..plan.rounds {
            let direct = logins_per_second(&synapse_address(stack), plan.logins_per_client)?;
            let through = logins_per_second(&edge.address, plan.logins_per_client)?;
            println!("{round}: {through:.2} logins a second through dendron, {direct:.2} without");
            ratios.push(through / direct);
        }
        let metrics = edge.admin().get("/metrics")?.text();
        let checked = "dendron_login_checks_total{outcome=\"checked\"} ";
        let checked: Option<usize> =
            metrics.lines().find_map(|line| line.strip_prefix(checked)).and_then(|count| count.parse().ok());
        let expected = CLIENTS * plan.logins_per_client * plan.rounds;
        ensure_eq!(checked, Some(expected), "passwords that dendron itself has checked");
        edge.stop()?;
        ratios.sort_by(f64::total_cmp);
        let ratio = ratios[ratios.len() / 2];
        println!("{ratio:.2} times as many logins a second with {CLIENTS} clients on {threads} cores");
        ensure!(ratio >= plan.ratio_min, "{ratio:.2} times, which should be {}", plan.ratio_min);
        Ok(())
    })
}

/// All log in at once, so many times; each must succeed.
fn logins_per_second(address: &str, logins_per_client: usize) -> Result<f64, Failed> {
    let request = Case::new(&password_body("l-storm", "hush-storm"), None, None).bytes("storm");
    let client = || -> Result<(), Failed> {
        for _ in 0..logins_per_client {
            let answer = send_patiently(address, &request, PATIENCE)?;
            ensure!(answer.status.contains(" 200 "), "a login in the storm: {}", answer.status);
        }
        Ok(())
    };
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        clients.into_iter().try_for_each(|client| client.join().map_err(|_| "a client broke off")?)
    })?;
    let took = begun.elapsed().max(Duration::from_millis(1));
    Ok((CLIENTS * logins_per_client) as f64 / took.as_secs_f64())
}
