//! A replication stream at a fixed rate, through a real Redis: what one process of Synapse's says, in its words.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dendron::replication::Stream;

use crate::fault::{Outcome, wrong};

/// What it says in turn; `{n}` becomes the position, `{t}` the time in milliseconds.
const ROWS: [(&str, &str); 6] = [
    ("events", r#"["ev",["$event{n}","!room{r}:localhost","m.room.message",null,null,null,null,false,false]]"#),
    ("receipts", r#"["!room{r}:localhost","m.read","@user{r}:localhost","$event{n}",null,{"ts":{t}}]"#),
    ("typing", r#"["!room{r}:localhost",["@user{r}:localhost"]]"#),
    ("caches", r#"["get_user_by_id",["@user{r}:localhost"],{t}]"#),
    ("to_device", r#"["@user{r}:localhost"]"#),
    ("account_data", r#"["@user{r}:localhost",null,"m.direct"]"#),
];
/// How often it speaks: each time all that is due.
const TICK: Duration = Duration::from_millis(2);

/// The one writer of a homeserver.
pub(crate) struct Writer<'redis> {
    channel: &'redis str,
    connection: redis::Connection,
    position: u64,
}

impl<'redis> Writer<'redis> {
    /// Connects to a Redis at a socket. What it says is at positions behind this one.
    pub(crate) fn connect(channel: &'redis str, socket: &str, position: u64) -> Outcome<Self> {
        Ok(Writer { channel, connection: connect(socket)?, position })
    }

    /// Tells all its positions, as a process does that is asked for them.
    pub(crate) fn tell_positions(&mut self) -> Outcome<()> {
        let position = self.position;
        let streams = Stream::ALL.into_iter().filter(|stream| stream.rule().is_some());
        let lines = streams.map(|stream| format!("POSITION {} master {position} {position}", stream.name()));
        self.say(lines.collect())
    }

    /// Says so many rows a second for some time; returns how many that were, and how many a second.
    pub(crate) fn write(&mut self, per_second: u32, time: Duration) -> Outcome<(u64, f64)> {
        let begun = Instant::now();
        let first = self.position;
        let mut said = 0_u64;
        while begun.elapsed() < time {
            let due = (begun.elapsed().as_secs_f64() * f64::from(per_second)) as u64;
            let lines = (said..due).map(|_| self.row()).collect();
            said = due.max(said);
            self.say(lines)?;
            std::thread::sleep(TICK);
        }
        let rows = self.position - first;
        Ok((rows, rows as f64 / begun.elapsed().as_secs_f64()))
    }

    /// Says that something has come for a user's devices; returns when it began to.
    pub(crate) fn wake(&mut self, user: &str) -> Outcome<Instant> {
        self.position += 1;
        let line = format!("RDATA to_device master {} [\"{user}\"]", self.position);
        let begun = Instant::now();
        self.say(vec![line])?;
        Ok(begun)
    }

    fn row(&mut self) -> String {
        let (stream, row) = ROWS[self.position as usize % ROWS.len()];
        self.position += 1;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let position = self.position;
        let row = row.replace("{n}", &position.to_string()).replace("{r}", &(position % 5_000).to_string());
        format!("RDATA {stream} master {position} {}", row.replace("{t}", &now.to_string()))
    }

    fn say(&mut self, lines: Vec<String>) -> Outcome<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        for line in &lines {
            pipeline.cmd("PUBLISH").arg(self.channel).arg(line).ignore();
        }
        pipeline.exec(&mut self.connection).map_err(fault)
    }
}

/// A connection to the Redis at a socket.
pub(super) fn connect(socket: &str) -> Outcome<redis::Connection> {
    let client = redis::Client::open(format!("redis+unix://{socket}")).map_err(fault)?;
    client.get_connection().map_err(fault)
}

pub(super) fn fault(error: redis::RedisError) -> crate::fault::Fault {
    wrong(format!("Redis: {error}"))
}
