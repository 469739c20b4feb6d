//! (e): the same small requests over TLS and over HTTP/2, and new TLS sessions.

use std::time::Duration;

use super::Suite;
use super::rounds::{self, burst};
use crate::fault::Outcome;
use crate::figures::{Figure, Measured};
use crate::generate::wrk::{self, Wrk};
use crate::generate::{h2load, handshakes};
use crate::mix;

const CONNECTIONS: usize = 64;
/// How many clients shake hands at once.
const CLIENTS: usize = 2;
/// Whose token all requests over HTTP/2 carry.
const TOKEN: &str = "Bearer syt_YWxpY2U_abcdefghijklmnopqrst_0aBcDe";

pub(super) fn run(suite: &Suite<'_>) -> Outcome<Vec<Measured>> {
    let contenders = rounds::start(suite)?;
    let seconds = suite.by_size(1, 2, 3);
    let clients = mix::forty_endpoints();
    let script = wrk::script(suite.folder().join("encrypted.lua"), &clients, false)?;
    let wrk = Wrk { script: &script, is_encrypted: true, connections: CONNECTIONS, seconds };
    let mut first = Measured::new("forty endpoints over TLS, HTTP/1.1, 64 kept connections");
    rounds::run(suite, &contenders, |contender| burst(&mut first, contender, || wrk.run(contender.tls)).map(|_| ()))?;

    // h2load sends the same headers with every request, so other servers' requests are left out.
    let of_clients: Vec<_> = clients.into_iter().filter(|request| !request.target.contains("/federation/")).collect();
    let targets = h2load::targets(suite.folder().join("targets"), &of_clients)?;
    let mut second = Measured::new("36 endpoints over TLS, HTTP/2, 16 connections of 4 streams");
    rounds::run(suite, &contenders, |contender| {
        burst(&mut second, contender, || h2load::run(&targets, TOKEN, contender.tls, seconds)).map(|_| ())
    })?;

    let mut third = Measured::new("new TLS 1.3 sessions, ECDSA P-256");
    rounds::run(suite, &contenders, |contender| {
        let before = contender.usage()?;
        let time = Duration::from_secs(seconds);
        let count = handshakes::run(contender.tls, &suite.stage.certificate.der, CLIENTS, time)?;
        let cpu = (contender.usage()?.cpu - before.cpu).as_secs_f64();
        third.add(contender.name, Figure::HandshakesPerCpuSecond, count as f64 / cpu);
        Ok(())
    })?;
    Ok(vec![first, second, third])
}
