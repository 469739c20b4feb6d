//! Bodies that are larger than Synapse takes: refused by their announced length before they are sent on.
//!
//! Only uploads of media have a limit here, `max_upload_size` of `homeserver.yaml`, because only that one is an
//! administrator's to set (Synapse, `rest/media/upload_resource.py`). Twisted drops the connection of a body that is
//! longer than any request may be (Synapse, `http/site.py`, `handleContentChunk`), so that a client learns nothing; the
//! answer from here is the one that Synapse means.
//!
//! Not here: the count of a body that does not announce its length, and how a client that still sends is made to hear
//! the answer. Both belong to `proxy`, which asks [`BodyLimits`].

use http::header::CONTENT_LENGTH;

use super::Headers;
use crate::endpoint::Class;
use crate::exchange::Ended;
use crate::reply::{Failure, Reply};

/// How large bodies may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyLimits {
    /// The largest upload that Synapse takes, in bytes; `None` where its configuration is not known.
    pub upload_size_max: Option<u64>,
}

impl BodyLimits {
    /// Whether a body of so many bytes is more than requests of the class may have.
    pub fn exceeded(self, class: Class, bytes: u64) -> bool {
        class == Class::MediaUpload && self.upload_size_max.is_some_and(|max| bytes > max)
    }
}

/// Answers 413 to a request that announces a body over the limit.
pub fn answer(class: Class, headers: Headers<'_>, limits: BodyLimits) -> Option<(Reply, Ended)> {
    let bytes = headers.first(&CONTENT_LENGTH).and_then(announced)?;
    limits.exceeded(class, bytes).then(|| (Failure::TooLarge.reply(), Ended::BadRequest))
}

/// The length that a header names. Whatever is no number is Pingora's to refuse, or Synapse's.
fn announced(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    const LIMITS: BodyLimits = BodyLimits { upload_size_max: Some(50 << 20) };

    fn headers(length: Option<&'static str>) -> HeaderMap {
        length.map(|length| (CONTENT_LENGTH, HeaderValue::from_static(length))).into_iter().collect()
    }

    #[test]
    fn an_upload_over_the_limit_is_refused_by_its_length() {
        let unlimited = BodyLimits::default();
        let table = [
            (Class::MediaUpload, Some("52428801"), LIMITS, true),
            (Class::MediaUpload, Some("18446744073709551615"), LIMITS, true),
            (Class::MediaUpload, Some("52428800"), LIMITS, false),
            (Class::MediaUpload, Some("0"), LIMITS, false),
            // Its bytes are counted as they come.
            (Class::MediaUpload, None, LIMITS, false),
            (Class::MediaUpload, Some("many"), LIMITS, false),
            (Class::MediaUpload, Some("-1"), LIMITS, false),
            (Class::MediaUpload, Some("52428801"), unlimited, false),
            // Other limits are Synapse's own, and not in its configuration.
            (Class::Media, Some("52428801"), LIMITS, false),
            (Class::FederationTransaction, Some("52428801"), LIMITS, false),
            (Class::Unknown, Some("52428801"), LIMITS, false),
        ];
        for (class, length, limits, refused) in table {
            assert_eq!(
                answer(class, Headers::Map(&headers(length)), limits).is_some(),
                refused,
                "{class:?} {length:?} {limits:?}"
            );
        }
    }

    #[test]
    fn the_answer_is_the_one_that_synapse_means() {
        let (reply, ended) = answer(Class::MediaUpload, Headers::Map(&headers(Some("52428801"))), LIMITS).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!((reply.status.as_u16(), ended), (413, Ended::BadRequest));
        assert_eq!(body["errcode"], "M_TOO_LARGE");
    }
}
