//! Synapse's version, as it tells it of itself.

/// The first two numbers of a version, which tell what a release can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

/// What a `Server` header begins with (Synapse, `server.py`, `version_string`).
pub const PRODUCT: &str = "Synapse/";

impl Version {
    /// The version that a `Server` header tells; `None` if it is none of Synapse's.
    pub fn of_server(header: &str) -> Option<Self> {
        let mut numbers = header.strip_prefix(PRODUCT)?.split('.').map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Some(Version { major, minor }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_header_tells_the_version() {
        let table = [
            ("Synapse/1.163.2", Some((1, 163))),
            ("Synapse/1.134.0rc1", Some((1, 134))),
            ("Synapse/1.99.0 (b=develop,0123456)", Some((1, 99))),
            ("Synapse/2.0", Some((2, 0))),
            ("Synapse/1", None),
            ("Synapse/1.x.2", None),
            ("Synapse/", None),
            ("nginx/1.163.2", None),
            ("", None),
        ];
        for (header, expected) in table {
            let version = Version::of_server(header);
            assert_eq!(version.map(|version| (version.major, version.minor)), expected, "{header}");
        }
        assert!(Version { major: 1, minor: 134 } > Version { major: 1, minor: 99 });
        assert!(Version { major: 2, minor: 0 } > Version { major: 1, minor: 134 });
    }
}
