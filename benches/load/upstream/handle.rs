//! The suite's end of the stand-in.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::fault::{Doing, Outcome, wrong};
use crate::process::Running;
use crate::routing;

/// How long long-polls may take to be all held.
const PATIENCE: Duration = Duration::from_secs(60);
/// What follows then until all is at rest.
const SETTLE: Duration = Duration::from_millis(500);

/// The stand-in, running. It ends when this is dropped.
pub(crate) struct Upstream {
    /// Every process's name and port.
    ports: Vec<(String, u16)>,
    orders: Mutex<BufReader<TcpStream>>,
    _running: Running,
}

impl Upstream {
    /// Starts it with the processes of [`routing::GROUPS`].
    pub(crate) fn start() -> Outcome<Self> {
        let names = routing::processes();
        let program = std::env::current_exe().doing("finding this program")?;
        let command = &mut Command::new(program);
        let mut child = command
            .arg("upstream")
            .args(&names)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .doing("starting the upstream")?;
        let mut line = String::new();
        let output = child.stdout.take().ok_or_else(|| wrong("the upstream has no output"))?;
        BufReader::new(output).read_line(&mut line).doing("reading the upstream's ports")?;
        let mut ports: Vec<u16> = line.split_whitespace().filter_map(|port| port.parse().ok()).collect();
        let orders = ports.pop().filter(|_| ports.len() == names.len());
        let orders = orders.ok_or_else(|| wrong(format!("the upstream has not told its ports but {line:?}")))?;
        let orders = TcpStream::connect(("127.0.0.1", orders)).doing("connecting to the upstream")?;
        Ok(Upstream {
            ports: names.into_iter().zip(ports).collect(),
            orders: Mutex::new(BufReader::new(orders)),
            _running: Running::adopt("the upstream", child),
        })
    }

    /// The addresses of a group's processes, with their names.
    pub(crate) fn group(&self, group: &str) -> Vec<(&str, String)> {
        let own = self.ports.iter().filter(|(name, _)| routing::group_of(name) == group);
        own.map(|(name, port)| (name.as_str(), format!("127.0.0.1:{port}"))).collect()
    }

    /// The port of the first process of `main`, for a measurement without any proxy.
    pub(crate) fn direct_port(&self) -> u16 {
        self.ports.first().map_or(0, |(_, port)| *port)
    }

    /// How many requests it has been sent, health checks aside.
    pub(crate) fn served(&self) -> Outcome<u64> {
        self.count("served")
    }

    /// Waits until it holds so many long-polls and no other, and a moment longer, so that who passed them on is at rest.
    pub(crate) fn wait_for_held(&self, wanted: usize) -> Outcome<()> {
        let begun = Instant::now();
        loop {
            let held = self.count("held")?;
            if held == wanted as u64 {
                std::thread::sleep(SETTLE);
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(wrong(format!("the upstream holds {held} long-polls in place of {wanted}")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Gives it an order.
    pub(crate) fn order(&self, order: &str) -> Outcome<String> {
        let mut orders = self.orders.lock().map_err(|_| wrong("an order to the upstream has failed before"))?;
        orders.get_mut().write_all(format!("{order}\n").as_bytes()).doing("giving the upstream an order")?;
        let mut answer = String::new();
        orders.read_line(&mut answer).doing("hearing from the upstream")?;
        match answer.trim() {
            "" | "unknown" => Err(wrong(format!("the upstream does not know {order:?}"))),
            answer => Ok(answer.to_owned()),
        }
    }

    fn count(&self, what: &str) -> Outcome<u64> {
        let answer = self.order(what)?;
        answer.parse().map_err(|_| wrong(format!("the upstream counts {answer:?} {what}")))
    }
}
