//! A dendron inside of the test, whose callers can be asked. It stands before a stack's Synapse, beside the stack's own
//! dendron: what is sent through that one passes this one by.

use std::thread::JoinHandle;
use std::time::Instant;

use async_trait::async_trait;
use dendron::answer::Offer;
use dendron::config::{Source, load};
use dendron::credentials::AccessToken;
use dendron::replication::State;
use dendron::route::Key;
use dendron::server::Dendron;
use dendron::token::{Caller, TokenHash, Visitor};
use libtest_mimic::Failed;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{RunArgs, Server, ShutdownSignal, ShutdownSignalWatch};
use tokio::sync::watch;

use crate::harness::eventually::{SOON, eventually};
use crate::harness::http::Client;
use crate::harness::stack::{Stack, free_address};
use crate::login::edge::changed;

/// A running dendron. Dropping it ends it.
pub struct Inside {
    pub client: Client,
    dendron: Dendron,
    stop: watch::Sender<()>,
    thread: Option<JoinHandle<()>>,
}

/// Ends the server when the test says so, or has ended itself.
struct Stop(watch::Receiver<()>);

#[async_trait]
impl ShutdownSignalWatch for Stop {
    async fn recv(&self) -> ShutdownSignal {
        let _ = self.0.clone().changed().await;
        ShutdownSignal::FastShutdown
    }
}

impl Inside {
    /// Starts one. `changes` are settings in place of those of the stack's homeserver.yaml.
    pub fn start(stack: &Stack, name: &str, changes: &str) -> Result<Self, Failed> {
        let folder = stack.subfolder(name)?;
        let homeserver = std::fs::read_to_string(stack.text(&["synapse", "homeserver"]))?;
        std::fs::write(folder.join("homeserver.yaml"), changed(&homeserver, changes)?)?;
        let workers = stack.facts["synapse"]["workers"].to_string();
        let config = folder.join("dendron.yaml");
        let settings = format!("synapse: {{config: [homeserver.yaml], workers: {workers}}}\nlog: {{access: off}}\n");
        std::fs::write(&config, settings)?;
        let (config, _) = load(&Source::File(config)).map_err(|problems| problems.to_string())?;
        let dendron = Dendron::build(&config)?;

        let address = free_address()?;
        let mut server = Server::new_with_opt_and_conf(None, ServerConf::default());
        server.bootstrap();
        let mut edge = pingora_proxy::http_proxy_service(&server.configuration, dendron.edge(Offer::default()));
        edge.add_tcp(&address);
        server.add_service(edge);
        server.add_services(dendron.background_services());
        let (stop, stopped) = watch::channel(());
        let signal = Stop(stopped);
        let thread = std::thread::spawn(move || server.run(RunArgs { shutdown_signal: Box::new(signal) }));
        let inside = Inside { client: Client::new(&format!("http://{address}")), dendron, stop, thread: Some(thread) };
        eventually(SOON, || inside.client.get("/_matrix/client/versions").map(drop))?;
        Ok(inside)
    }

    /// Waits until Synapse's stream is in this state.
    pub fn wait_for(&self, state: State) -> Result<(), Failed> {
        let following = self.dendron.following().ok_or("nothing is followed")?;
        eventually(SOON, || {
            let found = *following.state().borrow();
            if found == state { Ok(()) } else { Err(format!("it is {found:?}, not {state:?}").into()) }
        })
    }

    /// Whether there is a stream to follow.
    pub fn follows(&self) -> bool {
        self.dendron.following().is_some()
    }

    /// Who is behind a token, if that is believed.
    pub fn believed(&self, token: &str) -> Option<Caller> {
        self.dendron.callers().get(self.hash(token)?, Instant::now())
    }

    /// What syncs with this token are balanced by, if it is known whose it is or was.
    pub fn key(&self, token: &str) -> Option<Key> {
        self.dendron.callers().balancing_key(self.hash(token)?)
    }

    /// Has Synapse asked about a token.
    pub fn ask(&self, token: &str) {
        let (authorization, callers) = (authorization(token), self.dendron.callers());
        if let Some(token) = AccessToken::of_request(Some(authorization.as_bytes()), None) {
            callers.ask(callers.hash(&token), &token, Visitor::default(), Instant::now());
        }
    }

    /// The value of a metric, with its labels as the text has them; 0 if there is none yet.
    pub fn metric(&self, name: &str) -> Result<f64, Failed> {
        let text = String::from_utf8(self.dendron.metrics().text()?)?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.map_or(Ok(0.0), str::parse)?)
    }

    fn hash(&self, token: &str) -> Option<TokenHash> {
        let authorization = authorization(token);
        AccessToken::of_request(Some(authorization.as_bytes()), None).map(|token| self.dendron.callers().hash(&token))
    }
}

fn authorization(token: &str) -> String {
    format!("Bearer {token}")
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.stop.send_replace(());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
