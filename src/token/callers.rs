//! Who is behind the tokens of the requests that pass by: what is known, what is asked, what is forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::grant::Grant;
use super::questions::{self, Asked, Questions, Visitor};
use super::{Caller, TokenHash, TokenHasher, Tokens};
use crate::credentials::AccessToken;
use crate::observe::metrics::{self, Metrics};
use crate::route::Key;

/// How many tokens are known at most, which is some 150 MiB of memory.
const TOKENS_MAX: usize = 1_000_000;
/// How long a token is believed after Synapse has last taken it. Every request that it takes renews that, so that this
/// bounds only what is believed of a token that nobody uses.
const LIFETIME: Duration = Duration::from_secs(5 * 60);

/// The callers that are known. Nothing here waits or takes a lock for longer than a look-up does.
pub struct Callers {
    hasher: Arc<TokenHasher>,
    tokens: Tokens,
    questions: Questions,
    /// Whether it is told when a token ends.
    is_followed: AtomicBool,
    serves_answers: bool,
    metrics: metrics::Tokens,
}

/// What is to be forgotten.
#[derive(Clone, Copy, Debug)]
pub enum Forget<'name> {
    /// One token, which has ended.
    Token(TokenHash),
    /// The tokens of a user's device.
    Device(&'name str, &'name str),
    /// All tokens of a user.
    User(&'name str),
    /// All tokens of the user behind this one, or this one alone if it is not known whose it is.
    Caller(TokenHash),
    /// All tokens.
    Everything,
}

// === impl Callers ===

impl Callers {
    /// Nobody is known yet, and nobody is believed before [`Callers::follow`].
    pub fn new(hasher: Arc<TokenHasher>, metrics: &Metrics, now: Instant) -> Self {
        Callers {
            hasher,
            tokens: Tokens::new(TOKENS_MAX, LIFETIME, now),
            questions: Questions::default(),
            is_followed: AtomicBool::new(false),
            serves_answers: false,
            metrics: metrics.tokens.clone(),
        }
    }

    /// The same for an edge that answers because of who is asking: Synapse is asked about every token of a sync, and not
    /// only where that helps to choose a process.
    pub fn for_answers(self) -> Self {
        Callers { serves_answers: true, ..self }
    }

    /// Whether somebody answers because of who is asking.
    pub fn serves_answers(&self) -> bool {
        self.serves_answers
    }

    /// What a token is known by.
    pub fn hash(&self, token: &AccessToken<'_>) -> TokenHash {
        self.hasher.hash(token.expose())
    }

    /// Who is behind a token, for whoever answers in Synapse's place. `None` if that is not known, or not any more, or
    /// while nobody would tell that the token has ended.
    ///
    /// An application service's request may be for somebody else than its token's caller (`user_id` in the query).
    pub fn get(&self, hash: TokenHash, now: Instant) -> Option<Caller> {
        self.is_followed.load(Ordering::SeqCst).then(|| self.tokens.get(hash, now)).flatten()
    }

    /// The key of the user behind a token, if it is known whose it is or was. Nothing else can be made of that than a
    /// choice of a process, since the token may have ended.
    pub fn balancing_key(&self, hash: TokenHash) -> Option<Key> {
        self.tokens.owner(hash).map(|caller| Key::of_user(caller.user_id()))
    }

    /// Whether it is known whose a token is or was.
    pub fn knows(&self, hash: TokenHash) -> bool {
        self.tokens.owner(hash).is_some()
    }

    /// Has Synapse asked about a token, if it is not being asked already. It should have just taken the token.
    pub fn ask(&self, hash: TokenHash, token: &AccessToken<'_>, visitor: Visitor, now: Instant) {
        if self.questions.ask(hash, token, visitor, now) == Asked::NoPlace {
            self.metrics.questions.with_label_values(&["dropped"]).inc();
        }
    }

    /// Takes note of who is behind a token, as Synapse said when it was asked at `asked`; and how long the token is good
    /// from then on, if it said so.
    pub fn learn(&self, hash: TokenHash, caller: Caller, asked: Instant, valid_for: Option<Duration>) {
        self.tokens.learn(hash, caller, asked, valid_for);
        self.questions.learned(hash);
    }

    /// Takes note of a token that Synapse has given, in the answer to a request that began at `asked`. `instead_of` is the
    /// one that is given up for it.
    pub fn given(&self, body: &[u8], instead_of: Option<TokenHash>, asked: Instant, now: Instant) {
        let Some(grant) = Grant::read(body) else { return };
        let caller = grant.caller().or_else(|| self.tokens.owner(instead_of?));
        if let Some(old) = instead_of {
            self.forget(Forget::Token(old), now);
        }
        if let Some(caller) = caller {
            self.learn(self.hasher.hash(grant.token().expose()), caller, asked, grant.valid_for());
        }
    }

    /// Takes note that Synapse has taken a token for a request that began at `asked`.
    pub fn confirm(&self, hash: TokenHash, asked: Instant) {
        self.tokens.confirm(hash, asked);
    }

