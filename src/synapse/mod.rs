//! What dendron itself asks of Synapse, apart from the requests that it forwards.
//!
//! - [`client`]: one question to one process, and its answer.
//! - [`devices`]: a device and its tokens for a user who logs in.
//! - [`jwt`]: the same by a signed token, where the main process registers no devices.
//! - [`target`]: a listener of Synapse's that is in no pool.
//! - [`version`]: which Synapse it is.
//!
//! Not here: the checks of health (`upstream`), which have to meet what a new connection meets.

pub mod client;
pub mod devices;
pub mod jwt;
pub mod target;
pub mod version;

pub use client::{Answer, AskError, Client, MatrixError, Question};
pub use devices::{Device, DeviceRequest, Devices, RegisterError};
pub use jwt::{JwtLogin, JwtSettings};
pub use target::{Target, Transport};
pub use version::Version;
