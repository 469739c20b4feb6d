//! Media, in each of its three places. Only processes with a media repository serve them, main is not always one, so
//! that whatever stands under these prefixes is media, known or not.

use super::{ANY, GET, POST, PUT, Row, row};
use crate::endpoint::Class::{Media, MediaUpload};

const EVERY: &[&str] = &["v3", "r0", "v1"];
const ONLY: &[&str] = &[];

/// The rows.
#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    row(ANY, ONLY, "/_matrix/media/{*path}", Media),
    row(POST, ONLY, "/_matrix/media/v1/create", Media),
    row(GET, EVERY, "/_matrix/media/v3/config", Media),
    row(GET, EVERY, "/_matrix/media/v3/preview_url", Media),
    row(POST, EVERY, "/_matrix/media/v3/upload", MediaUpload),
    row(PUT, ONLY, "/_matrix/media/v3/upload/{serverName}/{mediaId}", MediaUpload),
    row(GET, EVERY, "/_matrix/media/v3/download/{serverName}/{mediaId}", Media),
    row(GET, EVERY, "/_matrix/media/v3/download/{serverName}/{mediaId}/{fileName}", Media),
    row(GET, EVERY, "/_matrix/media/v3/thumbnail/{serverName}/{mediaId}", Media),

    row(ANY, ONLY, "/_matrix/client/v1/media/{*path}", Media),
    row(GET, ONLY, "/_matrix/client/v1/media/config", Media),
    row(GET, ONLY, "/_matrix/client/v1/media/preview_url", Media),
    row(GET, ONLY, "/_matrix/client/v1/media/download/{serverName}/{mediaId}", Media),
    row(GET, ONLY, "/_matrix/client/v1/media/download/{serverName}/{mediaId}/{fileName}", Media),
    row(GET, ONLY, "/_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}", Media),

    row(ANY, ONLY, "/_matrix/federation/v1/media/{*path}", Media),
    row(GET, ONLY, "/_matrix/federation/v1/media/download/{mediaId}", Media),
    row(GET, ONLY, "/_matrix/federation/v1/media/thumbnail/{mediaId}", Media),
];
