//! The error of requests that need a token and show none: the same by dendron as by Synapse, for every endpoint that
//! there is, and with parameters and bodies that Synapse would refuse if it looked at them first.

use dendron::answer::{Asked, Headers, missing_token};
use dendron::endpoint::Endpoints;
use dendron::endpoint::table::{Methods, Row, rows};
use libtest_mimic::Failed;
use serde_json::Value;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::Test;
use crate::harness::ensure;
use crate::harness::eventually::{SOON, eventually};
use crate::harness::http::{Answer, Client};
use crate::harness::metrics::Metrics;
use crate::harness::stack::Stack;
use crate::learned::main_process;

pub const TESTS: &[Test] = &[
    ("missing_token::the_error_is_synapses_own_at_every_endpoint", |stacks| {
        stacks.on_monolith(the_error_is_synapses_own)
    }),
    ("missing_token::the_error_is_an_older_synapses_own", |stacks| stacks.on_older(the_error_is_synapses_own)),
];

/// What can be wrong with credentials: the values of `Authorization`, and a part of the query.
const FAULTS: [(&[&str], &str); 7] = [
    (&[], ""),
    (&["Bearer a"], "access_token=b"),
    (&["Bearer a", "Bearer b"], ""),
    (&["Basic a"], ""),
    (&[""], ""),
    (&["Bearer  a"], ""),
    (&["Bearer"], "access_token="),
];

/// Names of parameters that Synapse reads anywhere, each given a value that fits none of its types.
const PARAMETERS: &str = "limit dir to ts timeout since full_state filter set_presence user_id device_id at membership \
    not_membership server_name via suggested_only max_depth kind format only recurse event_id room_id start archived \
    user txn app_id pushkey fields t key server include_all_networks version username next_batch";

/// Bodies that are no JSON, no object, and an empty one.
const BODIES: [&str; 3] = ["x", "[]", "{}"];

/// One request.
struct Request {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    body: &'static str,
}

impl Request {
    fn target(&self) -> String {
        if self.query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query) }
    }

    /// Whether dendron answers it.
    fn is_answered(&self, endpoints: &Endpoints) -> bool {
        let mut headers = self.headers.clone();
        headers.insert("content-length", HeaderValue::from(self.body.len()));
        let query = Some(self.query.as_str()).filter(|query| !query.is_empty());
        let endpoint = endpoints.classify(&self.method, &self.path, query);
        let asked = Asked { method: &self.method, path: &self.path, query, headers: Headers::Map(&headers), endpoint };
        missing_token::wanted(&asked).is_some()
    }

    fn send(&self, client: &Client) -> Result<Answer, Failed> {
        let headers: Vec<_> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default())).collect();
        client.send(self.method.as_str(), &self.target(), &headers, self.body.as_bytes())
    }
}

fn the_error_is_synapses_own(stack: &mut Stack) -> Result<(), Failed> {
    let (edge, direct) = (stack.client(), Client::new(&main_process(stack)));
    eventually(SOON, || {
        edge.send("GET", "/_matrix/client/v3/joined_rooms", &[("Authorization", "x")], b"")?;
        let given = Metrics::scrape(&stack.admin())?.sum("dendron_answers_total", &[("answer", "missing_token")]);
        if given > 0.0 { Ok(()) } else { Err("not learned yet".into()) }
    })?;
    let endpoints = Endpoints::new();
    let (mut answered, mut forwarded, mut labels, mut faults) = (0, 0, 0, Vec::new());
    for row in rows().filter(|row| row.template.starts_with("/_matrix/client/")) {
        for method in methods(row) {
            let mut is_counted = false;
            for request in requests(row, &method) {
                // What goes on is compared once for each row: it is Synapse's own whatever comes.
                if !request.is_answered(&endpoints) {
                    forwarded += 1;
                    continue;
                }
                answered += 1;
                is_counted = true;
                let (theirs, ours) = (request.send(&direct)?, request.send(&edge)?);
                if comparable(&ours) != comparable(&theirs) || theirs.status != 401 {
                    let name = format!("{method} {} {:?} {}", request.target(), request.headers, request.body);
                    faults.push(format!(
                        "{name}:\n  {} {}\n  {} {}",
                        theirs.status,
                        theirs.text(),
                        ours.status,
                        ours.text()
                    ));
                }
            }
            labels += usize::from(is_counted);
        }
    }
    ensure!(faults.is_empty(), "{} differ:\n{}", faults.len(), faults[..faults.len().min(20)].join("\n"));
    ensure!(labels >= 85 && answered > 3_000 && forwarded > 1_000, "{labels} {answered} {forwarded}");
    Ok(())
}

/// Status, headers and JSON that must be equal. The rest belongs to the moment or to one hop.
fn comparable(answer: &Answer) -> (u16, Vec<(String, String)>, Value) {
    let not_compared = ["date", "connection", "transfer-encoding", "content-length"];
    let headers = answer.head.headers().iter().filter(|(name, _)| !not_compared.contains(&name.as_str()));
    let mut headers: Vec<_> =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned())).collect();
    headers.sort();
    (answer.status, headers, answer.json())
}

fn methods(row: &Row) -> Vec<Method> {
    let all = [
        (Methods::GET, Method::GET),
        (Methods::PUT, Method::PUT),
        (Methods::POST, Method::POST),
        (Methods::DELETE, Method::DELETE),
    ];
    all.into_iter().filter(|(known, _)| row.methods.contains(*known)).map(|(_, method)| method).collect()
}

/// Every fault with every body and query at one row, and the plainest at its other versions.
fn requests(row: &Row, method: &Method) -> Vec<Request> {
    let values = PARAMETERS.split_whitespace().map(|name| format!("{name}=%25%01z"));
    let rubbish = values.collect::<Vec<_>>().join("&");
    let has_body = matches!(*method, Method::PUT | Method::POST);
    let bodies = if has_body { &BODIES[..] } else { &[""][..] };
    let mut requests = Vec::new();
    for (number, version) in row.versions.iter().copied().chain([""]).enumerate() {
        let first = row.versions.first().copied().unwrap_or_default();
        if version.is_empty() != first.is_empty() {
            continue;
        }
        let path = row.template.replacen(&format!("/{first}/"), &format!("/{version}/"), 1);
        let words = if number == 0 { &["%21a:b", "%40a:localhost", "x"][..] } else { &["x"][..] };
        for word in words {
            let path = filled(&path, word);
            for (authorizations, token) in &FAULTS[..if number == 0 { FAULTS.len() } else { 1 }] {
                for more in ["", rubbish.as_str()] {
                    let parts: Vec<&str> = [more, token].into_iter().filter(|part| !part.is_empty()).collect();
                    for body in bodies {
                        let mut headers = HeaderMap::new();
                        for value in *authorizations {
                            headers.append(HeaderName::from_static("authorization"), HeaderValue::from_static(value));
                        }
                        let (method, path, query) = (method.clone(), path.clone(), parts.join("&"));
                        requests.push(Request { method, path, query, headers, body });
                    }
                }
            }
        }
    }
    requests
}

/// A template with this word in the place of each `{name}`.
fn filled(template: &str, word: &str) -> String {
    let segments = template.split('/').map(|segment| if segment.starts_with('{') { word } else { segment });
    segments.collect::<Vec<_>>().join("/")
}
