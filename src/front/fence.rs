//! Where the request that is being served ends among the bytes that its client sends.
//!
//! What stands behind the fence is the next request's, and Pingora's session never sees it: then it cannot lose it, and
//! can still be told that the client has gone. The body's length is told by the head; chunks are followed as they pass.
//! Their rules are strict here, and whatever breaks them takes the fence away for good: the session gets every byte and
//! decides, and the connection carries no other request. So a disagreement with Pingora can end a connection, but never
//! shift the boundary between two requests.

use bytes::{Buf, Bytes, BytesMut};

/// The most digits of a chunk's size: those of 64 bits.
const DIGITS_MAX: u8 = 16;

/// How far the session may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fence {
    /// So many bytes are left of the body.
    Length(u64),
    /// The body comes in chunks.
    Chunks(Chunks),
    /// Everything that comes is the session's: no request can follow.
    Open,
}

/// A place in a body of chunks (RFC 9112, 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunks {
    place: Place,
    /// The size of the chunk, as far as it has been read; then how much of the chunk is left.
    left: u64,
    /// How many digits of the size have been read.
    digits: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Size,
    Extension,
    /// Before the line feed that ends the line of a size.
    SizeEnd,
    Data,
    /// Before the two bytes that end a chunk.
    DataEnd,
    DataEndFeed,
    /// At the beginning of a line behind the last chunk: a trailer's, or the empty one that ends the body.
    Trailer,
    TrailerLine,
    TrailerLineFeed,
    LastFeed,
    Ended,
    Broken,
}

impl Fence {
    /// The fence around a body of chunks.
    pub(super) const CHUNKS: Fence = Fence::Chunks(Chunks { place: Place::Size, left: 0, digits: 0 });

    /// How many of these bytes, which came next, are the session's.
    pub(super) fn admit(&mut self, bytes: &[u8]) -> usize {
        self.follow(bytes, |_| ())
    }

    /// The same, for somebody who is to have what is in the body, without what stands around its chunks.
    pub(super) fn follow(&mut self, bytes: &[u8], mut data: impl FnMut(&[u8])) -> usize {
        match self {
            Fence::Open => bytes.len(),
            Fence::Length(left) => {
                let count = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= count as u64;
                data(&bytes[..count]);
                count
            }
            Fence::Chunks(chunks) => {
                let count = chunks.follow(bytes, data);
                if chunks.place == Place::Broken {
                    *self = Fence::Open;
                    return bytes.len();
                }
                count
            }
        }
    }

    /// Takes what has come of the body from what has arrived, without what stands around its chunks.
    pub(super) fn take(&mut self, arrived: &mut BytesMut) -> Bytes {
        if let Fence::Length(_) = self {
            let count = self.admit(arrived);
            return arrived.split_to(count).freeze();
        }
        let mut data = BytesMut::new();
        let count = self.follow(arrived, |part| data.extend_from_slice(part));
        arrived.advance(count);
        data.freeze()
    }

    /// Whether the end cannot be told.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Fence::Open)
    }

    /// Whether the whole request has passed.
    pub(super) fn is_reached(&self) -> bool {
        match self {
            Fence::Open => false,
            Fence::Length(left) => *left == 0,
            Fence::Chunks(chunks) => chunks.place == Place::Ended,
        }
    }
}

impl Chunks {
    /// Goes on to the end of the bytes or of the body; returns how many bytes that were.
    fn follow(&mut self, bytes: &[u8], mut data: impl FnMut(&[u8])) -> usize {
        let mut at = 0;
        while at < bytes.len() && !matches!(self.place, Place::Ended | Place::Broken) {
            if self.place == Place::Data {
                let count = (bytes.len() - at).min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= count as u64;
                data(&bytes[at..at + count]);
                at += count;
                if self.left == 0 {
                    self.place = Place::DataEnd;
                }
            } else {
                self.place = self.step(bytes[at]);
                at += 1;
            }
        }
        at
    }

