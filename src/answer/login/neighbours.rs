//! What a login asks of others: the two reads of Synapse's database, and the one write, which Synapse does itself.
//!
//! These are interfaces, so that the order of a login's steps can be tested without a database and without a Synapse.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::HeaderMap;
use http::header::HeaderValue;

use crate::client_address::X_FORWARDED_FOR;
use crate::database::{Database, Unavailable, User};
use crate::route::rules::MAIN;
use crate::synapse::{self, Device, DeviceRequest, JwtLogin, RegisterError};
use crate::upstream::{Backend, Pools, Tried};

/// The users of the homeserver.
pub trait Users: Send + Sync {
    /// The user whose id this is, in whatever case. Of several that differ only in case the one that is spelled exactly
    /// so, else none (`_find_user_id_and_pwd_hash` in Synapse's `handlers/auth.py`).
    fn user(&self, user_id: &str) -> impl Future<Output = Result<Option<User>, Unavailable>> + Send;

    /// The id of the user whose third-party identifier this is.
    fn threepid_owner(
        &self,
        medium: &str,
        address: &str,
    ) -> impl Future<Output = Result<Option<String>, Unavailable>> + Send;
}

/// The write half of a login: Synapse makes device and tokens.
pub trait Devices: Send + Sync {
    /// Makes a device, or finds it, and tokens for it. `client` is where the login comes from.
    fn register(
        &self,
        request: DeviceRequest<'_>,
        client: Option<IpAddr>,
    ) -> impl Future<Output = Result<Registered, RegisterError>> + Send;
}

/// What the write half came to.
pub enum Registered {
    /// A device and its tokens.
    Device(Device),
    /// The body of Synapse's own answer to the login, which is the client's.
    Answer(Bytes),
}

/// What `GET /.well-known/matrix/client` says: JSON, verbatim; `None` while that is not known.
pub type WellKnown = Box<dyn Fn() -> Option<Bytes> + Send + Sync>;

/// Synapse's `Server` header; `None` while that is not known, or is not the same everywhere.
pub type ServerHeader = Box<dyn Fn() -> Option<HeaderValue> + Send + Sync>;

/// All that logins ask.
pub struct Neighbours<U, D> {
    /// The users of the homeserver.
    pub users: U,
    /// The write half.
    pub devices: D,
    /// What a success says of the server's addresses.
    pub well_known: WellKnown,
    /// In whose name logins are answered.
    pub server: ServerHeader,
}

/// Who does the write half.
pub enum Writer {
    /// The main process, as it does for Synapse's own workers.
    Replication(Arc<synapse::Devices>),
    /// `POST /login` at the main process, with signed tokens.
    Jwt {
        /// Signs them.
        login: JwtLogin,
        /// Among which the main process is.
        pools: Pools,
    },
}

/// How long the main process may be silent when it is asked to log somebody in.
const PATIENCE: Duration = Duration::from_secs(20);

impl Users for Arc<Database> {
    async fn user(&self, user_id: &str) -> Result<Option<User>, Unavailable> {
        Database::user(self, user_id).await
    }

    async fn threepid_owner(&self, medium: &str, address: &str) -> Result<Option<String>, Unavailable> {
        Database::threepid_owner(self, medium, address).await
    }
}

impl Devices for Writer {
    async fn register(&self, request: DeviceRequest<'_>, client: Option<IpAddr>) -> Result<Registered, RegisterError> {
        let (login, pools) = match self {
            Writer::Replication(devices) => return devices.register(&request).await.map(Registered::Device),
            Writer::Jwt { login, pools } => (login, pools),
        };
        let peer = main(pools).and_then(|main| main.peer(PATIENCE));
        let peer = peer.ok_or_else(|| RegisterError::NotReached("the main process is not in service".to_owned()))?;
        let forwarded_for = client.and_then(|client| HeaderValue::try_from(client.to_string()).ok());
        // Whose address Synapse counts a login by.
        let headers: HeaderMap = forwarded_for.map(|client| (X_FORWARDED_FOR, client)).into_iter().collect();
        let answer = login.log_in(&peer, &request, &headers, SystemTime::now()).await?;
        Ok(Registered::Answer(answer.body))
    }
}

fn main(pools: &Pools) -> Option<Arc<Backend>> {
    pools.named(MAIN)?.choose(None, &Tried::default(), Instant::now())
}
