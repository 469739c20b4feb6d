//! What is no part of the Matrix API's three: pages and resources of Synapse's own, and `/.well-known`.

use super::{GET, GET_POST, GET_PUT_DELETE, OPTIONS, POST, Row, row};
use crate::endpoint::Class::{Main, Sso, WellKnown};

const ONLY: &[&str] = &[];

/// The rows. Where Synapse's resource is a leaf of Twisted's tree, it serves everything below itself, too.
#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    row(GET, ONLY, "/.well-known/matrix/client", WellKnown),
    row(GET, ONLY, "/.well-known/matrix/client/{*path}", WellKnown),
    row(GET, ONLY, "/.well-known/matrix/server", WellKnown),
    row(GET, ONLY, "/.well-known/matrix/server/{*path}", WellKnown),
    row(GET, ONLY, "/.well-known/matrix/support", WellKnown),

    row(GET, ONLY, "/", Main),
    row(GET, ONLY, "/health", Main),
    row(GET, ONLY, "/health/{*path}", Main),
    row(GET, ONLY, "/_matrix/static", Main),
    row(GET, ONLY, "/_matrix/static/{*path}", Main),
    row(GET_POST, ONLY, "/_matrix/consent", Main),

    row(GET, ONLY, "/_synapse/client/pick_idp", Sso),
    row(GET_POST, ONLY, "/_synapse/client/pick_username/account_details", Sso),
    row(GET, ONLY, "/_synapse/client/pick_username/check", Sso),
    row(GET_POST, ONLY, "/_synapse/client/new_user_consent", Sso),
    row(GET, ONLY, "/_synapse/client/sso_register", Sso),
    row(GET_POST, ONLY, "/_synapse/client/oidc/callback", Sso),
    row(GET_POST, ONLY, "/_synapse/client/oidc/callback/{*path}", Sso),
    row(POST, ONLY, "/_synapse/client/oidc/backchannel_logout", Sso),
    row(POST, ONLY, "/_synapse/client/oidc/backchannel_logout/{*path}", Sso),
    row(GET, ONLY, "/_synapse/client/saml2/metadata.xml", Sso),
    row(GET, ONLY, "/_synapse/client/saml2/metadata.xml/{*path}", Sso),
    row(GET_POST, ONLY, "/_synapse/client/saml2/authn_response", Sso),
    row(GET_POST, ONLY, "/_synapse/client/saml2/authn_response/{*path}", Sso),
    row(GET, ONLY, "/_matrix/saml2/metadata.xml", Sso),
    row(GET, ONLY, "/_matrix/saml2/metadata.xml/{*path}", Sso),
    row(GET_POST, ONLY, "/_matrix/saml2/authn_response", Sso),
    row(GET_POST, ONLY, "/_matrix/saml2/authn_response/{*path}", Sso),

    row(GET_POST, ONLY, "/_synapse/client/password_reset/email/submit_token", Main),
    row(GET_POST, ONLY, "/_synapse/client/password_reset/email/submit_token/{*path}", Main),
    row(GET_POST, ONLY, "/_synapse/client/unsubscribe", Main),
    row(GET, ONLY, "/_synapse/client/media_upload_limit_exceeded", Main),
    row(GET, ONLY, "/_synapse/client/v1/config/federation_whitelist", Main),
    // As the rendezvous of the client API, with preflights of their own.
    row(GET_PUT_DELETE.and(OPTIONS), ONLY, "/_synapse/client/rendezvous", Main),
    row(GET_PUT_DELETE.and(OPTIONS), ONLY, "/_synapse/client/rendezvous/{*path}", Main),
];
