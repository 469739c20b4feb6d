//! A request with a short body or none that came over HTTP/2, and that its filter asks of the process itself: it sends what
//! is asked, then hears the answer and passes it on, part by part.
//!
//! Pingora's own way is made for bodies that go both ways at once: a half for each, a channel between them each way, and a
//! task for each connection that is kept. Where the client has nothing more to say, none of that is needed.
//!
//! It is the request's first try. One that fails before the answer has begun is followed by Pingora's, under the same rules.
//!
//! Not here: HTTP/1, where the front does the same without a session (`relay`); and what concerns one connection in a head,
//! for which Pingora has rules.

use std::time::Instant;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderValue, Method, StatusCode, Version};
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::HttpTask;
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{ProxyHttp, Session};
use tokio::time::timeout;

use super::login::beside_client;
use super::relay::{OF_ONE_CONNECTION, SHORT_BODY_BYTES_MAX};
use super::{Context, Edge};
use crate::answer::malformed::content_length;

/// An answer whose head has come.
struct Begun {
    process: HttpSession,
    head: Box<ResponseHeader>,
}

/// Why none has.
enum Fault {
    /// No connection could be made.
    Unconnected(Box<Error>),
    /// It broke, or the process was silent for too long.
    Broken {
        error: Box<Error>,
        /// Whether another request came before on it.
        is_reused: bool,
    },
}

impl Edge {
    /// Asks the process that should have a request what its [`question`] is, and passes the answer on. `false` leaves the
    /// request to Pingora.
    pub(super) async fn ask_directly(
        &self,
        mut request: RequestHeader,
        session: &mut Session,
        context: &mut Context,
    ) -> Result<bool> {
        let Some(body) = self.short_body(session, context).await? else { return Ok(false) };
        let peer = self.upstream_peer(session, context).await?;
        self.upstream_request_filter(session, &mut request, context).await?;
        let asking = self.begin(Box::new(request), &body, &peer, context);
        let error = match beside_client(session.as_downstream_mut(), asking).await? {
            Ok(begun) => return self.pass_on(begun, session, context).await.map(|()| true),
            Err(Fault::Unconnected(error)) => self.fail_to_connect(session, &peer, context, error),
            Err(Fault::Broken { error, is_reused }) => {
                self.error_while_proxy(&peer, session, error, context, is_reused)
            }
        };
        if error.retry() { Ok(false) } else { Err(error) }
    }

    /// The whole body of a request; `None` where Pingora has not kept it.
    async fn short_body(&self, session: &mut Session, context: &mut Context) -> Result<Option<Bytes>> {
        if session.as_downstream_mut().is_body_empty() {
            return Ok(Some(Bytes::new()));
        }
        session.as_downstream_mut().enable_retry_buffering();
        loop {
            // Pingora has no time limit of its own for this on HTTP/2.
            let part = timeout(self.parts.client_times.silence, session.as_downstream_mut().read_request_body()).await;
            let mut part = part.map_err(|_| Error::new_down(ErrorType::ReadTimedout))?.map_err(Error::into_down)?;
            let is_last = part.is_none();
            self.request_body_filter(session, &mut part, is_last, context).await?;
            if is_last {
                break;
            }
        }
        let read = session.body_bytes_read();
        Ok(session.as_downstream_mut().get_retry_buffer().filter(|kept| kept.len() == read))
    }

    /// Connects, sends the question, and waits for the head of the answer.
    async fn begin(
        &self,
        request: Box<RequestHeader>,
        body: &[u8],
        peer: &HttpPeer,
        context: &mut Context,
    ) -> std::result::Result<Begun, Fault> {
        let kept = context.attempts.backend().and_then(|backend| backend.take_kept(Instant::now()));
        let is_reused = kept.is_some();
        let stream = match kept {
            Some(stream) => stream,
            None => self.connected(peer).await.map_err(|error| Fault::Unconnected(error.into_up()))?,
        };
        context.exchange.connected = Some(context.exchange.started.elapsed());
        let mut process = HttpSession::new_with_options(stream, peer);
        (process.read_timeout, process.write_timeout) = (peer.options.read_timeout, peer.options.write_timeout);
        match ask(&mut process, request, body).await {
            Ok(head) => Ok(Begun { process, head }),
            Err(error) => Err(Fault::Broken { error: error.into_up(), is_reused }),
        }
    }

    async fn connected(&self, peer: &HttpPeer) -> Result<Stream> {
        // Kilobytes, for what most questions find done.
        Box::pin(self.parts.connector.new_stream(peer)).await
    }

    /// Passes an answer on that has begun, and keeps its connection, if that can be used again.
    async fn pass_on(&self, begun: Begun, session: &mut Session, context: &mut Context) -> Result<()> {
        let Begun { mut process, mut head } = begun;
        self.response_filter(session, &mut head, context).await?;
        let mut is_over = process.is_body_done();
        session.write_response_tasks(vec![HttpTask::Header(head, is_over)]).await?;
        while !is_over {
            let read = beside_client(session.as_downstream_mut(), process.read_body_bytes()).await?;
            let mut part = read.map_err(Error::into_up)?;
            is_over = part.is_none() || process.is_body_done();
            self.response_body_filter(session, &mut part, is_over, context)?;
            session.write_response_tasks(vec![HttpTask::Body(part, is_over)]).await?;
        }
        process.respect_keepalive();
        if let (Some(stream), Some(backend)) = (process.reuse().await, context.attempts.backend()) {
            backend.keep(stream, Instant::now());
        }
        Ok(())
    }
}

