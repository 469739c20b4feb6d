//! Percent-decoding of one path segment, lazily and without allocation.
//!
//! Decoding serves comparison and keys alone: what is forwarded is always the target as it came. The rules are those of
//! Twisted, which Synapse listens with: two hexadecimal digits behind a `%` are one byte, and an escape that is not of
//! this form stays as it is (`urllib.parse.unquote_to_bytes`).

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The bytes that a segment stands for. Every way to escape one room id gives the same bytes here.
pub fn decoded_bytes(segment: &str) -> impl Iterator<Item = u8> + '_ {
    percent_decode_str(segment)
}

/// The bytes that a segment stands for, borrowed where nothing is escaped.
pub fn decoded(segment: &str) -> Cow<'_, [u8]> {
    percent_decode_str(segment).into()
}

/// Whether a segment stands for exactly this text.
pub fn decodes_to(segment: &str, text: &str) -> bool {
    segment == text || (segment.bytes().any(|byte| byte == b'%') && decoded_bytes(segment).eq(text.bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_is_escaped_and_keeps_the_rest() {
        for (segment, bytes) in [
            ("", &b""[..]),
            ("!a:b", b"!a:b"),
            ("!a%3Ab", b"!a:b"),
            ("!a%3ab", b"!a:b"),
            ("%21a%3Ab", b"!a:b"),
            ("%", b"%"),
            ("%2", b"%2"),
            ("%zz", b"%zz"),
            ("%%33A", b"%3A"),
            ("%253A", b"%3A"),
            ("a+b", b"a+b"),
            ("%ff%00", b"\xff\x00"),
            ("é", "é".as_bytes()),
        ] {
            assert_eq!(decoded(segment), bytes, "{segment}");
            assert_eq!(decoded_bytes(segment).collect::<Vec<_>>(), bytes, "{segment}");
        }
    }

    #[test]
    fn borrows_where_nothing_is_escaped() {
        assert!(matches!(decoded("!a:b"), Cow::Borrowed(_)));
    }

    #[test]
    fn compares_without_regard_to_escapes() {
        assert!(decodes_to("_synapse", "_synapse"));
        assert!(decodes_to("%5fsyn%61pse", "_synapse"));
        assert!(!decodes_to("_SYNAPSE", "_synapse"));
        assert!(!decodes_to("%255fsynapse", "_synapse"));
        assert!(!decodes_to("_synapse%2F", "_synapse"));
    }
}
