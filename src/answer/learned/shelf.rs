//! What has been learned, and what is to be asked next. Pure: the keeper does the asking and tells what came of it.
//!
//! - A document is asked for again every [`REFRESH`], one at a time and spread over that time.
//! - While Synapse cannot be asked, documents stay and say their age, up to a bound.
//! - All documents are of one version of Synapse. They go when the version changes, and they are not told while
//!   processes in service run different ones, since either answer might be the one that was meant.
//! - When Synapse can be asked again, everything is asked again: a restart is how a configuration changes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Document, Item};
use crate::reply::Reply;

/// How long a document is taken as it is.
pub const REFRESH: Duration = Duration::from_secs(30);
/// How long to wait after a question that was not answered.
pub const RETRY: Duration = Duration::from_secs(2);
/// A document that is older than this, though its questions did not fail, is told with its age as well.
const FRESH_MAX: Duration = Duration::from_secs(90);

/// What a question brought.
#[derive(Clone, Debug)]
pub enum Learned {
    /// A document.
    Document(Document),
    /// An answer that does not last.
    Nothing,
    /// No answer of Synapse's.
    Failure,
}

/// All documents.
#[derive(Clone, Debug)]
pub struct Shelf {
    age_max: Duration,
    /// Synapse's version, as its `Server` header tells it.
    version: Option<Box<str>>,
    is_mixed: bool,
    is_down: bool,
    /// What the moments of the items are counted from.
    begun: Instant,
    /// Nothing is asked before.
    resume: Instant,
    places: [Option<Place>; Item::ALL.len()],
}

/// One item that is wanted.
#[derive(Clone, Debug)]
struct Place {
    document: Option<Arc<Document>>,
    due: Instant,
}

impl Shelf {
    /// An empty shelf for these items. Documents older than `age_max` are not told.
    pub fn new(wanted: impl Fn(Item) -> bool, age_max: Duration, now: Instant) -> Self {
        let places = Item::ALL.map(|item| wanted(item).then_some(Place { document: None, due: now }));
        Shelf { age_max, version: None, is_mixed: false, is_down: false, begun: now, resume: now, places }
    }

    /// Synapse's answer for an item, if it is known.
    pub fn reply(&self, item: Item, now: Instant) -> Option<Reply> {
        let document = self.places[item.index()].as_ref()?.document.as_deref()?;
        if self.is_mixed || !document.holds(now, self.age_max) {
            return None;
        }
        let age = document.age(now);
        Some(document.reply((self.is_down || age > FRESH_MAX).then_some(age)))
    }

    /// Synapse's version, if all of its processes that are in service are of the same one.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref().filter(|_| !self.is_mixed)
    }

    /// What is to be asked now.
    pub fn due(&self, now: Instant) -> Option<Item> {
        if now < self.resume {
            return None;
        }
        let wanted = Item::ALL.into_iter().filter_map(|item| Some((self.places[item.index()].as_ref()?.due, item)));
        wanted.filter(|(due, _)| *due <= now).min_by_key(|(due, _)| *due).map(|(_, item)| item)
    }

    /// Takes note of the versions of all processes that are in service; returns whether that changed anything.
    pub fn see_versions<'version>(&mut self, versions: impl Iterator<Item = &'version str>, now: Instant) -> bool {
        let mut versions: Vec<&str> = versions.collect();
        versions.sort_unstable();
        versions.dedup();
        let was_mixed = std::mem::replace(&mut self.is_mixed, versions.len() > 1);
        let [version] = *versions else { return was_mixed != self.is_mixed };
        if self.version.as_deref() != Some(version) {
            self.version = Some(version.into());
            self.forget(now);
            return true;
        }
        was_mixed != self.is_mixed
    }

    /// Takes note of what a question to a process of this version brought.
    pub fn learn(&mut self, item: Item, version: Option<&str>, learned: Learned, now: Instant) {
        let learned = match learned {
            Learned::Failure => return self.fail(now),
            // An answer that does not say that it is Synapse's is somebody else's.
            _ if version.is_none() => return self.fail(now),
            Learned::Document(document) => Some(Arc::new(document)),
            Learned::Nothing => None,
        };
        if self.version.as_deref() != version {
            self.version = version.map(Into::into);
            self.forget(now);
        } else if self.is_down {
            self.all_due(now);
        }
        self.is_down = false;
        let place = item.index();
        if let Some(known) = &mut self.places[place] {
            known.due = next_moment(place, self.begun, now);
            known.document = learned;
        }
    }

    fn fail(&mut self, now: Instant) {
        self.is_down = true;
        self.resume = now + RETRY;
    }

    fn forget(&mut self, now: Instant) {
        self.places.iter_mut().flatten().for_each(|place| place.document = None);
        self.all_due(now);
    }

    fn all_due(&mut self, now: Instant) {
        self.places.iter_mut().flatten().for_each(|place| place.due = now);
    }
}

/// The next moment of an item: each has its own in every [`REFRESH`], however often all are asked for at once.
fn next_moment(place: usize, begun: Instant, now: Instant) -> Instant {
    let (place, every) = (u32::try_from(place).unwrap_or_default(), u32::try_from(Item::ALL.len()).unwrap_or(1));
    let own = (REFRESH * (place + 1) / every).as_nanos();
    let refresh = REFRESH.as_nanos();
    let passed = now.saturating_duration_since(begun).as_nanos() % refresh;
    let wait = match (own + refresh - passed) % refresh {
        0 => refresh,
        wait => wait,
    };
    now + Duration::from_nanos(u64::try_from(wait).unwrap_or_default())
}

#[cfg(test)]
mod tests;
