//! Paths that are not for everybody: they are answered as if they did not exist.
//!
//! Replication and metrics are never offered. Synapse's admin API and what the Matrix Authentication Service calls are
//! offered only on a listener that is configured for them.

use crate::endpoint::Class;
use crate::exchange::Ended;
use crate::reply::{Failure, Reply};

/// What a listener offers besides the public API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Offer {
    /// `/_synapse/admin`.
    pub admin: bool,
    /// `/_synapse/mas`.
    pub mas: bool,
}

impl Offer {
    /// Whether requests of a class are taken.
    pub const fn includes(self, class: Class) -> bool {
        match class {
            Class::Private => false,
            Class::Admin | Class::AdminRead | Class::MediaAdmin | Class::Quarantine => self.admin,
            Class::Mas => self.mas,
            _ => true,
        }
    }
}

/// Answers 404, as Synapse does for a path that it does not know, unless the class is offered.
pub fn answer(class: Class, offer: Offer) -> Option<(Reply, Ended)> {
    (!offer.includes(class)).then(|| (Failure::NotOffered.reply(), Ended::NotOffered))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_offered_where_it_is_configured() {
        let (nothing, all) = (Offer::default(), Offer { admin: true, mas: true });
        let table = [
            (nothing, Class::Sync, true),
            (nothing, Class::Unknown, true),
            (nothing, Class::Admin, false),
            (nothing, Class::AdminRead, false),
            (nothing, Class::MediaAdmin, false),
            (nothing, Class::Quarantine, false),
            (nothing, Class::Mas, false),
            (Offer { admin: true, mas: false }, Class::Admin, true),
            (Offer { admin: true, mas: false }, Class::Mas, false),
            (all, Class::Mas, true),
            (all, Class::Private, false),
        ];
        for (offer, class, expected) in table {
            assert_eq!(offer.includes(class), expected, "{offer:?} {class:?}");
            assert_eq!(answer(class, offer).is_none(), expected, "{offer:?} {class:?}");
        }
    }
}
