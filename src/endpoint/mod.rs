//! Method and raw request target → [`Endpoint`]: which row of the Matrix API a request is.
//!
//! - `area`: what is not public, by decoded segments.
//! - [`class`]: the classes, what shares a pool, a key and timeouts.
//! - [`table`]: every endpoint of a current Synapse, one row each.
//! - `tree`: the table as a tree of segments, and the walk through it.
//! - [`segment`]: percent-decoding of one segment, for keys only; a target is always forwarded byte for byte.
//!
//! Not here: where an endpoint goes (`route`), and regular expressions: paths are matched segment by segment.

mod area;
pub mod class;
pub mod segment;
pub mod table;
mod tree;

#[cfg(test)]
mod tests;

pub use class::Class;
pub use tree::Endpoints;

/// What a request is, by its method and target alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The class, which decides pool, key and timeouts.
    pub class: Class,
    /// The path template, for instance `/_matrix/client/v3/rooms/{roomId}/messages`. It never holds anything of the
    /// request itself, so that it can be a metric's label.
    pub label: &'static str,
    /// What the path is about, where it names something.
    pub subject: Subject,
}

/// What a path is about, by its place in the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Nothing that a key could be made of.
    None,
    /// A room id.
    Room(Span),
    /// A room id or a room alias: the path allows both.
    RoomOrAlias(Span),
    /// A room alias.
    Alias(Span),
    /// A user id.
    User(Span),
    /// A media id.
    Media(Span),
}

impl Subject {
    /// Where in the path the subject stands, still percent-encoded.
    pub fn span(self) -> Option<Span> {
        match self {
            Subject::None => None,
            Subject::Room(span)
            | Subject::RoomOrAlias(span)
            | Subject::Alias(span)
            | Subject::User(span)
            | Subject::Media(span) => Some(span),
        }
    }
}

/// A part of a path, as byte offsets from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The offset of the first byte.
    pub start: u32,
    /// The offset behind the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes of `path` that this span names; empty if it does not lie within `path`.
    pub fn of(self, path: &str) -> &str {
        path.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}
