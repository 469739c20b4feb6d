//! What psycopg2 and libpq make of arguments.

use super::*;

type Pairs = &'static [(&'static str, &'static str)];
type Texts = [Option<&'static str>; 3];
type Security = Result<(SslMode, Roots), Unusable>;

fn read(named: &[(&str, &str)], dsn: Option<&str>, variables: &[(&str, &str)]) -> Result<Settings, Unusable> {
    let mut arguments = Arguments { dsn: dsn.map(Secret::new), ..Arguments::default() };
    for (key, value) in named {
        match *key {
            "password" => arguments.password = Some(Secret::new(*value)),
            key => drop(arguments.named.insert(key.to_owned(), (*value).to_owned())),
        }
    }
    Settings::read(&arguments, |name| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    })
}

fn tcp(name: &str, address: Option<&str>, port: u16) -> Host {
    let address = address.map(|address| address.parse().unwrap());
    Host { place: Place::Tcp { name: name.to_owned(), address }, port }
}

fn unix(path: &str, port: u16) -> Host {
    Host { place: Place::Unix(PathBuf::from(path)), port }
}

#[test]
fn hosts_are_lists() {
    let table: [(Pairs, Result<Vec<Host>, Unusable>); 13] = [
        (&[], Ok(vec![unix("/var/run/postgresql", 5432)])),
        (&[("host", "")], Ok(vec![unix("/var/run/postgresql", 5432)])),
        (&[("host", "/run/pg"), ("port", "5433")], Ok(vec![unix("/run/pg", 5433)])),
        (&[("host", "db.example")], Ok(vec![tcp("db.example", None, 5432)])),
        (&[("host", "a,b"), ("port", "1")], Ok(vec![tcp("a", None, 1), tcp("b", None, 1)])),
        (&[("host", "a,/b"), ("port", "1,")], Ok(vec![tcp("a", None, 1), unix("/b", 5432)])),
        (&[("hostaddr", "::1")], Ok(vec![tcp("::1", Some("::1"), 5432)])),
        (&[("host", "a"), ("hostaddr", "10.0.0.1")], Ok(vec![tcp("a", Some("10.0.0.1"), 5432)])),
        (&[("host", "a,b"), ("hostaddr", "10.0.0.1")], Err(Unusable::Count("hostaddr"))),
        (&[("host", "a,b,c"), ("port", "1,2")], Err(Unusable::Count("port"))),
        (&[("hostaddr", "a")], Err(Unusable::Value("hostaddr"))),
        (&[("port", "0")], Err(Unusable::Value("port"))),
        (&[("host", "@abstract")], Err(Unusable::Value("host"))),
    ];
    for (named, expected) in table {
        assert_eq!(read(named, None, &[]).map(|settings| settings.hosts), expected, "{named:?}");
    }
}

#[test]
fn what_is_given_wins_in_psycopg2s_order() {
    let variables = [("PGUSER", "variable"), ("PGPASSWORD", "variable"), ("PGDATABASE", "variable")];
    let table: [(Pairs, Option<&str>, Texts); 5] = [
        (&[], None, [Some("variable"); 3]),
        (&[("user", "named"), ("password", "named"), ("database", "named")], None, [Some("named"); 3]),
        (&[("dbname", "named")], Some("user=dsn password=dsn dbname=dsn"), [Some("dsn"), Some("dsn"), Some("named")]),
        (&[("password", "named")], Some("postgresql://dsn:dsn@h/dsn"), [Some("dsn"), Some("named"), Some("dsn")]),
        // An empty value is one that is not there, and hides the variable.
        (&[("user", "")], None, [None, Some("variable"), Some("variable")]),
    ];
    for (named, dsn, [user, password, dbname]) in table {
        let settings = read(named, dsn, &variables).unwrap();
        let found =
            [settings.user.as_deref(), settings.password.as_ref().map(Secret::expose), settings.dbname.as_deref()];
        assert_eq!(found, [user, password, dbname], "{named:?} {dsn:?}");
    }
}

