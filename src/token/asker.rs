//! The background task that asks Synapse whose a token is: `/account/whoami` with the client's own token, of a process
//! that the same request of the client's could have gone to, few at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::header::{AUTHORIZATION, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, StatusCode};
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;

use super::questions::{Open, Visitor};
use super::{Callers, whoami};
use crate::client_address::X_FORWARDED_FOR;
use crate::endpoint::Class;
use crate::route::Routes;
use crate::synapse::{Answer, AskError, Client, Question};
use crate::upstream::{Pools, Tried};

/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The class of the endpoint.
const CLASS: Class = Class::ClientRead;

/// Asks what [`Callers::ask`] wants to know.
pub struct Asker {
    callers: Arc<Callers>,
    pools: Pools,
    routes: Routes,
    client: Client,
}

impl Asker {
    /// An asker of the processes of these pools.
    pub fn new(callers: Arc<Callers>, pools: Pools, routes: Routes) -> Self {
        Asker { callers, pools, routes, client: Client::default() }
    }

    /// Asks one question after the other, for ever.
    async fn work(&self) {
        while let Some(open) = self.callers.next_question().await {
            let asked = Instant::now();
            let outcome = match self.ask(&open).await {
                Ok(answer) if answer.status == StatusCode::OK => match whoami::caller(&answer.body) {
                    Some(caller) => {
                        self.callers.learn(open.hash, caller, asked, None);
                        "learned"
                    }
                    None => "failed",
                },
                Ok(answer) if answer.status.is_client_error() => "refused",
                Ok(_) => "failed",
                Err(error) => {
                    tracing::debug!(%error, "a token's caller was not learned");
                    "failed"
                }
            };
            self.callers.count_question(outcome);
        }
    }

    async fn ask(&self, open: &Open) -> Result<Answer, AskError> {
        let route = self.routes.of(CLASS);
        let pools = [Some(route.pool), route.fallback].into_iter().flatten().filter_map(|place| self.pools.at(place));
        let backend = { pools }.find_map(|pool| pool.choose(None, &Tried::default(), Instant::now()));
        let peer = backend.and_then(|backend| backend.peer(PATIENCE)).ok_or(AskError::Unresolved)?;
        let question =
            Question { method: Method::GET, path: whoami::PATH.to_owned(), headers: headers(open), body: None };
        self.client.ask(&peer, &question, PATIENCE).await
    }
}

/// The client's token, and what Synapse notes of whoever shows it.
fn headers(open: &Open) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(mut authorization) = HeaderValue::try_from(format!("Bearer {}", open.token.expose())) {
        authorization.set_sensitive(true);
        headers.insert(AUTHORIZATION, authorization);
    }
    let Visitor { address, user_agent } = &open.visitor;
    if let Some(address) = address.and_then(|address| HeaderValue::try_from(address.to_string()).ok()) {
        headers.insert(X_FORWARDED_FOR, address);
    }
    if let Some(user_agent) = user_agent {
        headers.insert(USER_AGENT, user_agent.clone());
    }
    headers
}

#[async_trait]
impl BackgroundService for Asker {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        // As many as are asked at once.
        let workers = async { tokio::join!(self.work(), self.work(), self.work(), self.work()) };
        tokio::select! {
            _ = workers => {}
            _ = shutdown.changed() => {}
        }
    }
}
