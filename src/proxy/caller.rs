//! What passing answers tell of access tokens: whose they are, that Synapse still takes them, and that they have ended.
//!
//! Not here: what a success means (`token::passing`), and what is remembered (`token::Callers`).

use std::time::Instant;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue, USER_AGENT};
use http::{HeaderMap, StatusCode};
use percent_encoding::percent_decode_str;
use pingora_http::{RequestHeader, ResponseHeader};
use zeroize::Zeroizing;

use super::{Context, Edge};
use crate::credentials::AccessToken;
use crate::endpoint::Class;
use crate::exchange::Exchange;
use crate::query::query_value;
use crate::route::Key;
use crate::token::passing::{Meaning, meaning};
use crate::token::{Forget, TokenHash, Visitor};

/// The longest answer in which a token is looked for. One has some hundred bytes, and what clients are told of the server
/// (`well_known`).
const GRANT_BYTES_MAX: usize = 16 * 1024;

/// An answer that gives a token, on its way to the client.
pub(super) struct Passing {
    body: Zeroizing<Vec<u8>>,
    /// The token that is given up for the new one.
    instead_of: Option<TokenHash>,
}

impl Edge {
    /// The key of the user behind a token, if that is known. Whose a token is does not change, so that a client moves to
    /// another process for this once at most.
    pub(super) fn user_key(&self, token: &AccessToken<'_>) -> Option<Key> {
        self.parts.callers.balancing_key(self.parts.callers.hash(token))
    }

    /// Looks at the head of Synapse's answer.
    pub(super) fn heard(&self, request: &RequestHeader, response: &ResponseHeader, context: &mut Context) {
        let authorization = request.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let token = || AccessToken::of_request(authorization, request.uri.query());
        match response.status {
            StatusCode::UNAUTHORIZED => {
                if let Some(token) = token() {
                    self.parts.callers.refused(self.parts.callers.hash(&token), Instant::now());
                }
            }
            StatusCode::OK => match meaning(&request.method, context.exchange.endpoint.label) {
                Some(meaning) => self.succeeded(meaning, token().as_ref(), request, response, context),
                None => {
                    if let Some(token) = token() {
                        self.taken(&token, &context.exchange, request.headers.get(USER_AGENT));
                    }
                }
            },
            _ => {}
        }
    }

    /// Takes note of a success that means something for tokens.
    fn succeeded(
        &self,
        meaning: Meaning,
        token: Option<&AccessToken<'_>>,
        request: &RequestHeader,
        response: &ResponseHeader,
        context: &mut Context,
    ) {
        let (callers, now) = (&self.parts.callers, Instant::now());
        let own = token.map(|token| callers.hash(token));
        match meaning {
            Meaning::Gives | Meaning::Renews => {
                // A guest's token is none of those that Synapse keeps, and tells itself who the guest is.
                let kind = request.uri.query().and_then(|query| query_value(query, "kind"));
                let instead_of = own.filter(|_| meaning == Meaning::Renews);
                context.passing =
                    Passing::begin(&response.headers, instead_of).filter(|_| kind.is_none_or(|kind| kind != "guest"));
            }
            Meaning::EndsToken => own.into_iter().for_each(|own| callers.forget(Forget::Token(own), now)),
            Meaning::EndsCallers => own.into_iter().for_each(|own| callers.forget(Forget::Caller(own), now)),
            Meaning::EndsUsers => {
                let span = context.exchange.endpoint.subject.span();
                let user_id = span.map(|span| percent_decode_str(span.of(request.uri.path())).decode_utf8_lossy());
                if let Some(user_id) = user_id {
                    callers.forget(Forget::User(&user_id), now);
                }
            }
        }
    }

    /// Takes note that Synapse has taken a token, and asks whose it is if that is of use. Only for syncs: each of them
    /// needs a token, and they are what is balanced and kept by user.
    pub(super) fn taken(&self, token: &AccessToken<'_>, exchange: &Exchange, user_agent: Option<&HeaderValue>) {
        let class = exchange.endpoint.class;
        if !matches!(class, Class::Sync | Class::SlidingSync | Class::InitialSync) {
            return;
        }
        let callers = &self.parts.callers;
        let has_choice = || {
            let pool = self.parts.pools.at(self.parts.routes.of(class).pool);
            pool.is_some_and(|pool| pool.backends().len() > 1)
        };
        if !callers.serves_answers() && (token.names_user() || !has_choice()) {
            return;
        }
        let (hash, now) = (callers.hash(token), Instant::now());
        callers.confirm(hash, exchange.started);
        if !callers.knows(hash) {
            let visitor = Visitor { address: exchange.client, user_agent: user_agent.cloned() };
            callers.ask(hash, token, visitor, now);
        }
    }

    /// Looks at a part of the body of Synapse's answer.
    pub(super) fn overheard(&self, body: Option<&Bytes>, is_end: bool, context: &mut Context) {
        let Some(passing) = &mut context.passing else { return };
        if let Some(part) = body {
            if passing.body.len() + part.len() > GRANT_BYTES_MAX {
                context.passing = None;
                return;
            }
            passing.body.extend_from_slice(part);
        }
        if is_end && let Some(Passing { body, instead_of }) = context.passing.take() {
            self.parts.callers.given(&body, instead_of, context.exchange.started, Instant::now());
        }
    }
}

impl Passing {
    /// `None` for an answer in which nothing can be read, or that is too long.
    fn begin(headers: &HeaderMap, instead_of: Option<TokenHash>) -> Option<Self> {
        let length = match headers.get(CONTENT_LENGTH) {
            Some(length) => length.to_str().ok()?.parse().ok()?,
            None => GRANT_BYTES_MAX,
        };
        let is_plain = !headers.contains_key(CONTENT_ENCODING);
        // All of it at once, so that nothing of a token is left behind where the body was before it grew.
        let body = Zeroizing::new(Vec::with_capacity(length.min(GRANT_BYTES_MAX)));
        (is_plain && length <= GRANT_BYTES_MAX).then_some(Passing { body, instead_of })
    }
}
