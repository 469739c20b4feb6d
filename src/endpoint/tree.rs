//! The table as a tree of segments, and the walk through it, which every request takes and which allocates nothing.
//!
//! Segments are compared as they came: Synapse matches the undecoded path (`JsonResource` in
//! `synapse/http/server.py`), so that an escaped `%73ync` is no sync there either. What must not be public is told
//! apart by decoded segments first (`area`).

use http::Method;

use super::area::Area;
use super::table::{Methods, Row, authentication_rows, rows};
use super::{Class, Endpoint, Span, Subject};
use crate::query::{query_pairs, stands_for};

/// The label of what the table does not know.
const OTHER: &str = "other";

/// The table of endpoints, ready to be asked.
#[derive(Debug)]
pub struct Endpoints {
    root: Node,
}

impl Endpoints {
    /// Builds the tree from the table.
    pub fn new() -> Self {
        let mut root = Node::default();
        rows().for_each(|row| root.insert_row(row, |_| true));
        Self { root }
    }

    /// The same where the Matrix Authentication Service has taken logins over: its rows in the place of Synapse's.
    pub fn with_authentication() -> Self {
        let mut root = Node::default();
        for row in rows() {
            let is_taken = authentication_rows().any(|taken| taken.template == row.template);
            // A version of two segments is none to the service, so that path stays with Synapse.
            root.insert_row(row, |version| !is_taken || version.contains('/'));
        }
        authentication_rows().for_each(|row| root.insert_row(row, |_| true));
        Self { root }
    }

    /// What a request with this method, raw path (without the query) and raw query is. Never fails: what is not
    /// known is [`Class::Unknown`].
    pub fn classify(&self, method: &Method, path: &str, query: Option<&str>) -> Endpoint {
        let area = Area::of(path);
        if area == Area::Private {
            return Endpoint { class: Class::Private, label: OTHER, subject: Subject::None };
        }
        let method = Methods::of(method);
        let mut below: &[Leaf] = &[];
        let here = match path.strip_prefix('/') {
            Some(segments) => self.root.walk(segments.as_bytes(), &mut below),
            None => &[],
        };
        // To the service, a version is never empty.
        let taking = |leaf: &&Leaf| {
            leaf.methods.contains(method) && !(leaf.class == Class::Authentication && path.contains("//"))
        };
        if let Some(leaf) = here.iter().find(taking).or_else(|| below.iter().find(taking)) {
            return leaf.endpoint(path, query);
        }
        // Nobody serves this here. What it is called depends on the path alone.
        let label = here.first().or(below.first()).map_or(OTHER, |leaf| leaf.label);
        let class = match area {
            Area::Admin => Class::Admin,
            Area::Mas => Class::Mas,
            Area::Public | Area::Private if method == Methods::OPTIONS && path.starts_with('/') => Class::Preflight,
            Area::Public | Area::Private => Class::Unknown,
        };
        Endpoint { class, label, subject: Subject::None }
    }
}

impl Default for Endpoints {
    fn default() -> Self {
        Self::new()
    }
}

/// What the paths that share their first segments lead to.
#[derive(Debug, Default)]
struct Node {
    /// The segments of one text each, in the order of their keys.
    literals: Vec<Literal>,
    /// Any segment that is none of these.
    parameter: Option<Box<Node>>,
    /// What the path is that ends here; one for each row that it is in.
    here: Vec<Leaf>,
    /// What every longer path is that nothing else is known of.
    below: Vec<Leaf>,
}

/// A segment of one text, and what it leads to.
#[derive(Debug)]
struct Literal {
    key: Key,
    text: &'static str,
    node: Node,
}

/// The first bytes of a segment as one number, by which a segment is found without comparing texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key(u64);

impl Key {
    fn of(segment: &[u8]) -> Self {
        Key(match segment.first_chunk() {
            Some(first) => u64::from_be_bytes(*first),
            None => segment.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)),
        })
    }
}

impl Node {
    /// Inserts the row's paths, of those versions that are wanted.
    fn insert_row(&mut self, row: &Row, is_wanted: impl Fn(&str) -> bool) {
        let leaf = Leaf::new(row);
        let Some((prefix, path)) = row.versions.first().and_then(|written| split_at_version(row.template, written))
        else {
            return self.insert_at(row.template.strip_prefix('/').unwrap_or(row.template).split('/'), &leaf);
        };
        for version in row.versions.iter().filter(|version| is_wanted(version)) {
            self.insert_at(prefix.split('/').chain(version.split('/')).chain(path.split('/')), &leaf);
        }
    }

    fn insert_at(&mut self, mut segments: impl Iterator<Item = &'static str>, leaf: &Leaf) {
        let mut node = self;
        loop {
            node = match segments.next() {
                None => return node.here.push(*leaf),
                Some(segment) if segment.starts_with("{*") => return node.below.push(*leaf),
                Some(segment) if segment.starts_with('{') => node.parameter.get_or_insert_default(),
                Some(segment) => node.literal_mut(segment),
            };
        }
    }

