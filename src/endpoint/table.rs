//! Every endpoint of a current Synapse, one row each.
//!
//! The rows say what Synapse 1.163 serves and where: what the documentation of its workers lists (`docs/workers.md`)
//! has the class of that list, and everything else is [`Class::Main`], even where a worker happens to serve it, since
//! nobody promises that it will go on to do so. `scripts/servlets.py` asks an installed Synapse what it serves, and
//! the integration tests hold the table against it.
//!
//! Where the Matrix Authentication Service has taken logins over, [`authentication_rows`] stand before the others.
//!
//! Each of Synapse 1.163's expressions matches a whole path. What older releases matched by a beginning alone is not
//! known here, and goes to main.
//!
//! Not here: what a query decides (`tree`), and paths that Synapse does not know.

mod admin;
mod authentication;
mod client;
mod federation;
mod media;
mod synapse;

use super::Class;

/// One endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The methods that Synapse serves here.
    pub methods: Methods,
    /// The versions of the API that the path is served under. The first stands in the template, and each of the others
    /// may stand in its place, `{version}` for any. Without any, the template is the only path.
    pub versions: &'static [&'static str],
    /// The path, with `{name}` for one segment of any text, even none, and at the end `{*name}` for all that follows
    /// behind the slash. It is also the label.
    pub template: &'static str,
    /// The class.
    pub class: Class,
}

/// A set of request methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Methods(u8);

impl Methods {
    /// `GET`, and `HEAD`, which Synapse serves as `GET` (`synapse/http/server.py`).
    pub const GET: Methods = Methods(1);
    /// `PUT`.
    pub const PUT: Methods = Methods(2);
    /// `POST`.
    pub const POST: Methods = Methods(4);
    /// `DELETE`.
    pub const DELETE: Methods = Methods(8);
    /// `OPTIONS`. A row that names it keeps preflights in its own class.
    pub const OPTIONS: Methods = Methods(16);
    /// Whatever else there is.
    pub const OTHER: Methods = Methods(32);

    /// The one method of a request.
    pub fn of(method: &http::Method) -> Self {
        match *method {
            http::Method::GET | http::Method::HEAD => Self::GET,
            http::Method::PUT => Self::PUT,
            http::Method::POST => Self::POST,
            http::Method::DELETE => Self::DELETE,
            http::Method::OPTIONS => Self::OPTIONS,
            _ => Self::OTHER,
        }
    }

    /// The methods of both sets.
    pub const fn and(self, other: Methods) -> Self {
        Methods(self.0 | other.0)
    }

    /// Whether every method of the other set is in this one.
    pub const fn contains(self, other: Methods) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Every row.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    [client::ROWS, media::ROWS, federation::ROWS, synapse::ROWS, admin::ROWS].into_iter().flatten()
}

/// The rows that the Matrix Authentication Service answers, each a path that Synapse then does not serve.
pub fn authentication_rows() -> impl Iterator<Item = &'static Row> {
    authentication::ROWS.iter()
}

const GET: Methods = Methods::GET;
const PUT: Methods = Methods::PUT;
const POST: Methods = Methods::POST;
const DELETE: Methods = Methods::DELETE;
const GET_PUT: Methods = GET.and(PUT);
const GET_POST: Methods = GET.and(POST);
const GET_DELETE: Methods = GET.and(DELETE);
const PUT_DELETE: Methods = PUT.and(DELETE);
const GET_PUT_DELETE: Methods = GET_PUT.and(DELETE);
const GET_POST_DELETE: Methods = GET_POST.and(DELETE);
const OPTIONS: Methods = Methods::OPTIONS;
/// Every method but `OPTIONS`, so that preflights stay preflights.
const ANY: Methods = GET_PUT_DELETE.and(POST).and(Methods::OTHER);

/// One row.
const fn row(methods: Methods, versions: &'static [&'static str], template: &'static str, class: Class) -> Row {
    Row { methods, versions, template, class }
}
