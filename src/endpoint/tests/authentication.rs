//! The table where the Matrix Authentication Service has taken logins over.

use std::sync::LazyLock;

use http::Method;

use super::{METHODS, classify, paths, takes};
use crate::endpoint::table::{authentication_rows, rows};
use crate::endpoint::{Class, Endpoint, Endpoints};

static DELEGATED: LazyLock<Endpoints> = LazyLock::new(Endpoints::with_authentication);

fn delegated(method: &str, path: &str) -> Endpoint {
    DELEGATED.classify(&Method::from_bytes(method.as_bytes()).unwrap(), path, None)
}

#[test]
fn exactly_the_paths_of_the_service_go_there() {
    for (method, path, class) in [
        ("GET", "v3/login", Class::Authentication),
        ("HEAD", "v3/login", Class::Authentication),
        ("POST", "r0/login", Class::Authentication),
        ("POST", "unstable/login", Class::Authentication),
        ("POST", "v1/login", Class::Authentication),
        ("OPTIONS", "v3/login", Class::Authentication),
        ("GET", "v3/login/sso/redirect", Class::Authentication),
        ("GET", "r0/login/sso/redirect/", Class::Authentication),
        ("GET", "unstable/login/sso/redirect/oidc-x", Class::Authentication),
        ("POST", "v3/logout", Class::Authentication),
        ("POST", "r0/logout/all", Class::Authentication),
        ("POST", "v1/refresh", Class::Authentication),
        ("OPTIONS", "unstable/refresh", Class::Authentication),
        // Methods that the service does not serve.
        ("PUT", "v3/login", Class::Unknown),
        ("DELETE", "v3/login", Class::Unknown),
        ("GET", "v3/logout", Class::Unknown),
        ("GET", "v3/logout/all", Class::Unknown),
        ("GET", "v3/refresh", Class::Unknown),
        ("POST", "v3/login/sso/redirect", Class::Unknown),
        ("OPTIONS", "v3/login/sso/redirect", Class::Preflight),
        // Paths that are nearly the service's.
        ("POST", "api/v1/login", Class::Login),
        ("POST", "api/v1/logout", Class::Main),
        ("POST", "/login", Class::Unknown),
        ("POST", "v3//login", Class::Unknown),
        ("POST", "v3/login/", Class::Unknown),
        ("POST", "v3/loginx", Class::Unknown),
        ("POST", "v3/Login", Class::Unknown),
        ("POST", "v3/log%69n", Class::Unknown),
        ("POST", "v3%2Flogin", Class::Unknown),
        ("POST", "v3/./login", Class::Unknown),
        ("POST", "v3/x/../login", Class::Unknown),
        ("POST", "v3/login;x", Class::Unknown),
        ("POST", "v3/logout/", Class::Unknown),
        ("POST", "v3/logout/all/", Class::Unknown),
        ("POST", "v3/logout/%61ll", Class::Unknown),
        ("POST", "v3/refresh/x", Class::Unknown),
        ("GET", "v3/login/sso", Class::Unknown),
        ("GET", "v3/login/sso/redirect/x/y", Class::Unknown),
        ("GET", "v3/login/sso/redirect//", Class::Unknown),
        // What has such a word in it, and is another thing.
        ("GET", "v3/login/cas/redirect", Class::Sso),
        ("POST", "v1/login/get_token", Class::Main),
        ("POST", "v3/tokenrefresh", Class::Main),
        ("POST", "v3/register", Class::Login),
        ("PUT", "v3/rooms/!a:b/send/loginevent/1", Class::EventSend),
        ("PUT", "v3/rooms/!a:b/send/m.login/login", Class::EventSend),
        ("PUT", "v3/user/@me:b/account_data/logout", Class::AccountData),
        ("GET", "v3/user/@me:b/account_data/login", Class::AccountData),
        ("GET", "v3/rooms/refresh/state", Class::RoomRead),
    ] {
        let path = format!("/_matrix/client/{path}");
        assert_eq!(delegated(method, &path).class, class, "{method} {path}");
        assert_ne!(classify(method, &path).0.class, Class::Authentication, "{method} {path} without the service");
    }
    for path in ["//_matrix/client/v3/login", "/_matrix/client/v3/login?x", "/_matrix//client/v3/login", "/login"] {
        assert_eq!(delegated("POST", path).class, Class::Unknown, "{path}");
    }
}

#[test]
fn every_other_path_is_what_it_is_without_the_service() {
    let is_taken = |template| authentication_rows().any(|row| row.template == template);
    for row in rows().filter(|row| !is_taken(row.template)) {
        for path in paths(row) {
            for method in METHODS {
                let without = classify(method, &path).0;
                let with = delegated(method, &path);
                assert_eq!((with.class, with.label, with.subject), (without.class, without.label, without.subject));
            }
        }
    }
}

#[test]
fn a_path_has_one_label_whoever_serves_it() {
    for row in authentication_rows() {
        let version = row.template.replacen("/v3/", "/v9/", 1);
        for method in METHODS.into_iter().filter(|method| takes(row, method)) {
            for path in [row.template, version.as_str()] {
                let endpoint = delegated(method, path);
                assert_eq!((endpoint.class, endpoint.label), (Class::Authentication, row.template), "{method} {path}");
            }
        }
    }
}
