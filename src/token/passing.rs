//! What it means for tokens that a request has succeeded.

use http::Method;

/// What a success means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The answer gives a token and says to whom.
    Gives,
    /// The answer gives a token in place of the request's own.
    Renews,
    /// The request's own token has ended.
    EndsToken,
    /// Tokens of the caller have ended, or may have.
    EndsCallers,
    /// Tokens of the user in the path have ended, or may have.
    EndsUsers,
}

/// What the success of a request to this endpoint means; `None` if nothing. Where it is not certain which of a user's
/// tokens have ended, all are taken to have.
pub fn meaning(method: &Method, label: &str) -> Option<Meaning> {
    let meaning = match label {
        "/_matrix/client/v3/login" | "/_matrix/client/v3/register" => Meaning::Gives,
        "/_matrix/client/v3/refresh" => Meaning::Renews,
        "/_matrix/client/v3/logout" => Meaning::EndsToken,
        "/_matrix/client/v3/logout/all"
        | "/_matrix/client/v3/account/password"
        | "/_matrix/client/v3/account/deactivate"
        | "/_matrix/client/v3/delete_devices"
        | "/_matrix/client/v3/devices/{deviceId}" => Meaning::EndsCallers,
        "/_synapse/admin/v2/users/{userId}"
        | "/_synapse/admin/v2/users/{userId}/delete_devices"
        | "/_synapse/admin/v2/users/{userId}/devices/{deviceId}"
        | "/_synapse/admin/v1/deactivate/{userId}"
        | "/_synapse/admin/v1/reset_password/{userId}"
        | "/_synapse/admin/v1/suspend/{userId}" => Meaning::EndsUsers,
        _ => return None,
    };
    // Nothing is changed by a question, and a device only renamed by a `PUT`.
    let is_question = *method == Method::GET || *method == Method::HEAD || *method == Method::OPTIONS;
    let is_renaming = *method == Method::PUT && label.ends_with("/devices/{deviceId}");
    (!is_question && !is_renaming).then_some(meaning)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoints;

    #[test]
    fn a_success_means_what_the_endpoint_does() {
        let table = [
            ("POST /_matrix/client/r0/login", Some(Meaning::Gives)),
            ("GET /_matrix/client/v3/login", None),
            ("POST /_matrix/client/v3/register", Some(Meaning::Gives)),
            ("POST /_matrix/client/v3/refresh", Some(Meaning::Renews)),
            ("POST /_matrix/client/v3/logout", Some(Meaning::EndsToken)),
            ("POST /_matrix/client/r0/logout/all", Some(Meaning::EndsCallers)),
            ("POST /_matrix/client/v3/account/password", Some(Meaning::EndsCallers)),
            ("POST /_matrix/client/v3/account/password/email/requestToken", None),
            ("POST /_matrix/client/v3/account/deactivate", Some(Meaning::EndsCallers)),
            ("POST /_matrix/client/v3/delete_devices", Some(Meaning::EndsCallers)),
            ("DELETE /_matrix/client/v3/devices/D", Some(Meaning::EndsCallers)),
            ("PUT /_matrix/client/v3/devices/D", None),
            ("GET /_matrix/client/v3/devices/D", None),
            ("PUT /_synapse/admin/v2/users/@a:b", Some(Meaning::EndsUsers)),
            ("GET /_synapse/admin/v2/users/@a:b", None),
            ("POST /_synapse/admin/v2/users/@a:b/delete_devices", Some(Meaning::EndsUsers)),
            ("DELETE /_synapse/admin/v2/users/@a:b/devices/D", Some(Meaning::EndsUsers)),
            ("PUT /_synapse/admin/v2/users/@a:b/devices/D", None),
            ("POST /_synapse/admin/v1/deactivate/@a:b", Some(Meaning::EndsUsers)),
            ("POST /_synapse/admin/v1/reset_password/@a:b", Some(Meaning::EndsUsers)),
            ("PUT /_synapse/admin/v1/suspend/@a:b", Some(Meaning::EndsUsers)),
            ("GET /_matrix/client/v3/sync", None),
        ];
        for (line, expected) in table {
            let (method, path) = line.split_once(' ').unwrap();
            let method: Method = method.parse().unwrap();
            let label = Endpoints::new().classify(&method, path, None).label;
            assert_eq!(meaning(&method, label), expected, "{line}");
        }
    }
}
