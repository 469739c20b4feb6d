//! The query of a request target, read lazily and, where nothing is escaped, without allocation.
//!
//! The rules are those of Twisted, which Synapse listens with (`twisted.web.http.parse_qs`): `&` and `;` both part pairs,
//! what has no `=` is no pair, `+` is a space, and an escape that is not two hexadecimal digits behind a `%` stays as it
//! is. Where a name comes twice, Synapse reads the first value (`synapse/http/servlet.py`).

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// The first value of `name` in a query, decoded.
pub fn query_value<'query>(query: &'query str, name: &str) -> Option<Cow<'query, str>> {
    query_pairs(query).find(|(key, _)| stands_for(key, name)).map(|(_, value)| decoded(value))
}

/// The `name=value` pairs of a query, still escaped.
pub fn query_pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = Some(query);
    let pairs = std::iter::from_fn(move || {
        let query = rest?;
        // By bytes, as all that is on every request's way: `str`'s own searches cost more on texts this short.
        let (pair, behind) = match query.bytes().position(|byte| matches!(byte, b'&' | b';')) {
            Some(end) => (&query[..end], Some(&query[end + 1..])),
            None => (query, None),
        };
        rest = behind;
        Some(pair)
    });
    pairs.filter_map(|pair| {
        let equals = pair.bytes().position(|byte| byte == b'=')?;
        Some((&pair[..equals], &pair[equals + 1..]))
    })
}

/// Whether an escaped name or value stands for exactly this text.
pub fn stands_for(escaped: &str, text: &str) -> bool {
    if is_escaped(escaped) { decoded_bytes(escaped).eq(text.bytes()) } else { escaped == text }
}

fn decoded(escaped: &str) -> Cow<'_, str> {
    if !is_escaped(escaped) {
        return Cow::Borrowed(escaped);
    }
    let bytes: Vec<u8> = decoded_bytes(escaped).collect();
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// No escape reaches over a `+`, so what is between two of them is decoded by itself.
fn decoded_bytes(escaped: &str) -> impl Iterator<Item = u8> {
    let words = escaped.as_bytes().split(|byte| *byte == b'+').enumerate();
    words.flat_map(|(number, word)| (number > 0).then_some(b' ').into_iter().chain(percent_decode(word)))
}

fn is_escaped(text: &str) -> bool {
    text.bytes().any(|byte| matches!(byte, b'%' | b'+'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_queries_as_twisted_does() {
        for (query, pairs) in [
            ("", &[][..]),
            ("since", &[]),
            ("since=", &[("since", "")]),
            ("=s1", &[("", "s1")]),
            ("since=s1&since=s2", &[("since", "s1"), ("since", "s2")]),
            ("a=b;since=s1", &[("a", "b"), ("since", "s1")]),
            ("since&since=s1&", &[("since", "s1")]),
            ("%73ince=s%31", &[("%73ince", "s%31")]),
            ("since=a=b", &[("since", "a=b")]),
            ("é=ü&&", &[("é", "ü")]),
        ] {
            assert_eq!(query_pairs(query).collect::<Vec<_>>(), pairs, "{query}");
        }
    }

    #[test]
    fn the_first_value_of_a_name_is_found_and_decoded() {
        let table = [
            ("since=s1&timeout=30000", "timeout", Some("30000")),
            ("since=s1;timeout=30000", "timeout", Some("30000")),
            ("since=s1&since=s2", "since", Some("s1")),
            ("full%5Fstate=true", "full_state", Some("true")),
            ("a+b=1", "a b", Some("1")),
            ("a+b=1", "a+b", None),
            ("a%2bb=1", "a+b", Some("1")),
            ("a=b+c%2B", "a", Some("b c+")),
            ("a=+%", "a", Some(" %")),
            ("a=%+1%zz", "a", Some("% 1%zz")),
            ("a=%ff", "a", Some("\u{fffd}")),
            ("a=", "a", Some("")),
            ("a", "a", None),
            ("a&a=1", "a", Some("1")),
            ("ab=1", "a", None),
            ("", "a", None),
        ];
        for (query, name, expected) in table {
            assert_eq!(query_value(query, name).as_deref(), expected, "{query}");
        }
    }

    #[test]
    fn borrows_where_nothing_is_escaped() {
        assert!(matches!(query_value("a=b%20c&b=s1", "b"), Some(Cow::Borrowed("s1"))));
    }
}
