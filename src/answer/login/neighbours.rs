//! What a login asks of others: the two reads of Synapse's database, and the one write, which Synapse does itself.
//!
//! These are interfaces, so that the order of a login's steps can be tested without a database and without a Synapse.

use std::sync::Arc;

use crate::database::{Database, Unavailable, User};
use crate::synapse::{self, Device, DeviceRequest, RegisterError};

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

/// The write half of a login: Synapse's main process makes device and tokens.
pub trait Devices: Send + Sync {
    /// Makes a device, or finds it, and tokens for it.
    fn register(&self, request: DeviceRequest<'_>) -> impl Future<Output = Result<Device, RegisterError>> + Send;
}

impl Users for Arc<Database> {
    async fn user(&self, user_id: &str) -> Result<Option<User>, Unavailable> {
        Database::user(self, user_id).await
    }

    async fn threepid_owner(&self, medium: &str, address: &str) -> Result<Option<String>, Unavailable> {
        Database::threepid_owner(self, medium, address).await
    }
}

impl Devices for Arc<synapse::Devices> {
    async fn register(&self, request: DeviceRequest<'_>) -> Result<Device, RegisterError> {
        synapse::Devices::register(self, &request).await
    }
}
