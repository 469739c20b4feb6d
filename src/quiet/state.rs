//! Whether the gate may park anybody.

/// How the gate is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// It has heard nothing from a follower yet.
    Off,
    /// The replication stream is followed, and the database is asked where everything stands.
    Opening,
    /// Syncs are parked.
    Live,
    /// The replication stream is not followed any more.
    NotFollowed,
    /// Synapse's database cannot be asked.
    NoDatabase,
    /// A message was late: nothing is parked until the next start.
    Latched,
}

impl State {
    /// Every state.
    pub const ALL: [State; 6] =
        [State::Off, State::Opening, State::Live, State::NotFollowed, State::NoDatabase, State::Latched];

    /// The name in metrics and on the status page.
    pub const fn name(self) -> &'static str {
        match self {
            State::Off => "off",
            State::Opening => "opening",
            State::Live => "live",
            State::NotFollowed => "not_followed",
            State::NoDatabase => "no_database",
            State::Latched => "latched",
        }
    }
}
