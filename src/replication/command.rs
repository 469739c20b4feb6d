//! One line of Synapse's replication protocol: `NAME arguments` (Synapse, `replication/tcp/commands.py`).
//!
//! Texts are borrowed from the line. A row stays unread: only its stream's rule knows its fields.

use std::fmt;

/// A command. What dendron does nothing with is named, and its arguments are not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'line> {
    /// `RDATA`: a row of a stream.
    Rdata(Rdata<'line>),
    /// `POSITION`: a writer's position in a stream.
    Position(Position<'line>),
    /// `REPLICATE`: somebody asks every writer for its positions.
    Replicate,
    /// `USER_SYNC`: a user begins or ends to sync at a process.
    UserSync(UserSync<'line>),
    /// `CLEAR_USER_SYNC`: a process with syncing users ends.
    ClearUserSync {
        /// The process's random name.
        instance_id: &'line str,
    },
    /// A command that says nothing about what a sync returns.
    Ignored(Ignored),
    /// A line of white space.
    Blank,
    /// A command of a name that this build does not know.
    Unknown {
        /// The name.
        name: &'line str,
    },
    /// A known command with arguments that are not understood.
    Malformed {
        /// The command's name.
        name: &'static str,
    },
}

/// A row of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rdata<'line> {
    /// The stream's name.
    pub stream: &'line str,
    /// The process that wrote it.
    pub instance: &'line str,
    /// The position; `None` for `batch`, where a later row of the same batch tells it.
    pub token: Option<i64>,
    /// The row.
    pub row: RawRow<'line>,
}

/// A row as JSON. Rows of `caches` hold access tokens, so its `Debug` shows nothing of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RawRow<'line>(pub &'line str);

/// A writer's position. It has written nothing from `previous` to `new`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position<'line> {
    /// The stream's name.
    pub stream: &'line str,
    /// The process that writes.
    pub instance: &'line str,
    /// The position that it told before.
    pub previous: i64,
    /// The position that it is at.
    pub new: i64,
}

/// That a user begins or ends to sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserSync<'line> {
    /// The random name of the process at which the user syncs.
    pub instance_id: &'line str,
    /// The user.
    pub user: &'line str,
    /// The device, if it has a name.
    pub device: Option<&'line str>,
    /// Whether it begins.
    pub is_syncing: bool,
    /// When the user last synced, in milliseconds of Unix time.
    pub last_sync_ms: i64,
}

/// The commands whose arguments nobody here needs. What `USER_IP` carries includes an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// `SERVER`: whom one is connected to.
    Server,
    /// `ERROR`: something went wrong at the other end.
    Error,
    /// `PING`: somebody is there.
    Ping,
    /// `NAME`: who somebody is.
    Name,
    /// `FEDERATION_ACK`: the federation stream was sent up to here.
    FederationAck,
    /// `USER_IP`: a user was seen.
    UserIp,
    /// `REMOTE_SERVER_UP`: another homeserver answers again.
    RemoteServerUp,
    /// `LOCK_RELEASED`: a lock is free.
    LockReleased,
    /// `NEW_ACTIVE_TASK`: there is background work.
    NewActiveTask,
    /// `CANCEL_TASK`: there is less of it.
    CancelTask,
}

/// The ignored commands by name.
const IGNORED: [(&str, Ignored); 10] = [
    ("SERVER", Ignored::Server),
    ("ERROR", Ignored::Error),
    ("PING", Ignored::Ping),
    ("NAME", Ignored::Name),
    ("FEDERATION_ACK", Ignored::FederationAck),
    ("USER_IP", Ignored::UserIp),
    ("REMOTE_SERVER_UP", Ignored::RemoteServerUp),
    ("LOCK_RELEASED", Ignored::LockReleased),
    ("NEW_ACTIVE_TASK", Ignored::NewActiveTask),
    ("CANCEL_TASK", Ignored::CancelTask),
];

