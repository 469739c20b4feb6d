//! Connection strings, in both forms that libpq reads: `host=… dbname=…` and `postgresql://…`.
//!
//! Only their form is read here; what the parameters mean is told by `settings`. A parameter may be a password, so
//! errors tell nothing of the string (PostgreSQL's manual, "Connection Strings").

use std::iter::Peekable;
use std::str::Chars;

use percent_encoding::percent_decode_str;

/// The parameters of a connection string, in their order.
pub(super) type Parameters = Vec<(String, String)>;

/// Why a connection string cannot be read.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the connection string (dsn) cannot be read")]
pub struct DsnError;

/// Reads a connection string.
pub(super) fn parse(dsn: &str) -> Result<Parameters, DsnError> {
    let url = ["postgresql://", "postgres://"].iter().find_map(|scheme| dsn.strip_prefix(scheme));
    match url {
        Some(rest) => parse_url(rest),
        None => parse_words(dsn),
    }
}

fn parse_words(dsn: &str) -> Result<Parameters, DsnError> {
    let mut rest = dsn.chars().peekable();
    let mut found = Vec::new();
    loop {
        skip_space(&mut rest);
        if rest.peek().is_none() {
            return Ok(found);
        }
        let mut key = String::new();
        while let Some(next) = rest.next_if(|next| *next != '=' && !next.is_ascii_whitespace()) {
            key.push(next);
        }
        skip_space(&mut rest);
        rest.next_if_eq(&'=').ok_or(DsnError)?;
        skip_space(&mut rest);
        found.push((key, word(&mut rest)?));
    }
}

/// A value: in quotes, or up to the next space. A backslash takes the next character as it is in both.
fn word(rest: &mut Peekable<Chars<'_>>) -> Result<String, DsnError> {
    let is_quoted = rest.next_if_eq(&'\'').is_some();
    let mut value = String::new();
    loop {
        match rest.next() {
            None if is_quoted => return Err(DsnError),
            None => return Ok(value),
            Some('\\') => value.extend(rest.next()),
            Some('\'') if is_quoted => return Ok(value),
            Some(space) if !is_quoted && space.is_ascii_whitespace() => return Ok(value),
            Some(other) => value.push(other),
        }
    }
}

fn skip_space(rest: &mut Peekable<Chars<'_>>) {
    while rest.next_if(char::is_ascii_whitespace).is_some() {}
}

fn parse_url(rest: &str) -> Result<Parameters, DsnError> {
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    let (authority, database) = match rest.split_once('/') {
        Some((authority, database)) => (authority, Some(database)),
        None => (rest, None),
    };
    let mut found = Vec::new();
    let hosts = match authority.split_once('@') {
        None => authority,
        Some((user, hosts)) => {
            let (user, password) = user.split_once(':').map_or((user, None), |(user, rest)| (user, Some(rest)));
            push_decoded(&mut found, "user", Some(user))?;
            push_decoded(&mut found, "password", password)?;
            hosts
        }
    };
    let (hosts, ports): (Vec<&str>, Vec<&str>) = hosts.split(',').map(host_and_port).unzip();
    push_decoded(&mut found, "host", Some(&hosts.join(",")))?;
    push_decoded(&mut found, "port", Some(&ports.join(",")))?;
    push_decoded(&mut found, "dbname", database)?;
    for parameter in query.into_iter().flat_map(|query| query.split('&')).filter(|parameter| !parameter.is_empty()) {
        let (key, value) = parameter.split_once('=').ok_or(DsnError)?;
        // What JDBC's users write.
        let (key, value) = if (key, value) == ("ssl", "true") { ("sslmode", "require") } else { (key, value) };
        found.push((decoded(key)?, decoded(value)?));
    }
    Ok(found)
}

/// The parts of `host:port` and `[::1]:port`; a missing one is empty.
fn host_and_port(text: &str) -> (&str, &str) {
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        return (host, rest.strip_prefix(':').unwrap_or_default());
    }
    text.split_once(':').unwrap_or((text, ""))
}

fn push_decoded(found: &mut Parameters, key: &str, value: Option<&str>) -> Result<(), DsnError> {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        found.push((key.to_owned(), decoded(value)?));
    }
    Ok(())
}

fn decoded(text: &str) -> Result<String, DsnError> {
    percent_decode_str(text).decode_utf8().map(Into::into).map_err(|_| DsnError)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Expected = Result<&'static [(&'static str, &'static str)], DsnError>;

    #[test]
    fn both_forms_are_read_as_libpq_reads_them() {
        let table: [(&str, Expected); 16] = [
            ("", Ok(&[])),
            ("host=a port = 5433", Ok(&[("host", "a"), ("port", "5433")])),
            (r"password='a b\'c\\' user=x\ y", Ok(&[("password", r"a b'c\"), ("user", "x y")])),
            ("host='' user=x", Ok(&[("host", ""), ("user", "x")])),
            ("user= host", Ok(&[("user", "host")])),
            ("password='open", Err(DsnError)),
            ("host", Err(DsnError)),
            ("postgresql://", Ok(&[])),
            ("postgres://db.example", Ok(&[("host", "db.example")])),
            (
                "postgresql://u:p%40w@h:5433/name",
                Ok(&[("user", "u"), ("password", "p@w"), ("host", "h"), ("port", "5433"), ("dbname", "name")]),
            ),
            ("postgresql://u@/name?host=/run/pg", Ok(&[("user", "u"), ("dbname", "name"), ("host", "/run/pg")])),
            ("postgresql://%2Frun%2Fpg/name", Ok(&[("host", "/run/pg"), ("dbname", "name")])),
            ("postgresql://[::1]:5433", Ok(&[("host", "::1"), ("port", "5433")])),
            ("postgresql://a:1,b:2/", Ok(&[("host", "a,b"), ("port", "1,2")])),
            (
                "postgresql://h/?ssl=true&sslrootcert=%2Fa",
                Ok(&[("host", "h"), ("sslmode", "require"), ("sslrootcert", "/a")]),
            ),
            ("postgresql://h/?sslmode", Err(DsnError)),
        ];
        for (dsn, expected) in table {
            let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
            assert_eq!(parse(dsn), expected.map(|expected| expected.iter().map(owned).collect()), "{dsn}");
        }
    }
}