#[test]
fn tls_is_what_libpq_makes_of_it() {
    let file = |path: &str| Roots::File(PathBuf::from(path));
    let home: Pairs = &[("HOME", "/h")];
    let table: [(Pairs, Pairs, Security); 11] = [
        (&[], &[], Ok((SslMode::Prefer, Roots::Nobody))),
        (&[], home, Ok((SslMode::Prefer, file("/h/.postgresql/root.crt")))),
        (&[("sslmode", "require")], &[("PGSSLROOTCERT", "/r")], Ok((SslMode::Require, file("/r")))),
        (&[("sslmode", "disable")], &[], Ok((SslMode::Disable, Roots::Nobody))),
        (&[("sslmode", "allow")], &[], Ok((SslMode::Allow, Roots::Nobody))),
        (&[("sslmode", "verify-ca"), ("sslrootcert", "/r")], home, Ok((SslMode::VerifyCa, file("/r")))),
        (&[], &[("PGSSLMODE", "verify-full")], Ok((SslMode::VerifyFull, Roots::Nobody))),
        (&[("sslrootcert", "system")], &[], Ok((SslMode::VerifyFull, Roots::System))),
        (&[("sslrootcert", "system"), ("sslmode", "verify-full")], &[], Ok((SslMode::VerifyFull, Roots::System))),
        (&[("sslrootcert", "system"), ("sslmode", "require")], &[], Err(Unusable::Value("sslmode"))),
        (&[("sslmode", "full")], &[], Err(Unusable::Value("sslmode"))),
    ];
    for (named, variables, expected) in table {
        let found = read(named, None, variables).map(|settings| (settings.tls.mode, settings.tls.roots));
        assert_eq!(found, expected, "{named:?} {variables:?}");
    }
    let client = read(&[("sslcert", "/c")], None, home).unwrap().tls.client;
    assert_eq!(client, Some(("/c".into(), "/h/.postgresql/postgresql.key".into())));
}

#[test]
fn what_is_not_done_as_libpq_does_it_is_said() {
    let unsupported = |key: &str| Err(Unusable::Unsupported(key.to_owned()));
    let table: [(Pairs, Pairs, Result<(), Unusable>); 13] = [
        (&[("service", "synapse")], &[], unsupported("service")),
        (&[], &[("PGSERVICE", "synapse")], unsupported("service")),
        (&[("passfile", "/p")], &[], unsupported("passfile")),
        (&[("passfile", "/p"), ("password", "x")], &[], Ok(())),
        (&[("requirepeer", "postgres")], &[], unsupported("requirepeer")),
        (&[("sslcrl", "/c")], &[], unsupported("sslcrl")),
        (&[("gssencmode", "require")], &[], unsupported("gssencmode")),
        (&[("gssencmode", "prefer")], &[], Ok(())),
        (&[("ssl_min_protocol_version", "TLSv1.3")], &[], unsupported("ssl_min_protocol_version")),
        (&[("keepalives_idle", "10"), ("application_name", "a")], &[], Ok(())),
        (&[("hots", "a")], &[], Err(Unusable::Unknown("hots".to_owned()))),
        (&[("dbname", "a"), ("database", "a")], &[], Err(Unusable::Value("dbname"))),
        (&[("connect_timeout", "x")], &[], Err(Unusable::Value("connect_timeout"))),
    ];
    for (named, variables, expected) in table {
        assert_eq!(read(named, None, variables).map(drop), expected, "{named:?} {variables:?}");
    }
    let error = read(&[], Some("password='hunter2"), &[]).unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn an_attempt_to_connect_is_always_bounded() {
    for (text, seconds) in [("", 10), ("0", 10), ("-1", 10), ("1", 2), ("2", 2), ("30", 30)] {
        let settings = read(&[("connect_timeout", text)], None, &[]).unwrap();
        assert_eq!(settings.connect_timeout, Duration::from_secs(seconds), "{text}");
    }
}

#[test]
fn debug_output_hides_the_password() {
    let settings = read(&[("password", "hunter2")], Some("password=hunter3"), &[]).unwrap();
    assert!(!format!("{settings:?}").contains("hunter"), "{settings:?}");
}
