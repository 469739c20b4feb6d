//! What is done with syncs that could be parked, and who has a say in it: the configuration at the start, then the
//! administrator; and Synapse's version, since what is known of the stream is known of some versions only.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// What is done with syncs that could be parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They are parked.
    On,
    /// They are forwarded, and it is only counted how parking them would have gone.
    Shadow,
    /// They are forwarded.
    Off,
}

/// The oldest and the newest version of Synapse, as major and minor number, that syncs are parked for. The newest is the
/// one that the integration tests run with, and the oldest one has the same streams, commands and tokens but for what is
/// read by their number of fields.
pub const TESTED: (Version, Version) = ((1, 157), (1, 163));

/// A major and a minor number.
pub type Version = (u32, u32);

/// The switch of one edge.
#[derive(Debug)]
pub struct Switch {
    configured: Mode,
    wanted: AtomicU8,
    is_untested: AtomicBool,
}

// === impl Mode ===

impl Mode {
    /// Every mode, in the order of the enum.
    pub const ALL: [Mode; 3] = [Mode::On, Mode::Shadow, Mode::Off];

    /// The name in dendron.yaml, in metrics and on the status page.
    pub const fn name(self) -> &'static str {
        match self {
            Mode::On => "on",
            Mode::Shadow => "shadow",
            Mode::Off => "off",
        }
    }

    /// The mode of this name.
    pub fn of_name(name: &str) -> Option<Mode> {
        Mode::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = Mode;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("on, shadow or off")
            }

            /// `on` and `off` are booleans to YAML.
            fn visit_bool<E>(self, is_on: bool) -> Result<Mode, E> {
                Ok(if is_on { Mode::On } else { Mode::Off })
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Mode, E> {
                Mode::of_name(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Word)
    }
}

// === impl Switch ===

impl Switch {
    /// A switch that stands where the configuration puts it.
    pub fn new(configured: Mode) -> Self {
        Switch { configured, wanted: AtomicU8::new(configured as u8), is_untested: AtomicBool::new(false) }
    }

    /// What is to be done now. For a Synapse that was not tested, nobody is parked.
    pub fn mode(&self) -> Mode {
        match self.wanted() {
            Mode::On if self.is_untested.load(Ordering::Relaxed) => Mode::Shadow,
            wanted => wanted,
        }
    }

    /// What was asked for last.
    pub fn wanted(&self) -> Mode {
        Mode::ALL.get(usize::from(self.wanted.load(Ordering::Relaxed))).copied().unwrap_or(Mode::Off)
    }

    /// Puts the switch; returns whether that changed it.
    pub fn set(&self, mode: Mode) -> bool {
        self.wanted.swap(mode as u8, Ordering::Relaxed) != mode as u8
    }

    /// Switches off what is not, and else back to where the configuration puts it, or on if that is off; returns where it
    /// stands then.
    pub fn toggle(&self) -> Mode {
        let next = match (self.wanted(), self.configured) {
            (Mode::Off, Mode::Off) => Mode::On,
            (Mode::Off, configured) => configured,
            _ => Mode::Off,
        };
        self.set(next);
        next
    }

    /// Takes note of the `Server` headers of Synapse's processes; returns the first of an untested version if that is news.
    pub fn see_servers<'server>(&self, servers: impl IntoIterator<Item = &'server str>) -> Option<&'server str> {
        let untested = servers.into_iter().find(|server| !is_tested(server));
        let was_untested = self.is_untested.swap(untested.is_some(), Ordering::Relaxed);
        untested.filter(|_| !was_untested)
    }

    /// Whether a process runs a version that was not tested.
    pub fn is_untested(&self) -> bool {
        self.is_untested.load(Ordering::Relaxed)
    }
}

/// Whether a `Server` header names a version that syncs are parked for.
pub fn is_tested(server: &str) -> bool {
    version(server).is_some_and(|version| (TESTED.0..=TESTED.1).contains(&version))
}

/// The version in a `Server` header such as `Synapse/1.163.2` or `Synapse/1.163.0rc1 (b=develop)`.
fn version(server: &str) -> Option<Version> {
    let mut numbers = server.strip_prefix("Synapse/")?.split('.');
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()?;
    Some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_tested_or_not() {
        let table = [
            ("Synapse/1.163.2", true),
            ("Synapse/1.157.0", true),
            ("Synapse/1.163.0rc1 (b=develop,abc)", true),
            ("Synapse/1.163", true),
            ("Synapse/1.164.0", false),
            ("Synapse/1.156.9", false),
            ("Synapse/2.0.0", false),
            ("Synapse/1", false),
            ("Synapse/1.x.0", false),
            ("nginx", false),
            ("", false),
        ];
        for (server, expected) in table {
            assert_eq!(is_tested(server), expected, "{server}");
        }
    }

    #[test]
    fn an_untested_process_makes_a_shadow_and_is_told_once() {
        let switch = Switch::new(Mode::On);
        let (good, new) = ("Synapse/1.163.2", "Synapse/1.999.0");
        assert_eq!((switch.see_servers([good]), switch.mode()), (None, Mode::On));
        assert_eq!((switch.see_servers([good, new]), switch.mode()), (Some(new), Mode::Shadow));
        assert_eq!((switch.see_servers([good, new]), switch.mode()), (None, Mode::Shadow));
        switch.set(Mode::Off);
        assert_eq!(switch.mode(), Mode::Off);
        switch.set(Mode::On);
        assert_eq!((switch.see_servers([good]), switch.mode()), (None, Mode::On));
        assert_eq!(switch.see_servers([new]), Some(new));
    }

    #[test]
    fn the_switch_goes_off_and_back() {
        for (configured, back) in [(Mode::On, Mode::On), (Mode::Shadow, Mode::Shadow), (Mode::Off, Mode::On)] {
            let switch = Switch::new(configured);
            if configured != Mode::Off {
                assert_eq!(switch.toggle(), Mode::Off);
            }
            assert_eq!((switch.toggle(), switch.wanted()), (back, back));
            assert_eq!(switch.toggle(), Mode::Off);
            assert!(switch.set(Mode::Shadow) && !switch.set(Mode::Shadow));
        }
    }
}
