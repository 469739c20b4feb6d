//! The few reads of Synapse's PostgreSQL that logins and parked syncs need. Nothing is ever written.
//!
//! - [`settings`]: homeserver.yaml's arguments → how the database is reached.
//! - [`connections`]: a few connections that are kept up; a request uses one at once, or learns at once that none stands.
//! - [`schema`]: whether the database is one that may be read.
//! - [`users`]: the questions of logins.
//! - [`rooms`]: those of parked syncs.
//!
//! Not here: what the answers mean for a login (`answer`), and everything that is only Synapse's business.
//!
//! # The role
//!
//! Dendron connects as Synapse does. It needs no more than this, so that a role of its own can be as small:
//!
//! ```sql
//! CREATE ROLE dendron LOGIN PASSWORD '…' CONNECTION LIMIT 10;
//! GRANT CONNECT ON DATABASE synapse TO dendron;
//! GRANT USAGE ON SCHEMA public TO dendron;
//! GRANT SELECT (name, password_hash, deactivated, locked, approved) ON users TO dendron;
//! GRANT SELECT (user_id, medium, address) ON user_threepids TO dendron;
//! GRANT SELECT (version) ON schema_version TO dendron;
//! GRANT SELECT (compat_version) ON schema_compat_version TO dendron;
//! -- For parked syncs; without these, logins are answered all the same.
//! GRANT SELECT (room_id, type, state_key, membership) ON current_state_events TO dendron;
//! GRANT SELECT (room_id, user_id, membership) ON local_current_membership TO dendron;
//! GRANT SELECT (room_id, stream_id) ON device_lists_changes_in_room TO dendron;
//! GRANT SELECT (instance_id, instance_name) ON instance_map TO dendron;
//! GRANT SELECT (stream_name, instance_name, stream_id) ON stream_positions TO dendron;
//! ```
//!
//! A pooler between dendron and PostgreSQL has to keep prepared statements; behind one that does not, logins are
//! forwarded.

mod connect;
pub mod connections;
mod dsn;
pub mod rooms;
pub mod schema;
pub mod settings;
mod tls;
pub mod users;

pub use connections::{Database, State, Unavailable};
pub use schema::SchemaError;
pub use settings::{Arguments, Settings, Unusable};
pub use users::User;
