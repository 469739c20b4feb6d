//! What the Matrix Authentication Service answers in Synapse's place, once it has taken logins over.
//!
//! Its documentation asks for `/_matrix/client/*/login`, `logout` and `refresh`. The exact paths and methods are those of
//! its own routes, of its compatibility layer (`crates/router/src/endpoints.rs`, `crates/handlers/src/lib.rs`): one
//! segment of any text for the version, and the path undecoded. Everything else with such a word in it stays Synapse's.
//!
//! Synapse does not register any of these then (`register_servlets` in `rest/client/login.py` and `logout.py`).

use super::{GET, GET_POST, OPTIONS, POST, Row, row};
use crate::endpoint::Class::Authentication;

const ANY: &[&str] = &["v3", "{version}"];

/// The rows. Preflights go with the requests that they ask about, since the service allows other headers than Synapse;
/// the redirect is a page that a browser goes to, which needs none.
#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    row(GET_POST.and(OPTIONS), ANY, "/_matrix/client/v3/login", Authentication),
    row(POST.and(OPTIONS), ANY, "/_matrix/client/v3/logout", Authentication),
    row(POST.and(OPTIONS), ANY, "/_matrix/client/v3/logout/all", Authentication),
    row(POST.and(OPTIONS), ANY, "/_matrix/client/v3/refresh", Authentication),
    row(GET, ANY, "/_matrix/client/v3/login/sso/redirect", Authentication),
    row(GET, ANY, "/_matrix/client/v3/login/sso/redirect/", Authentication),
    row(GET, ANY, "/_matrix/client/v3/login/sso/redirect/{idpId}", Authentication),
];