    /// Forgets. What was asked up to now will teach nothing.
    pub fn forget(&self, what: Forget<'_>, now: Instant) {
        self.metrics.forgotten.with_label_values(&[what.name()]).inc();
        match what {
            Forget::Token(hash) => self.tokens.forget_token_hash(hash, now),
            Forget::Device(user_id, device_id) => self.tokens.forget_device(user_id, device_id, now),
            Forget::User(user_id) => self.tokens.forget_user(user_id, now),
            Forget::Caller(hash) => match self.tokens.owner(hash) {
                Some(caller) => self.tokens.forget_user(caller.user_id(), now),
                // It may be learned just now.
                None => self.tokens.forget_token_hash(hash, now),
            },
            Forget::Everything => self.tokens.forget_all(now),
        }
    }

    /// Takes note that Synapse did not take a token.
    pub fn refused(&self, hash: TokenHash, now: Instant) {
        // Without a note of tokens that are not known: whoever tries tokens must not crowd out what is remembered.
        if self.knows(hash) {
            self.forget(Forget::Token(hash), now);
        }
    }

    /// From now on it is told when a token ends, or no longer. Either way something may have been missed until now.
    pub fn follow(&self, is_followed: bool, now: Instant) {
        if !is_followed {
            self.is_followed.store(false, Ordering::SeqCst);
        }
        self.forget(Forget::Everything, now);
        self.is_followed.store(is_followed, Ordering::SeqCst);
    }

    /// How many tokens are known.
    pub fn known(&self) -> usize {
        self.tokens.len()
    }

    /// The next question; waits for one.
    pub(super) async fn next_question(&self) -> Option<questions::Open> {
        self.questions.next().await
    }

    /// Counts what a question came to.
    pub(super) fn count_question(&self, outcome: &str) {
        self.metrics.questions.with_label_values(&[outcome]).inc();
    }
}

// === impl Forget ===

impl Forget<'_> {
    /// The name in metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Forget::Token(_) => "token",
            Forget::Device(..) => "device",
            Forget::User(_) | Forget::Caller(_) => "user",
            Forget::Everything => "everything",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::CallerKind;

    const SECOND: Duration = Duration::from_secs(1);

    fn callers(now: Instant) -> Callers {
        let metrics = Metrics::new(0).unwrap();
        Callers::new(Arc::new(TokenHasher::with_key([0; 32])), &metrics, now)
    }

    fn learn(callers: &Callers, hash: TokenHash, asked: Instant) {
        callers.learn(hash, Caller::new("@a:b", Some("D"), CallerKind::User), asked, None);
    }

    #[test]
    fn nobody_is_believed_unless_the_stream_is_followed() {
        let now = Instant::now();
        let callers = callers(now);
        let hash = callers.hasher.hash("a");
        let table = [(None, false), (Some(true), true), (Some(false), false), (Some(true), true)];
        for (step, (follow, believed)) in (0_u32..).step_by(2).zip(table) {
            let now = now + SECOND * step;
            if let Some(follow) = follow {
                callers.follow(follow, now);
                // What was learned before is not believed any more, and yet it is known whose it is.
                assert_eq!(callers.get(hash, now), None, "{step}");
                assert!(callers.knows(hash), "{step}");
            }
            let now = now + SECOND;
            learn(&callers, hash, now);
            assert_eq!(callers.get(hash, now).is_some(), believed, "{step}");
        }
    }

    #[test]
    fn a_token_that_synapse_goes_on_taking_goes_on_being_believed() {
        let now = Instant::now();
        let callers = callers(now);
        callers.follow(true, now);
        let hash = callers.hasher.hash("a");
        learn(&callers, hash, now + SECOND);
        assert_eq!(callers.get(hash, now + SECOND + LIFETIME), None);
        callers.confirm(hash, now + LIFETIME);
        assert!(callers.get(hash, now + SECOND + LIFETIME).is_some());
        // Forgotten with its device, and taken again by Synapse after that.
        let later = now + LIFETIME + SECOND;
        callers.forget(Forget::Device("@a:b", "D"), later);
        callers.confirm(hash, later);
        assert_eq!(callers.get(hash, later), None);
        callers.confirm(hash, later + SECOND);
        assert!(callers.get(hash, later + SECOND).is_some());
        // One that has ended does not come back.
        callers.refused(hash, later + SECOND);
        callers.confirm(hash, later + SECOND * 2);
        assert_eq!((callers.get(hash, later + SECOND * 2), callers.known()), (None, 0));
    }

    #[test]
    fn a_token_that_was_given_is_known() {
        let now = Instant::now();
        let callers = callers(now);
        callers.follow(true, now);
        let (later, end) = (now + SECOND, now + SECOND * 61);
        let [first, second, third] = ["first", "second", "third"].map(|token| callers.hasher.hash(token));
        callers.given(br#"{"user_id":"@a:b","access_token":"first","device_id":"D"}"#, None, later, later);
        assert_eq!(callers.get(first, end), Some(Caller::new("@a:b", Some("D"), CallerKind::User)));
        // Refreshed: the new one is the same caller's, for as long as is said, and the old one is not believed any more.
        let refreshed = br#"{"access_token":"second","refresh_token":"r","expires_in_ms":60000}"#;
        callers.given(refreshed, Some(first), later, later);
        assert_eq!(callers.get(first, later), None);
        assert!(callers.get(second, later).is_some());
        assert_eq!(callers.get(second, end), None);
        // Nobody knows whose this one is.
        callers.given(br#"{"access_token":"third"}"#, None, later, later);
        callers.given(br#"{"access_token":"third"}"#, Some(first), later, later);
        callers.given(b"no answer to a login", None, later, later);
        assert_eq!((callers.get(third, later), callers.known()), (None, 1));
    }
}