    /// The place behind one byte that is not a chunk's data.
    fn step(&mut self, byte: u8) -> Place {
        match (self.place, byte) {
            (Place::Size, byte) if byte.is_ascii_hexdigit() && self.digits < DIGITS_MAX => {
                self.left = self.left << 4 | u64::from(char::from(byte).to_digit(16).unwrap_or_default());
                self.digits += 1;
                Place::Size
            }
            (Place::Size, b'\r') if self.digits > 0 => Place::SizeEnd,
            (Place::Size, b';' | b' ' | b'\t') if self.digits > 0 => Place::Extension,
            (Place::Extension, b'\r') => Place::SizeEnd,
            (Place::Extension, byte) if byte != b'\n' => Place::Extension,
            (Place::SizeEnd, b'\n') => {
                self.digits = 0;
                if self.left == 0 { Place::Trailer } else { Place::Data }
            }
            (Place::DataEnd, b'\r') => Place::DataEndFeed,
            (Place::DataEndFeed, b'\n') => Place::Size,
            (Place::Trailer, b'\r') => Place::LastFeed,
            (Place::TrailerLine, b'\r') => Place::TrailerLineFeed,
            (Place::Trailer | Place::TrailerLine, byte) if byte != b'\n' => Place::TrailerLine,
            (Place::TrailerLineFeed, b'\n') => Place::Trailer,
            (Place::LastFeed, b'\n') => Place::Ended,
            _ => Place::Broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes pass, and whether the request is whole, when they come in pieces of a size.
    fn passed(mut fence: Fence, bytes: &[u8], piece: usize) -> (usize, bool) {
        let mut passed = 0;
        for piece in bytes.chunks(piece) {
            let count = fence.admit(piece);
            passed += count;
            if count < piece.len() {
                break;
            }
        }
        (passed, fence.is_reached())
    }

    #[test]
    fn a_length_ends_where_it_says() {
        for (length, bytes, expected) in
            [(0, "GET", (0, true)), (3, "abcGET", (3, true)), (9, "abc", (3, false)), (u64::MAX, "abc", (3, false))]
        {
            for piece in 1..8 {
                assert_eq!(passed(Fence::Length(length), bytes.as_bytes(), piece), expected, "{length} {bytes}");
            }
        }
    }

    #[test]
    fn chunks_end_with_the_last_one() {
        let next = "GET / HTTP/1.1\r\n\r\n";
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "005;a=b\r\nhello\r\n000\r\n\r\n",
            "5 ;x\r\n\r\n\r\n0\r\n0\r\n\r\n",
            "a\r\n0\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n",
            "0\r\nX: y\r\nZ:\r\n\r\n",
        ] {
            for piece in 1..40 {
                let bytes = [body, next].concat();
                assert_eq!(passed(Fence::CHUNKS, bytes.as_bytes(), piece), (body.len(), true), "{body:?} by {piece}");
                let cut = &body.as_bytes()[..body.len() - 1];
                assert_eq!(passed(Fence::CHUNKS, cut, piece), (cut.len(), false), "{cut:?} by {piece}");
            }
        }
    }

    #[test]
    fn broken_chunks_take_the_fence_away() {
        for body in [
            "\r\nhello\r\n0\r\n\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "5;a\nb\r\nhello\r\n0\r\n\r\n",
            "+5\r\nhello\r\n0\r\n\r\n",
            "-1\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "10000000000000005\r\nhello\r\n0\r\n\r\n",
            "3\r\nhello\r\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "0\r\nX: y\n\r\n",
            "0\r\n\n",
        ] {
            for piece in 1..40 {
                let bytes = [body, "GET / HTTP/1.1\r\n\r\n"].concat();
                assert_eq!(passed(Fence::CHUNKS, bytes.as_bytes(), piece), (bytes.len(), false), "{body:?} by {piece}");
            }
        }
    }
}
