//! Synapse's own empty answers, kept to be given again.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

/// An empty answer of Synapse's, status 200, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    /// The headers that are to be said again: without those of one hop or one moment.
    pub headers: Arc<[(HeaderName, HeaderValue)]>,
    /// The body.
    pub body: Bytes,
    /// Where the answer ends: `next_batch`, or `pos` in sliding sync.
    pub next: Box<str>,
    /// In sliding sync, `next_batch` of the to-device extension if it is there.
    pub to_device_next: Option<Box<str>>,
}
