//! A request's head as the decisions see it: the same for one that Pingora has parsed (a filter's, or HTTP/2's) and for
//! one that has only been cut into lines (the front's), so that no decision knows where it is asked.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Version};

/// A request's head, as it was read.
#[derive(Clone, Copy, Debug)]
pub struct Head<'request> {
    /// The method's name.
    pub method: &'request str,
    /// The target, which may hold bytes that a URI cannot.
    pub target: &'request [u8],
    /// The version of HTTP.
    pub version: Version,
    /// The headers.
    pub headers: Headers<'request>,
    /// The bytes on the wire; `None` in HTTP/2, which has a framing of its own.
    pub raw: Option<&'request [u8]>,
}

/// A head's headers.
#[derive(Clone, Copy, Debug)]
pub enum Headers<'request> {
    /// As a map.
    Map(&'request HeaderMap),
    /// As lines.
    Lines(&'request [httparse::Header<'request>]),
}

impl<'request> Head<'request> {
    /// A head that has been parsed, with its target and its bytes as they came.
    pub fn parsed(parts: &'request Parts, target: &'request [u8], raw: Option<&'request [u8]>) -> Self {
        let headers = Headers::Map(&parts.headers);
        Head { method: parts.method.as_str(), target, version: parts.version, headers, raw }
    }

    /// Whether the request has a method, whose name is spelled in one way only.
    pub fn is(&self, method: &Method) -> bool {
        self.method == method.as_str()
    }
}

impl<'request> Headers<'request> {
    /// Every value of a header, in order, without the blanks around it.
    pub fn all(self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &'request [u8]> {
        let (map, lines) = match self {
            Headers::Map(map) => (Some(map), &[][..]),
            Headers::Lines(lines) => (None, lines),
        };
        let in_map = map.into_iter().flat_map(move |map| map.get_all(name)).map(HeaderValue::as_bytes);
        in_map.chain(in_lines(lines, name))
    }

    /// The first value of a header.
    pub fn first(self, name: &HeaderName) -> Option<&'request [u8]> {
        match self {
            Headers::Map(map) => map.get(name).map(HeaderValue::as_bytes),
            Headers::Lines(lines) => in_lines(lines, name).next(),
        }
    }

    /// The one value of a header, `None` where there is none. An error where there are several.
    ///
    /// # Errors
    ///
    /// [`Several`].
    pub fn only(self, name: &HeaderName) -> Result<Option<&'request [u8]>, Several> {
        match self {
            Headers::Map(map) => only(map.get_all(name).iter().map(HeaderValue::as_bytes)),
            Headers::Lines(lines) => only(in_lines(lines, name)),
        }
    }

    /// Takes each name with a value of it, in order.
    pub fn for_each(self, mut take: impl FnMut(&str, &[u8])) {
        match self {
            Headers::Map(map) => map.iter().for_each(|(name, value)| take(name.as_str(), value.as_bytes())),
            Headers::Lines(lines) => lines.iter().for_each(|line| take(line.name, line.value)),
        }
    }

    /// How long all names and values are together.
    pub fn sizes(self) -> usize {
        let mut sizes = 0;
        self.for_each(|name, value| sizes += name.len() + value.len());
        sizes
    }
}

fn in_lines<'request>(
    lines: &'request [httparse::Header<'request>],
    name: &HeaderName,
) -> impl DoubleEndedIterator<Item = &'request [u8]> {
    lines.iter().filter(move |line| line.name.eq_ignore_ascii_case(name.as_str())).map(|line| line.value)
}

fn only<T>(mut values: impl Iterator<Item = T>) -> Result<Option<T>, Several> {
    let value = values.next();
    if values.next().is_some() { Err(Several) } else { Ok(value) }
}

/// A header that may be given once was given several times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header is given several times")]
pub struct Several;

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, HOST};

    use super::*;

    #[test]
    fn headers_are_the_same_as_a_map_and_as_lines() {
        let lines = [("hOst", "a"), ("X", "y"), ("Accept", "b"), ("ACCEPT", "c")];
        let map: HeaderMap = lines
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_static(value)))
            .collect();
        let lines = lines.map(|(name, value)| httparse::Header { name, value: value.as_bytes() });
        for headers in [Headers::Map(&map), Headers::Lines(&lines)] {
            assert_eq!(headers.all(&ACCEPT).collect::<Vec<_>>(), [b"b", b"c"]);
            assert_eq!(headers.only(&HOST), Ok(Some(&b"a"[..])));
            assert_eq!(headers.only(&ACCEPT), Err(Several));
            assert_eq!(headers.only(&http::header::TE), Ok(None));
            assert_eq!(headers.sizes(), 5 + 2 + 7 + 7);
        }
    }
}
