//! Which part of Synapse's resource tree a path reaches, as far as that decides who may reach it.
//!
//! Synapse hangs its parts into a tree of Twisted's, whose walk is more forgiving than Synapse's own patterns: it
//! decodes each segment, takes any first character for the slash, and where the root redirects (`RootRedirect` in
//! `synapse/http/server.py`) it takes empty segments in front as if they were not there. So `//_synapse/metrics` and
//! `/_synapse/%6detrics` are the metrics. What is here forgives the same, and a little more.
//!
//! Twisted does not resolve `.` and `..`, nor an empty segment between two others, so neither does this.

use super::segment::decodes_to;

/// A part of the resource tree, by who may reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Area {
    /// What clients and other servers use.
    Public,
    /// Below `/_synapse/admin`.
    Admin,
    /// Below `/_synapse/mas`.
    Mas,
    /// Anything else below `/_synapse`.
    Private,
}

impl Area {
    /// The part that a raw path reaches.
    pub(super) fn of(path: &str) -> Self {
        // Nearly every path, and none that could be private.
        if path.starts_with("/_matrix/") {
            return Area::Public;
        }
        let mut characters = path.chars();
        characters.next();
        let mut segments = characters.as_str().split('/').skip_while(|segment| segment.is_empty());
        if !segments.next().is_some_and(|first| decodes_to(first, "_synapse")) {
            return Area::Public;
        }
        match segments.next() {
            Some(second) if decodes_to(second, "client") => Area::Public,
            Some(second) if decodes_to(second, "admin") => Area::Admin,
            Some(second) if decodes_to(second, "mas") => Area::Mas,
            _ => Area::Private,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgives_what_twisted_forgives() {
        for (path, area) in [
            ("", Area::Public),
            ("/", Area::Public),
            ("*", Area::Public),
            ("/_matrix/client/versions", Area::Public),
            ("/_matrix/../_synapse/metrics", Area::Public),
            ("/_synapse", Area::Private),
            ("/_synapse/", Area::Private),
            ("/_synapse//admin", Area::Private),
            ("/_synapse/./admin", Area::Private),
            ("/_synapse/metrics", Area::Private),
            ("/_synapse/%6detrics", Area::Private),
            ("/%5Fsynapse/metrics", Area::Private),
            ("//_synapse/metrics", Area::Private),
            ("////_synapse/replication/", Area::Private),
            ("x_synapse/metrics", Area::Private),
            ("é_synapse/metrics", Area::Private),
            ("/_synapse/Admin", Area::Private),
            ("/_synapse/admin", Area::Admin),
            ("/_synapse/%61dmin/v1/rooms", Area::Admin),
            ("//_synapse/admin/v1/rooms", Area::Admin),
            ("/_synapse/admin/../metrics", Area::Admin),
            ("//_synapse/m%61s/query_user", Area::Mas),
            ("/_synapse/client/pick_idp", Area::Public),
            ("/_synapse/client/../metrics", Area::Public),
            ("/_synapse%2Fmetrics", Area::Public),
            ("/_Synapse/metrics", Area::Public),
            ("/%255fsynapse/metrics", Area::Public),
        ] {
            assert_eq!(Area::of(path), area, "{path}");
        }
    }
}
