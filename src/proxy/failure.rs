//! What a Pingora error means: which reply it becomes, if anybody is there to read it, and how the story ended.

use pingora_core::{Error, ErrorSource, ErrorType};

use crate::exchange::Ended;
use crate::reply::Failure;

/// The reply to send, `None` when the client is gone, and the end of the story. `known` is what dendron itself found
/// to be the reason, which is surer than the error.
pub(super) fn meaning(error: &Error, known: Option<Failure>) -> (Option<Failure>, Ended) {
    let failure = match known {
        Some(failure) => Some(failure),
        None => match error.esource() {
            ErrorSource::Downstream => from_client(error.etype()),
            ErrorSource::Upstream => Some(from_synapse(error.etype())),
            ErrorSource::Internal | ErrorSource::Unset => from_status(error.etype()),
        },
    };
    (failure, ended(failure))
}

/// What went wrong between the client and dendron. A dead connection needs no reply.
fn from_client(kind: &ErrorType) -> Option<Failure> {
    match kind {
        ErrorType::InvalidHTTPHeader | ErrorType::HTTPStatus(400) => Some(Failure::Malformed),
        ErrorType::HTTPStatus(413) => Some(Failure::TooLarge),
        ErrorType::ReadTimedout => Some(Failure::TooSlow),
        _ => None,
    }
}

/// What went wrong between dendron and Synapse.
fn from_synapse(kind: &ErrorType) -> Failure {
    match kind {
        ErrorType::ConnectTimedout
        | ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError
        | ErrorType::SocketError
        | ErrorType::BindError => Failure::Unreachable,
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Failure::TimedOut,
        _ => Failure::BrokenOff,
    }
}

fn from_status(kind: &ErrorType) -> Option<Failure> {
    match kind {
        ErrorType::HTTPStatus(400) | ErrorType::InvalidHTTPHeader => Some(Failure::Malformed),
        ErrorType::HTTPStatus(413) => Some(Failure::TooLarge),
        // An HTTP/2 stream that its client reset comes without a source.
        ErrorType::H2Error => None,
        _ => Some(Failure::Internal),
    }
}

/// How a story ends with a failure, or with a client that is gone.
pub(crate) fn ended(failure: Option<Failure>) -> Ended {
    match failure {
        None => Ended::ClientGone,
        Some(Failure::Malformed | Failure::HeadersTooLarge | Failure::TooLarge | Failure::TooSlow) => Ended::BadRequest,
        Some(Failure::NotOffered | Failure::NoTunnel) => Ended::NotOffered,
        Some(Failure::Unreachable | Failure::Down | Failure::Overloaded) => Ended::Unreachable,
        Some(Failure::BrokenOff) => Ended::BrokenOff,
        Some(Failure::TimedOut) => Ended::TimedOut,
        Some(Failure::Internal) => Ended::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_mean_what_their_source_and_kind_say() {
        use ErrorSource::{Downstream, Internal, Upstream};
        let table = [
            (Upstream, ErrorType::ConnectRefused, Some(Failure::Unreachable), Ended::Unreachable),
            (Upstream, ErrorType::ConnectTimedout, Some(Failure::Unreachable), Ended::Unreachable),
            (Upstream, ErrorType::ReadTimedout, Some(Failure::TimedOut), Ended::TimedOut),
            (Upstream, ErrorType::ConnectionClosed, Some(Failure::BrokenOff), Ended::BrokenOff),
            (Upstream, ErrorType::InvalidHTTPHeader, Some(Failure::BrokenOff), Ended::BrokenOff),
            (Downstream, ErrorType::ConnectionClosed, None, Ended::ClientGone),
            (Downstream, ErrorType::WriteError, None, Ended::ClientGone),
            (Downstream, ErrorType::ReadTimedout, Some(Failure::TooSlow), Ended::BadRequest),
            (Downstream, ErrorType::InvalidHTTPHeader, Some(Failure::Malformed), Ended::BadRequest),
            (Internal, ErrorType::HTTPStatus(413), Some(Failure::TooLarge), Ended::BadRequest),
            (Internal, ErrorType::InternalError, Some(Failure::Internal), Ended::Internal),
        ];
        for (source, kind, failure, ended) in table {
            let mut error = Error::new(kind.clone());
            error.esource = source;
            assert_eq!(meaning(&error, None), (failure, ended), "{kind:?}");
        }
    }

    #[test]
    fn what_dendron_knows_is_surer_than_the_error() {
        let error = Error::new(ErrorType::ConnectError);
        assert_eq!(meaning(&error, Some(Failure::Overloaded)).0, Some(Failure::Overloaded));
    }
}
