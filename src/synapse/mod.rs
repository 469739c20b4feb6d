//! What dendron itself asks of Synapse, apart from the requests that it forwards.
//!
//! - [`client`]: one question to one process, and its answer.
//! - [`devices`]: a device and its tokens for a user who logs in.
//! - [`target`]: a listener of Synapse's that is in no pool.
//!
//! Not here: the checks of health (`upstream`), which have to meet what a new connection meets.

pub mod client;
pub mod devices;
pub mod target;

pub use client::{Answer, AskError, Client, Question};
pub use devices::{Device, DeviceRequest, Devices, RegisterError};
pub use target::{Target, Transport};