/// The line that asks every writer for its positions. Synapse writes a space behind the name, too.
pub const REPLICATE: &str = "REPLICATE ";

/// Reads a line. Synapse takes the name up to the first space, and everything behind it as arguments.
pub fn parse(line: &str) -> Command<'_> {
    if line.trim().is_empty() {
        return Command::Blank;
    }
    let (name, arguments) = line.split_once(' ').unwrap_or((line, ""));
    match name {
        "RDATA" => rdata(arguments).map_or(Command::Malformed { name: "RDATA" }, Command::Rdata),
        "POSITION" => position(arguments).map_or(Command::Malformed { name: "POSITION" }, Command::Position),
        "REPLICATE" => Command::Replicate,
        "USER_SYNC" => user_sync(arguments).map_or(Command::Malformed { name: "USER_SYNC" }, Command::UserSync),
        "CLEAR_USER_SYNC" => Command::ClearUserSync { instance_id: arguments },
        name => match IGNORED.iter().find(|(known, _)| *known == name) {
            Some((_, ignored)) => Command::Ignored(*ignored),
            None => Command::Unknown { name },
        },
    }
}

fn rdata(arguments: &str) -> Option<Rdata<'_>> {
    let mut parts = arguments.splitn(4, ' ');
    let (stream, instance, token, row) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let token = if token == "batch" { None } else { Some(token.parse().ok()?) };
    Some(Rdata { stream, instance, token, row: RawRow(row) })
}

fn position(arguments: &str) -> Option<Position<'_>> {
    let mut parts = arguments.splitn(4, ' ');
    let (stream, instance) = (parts.next()?, parts.next()?);
    let (previous, new) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(Position { stream, instance, previous, new })
}

fn user_sync(arguments: &str) -> Option<UserSync<'_>> {
    let mut parts = arguments.splitn(5, ' ');
    let (instance_id, user, device) = (parts.next()?, parts.next()?, parts.next()?);
    let is_syncing = match parts.next()? {
        "start" => true,
        "end" => false,
        _ => return None,
    };
    let last_sync_ms = parts.next()?.parse().ok()?;
    // Synapse writes Python's `None` for a user without a device.
    let device = Some(device).filter(|device| *device != "None");
    Some(UserSync { instance_id, user, device, is_syncing, last_sync_ms })
}

// === impl Command ===

impl Command<'_> {
    /// The line, as Synapse would write it; `None` for what dendron has no reason to send.
    pub fn line(&self) -> Option<String> {
        match self {
            Command::Replicate => Some(REPLICATE.to_owned()),
            Command::UserSync(sync) => {
                let UserSync { instance_id, user, device, is_syncing, last_sync_ms } = sync;
                let state = if *is_syncing { "start" } else { "end" };
                let device = device.unwrap_or("None");
                Some(format!("USER_SYNC {instance_id} {user} {device} {state} {last_sync_ms}"))
            }
            Command::ClearUserSync { instance_id } => Some(format!("CLEAR_USER_SYNC {instance_id}")),
            _ => None,
        }
    }
}

