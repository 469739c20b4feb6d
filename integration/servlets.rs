//! The table of endpoints against the servlets of the installed Synapse, as `scripts/servlets.py` prints them.
//!
//! From each servlet's expression sample paths are made, and each of them must be known, must have a class that the
//! servlet's part of the API allows, and must not have a class that goes to workers unless workers serve it.

use std::collections::HashSet;
use std::process::Command;

use dendron::endpoint::{Class, Endpoints};
use http::Method;
use libtest_mimic::Failed;
use serde::Deserialize;

use crate::harness::stacks::Stacks;
use crate::harness::{checkout, ensure, fail, synapse_python};

pub const TESTS: &[crate::Test] = &[
    ("servlets::the_installed_synapse_has_nothing_that_the_table_has_wrong", installed_synapse),
    ("servlets::a_servlet_that_is_new_or_elsewhere_is_noticed", what_is_wrong_is_noticed),
];

/// One line of `scripts/servlets.py`.
#[derive(Deserialize)]
struct Servlet {
    process: String,
    resource: String,
    servlet: String,
    methods: Vec<String>,
    pattern: String,
}

fn installed_synapse(_: &Stacks) -> Result<(), Failed> {
    let output = Command::new(synapse_python()).arg(checkout().join("scripts/servlets.py")).output()?;
    ensure!(output.status.success(), "scripts/servlets.py: {}", String::from_utf8_lossy(&output.stderr));
    match check(&String::from_utf8(output.stdout)?) {
        Ok(()) => Ok(()),
        Err(faults) => fail!("{} faults:\n{}", faults.len(), faults.join("\n")),
    }
}

/// The check itself must be able to fail: on a new servlet, on one that only main serves, on too few of them.
fn what_is_wrong_is_noticed(_: &Stacks) -> Result<(), Failed> {
    let line = |process: &str, pattern: &str| {
        serde_json::json!({
            "process": process, "resource": "client", "servlet": "Sample", "methods": ["GET"], "pattern": pattern,
        })
        .to_string()
    };
    let known = (0..100).map(|_| line("worker", "^/_matrix/client/v3/sync$")).collect::<Vec<_>>().join("\n");
    let with = |more: String| check(&format!("{known}\n{more}")).err().unwrap_or_default();
    ensure!(with(String::new()).is_empty(), "what is right is said to be wrong: {:?}", with(String::new()));
    let new = with(line("main", "^/_matrix/client/v3/new_in_this_release$"));
    ensure!(matches!(&new[..], [one] if one.ends_with("is not in the table")), "a new servlet: {new:?}");
    let elsewhere = with(line("main", "^/_matrix/client/v3/capabilities$"));
    let noticed = matches!(&elsewhere[..], [one] if one.ends_with("which do not serve it"));
    ensure!(noticed, "a servlet that no worker has: {elsewhere:?}");
    let few = check(&line("worker", "^/_matrix/client/v3/sync$")).err().unwrap_or_default();
    ensure!(few.iter().any(|fault| fault.starts_with("fewer than 100")), "a Synapse without servlets: {few:?}");
    Ok(())
}

