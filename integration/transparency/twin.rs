//! Two users with the same history. What changes something is done by one of them directly and by the other through
//! dendron, so that both meet the same state.

use libtest_mimic::Failed;
use serde_json::json;

use crate::harness::http::Client;
use crate::harness::matrix::{User, encoded, expect_ok};

/// One of the two.
pub struct Twin {
    /// Words in braces that a request may hold, and what this twin puts in their place.
    words: Vec<(String, String)>,
}

impl Twin {
    /// Registers the user and lives its life.
    pub fn new(client: &Client, name: &str) -> Result<Self, Failed> {
        let user = User::register(client, name)?;
        let room = user.create_room()?;
        let event = user.say(&room, "first", "hello")?;
        let filter =
            user.send("POST", &format!("/_matrix/client/v3/user/{}/filter", encoded(&user.user_id)), &json!({}))?;
        let filter = expect_ok(&filter, "filter")?["filter_id"].as_str().unwrap_or_default().to_owned();
        let authorization = format!("Bearer {}", user.token);
        let headers = [("Authorization", authorization.as_str()), ("Content-Type", "text/plain")];
        let media = client.send("POST", "/_matrix/media/v3/upload?filename=a.txt", &headers, b"0123456789")?;
        let media = expect_ok(&media, "upload")?["content_uri"].as_str().unwrap_or_default().to_owned();
        let media = media.rsplit('/').next().unwrap_or_default().to_owned();
        let mut words = Vec::new();
        for (name, value) in [
            ("room", room.as_str()),
            ("event", &event),
            ("user", &user.user_id),
            ("localpart", user.localpart()),
            ("device", &user.device_id),
            ("token", &user.token),
            ("media", &media),
            ("filter", &filter),
        ] {
            words.push((format!("{{{name}}}"), value.to_owned()));
            words.push((format!("{{{name}%}}"), encoded(value)));
        }
        Ok(Twin { words })
    }

    /// A request's text with this twin's words in it.
    pub fn fill(&self, text: &str) -> String {
        self.words.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    /// An answer's text with the words in place of this twin's values.
    pub fn strip(&self, text: &str) -> String {
        let long = self.words.iter().filter(|(name, value)| value.len() > 6 && !name.contains("filter"));
        long.fold(text.to_owned(), |text, (name, value)| text.replace(value, name))
    }
}