impl fmt::Debug for RawRow<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RawRow({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row<'line>(stream: &'line str, instance: &'line str, token: Option<i64>, row: &'line str) -> Command<'line> {
        Command::Rdata(Rdata { stream, instance, token, row: RawRow(row) })
    }

    #[test]
    fn every_command_is_read() {
        let sync = |device, is_syncing| {
            Command::UserSync(UserSync { instance_id: "KbehQ", user: "@bob:a", device, is_syncing, last_sync_ms: 12 })
        };
        let position =
            |previous, new| Command::Position(Position { stream: "events", instance: "writer1", previous, new });
        let table = [
            (r#"RDATA to_device w 2 ["@b:a"]"#, row("to_device", "w", Some(2), r#"["@b:a"]"#)),
            (r#"RDATA events w batch ["ev", []]"#, row("events", "w", None, r#"["ev", []]"#)),
            (r#"RDATA backfill w -5 ["a b"]"#, row("backfill", "w", Some(-5), r#"["a b"]"#)),
            ("POSITION events writer1 5 9", position(5, 9)),
            ("POSITION events writer1 -1 -1", position(-1, -1)),
            ("REPLICATE ", Command::Replicate),
            ("REPLICATE", Command::Replicate),
            ("USER_SYNC KbehQ @bob:a BOB1 start 12", sync(Some("BOB1"), true)),
            ("USER_SYNC KbehQ @bob:a None end 12", sync(None, false)),
            ("CLEAR_USER_SYNC KbehQ", Command::ClearUserSync { instance_id: "KbehQ" }),
            (r#"USER_IP @bob:a ["syt_secret","::1","",null,1]"#, Command::Ignored(Ignored::UserIp)),
            (r#"LOCK_RELEASED ["master","a","b"]"#, Command::Ignored(Ignored::LockReleased)),
            ("FEDERATION_ACK master 5", Command::Ignored(Ignored::FederationAck)),
            ("REMOTE_SERVER_UP b", Command::Ignored(Ignored::RemoteServerUp)),
            ("NEW_ACTIVE_TASK abc", Command::Ignored(Ignored::NewActiveTask)),
            ("CANCEL_TASK abc", Command::Ignored(Ignored::CancelTask)),
            ("PING 5", Command::Ignored(Ignored::Ping)),
            ("NAME a", Command::Ignored(Ignored::Name)),
            ("SERVER a", Command::Ignored(Ignored::Server)),
            ("ERROR a", Command::Ignored(Ignored::Error)),
            ("", Command::Blank),
            (" \t ", Command::Blank),
            ("rdata a b 1 []", Command::Unknown { name: "rdata" }),
            ("RDATA2 a b 1 []", Command::Unknown { name: "RDATA2" }),
            (" RDATA a b 1 []", Command::Unknown { name: "" }),
        ];
        for (line, expected) in table {
            assert_eq!(parse(line), expected, "{line}");
        }
    }

    #[test]
    fn what_is_not_understood_says_so() {
        let table = [
            ("RDATA", "RDATA"),
            ("RDATA events w 5", "RDATA"),
            ("RDATA events w five []", "RDATA"),
            ("RDATA events w 99999999999999999999 []", "RDATA"),
            ("POSITION events w 5", "POSITION"),
            ("POSITION events w batch 5", "POSITION"),
            ("POSITION events w 5 6 7", "POSITION"),
            ("USER_SYNC a @b:c D middle 5", "USER_SYNC"),
            ("USER_SYNC a @b:c D start", "USER_SYNC"),
        ];
        for (line, name) in table {
            assert_eq!(parse(line), Command::Malformed { name }, "{line}");
        }
    }

    #[test]
    fn what_dendron_sends_is_read_as_what_it_meant() {
        for line in ["REPLICATE ", "USER_SYNC a @b:c None start 5", "USER_SYNC a @b:c D end 5", "CLEAR_USER_SYNC a"] {
            assert_eq!(parse(line).line().as_deref(), Some(line));
        }
        assert_eq!(parse("PING 1").line(), None);
    }

    #[test]
    fn debug_output_shows_no_row() {
        let command = parse(r#"RDATA caches master 25 ["get_user_by_access_token",["syt_secret"],1]"#);
        assert!(!format!("{command:?}").contains("syt_"));
    }

    proptest! {
        #[test]
        fn any_line_is_something(line in any::<String>()) {
            let _ = parse(&line);
        }

        #[test]
        fn any_arguments_are_something(name in "RDATA|POSITION|USER_SYNC|PING", rest in "[ a-z0-9\\[\"-]{0,30}") {
            let known = !matches!(parse(&format!("{name} {rest}")), Command::Unknown { .. } | Command::Blank);
            prop_assert!(known);
        }
    }
}
