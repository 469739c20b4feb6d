//! A Redis of the test's own, which it may stop, and a process that answers there as Synapse's do.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use dendron::replication::settings::{Password, Settings};
use dendron::secret::Secret;
use libtest_mimic::Failed;
use rustix::process::Signal;

use crate::harness::child::Child;
use crate::harness::eventually::{SOON, eventually};

/// The channel in these tests, which is a homeserver's name.
pub const CHANNEL: &str = "a.example";
/// The user who may do everything.
const PASSWORD: &str = "writers password";

/// A running Redis.
pub struct Redis {
    folder: PathBuf,
    child: Option<Child>,
}

impl Redis {
    /// Starts a Redis whose files are in this folder, with these settings besides.
    pub fn start(folder: &Path, settings: &str) -> Result<Self, Failed> {
        let socket = folder.join("redis.sock");
        let own = format!(
            "port 0\nunixsocket {}\nsave \"\"\ndir {}\nrequirepass \"{PASSWORD}\"\n",
            socket.display(),
            folder.display()
        );
        std::fs::write(folder.join("redis.conf"), format!("{own}{settings}"))?;
        let mut redis = Redis { folder: folder.to_owned(), child: None };
        redis.run()?;
        Ok(redis)
    }

    /// Starts it, again.
    pub fn run(&mut self) -> Result<(), Failed> {
        let config = self.folder.join("redis.conf");
        let arguments = [config.to_str().unwrap_or_default()];
        self.child =
            Some(Child::start("redis", Path::new("redis-server"), &arguments, &self.folder.join("redis.out"))?);
        eventually(SOON, || self.client()?.get_connection().map(drop).map_err(Failed::from))
    }

    /// Stops it.
    pub fn stop(&mut self) -> Result<(), Failed> {
        self.child.take().map_or(Ok(()), |mut child| child.stop(Signal::TERM).map(drop))
    }

    /// How a follower reaches it as the user who may do everything.
    pub fn settings(&self) -> Result<Settings, Failed> {
        Ok(Settings {
            address: format!("unix:{}", self.folder.join("redis.sock").display()).parse()?,
            username: None,
            password: Some(Password::Inline(Secret::new(PASSWORD))),
            tls: None,
            server_name: CHANNEL.to_owned(),
            expected_instances: vec!["master".to_owned()],
            may_publish: true,
        })
    }

    /// Publishes lines.
    pub fn publish(&self, lines: &[&str]) -> Result<(), Failed> {
        let mut connection = self.client()?.get_connection()?;
        for part in lines.chunks(1000) {
            let mut pipeline = redis::pipe();
            for line in part {
                pipeline.cmd("PUBLISH").arg(CHANNEL).arg(*line).ignore();
            }
            pipeline.exec(&mut connection)?;
        }
        Ok(())
    }

    fn client(&self) -> Result<redis::Client, Failed> {
        client(&self.folder)
    }
}

fn client(folder: &Path) -> Result<redis::Client, Failed> {
    let password = percent_encoding::utf8_percent_encode(PASSWORD, percent_encoding::NON_ALPHANUMERIC);
    Ok(redis::Client::open(format!("redis+unix://{}?pass={password}", folder.join("redis.sock").display()))?)
}

/// A process that answers `REPLICATE` with one position, for as long as it is not dropped.
pub struct Writer {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts to answer.
    pub fn start(redis: &Redis, position: &str) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let (folder, position, own_ends) = (redis.folder.clone(), position.to_owned(), Arc::clone(&ends));
        let thread = spawn(move || {
            while !own_ends.load(Ordering::SeqCst) {
                // A connection ends with Redis; then there is another one soon.
                let _ = answer(&folder, &position, &own_ends);
                sleep(Duration::from_millis(50));
            }
        });
        Writer { ends, thread: Some(thread) }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(folder: &Path, position: &str, ends: &AtomicBool) -> Result<(), Failed> {
    let client = client(folder)?;
    let mut speaks = client.get_connection()?;
    let mut listens = client.get_connection()?;
    listens.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut listens = listens.as_pubsub();
    listens.subscribe(CHANNEL)?;
    let say = |speaks: &mut redis::Connection| redis::cmd("PUBLISH").arg(CHANNEL).arg(position).exec(speaks);
    // As Synapse's processes do when they connect.
    say(&mut speaks)?;
    while !ends.load(Ordering::SeqCst) {
        match listens.get_message() {
            Ok(message) if message.get_payload::<String>()?.starts_with("REPLICATE") => say(&mut speaks)?,
            Ok(_) => {}
            Err(error) if error.is_timeout() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
