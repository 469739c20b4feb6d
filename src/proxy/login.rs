//! A login as it passes: its body is read, and answered while its client is listened to.
//!
//! What is read is kept by Pingora and sent on if the login is forwarded; it can keep so much and no more, so what is
//! larger, or of unknown length, is not read. Not here: what is answered (`answer::login`).

use std::future::Future;
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode};
use pingora_core::protocols::http::server::Session as Downstream;
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::{Context, Edge};
use crate::answer::login::desk::RealLogins;
use crate::answer::login::{Answer, reasons::Reason};
use crate::query::query_value;
use crate::reply::Reply;

/// The label of the endpoint.
const LOGIN: &str = "/_matrix/client/v3/login";
/// The longest body that Pingora can send on after it was read (`BODY_BUF_LIMIT` in its HTTP/1 and HTTP/2 sessions).
const BODY_BYTES_MAX: usize = 65_536;

impl Edge {
    /// Answers a login, if it can be answered here. `None` sends it on, untouched.
    pub(super) async fn login(&self, session: &mut Session, context: &mut Context) -> Result<Option<Reply>> {
        if context.exchange.endpoint.label != LOGIN || session.req_header().method != Method::POST {
            return Ok(None);
        }
        let answer = match self.parts.logins.logins() {
            Ok(logins) => answer(logins, session, context, self.parts.client_times.silence).await?,
            Err(reason) => Answer::Forward(reason),
        };
        match answer {
            Answer::Reply(reply) => {
                if reply.status == StatusCode::OK {
                    self.parts.callers.given(&reply.body, None, context.exchange.started, Instant::now());
                }
                Ok(Some(reply))
            }
            Answer::Forward(reason) => {
                self.parts.metrics.logins_forwarded.with_label_values(&[reason.name()]).inc();
                context.exchange.declined = Some(reason.name());
                Ok(None)
            }
        }
    }
}

async fn answer(logins: &RealLogins, session: &mut Session, context: &Context, time: Duration) -> Result<Answer> {
    let client = context.exchange.client;
    let head = session.req_header();
    let Some(length) = readable_length(&head.headers) else {
        let in_query = head.uri.query().is_some_and(|query| query_value(query, "access_token").is_some());
        let has_token = in_query || head.headers.contains_key(AUTHORIZATION);
        let refused = logins.limit_forwarded(client, has_token).await;
        return Ok(refused.map_or(Answer::Forward(Reason::Unread), Answer::Reply));
    };
    let body = read(session.as_downstream_mut(), length, time).await?;
    beside_client(session.as_downstream_mut(), logins.answer(&body, client)).await
}

/// The length of a body that can be read here and sent on as it came. `None` for one that cannot, or for which the
/// client waits to be asked; and for a form, which Synapse refuses by its type alone (`http/site.py`).
fn readable_length(headers: &HeaderMap) -> Option<usize> {
    let mut kinds = headers.get_all(CONTENT_TYPE).iter().map(|kind| kind.as_bytes().to_ascii_lowercase());
    let is_form = kinds.any(|kind| kind.starts_with(b"multipart/"));
    if is_form || headers.contains_key(TRANSFER_ENCODING) || headers.contains_key(EXPECT) {
        return None;
    }
    let length: usize = headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()?;
    (length <= BODY_BYTES_MAX).then_some(length)
}

/// Reads the whole body, which Pingora keeps to send it on. The client may be silent for so long.
pub(super) async fn read(session: &mut Downstream, length: usize, time: Duration) -> Result<Zeroizing<Vec<u8>>> {
    session.enable_retry_buffering();
    let mut body = Zeroizing::new(Vec::with_capacity(length));
    loop {
        // Over HTTP/2 Pingora has no time limit of its own for this.
        let read =
            timeout(time, session.read_request_body()).await.map_err(|_| Error::new_down(ErrorType::ReadTimedout))?;
        match read.map_err(|error| error.into_down())? {
            Some(part) => body.extend_from_slice(&part),
            None => return Ok(body),
        }
    }
}

/// Waits for the answer, unless the client goes away before it is there.
pub(super) async fn beside_client<T>(session: &mut Downstream, answer: impl Future<Output = T>) -> Result<T> {
    tokio::select! {
        biased;
        gone = session.read_body_or_idle(true) => match gone {
            Err(error) => Err(error.into_down()),
            Ok(_) => Error::e_explain(ErrorType::ConnectionClosed, "the client is gone").map_err(Error::into_down),
        },
        answer = answer => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_read_that_can_be_sent_on_as_it_came() {
        type Headers = &'static [(&'static str, &'static str)];
        let table: [(Headers, Option<usize>); 12] = [
            (&[("content-length", "0")], Some(0)),
            (&[("content-length", "65536")], Some(65_536)),
            (&[("content-length", "65537")], None),
            (&[("content-length", "99999999999999999999999")], None),
            (&[("content-length", "-1")], None),
            (&[], None),
            (&[("transfer-encoding", "chunked")], None),
            (&[("content-length", "5"), ("transfer-encoding", "chunked")], None),
            (&[("content-length", "5"), ("expect", "100-continue")], None),
            (&[("content-length", "5"), ("content-type", "Multipart/Form-Data; boundary=x")], None),
            (&[("content-length", "5"), ("content-type", "text/plain")], Some(5)),
            (&[("content-length", "5"), ("content-encoding", "gzip")], Some(5)),
        ];
        for (headers, expected) in table {
            let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            assert_eq!(readable_length(&headers), expected, "{headers:?}");
        }
    }
}
