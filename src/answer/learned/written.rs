//! Documents below `/.well-known/matrix` that are written in dendron.yaml.
//!
//! They are for everybody: like Synapse, dendron does not look at the request's host name.

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use prometheus::IntCounter;

use crate::answer::AnswerSettings;
use crate::answer::Asked;
use crate::answer::settings::WellKnown;
use crate::reply::{CORS, Reply};

/// The documents, with their paths.
pub(super) struct Written(Vec<(&'static str, Reply, IntCounter)>);

impl Written {
    pub(super) fn new(settings: &AnswerSettings, counter: impl Fn(&str) -> IntCounter) -> Self {
        let all = [
            ("/.well-known/matrix/client", &settings.well_known_client, "well_known_client"),
            ("/.well-known/matrix/server", &settings.well_known_server, "well_known_server"),
            ("/.well-known/matrix/support", &settings.well_known_support, "well_known_support"),
        ];
        let written = all.into_iter().filter_map(|(path, setting, name)| match setting {
            WellKnown::Written(document) => Some((path, reply(document), counter(name))),
            WellKnown::Forwarded | WellKnown::Learned => None,
        });
        Written(written.collect())
    }

    pub(super) fn answer(&self, asked: &Asked<'_>) -> Option<Reply> {
        let (_, reply, count) = self.0.iter().find(|(path, ..)| *path == asked.path)?;
        let is_read = matches!(*asked.method, Method::GET | Method::HEAD) && asked.body_bytes() == Some(0);
        is_read.then(|| {
            count.inc();
            reply.clone()
        })
    }
}

/// The document with the headers that browsers need (Matrix client-server API, "Web Browser Clients").
fn reply(document: &serde_json::Map<String, serde_json::Value>) -> Reply {
    let mut headers = CORS.to_vec();
    headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
    let body = serde_json::to_vec(document).unwrap_or_default();
    Reply { status: StatusCode::OK, headers: headers.into(), body: body.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::asked::tests::ask;

    #[test]
    fn a_written_document_is_given_as_it_is_written() {
        let document = serde_json::json!({ "support_page": "https://example.org/" });
        let settings = AnswerSettings {
            well_known_support: WellKnown::Written(document.as_object().unwrap().clone()),
            ..AnswerSettings::default()
        };
        let written = Written::new(&settings, |_| IntCounter::new("a", "a").unwrap());
        let table = [
            ("GET /.well-known/matrix/support", true),
            ("HEAD /.well-known/matrix/support?a=b", true),
            ("POST /.well-known/matrix/support", false),
            ("GET /.well-known/matrix/support/", false),
            ("GET /.well-known/matrix/client", false),
        ];
        for (line, expected) in table {
            let reply = ask(line, &[], |asked| written.answer(asked));
            assert_eq!(reply.is_some(), expected, "{line}");
            if let Some(reply) = reply {
                assert_eq!(reply.body, document.to_string());
                assert!(CORS.iter().all(|header| reply.headers.contains(header)));
            }
        }
    }
}
