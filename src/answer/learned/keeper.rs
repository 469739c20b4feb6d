//! The background task that keeps the learned answers fresh: it asks what is due, one question at a time, of a process
//! that the same request of a client's could have gone to.
//!
//! Only processes that say in their answers to health checks that they are Synapse are asked anything.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use http::header::SERVER;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;

use super::shelf::Learned;
use super::{Answers, Document, Item, Shelf};
use crate::route::Routes;
use crate::synapse::version::PRODUCT;
use crate::synapse::{Answer, AskError, Client};
use crate::upstream::{Pools, Tried};

/// How often the keeper looks whether something is to be done.
const TICK: Duration = Duration::from_millis(500);
/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Keeps the answers fresh.
pub struct Keeper {
    answers: Arc<Answers>,
    pools: Pools,
    routes: Routes,
    client: Client,
}

impl Keeper {
    /// A keeper that asks the processes of these pools.
    pub fn new(answers: Arc<Answers>, pools: Pools, routes: Routes) -> Self {
        Keeper { answers, pools, routes, client: Client::default() }
    }

    /// Asks for ever. Dropping the future ends it.
    async fn keep(&self) {
        let mut shelf = Shelf::clone(&self.answers.shelf.load());
        loop {
            let versions = self.versions();
            if shelf.see_versions(versions.iter().map(String::as_str), Instant::now()) {
                tracing::info!(?versions, "the near-static answers are learned anew for these versions of Synapse");
                self.publish(&shelf);
            }
            match shelf.due(Instant::now()) {
                Some(item) => {
                    self.renew(&mut shelf, item).await;
                    self.publish(&shelf);
                }
                None => tokio::time::sleep(TICK).await,
            }
        }
    }

    fn publish(&self, shelf: &Shelf) {
        self.answers.shelf.store(Arc::new(shelf.clone()));
    }

    /// The versions of Synapse's processes that are in service, as their last answers told.
    fn versions(&self) -> Vec<String> {
        let healthy = self.pools.backends().iter().filter(|backend| backend.is_healthy());
        let mut versions: Vec<String> =
            healthy.filter_map(|backend| backend.server()).filter(|server| server.starts_with(PRODUCT)).collect();
        versions.sort_unstable();
        versions.dedup();
        versions
    }

    async fn renew(&self, shelf: &mut Shelf, item: Item) {
        let (version, learned) = match self.ask(item).await {
            Ok(answer) => {
                let version = answer.headers.get(SERVER).and_then(|value| value.to_str().ok());
                let version = version.filter(|server| server.starts_with(PRODUCT)).map(str::to_owned);
                (version, learned(item, answer))
            }
            Err(reason) => {
                tracing::debug!(?item, %reason, "not learned");
                (None, Learned::Failure)
            }
        };
        shelf.learn(item, version.as_deref(), learned, Instant::now());
    }

    async fn ask(&self, item: Item) -> Result<Answer, AskError> {
        let route = self.routes.of(item.class());
        let pools = [Some(route.pool), route.fallback].into_iter().flatten().filter_map(|place| self.pools.at(place));
        let backend = { pools }.find_map(|pool| pool.choose(None, &Tried::default(), Instant::now()));
        let backend = backend.filter(|backend| backend.server().is_some_and(|server| server.starts_with(PRODUCT)));
        let peer = backend.and_then(|backend| backend.peer(PATIENCE)).ok_or(AskError::Unresolved)?;
        self.client.ask(&peer, &item.question(), PATIENCE).await
    }
}

#[async_trait]
impl BackgroundService for Keeper {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        tokio::select! {
            () = self.keep() => {}
            _ = shutdown.changed() => {}
        }
    }
}

fn learned(item: Item, answer: Answer) -> Learned {
    // An error of the moment says nothing about the document that is there.
    if answer.status.is_server_error() || answer.status.as_u16() == 429 {
        return Learned::Failure;
    }
    match Document::learn(item, answer, Instant::now(), SystemTime::now()) {
        Some(document) => Learned::Document(document),
        None => Learned::Nothing,
    }
}