/// The head of a request that is asked here, as HTTP/1.1 has it. `None` for any other.
pub(super) fn question(session: &mut Session) -> Option<RequestHeader> {
    if !session.is_http2() {
        return None;
    }
    let has_body = !session.as_downstream_mut().is_body_empty();
    plain(session.req_header(), has_body)
}

/// The same, with the host where HTTP/1.1 has it. `None` for one that is not plain, or has a body that may be long.
fn plain(head: &RequestHeader, has_body: bool) -> Option<RequestHeader> {
    let has = |name| head.headers.contains_key(name);
    if [CONNECTION, EXPECT, TRANSFER_ENCODING, UPGRADE].into_iter().chain(OF_ONE_CONNECTION).any(has) {
        return None;
    }
    let mut lengths = head.headers.get_all(CONTENT_LENGTH).iter().map(|length| content_length(length.as_bytes()));
    let length = lengths.next();
    let has_usual_body = match head.method {
        Method::GET | Method::HEAD | Method::DELETE => !has_body && length.is_none(),
        Method::PUT | Method::POST => length.flatten().is_some_and(|length| length <= SHORT_BODY_BYTES_MAX as u64),
        _ => false,
    };
    let authority = head.uri.authority()?.as_str();
    let mut hosts = head.headers.get_all(HOST).iter().map(HeaderValue::as_bytes);
    if !has_usual_body
        || lengths.next().is_some()
        || authority.contains('@')
        || hosts.any(|host| host != authority.as_bytes())
    {
        return None;
    }
    let mut request = head.clone();
    request.set_version(Version::HTTP_11);
    request.insert_header(HOST, authority).ok()?;
    Some(request)
}

/// Sends a question; the head of the answer.
async fn ask(process: &mut HttpSession, request: Box<RequestHeader>, body: &[u8]) -> Result<Box<ResponseHeader>> {
    process.write_request_header(request).await?;
    if !body.is_empty() {
        process.write_body(body).await?;
    }
    process.finish_body().await?;
    loop {
        let head = process.read_resp_header_parts().await?;
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Error::e_explain(ErrorType::InvalidHTTPHeader, "the process speaks another protocol unasked");
        }
        if !head.status.is_informational() {
            return Ok(head);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The `Host` that a request with these headers goes on with, if it is asked here.
    fn host(method: &str, uri: &str, headers: &[(&'static str, &'static str)], has_body: bool) -> Option<String> {
        let mut head = RequestHeader::build(method, b"/x", None).unwrap();
        head.set_uri(uri.parse().unwrap());
        head.set_version(Version::HTTP_2);
        for (name, value) in headers {
            head.append_header(*name, *value).unwrap();
        }
        let request = plain(&head, has_body)?;
        assert_eq!((request.version, request.raw_path()), (Version::HTTP_11, &b"/x?a=b"[..]));
        let hosts: Vec<_> = request.headers.get_all(HOST).iter().collect();
        assert_eq!(hosts.len(), 1);
        Some(hosts[0].to_str().unwrap().to_owned())
    }

    const URI: &str = "https://a:8448/x?a=b";

    #[test]
    fn only_what_is_plain_is_asked_here() {
        let asked = Some("a:8448".to_owned());
        assert_eq!(host("GET", URI, &[], false), asked);
        assert_eq!(host("HEAD", URI, &[("host", "a:8448"), ("accept", "*/*")], false), asked);
        for header in [
            ("host", "b"),
            ("te", "trailers"),
            ("connection", "close"),
            ("expect", "100-continue"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
        ] {
            assert_eq!(host("GET", URI, &[header], false), None, "{header:?}");
        }
        assert_eq!(host("GET", "https://u@a:8448/x?a=b", &[], false), None);
        assert_eq!(host("GET", "/x?a=b", &[], false), None);
    }

    #[test]
    fn a_body_is_read_first_where_it_is_short_and_usual() {
        let table: [(&str, &[&str], bool, bool); 14] = [
            ("DELETE", &[], false, true),
            ("OPTIONS", &[], false, false),
            ("GET", &["0"], false, false),
            ("GET", &["2"], true, false),
            ("DELETE", &["2"], true, false),
            ("PUT", &["2"], true, true),
            ("POST", &["16384"], true, true),
            ("POST", &["16385"], true, false),
            ("POST", &["0"], false, true),
            ("POST", &[], false, false),
            ("POST", &[], true, false),
            ("POST", &["2", "2"], true, false),
            ("POST", &["+2"], true, false),
            ("POST", &["two"], true, false),
        ];
        for (method, lengths, has_body, expected) in table {
            let headers: Vec<_> = lengths.iter().map(|length| ("content-length", *length)).collect();
            assert_eq!(host(method, URI, &headers, has_body).is_some(), expected, "{method} {lengths:?} {has_body}");
        }
    }
}
