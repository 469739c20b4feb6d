//! Answers that need no Synapse. Each part answers or hands the request on; the order of the lines in [`answer`] is the
//! order in which they are asked.
//!
//! - [`head`]: a request's head, as the decisions see it.
//! - [`login`]: logins with a password; not asked by [`answer`], because it waits for others.
//! - [`malformed`](mod@malformed): heads that must not go on, whatever they ask for; asked first of all.
//! - [`private`]: paths that are not offered on the listener.
//! - [`too_large`]: uploads that are larger than Synapse takes.
//! - [`learned`]: the near-static answers, which Synapse itself gave before.
//! - [`missing_token`]: which requests earn the error of those who show no token; what it says is learned, too.
//! - [`asked`]: what a decision may know of a request. It is not Pingora's, so that others can ask as well.
//! - [`settings`]: `answers:` in dendron.yaml.
//!
//! Not here yet: syncs, which are all forwarded.

pub mod asked;
pub mod head;
pub mod learned;
pub mod login;
pub mod malformed;
pub mod missing_token;
pub mod private;
pub mod settings;
pub mod too_large;

use std::time::Instant;

use crate::exchange::Ended;
use crate::reply::Reply;

pub use asked::Asked;
pub use head::{Head, Headers};
pub use learned::Answers;
pub use malformed::malformed;
pub use private::Offer;
pub use settings::AnswerSettings;
pub use too_large::BodyLimits;

/// Whether a request that changes something could be answered here, asked without an answer being given: what is near-static
/// is only ever read, so what is left are refusals.
pub fn may_refuse(asked: &Asked<'_>, offer: Offer, limits: BodyLimits) -> bool {
    missing_token::wanted(asked).is_some() || refusal(asked, offer, limits).is_some()
}

/// The first answer that a part gives, and why the request ends with it. `None` sends the request on to Synapse.
pub fn answer(
    asked: &Asked<'_>,
    offer: Offer,
    limits: BodyLimits,
    answers: &Answers,
    now: Instant,
) -> Option<(Reply, Ended)> {
    refusal(asked, offer, limits).or_else(|| answers.answer(asked, now).map(|reply| (reply, Ended::Complete)))
}

/// The refusal of what is not offered, or is too large.
fn refusal(asked: &Asked<'_>, offer: Offer, limits: BodyLimits) -> Option<(Reply, Ended)> {
    let class = asked.endpoint.class;
    private::answer(class, offer).or_else(|| too_large::answer(class, asked.headers, limits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_may_be_refused_for_what_its_head_says() {
        let limits = BodyLimits { upload_size_max: Some(10) };
        let send = "PUT /_matrix/client/v3/rooms/!a:b/send/m.room.message/1";
        let token = ("authorization", "Bearer x");
        let table: [(&str, &asked::tests::Lines, bool); 9] = [
            (send, &[], true),
            (send, &[token], false),
            (&format!("{send}?access_token=x"), &[], false),
            (&format!("{send}?access_token=x"), &[token], true),
            ("POST /_matrix/key/v2/query", &[], false),
            ("POST /elsewhere", &[], false),
            ("POST /_matrix/media/v3/upload", &[token, ("content-length", "10")], false),
            ("POST /_matrix/media/v3/upload", &[token, ("content-length", "11")], true),
            ("POST /_synapse/admin/v1/deactivate/@a:b", &[token], true),
        ];
        for (line, headers, expected) in table {
            let found = asked::tests::ask(line, headers, |asked| may_refuse(asked, Offer::default(), limits));
            assert_eq!(found, expected, "{line} {headers:?}");
        }
    }
}
