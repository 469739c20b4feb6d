//! `dendron routes`: the derived table, and one request's way through it, in words.
//!
//! It asks the very functions that serve requests, so what it says is what would happen while every process is healthy.

use std::fmt::Write;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::Method;

use crate::answer::Offer;
use crate::endpoint::{Class, Endpoints, Subject, segment};
use crate::route::rules::{MAIN, RULES, Rule};
use crate::route::{ClassRoute, KeyKind, Patience, Routes, key, poll_timeout};
use crate::upstream::{Pool, Pools, Tried};

/// A request to explain.
#[derive(Debug)]
pub struct Question {
    /// The method.
    pub method: Method,
    /// The request target: a path, perhaps with a query.
    pub target: String,
    /// The localpart of the user who asks.
    pub user: Option<String>,
    /// The server that asks, for federation requests.
    pub origin: Option<String>,
}

/// The table: class → pool → key → patience, a line each.
pub fn table(routes: &Routes, pools: &Pools) -> String {
    let mut rows = vec![
        ["CLASS", "POOL", "PROCESSES", "STANDS IN", "BALANCED BY", "SYNAPSE MAY BE SILENT FOR"].map(str::to_owned),
    ];
    for route in routes.all().iter().filter(|route| route.class != Class::Private) {
        let Some(pool) = pools.at(route.pool) else { continue };
        if route.class == Class::Authentication && &**pool.name() == MAIN {
            // Synapse does logins itself: no request is of this class.
            continue;
        }
        rows.push([
            route.class.name().to_owned(),
            pool.name().to_string(),
            processes(pool),
            stands_in(route, pool).to_owned(),
            route.key.name().to_owned(),
            patience(route.patience),
        ]);
    }
    aligned(&rows)
}

/// One request's way.
pub fn request(question: &Question, endpoints: &Endpoints, routes: &Routes, pools: &Pools) -> String {
    let (path, query) = match question.target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (question.target.as_str(), None),
    };
    let endpoint = endpoints.classify(&question.method, path, query);
    let route = routes.of(endpoint.class);
    let authorization = authorization_of(question);
    let mut rows = vec![
        ["endpoint".to_owned(), endpoint.label.to_owned()],
        ["class".to_owned(), endpoint.class.name().to_owned()],
    ];
    if let Some(span) = endpoint.subject.span() {
        let text = String::from_utf8_lossy(&segment::decoded(span.of(path))).into_owned();
        rows.push([subject_name(endpoint.subject).to_owned(), text]);
    }
    if !(Offer { admin: true, mas: true }).includes(endpoint.class) {
        rows.push(["answer".to_owned(), "404 by dendron: never offered to anybody".to_owned()]);
        return aligned(&rows);
    }
    if !Offer::default().includes(endpoint.class) {
        let listeners = "only on a listener that serves it, else 404 by dendron".to_owned();
        rows.push(["offered".to_owned(), listeners]);
    }
    let Some(pool) = pools.at(route.pool) else { return aligned(&rows) };
    rows.push(["pool".to_owned(), format!("{} ({})", pool.name(), why_pool(route, pool))]);
    // Whose an opaque token is is not known here.
    let key = key::key_of(route.key, &endpoint, path, query, authorization.as_deref().map(str::as_bytes), |_| None);
    let chosen = pool.choose(key, &Tried::default(), Instant::now());
    let process = match (chosen, key.is_some() || pool.backends().len() == 1) {
        (Some(chosen), true) => format!("{} at {}", chosen.name(), chosen.address()),
        _ => format!("one of {}", processes(pool)),
    };
    rows.push(["process".to_owned(), format!("{process} ({})", why_process(route.key, key.is_some(), pool))]);
    rows.push(["stands in".to_owned(), stands_in(route, pool).to_owned()]);
    let silence = route.patience.for_poll(poll_timeout(query));
    rows.push(["patience".to_owned(), format!("{} s without a byte from Synapse", silence.as_secs())]);
    aligned(&rows)
}

/// How the request would say who sends it. The token is made up; only the user in it counts.
fn authorization_of(question: &Question) -> Option<String> {
    let user = question.user.as_ref().map(|user| format!("Bearer syt_{}_x_x", STANDARD_NO_PAD.encode(user)));
    let origin = question.origin.as_ref().map(|origin| format!("X-Matrix origin=\"{origin}\""));
    user.or(origin)
}

fn processes(pool: &Pool) -> String {
    let names: Vec<&str> = pool.backends().iter().map(|backend| &**backend.name()).collect();
    names.join(", ")
}

fn why_pool(route: &ClassRoute, pool: &Pool) -> String {
    let rule: &Rule = &RULES[route.class.index()];
    if rule.pools.len() == 1 {
        return "nobody else serves this class".to_owned();
    }
    let passed = rule.pools.iter().take_while(|name| **name != &**pool.name());
    let passed: Vec<&str> = passed.copied().collect();
    if passed.is_empty() {
        "the class's own pool".to_owned()
    } else {
        format!("there is no pool {}", passed.join(" or "))
    }
}

/// Who serves the class while none of the pool's processes is in service.
fn stands_in(route: &ClassRoute, pool: &Pool) -> &'static str {
    match route.fallback {
        Some(_) => MAIN,
        None if &**pool.name() == MAIN => "nobody",
        None if RULES[route.class.index()].fallback => "nobody: main has no listener for it",
        None => "nobody: main cannot",
    }
}

fn why_process(kind: KeyKind, has_key: bool, pool: &Pool) -> String {
    match (pool.backends().len(), kind, has_key) {
        (1, _, _) => "the pool's only process".to_owned(),
        (_, KeyKind::LeastBusy, _) => "the least busy one".to_owned(),
        (_, kind, true) => format!("by the {}", kind.name()),
        (_, KeyKind::User, false) => "by the user; name one with --user".to_owned(),
        (_, KeyKind::Origin, false) => "by the sending server; name one with --origin".to_owned(),
        (_, _, false) => "the least busy one, as the request has no key".to_owned(),
    }
}

fn subject_name(subject: Subject) -> &'static str {
    match subject {
        Subject::None => "",
        Subject::Room(_) => "room",
        Subject::RoomOrAlias(_) => "room or alias",
        Subject::Alias(_) => "alias",
        Subject::User(_) => "user",
        Subject::Media(_) => "media",
    }
}

fn patience(patience: Patience) -> String {
    match patience {
        Patience::Silence(silence) => format!("{} s", silence.as_secs()),
        Patience::Poll { margin, least } => {
            format!("the client's timeout + {} s, at least {} s", margin.as_secs(), least.as_secs())
        }
    }
}

/// Rows as columns, two spaces apart.
fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let widths: [usize; COLUMNS] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
