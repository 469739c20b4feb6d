//! The tokens that Synapse is to be asked about. Bounded: what finds no place is not asked, and comes up again with the
//! token's next request.
//!
//! This is the one place where a token is kept beyond its request: as a [`Secret`], until the question was asked.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use http::HeaderValue;
use quick_cache::sync::Cache;
use tokio::sync::{Mutex, mpsc};

use super::TokenHash;
use crate::credentials::AccessToken;
use crate::secret::Secret;

/// How many questions may wait.
const WAITING_MAX: usize = 1024;
/// How many tokens are remembered that were asked about and not learned.
const ASKED_MAX: usize = 16_384;
/// How long after a question that taught nothing the same one may be asked again.
const AGAIN: Duration = Duration::from_secs(30);
/// The longest name of a client's program that is told.
const USER_AGENT_BYTES_MAX: usize = 1024;

/// Where a token came from. Synapse notes both for the token's device, so that it must not be told dendron's own.
#[derive(Clone, Debug, Default)]
pub struct Visitor {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The client's program.
    pub user_agent: Option<HeaderValue>,
}

/// A question to ask.
#[derive(Debug)]
pub struct Open {
    /// What the token is known by.
    pub hash: TokenHash,
    /// The token.
    pub token: Secret,
    /// Where it came from.
    pub visitor: Visitor,
}

/// What became of the wish to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The question waits for its turn.
    Waiting,
    /// The same question waits already, or has just taught nothing.
    Already,
    /// Too many wait.
    NoPlace,
}

/// The questions that wait.
pub struct Questions {
    sender: mpsc::Sender<Open>,
    receiver: Mutex<mpsc::Receiver<Open>>,
    /// When was asked about a token, unless it was learned since.
    asked: Cache<TokenHash, Instant>,
}

// === impl Questions ===

impl Default for Questions {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        Questions { sender, receiver: Mutex::new(receiver), asked: Cache::new(ASKED_MAX) }
    }
}

impl Questions {
    /// Adds a question, if it is not there already.
    pub fn ask(&self, hash: TokenHash, token: &AccessToken<'_>, visitor: Visitor, now: Instant) -> Asked {
        if self.asked.get(&hash).is_some_and(|asked| now < asked + AGAIN) {
            return Asked::Already;
        }
        let Ok(place) = self.sender.try_reserve() else { return Asked::NoPlace };
        self.asked.insert(hash, now);
        place.send(Open { hash, token: Secret::new(token.expose()), visitor: visitor.bounded() });
        Asked::Waiting
    }

    /// The next question; waits for one.
    pub async fn next(&self) -> Option<Open> {
        self.receiver.lock().await.recv().await
    }

    /// Takes note that a token was learned, so that it may be asked about as soon as it is forgotten.
    pub fn learned(&self, hash: TokenHash) {
        self.asked.remove(&hash);
    }
}

// === impl Visitor ===

impl Visitor {
    fn bounded(self) -> Self {
        Visitor { user_agent: self.user_agent.filter(|name| name.len() <= USER_AGENT_BYTES_MAX), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::TokenHasher;

    fn ask(questions: &Questions, token: &str, now: Instant) -> Asked {
        let authorization = format!("Bearer {token}");
        let token = AccessToken::of_request(Some(authorization.as_bytes()), None).unwrap();
        questions.ask(TokenHasher::with_key([0; 32]).hash(token.expose()), &token, Visitor::default(), now)
    }

    #[tokio::test]
    async fn a_question_is_asked_once() {
        let (questions, now) = (Questions::default(), Instant::now());
        assert_eq!(ask(&questions, "a", now), Asked::Waiting);
        assert_eq!(ask(&questions, "a", now + AGAIN / 2), Asked::Already);
        assert_eq!(ask(&questions, "b", now), Asked::Waiting);
        assert_eq!(questions.next().await.unwrap().token.expose(), "a");
        // One that taught nothing comes up again later, one that did when the token was forgotten.
        assert_eq!(ask(&questions, "a", now + AGAIN / 2), Asked::Already);
        assert_eq!(ask(&questions, "a", now + AGAIN), Asked::Waiting);
        let open = questions.next().await.unwrap();
        questions.learned(open.hash);
        assert_eq!(ask(&questions, "b", now), Asked::Waiting);
    }

    #[test]
    fn questions_are_bounded() {
        let (questions, now) = (Questions::default(), Instant::now());
        for number in 0..WAITING_MAX {
            assert_eq!(ask(&questions, &number.to_string(), now), Asked::Waiting);
        }
        assert_eq!(ask(&questions, "one more", now), Asked::NoPlace);
        assert_eq!(ask(&questions, "0", now), Asked::Already);
    }

    #[test]
    fn a_question_does_not_show_its_token() {
        let open = Open {
            hash: TokenHasher::with_key([0; 32]).hash("hunter2"),
            token: Secret::new("hunter2"),
            visitor: Visitor::default(),
        };
        assert!(!format!("{open:?}").contains("hunter2"));
    }
}
