//! The `dendron` program: arguments, configuration, run. Exit code 1 means that the configuration or the start failed,
//! 2 that the arguments are wrong.

use std::process::ExitCode;

use clap::Parser;
use dendron::args::{Arguments, Command, RoutesArguments};
use dendron::config::{self, Config, Source};
use dendron::explain::{self, Question};
use dendron::quiet::mode::Mode;
use dendron::route::rules::AUTHENTICATION;
use dendron::server;
use dendron::supervise;

/// With the system's own a forwarded request takes a tenth more of the processor, a waiting connection more memory, and
/// what a crowd has taken stays; this one gives it back after ten seconds, by a thread of its own.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run(arguments) => {
            load(&arguments.source()).and_then(|config| server::run(config).map_err(|error| error.to_string()))
        }
        Command::Check(arguments) => load(&arguments.source()).map(|config| say(&summary(&config))),
        Command::Routes(arguments) => routes(arguments),
        Command::Launch(arguments) => Err(supervise::launch::launch(arguments.parent, &arguments.command).to_string()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("dendron: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Loads the configuration, and says everything that is wrong with it.
fn load(source: &Source) -> Result<Config, String> {
    match config::load(source) {
        Ok((config, warnings)) => {
            eprint!("{warnings}");
            Ok(config)
        }
        Err(problems) => {
            eprint!("{problems}");
            Err("the configuration cannot be used".to_owned())
        }
    }
}

fn routes(arguments: RoutesArguments) -> Result<(), String> {
    let config = load(&arguments.source.source())?;
    let (pools, routes) = server::pools_and_routes(&config).map_err(|error| error.to_string())?;
    let (Some(method), Some(target)) = (arguments.method, arguments.target) else {
        say(&explain::table(&routes, &pools));
        return Ok(());
    };
    let method = method.parse().map_err(|_| format!("\"{method}\" is no HTTP method"))?;
    let question = Question { method, target, user: arguments.user, origin: arguments.origin };
    say(&explain::request(&question, &server::endpoints(&config), &routes, &pools));
    Ok(())
}

/// What a good configuration amounts to, in a few lines.
fn summary(config: &Config) -> String {
    let server = config.homeserver.as_ref().map_or("a homeserver", |homeserver| &homeserver.server_name);
    let pools = config.pools.iter().map(|pool| format!("{} ({})", pool.name, pool.backends.len()));
    let pools: Vec<String> = pools.collect();
    let pools = pools.join(", ");
    let logins = match config::login::login(config, |name| std::env::var(name).ok()) {
        Ok(plan) => format!("answered here; device and tokens by {}", plan.writer),
        Err(forwarded) => format!("forwarded, because {forwarded}"),
    };
    let syncs = match config::sync::sync(config, |name| std::env::var(name).ok()) {
        Ok(_) => match config.sync.park {
            Mode::On => "parked while nothing happens".to_owned(),
            Mode::Shadow => "forwarded, because sync.park is shadow; parking is predicted".to_owned(),
            Mode::Off => "forwarded, because sync.park is off".to_owned(),
        },
        Err(forwarded) => format!("forwarded, because {forwarded}"),
    };
    let service = match config.pool(AUTHENTICATION) {
        Some(_) => "Login, logout and refresh go to the Matrix Authentication Service (authentication).\n",
        None => "",
    };
    format!(
        "The configuration for {server} is good.\nPools and their processes: {pools}.\nLogins: {logins}.\nSyncs: {syncs}.\n{service}"
    )
}

/// Prints to standard output. Whoever reads it may have gone (`| head`), which is no failure.
fn say(text: &str) {
    use std::io::Write;
    let _ = std::io::stdout().write_all(text.as_bytes());
}