/// Holds the table of endpoints against the lines that `scripts/servlets.py` prints.
///
/// # Errors
/// One sentence for each servlet and method that the table has wrong.
pub(crate) fn check(servlets_json_lines: &str) -> Result<(), Vec<String>> {
    let (servlets, mut errors) = parse(servlets_json_lines);
    if servlets.iter().filter(|servlet| servlet.process == "worker").count() < 100 {
        errors.push("fewer than 100 servlets of a worker: the script did not ask a whole Synapse".into());
    }
    let endpoints = Endpoints::new();
    let served = |process: &str| -> HashSet<(&str, &str)> {
        let servlets = servlets.iter().filter(|servlet| servlet.process == process);
        let each = |servlet| -> Vec<_> { methods_of(servlet).collect() };
        servlets.flat_map(each).collect()
    };
    let (by_main, by_workers) = (served("main"), served("worker"));
    for servlet in &servlets {
        let samples = match samples(&servlet.pattern) {
            Ok(samples) => samples,
            Err(error) => {
                errors.push(format!("{}: {error} in {}", servlet.servlet, servlet.pattern));
                continue;
            }
        };
        for key in methods_of(servlet) {
            let served = Served { by_main: by_main.contains(&key), by_workers: by_workers.contains(&key) };
            for path in &samples {
                errors.extend(check_one(&endpoints, servlet, key.1, path, served));
            }
        }
    }
    errors.sort();
    errors.dedup();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Which processes serve a method of a servlet.
#[derive(Clone, Copy)]
struct Served {
    by_main: bool,
    by_workers: bool,
}

fn methods_of(servlet: &Servlet) -> impl Iterator<Item = (&str, &str)> {
    servlet.methods.iter().map(|method| (servlet.pattern.as_str(), method.as_str()))
}

fn parse(lines: &str) -> (Vec<Servlet>, Vec<String>) {
    let mut servlets = Vec::new();
    let mut errors = Vec::new();
    for line in lines.lines().filter(|line| !line.trim().is_empty()) {
        match serde_json::from_str(line) {
            Ok(servlet) => servlets.push(servlet),
            Err(error) => errors.push(format!("no line of scripts/servlets.py: {error}")),
        }
    }
    (servlets, errors)
}

fn check_one(endpoints: &Endpoints, servlet: &Servlet, method: &str, path: &str, served: Served) -> Option<String> {
    let Ok(parsed) = Method::from_bytes(method.as_bytes()) else {
        return Some(format!("{}: {method} is no method", servlet.servlet));
    };
    let class = endpoints.classify(&parsed, path, None).class;
    let fault = if class == Class::Unknown {
        "is not in the table"
    } else if !belongs(&servlet.resource, class) {
        "has a class of another part of the API"
    } else if goes_to_workers(class) && !served.by_workers {
        "has a class that goes to workers, which do not serve it"
    } else if !goes_to_workers(class) && !served.by_main {
        "has a class that goes to main alone, which does not serve it"
    } else {
        return None;
    };
    Some(format!("{method} {path} ({}, class {}) {fault}", servlet.servlet, class.name()))
}

/// Whether requests of this class may go to another process than main.
fn goes_to_workers(class: Class) -> bool {
    !matches!(
        class,
        // Preflights are answered by every process. MAS is asked for on main unless a pool is made for it.
        Class::Preflight | Class::Mas | Class::Admin | Class::Main | Class::MainSlow | Class::Unknown | Class::Private
    )
}

/// Whether a class can be right for something of this part of the API.
fn belongs(resource: &str, class: Class) -> bool {
    let admin = matches!(class, Class::Admin | Class::AdminRead | Class::MediaAdmin | Class::Quarantine);
    match resource {
        "private" => class == Class::Private,
        "mas" => class == Class::Mas,
        "admin" => admin,
        "media" => matches!(class, Class::Media | Class::MediaUpload),
        _ => !admin && !matches!(class, Class::Private | Class::Mas | Class::Preflight),
    }
}

/// Paths that an expression matches: one for each way through its alternatives and optional parts.
fn samples(pattern: &str) -> Result<Vec<String>, String> {
    let mut parser = Parser { rest: pattern.strip_prefix('^').unwrap_or(pattern) };
    let samples = parser.alternatives("sample")?;
    if !parser.rest.is_empty() {
        return Err(format!("nothing is known of {:?}", parser.rest));
    }
    if samples.iter().any(|sample| !sample.starts_with('/')) {
        return Err("a match would not begin with a slash".into());
    }
    Ok(samples)
}

/// Reads as much of Python's expressions as Synapse uses in its paths, and anything else is an error.
struct Parser<'p> {
    rest: &'p str,
}

impl Parser<'_> {
    /// `a|b|c`, up to the end of the group. `text` is what stands for a segment of any text.
    fn alternatives(&mut self, text: &str) -> Result<Vec<String>, String> {
        let mut all = self.sequence(text)?;
        while self.take("|") {
            all.extend(self.sequence(text)?);
        }
        Ok(all)
    }

    fn sequence(&mut self, text: &str) -> Result<Vec<String>, String> {
        let mut made = vec![String::new()];
        while !self.rest.is_empty() && !self.rest.starts_with([')', '|']) {
            if self.take("$") {
                continue;
            }
            let parts = self.part(text)?;
            made = made.iter().flat_map(|start| parts.iter().map(move |part| format!("{start}{part}"))).collect();
        }
        Ok(made)
    }

    /// One group, class or character, with what says how often it comes.
    fn part(&mut self, text: &str) -> Result<Vec<String>, String> {
        let mut parts = if self.take("(") {
            self.group(text)?
        } else if self.take("[") {
            let (_, rest) = self.rest.split_once(']').ok_or("a class without an end")?;
            self.rest = rest;
            return if self.take("*") || self.take("+") {
                Ok(vec![text.into()])
            } else {
                Err("a class for once".into())
            };
        } else if self.take(".*") {
            return Ok(vec![text.into(), format!("{text}/{text}")]);
        } else {
            self.take("\\");
            let mut characters = self.rest.chars();
            let character = characters.next().ok_or("an end behind a backslash")?;
            self.rest = characters.as_str();
            if character.is_alphanumeric() || "/._-:~@".contains(character) {
                vec![character.to_string()]
            } else {
                return Err(format!("nothing is known of {character:?}"));
            }
        };
        if self.rest.starts_with(['*', '+', '{']) {
            return Err("a repetition of more than a class".into());
        }
        if self.take("?") {
            parts.push(String::new());
        }
        Ok(parts)
    }

    /// What is behind an opening bracket. Its name says what kind of text a path has there.
    fn group(&mut self, text: &str) -> Result<Vec<String>, String> {
        let mut text = text;
        if self.take("?P<") {
            let (name, rest) = self.rest.split_once('>').ok_or("a name without an end")?;
            text = match name {
                "room_id" => "!room:example.org",
                "room_identifier" => "%23room:example.org",
                "room_alias" => "%23room:example.org",
                "user_id" => "@user:example.org",
                _ => "sample",
            };
            self.rest = rest;
        } else if self.rest.starts_with('?') {
            return Err("a group of a kind that is not known".into());
        }
        let made = self.alternatives(text)?;
        if self.take(")") { Ok(made) } else { Err("a group without an end".into()) }
    }

    fn take(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
}