    fn literal_mut(&mut self, segment: &'static str) -> &mut Node {
        let index = match self.find(segment.as_bytes()) {
            Ok(index) => index,
            Err(index) => {
                let literal = Literal { key: Key::of(segment.as_bytes()), text: segment, node: Node::default() };
                self.literals.insert(index, literal);
                index
            }
        };
        &mut self.literals[index].node
    }

    fn find(&self, segment: &[u8]) -> Result<usize, usize> {
        let key = Key::of(segment);
        let mut index = self.literals.partition_point(|literal| literal.key < key);
        while let Some(literal) = self.literals.get(index).filter(|literal| literal.key == key) {
            if literal.text.as_bytes() == segment {
                return Ok(index);
            }
            index += 1;
        }
        Err(index)
    }

    /// What `path`, a path from the segment on that this node chooses by, ends at. A text goes before a parameter; a
    /// parameter is tried where the text leads nowhere. The deepest node on the way that takes longer paths is left in
    /// `below`.
    fn walk<'t>(&'t self, path: &[u8], below: &mut &'t [Leaf]) -> &'t [Leaf] {
        if !self.below.is_empty() {
            *below = &self.below;
        }
        let (segment, rest) = match path.iter().position(|&byte| byte == b'/') {
            Some(slash) => (&path[..slash], Some(&path[slash + 1..])),
            None => (path, None),
        };
        let literal = self.find(segment).ok().and_then(|index| self.literals.get(index)).map(|literal| &literal.node);
        for node in literal.into_iter().chain(self.parameter.as_deref()) {
            let found = match rest {
                Some(rest) => node.walk(rest, below),
                None => &node.here,
            };
            if !found.is_empty() {
                return found;
            }
        }
        &[]
    }
}

/// What a row says of the paths that end at its node.
#[derive(Clone, Copy, Debug)]
struct Leaf {
    methods: Methods,
    class: Class,
    label: &'static str,
    subject: Option<Named>,
}

/// What a path names.
#[derive(Clone, Copy, Debug)]
struct Named {
    subject: fn(Span) -> Subject,
    /// How many segments stand behind the one that names it. They are counted from the end, since versions differ in
    /// length.
    behind: usize,
}

impl Named {
    fn new(segment: &str, behind: usize) -> Option<Self> {
        let subject = match segment {
            "{roomId}" => Subject::Room,
            "{roomIdOrAlias}" => Subject::RoomOrAlias,
            "{roomAlias}" => Subject::Alias,
            "{userId}" => Subject::User,
            "{mediaId}" => Subject::Media,
            _ => return None,
        };
        Some(Self { subject, behind })
    }

    fn of(self, path: &str) -> Option<Subject> {
        Some((self.subject)(segment_from_end(path, self.behind)?))
    }
}

impl Leaf {
    fn new(row: &Row) -> Self {
        let segments = row.template.rsplit('/').enumerate();
        let subjects = segments.filter_map(|(behind, segment)| Named::new(segment, behind));
        // The first in the path, which is the last from its end, is what the rest is about.
        Self { methods: row.methods, class: row.class, label: row.template, subject: subjects.last() }
    }

    fn endpoint(&self, path: &str, query: Option<&str>) -> Endpoint {
        let subject = self.subject.and_then(|named| named.of(path)).unwrap_or(Subject::None);
        let class = match self.class {
            Class::Sync if is_initial(self.label, query.unwrap_or_default()) => Class::InitialSync,
            class => class,
        };
        Endpoint { class, label: self.label, subject }
    }
}

/// Whether a sync starts from nothing. Synapse takes an empty `since` for none (`synapse/rest/client/sync.py`), and
/// `true` alone for true (`parse_boolean` in `synapse/http/servlet.py`).
fn is_initial(label: &str, query: &str) -> bool {
    let position = if label.ends_with("/events") { "from" } else { "since" };
    let mut since = None;
    let mut full_state = None;
    for (name, value) in query_pairs(query) {
        if stands_for(name, position) {
            since = since.or(Some(value));
        } else if stands_for(name, "full_state") {
            full_state = full_state.or(Some(value));
        }
    }
    since.is_none_or(str::is_empty)
        || (position == "since" && full_state.is_some_and(|value| stands_for(value, "true")))
}

/// Where the segment stands that has so many segments behind it; nothing if it is empty, since no key can be made of it.
fn segment_from_end(path: &str, behind: usize) -> Option<Span> {
    let slash_before = |end: usize| path.as_bytes().get(..end)?.iter().rposition(|&byte| byte == b'/');
    let mut end = path.len();
    for _ in 0..behind {
        end = slash_before(end)?;
    }
    let start = slash_before(end)? + 1;
    if start == end {
        return None;
    }
    Some(Span { start: u32::try_from(start).ok()?, end: u32::try_from(end).ok()? })
}

/// The parts of a template in front of and behind its version, without the slashes around it and the first of all.
fn split_at_version(template: &'static str, version: &str) -> Option<(&'static str, &'static str)> {
    let (prefix, behind) = template.strip_prefix('/')?.split_once(version)?;
    Some((prefix.strip_suffix('/')?, behind.strip_prefix('/')?))
}
