//! Connections that hold a long-poll each, by the thousand, on one thread.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::plain;
use crate::fault::{Doing, Outcome, wrong};
use crate::mix;

/// How many are connecting at once.
const CONNECTING: usize = 200;
/// How long all of them may take to be answered.
const PATIENCE: Duration = Duration::from_secs(60);

/// Long-polls that are held.
pub(crate) struct Polls {
    runtime: Runtime,
    answers: JoinSet<io::Result<()>>,
}

impl Polls {
    /// Opens so many connections and asks on each.
    pub(crate) fn hold(port: u16, count: usize) -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.doing("starting a runtime")?;
        let mut answers = JoinSet::new();
        let connecting = Arc::new(Semaphore::new(CONNECTING));
        for number in 0..count {
            let connecting = Arc::clone(&connecting);
            answers.spawn_on(one(port, number, connecting), runtime.handle());
        }
        Ok(Polls { runtime, answers })
    }

    /// Waits until all are answered; returns how long that took and how many were not.
    pub(crate) fn drain(mut self) -> Outcome<(Duration, u64)> {
        let begun = Instant::now();
        let all = async {
            let mut errors = 0;
            while let Some(answer) = self.answers.join_next().await {
                errors += u64::from(!matches!(answer, Ok(Ok(()))));
            }
            errors
        };
        let errors = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, all).await });
        let errors = errors.map_err(|_| wrong("the long-polls were not all answered in a minute"))?;
        Ok((begun.elapsed(), errors))
    }
}

async fn one(port: u16, number: usize, connecting: Arc<Semaphore>) -> io::Result<()> {
    let place = connecting.acquire().await.map_err(io::Error::other)?;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(&plain::bytes(&mix::long_poll(number))).await?;
    drop(place);
    // A task's room is kept for as long as it waits, so it is small until there is something to read.
    stream.readable().await?;
    let mut answer = Vec::with_capacity(4_096);
    while !answer.ends_with(b"0\r\n\r\n") {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    if answer.starts_with(b"HTTP/1.1 200 ") { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}
