//! Devices of which nobody wants anything: each syncs, and when it has its answer it syncs on from there.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use crate::fault::{Doing, Outcome, wrong};
use crate::homeserver::call::Client;
use crate::homeserver::users::Device;

/// How many sync at once before all poll: Synapse lets no more than fifty connections wait to be accepted.
const BEGINNING: usize = 16;
/// A poll that is only to come to its end.
const SHORT: Duration = Duration::from_millis(300);
/// How often a device syncs at most until nothing is left to tell it.
const SETTLES_MAX: u32 = 50;

/// Devices that sync. They stop when this is dropped.
pub(crate) struct Devices {
    counts: Arc<Counts>,
    _runtime: Runtime,
}

/// What has come of their syncs so far.
#[derive(Debug, Default)]
struct Counts {
    /// How many have been through their first syncs.
    settled: AtomicU64,
    polls: AtomicU64,
    errors: AtomicU64,
    /// Whether they may begin with long-polls.
    may_poll: AtomicBool,
}

impl Devices {
    /// Has each device sync from where everything is now, and then, when all are through, begin at some moment within
    /// `timeout` with long-polls of that length.
    pub(crate) fn start(port: u16, devices: &[Device], timeout: Duration, patience: Duration) -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.doing("starting a runtime")?;
        let counts = Arc::new(Counts::default());
        let now: Arc<str> = now(port, devices)?.into();
        let beginning = Arc::new(Semaphore::new(BEGINNING));
        let mut tasks = JoinSet::new();
        let share = timeout / u32::try_from(devices.len().max(1)).unwrap_or(u32::MAX);
        for (number, device) in (0..).zip(devices) {
            let (counts, token, now) = (Arc::clone(&counts), device.token.clone(), Arc::clone(&now));
            let beginning = Arc::clone(&beginning);
            tasks.spawn_on(
                async move {
                    let polled = match begin(port, &token, &now, &beginning).await {
                        Ok(begun) => poll(begun, &token, timeout, share * number, &counts).await,
                        Err(error) => Err(error),
                    };
                    if polled.is_err() {
                        counts.errors.fetch_add(1, Ordering::Relaxed);
                    }
                },
                runtime.handle(),
            );
        }
        runtime.spawn(async move { while tasks.join_next().await.is_some() {} });
        let begun = std::time::Instant::now();
        while counts.settled.load(Ordering::Relaxed) < devices.len() as u64 {
            if begun.elapsed() > patience || counts.errors.load(Ordering::Relaxed) > 0 {
                return Err(wrong(format!("not every device has synced once: {counts:?}")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        counts.may_poll.store(true, Ordering::Relaxed);
        Ok(Devices { counts, _runtime: runtime })
    }

    /// How many long-polls were answered so far, and how many devices have failed.
    pub(crate) fn polls(&self) -> (u64, u64) {
        (self.counts.polls.load(Ordering::Relaxed), self.counts.errors.load(Ordering::Relaxed))
    }
}

/// Has each device sync until nothing is left to tell it; returns the long-poll with which each would go on, in their order.
pub(crate) fn settled(port: u16, devices: &[Device], timeout: Duration) -> Outcome<Vec<Vec<u8>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().doing("starting a runtime")?;
    let now = now(port, devices)?;
    let beginning = Arc::new(Semaphore::new(BEGINNING));
    let settling = devices.iter().map(|device| {
        let (token, now, beginning) = (device.token.clone(), now.clone(), Arc::clone(&beginning));
        runtime.spawn(async move {
            let (mut stream, since) = begin(port, &token, &now, &beginning).await?;
            settle(&mut stream, &token, since, timeout).await
        })
    });
    let settling: Vec<JoinHandle<io::Result<Vec<u8>>>> = settling.collect();
    let polls: io::Result<Vec<_>> = runtime.block_on(async {
        let mut polls = Vec::new();
        for settling in settling {
            polls.push(settling.await.map_err(io::Error::other)?);
        }
        polls.into_iter().collect()
    });
    polls.doing("syncing until nothing is left to tell")
}

/// Syncs until dendron itself gives the answer, which it says to whom it trusts.
async fn settle(stream: &mut TcpStream, token: &str, mut since: String, timeout: Duration) -> io::Result<Vec<u8>> {
    for _ in 0..SETTLES_MAX {
        let answer = answer(stream, token, &since, SHORT).await?;
        since = next(&answer)?;
        if is_replay(&answer) {
            return Ok(request(token, &since, timeout).into_bytes());
        }
    }
    Err(io::Error::other("there is always more to be told"))
}

/// Where everything is, as one device's first sync tells it; so no other one needs to have a whole one.
fn now(port: u16, devices: &[Device]) -> Outcome<String> {
    let Some(device) = devices.first() else { return Err(wrong("no devices")) };
    let answer = Client::new(port).ask("GET", "/_matrix/client/v3/sync?timeout=0", &device.token, None)?;
    answer["next_batch"].as_str().map(str::to_owned).ok_or_else(|| wrong("a sync without an end"))
}

/// Connects and syncs twice, so that nothing is left that the first one has brought about; returns from where to go on.
async fn begin(port: u16, token: &str, now: &str, beginning: &Semaphore) -> io::Result<(TcpStream, String)> {
    let _place = beginning.acquire().await.map_err(io::Error::other)?;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let since = sync(&mut stream, token, now, Duration::ZERO).await?;
    let since = sync(&mut stream, token, &since, Duration::ZERO).await?;
    Ok((stream, since))
}

async fn poll(
    (mut stream, mut since): (TcpStream, String),
    token: &str,
    timeout: Duration,
    delay: Duration,
    counts: &Counts,
) -> io::Result<()> {
    counts.settled.fetch_add(1, Ordering::Relaxed);
    while !counts.may_poll.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(delay).await;
    loop {
        since = sync(&mut stream, token, &since, timeout).await?;
        counts.polls.fetch_add(1, Ordering::Relaxed);
    }
}

/// One sync; returns from where to go on.
async fn sync(stream: &mut TcpStream, token: &str, since: &str, timeout: Duration) -> io::Result<String> {
    next(&answer(stream, token, since, timeout).await?)
}

/// One sync; returns its whole answer.
async fn answer(stream: &mut TcpStream, token: &str, since: &str, timeout: Duration) -> io::Result<Vec<u8>> {
    stream.write_all(request(token, since, timeout).as_bytes()).await?;
    let mut answer = Vec::new();
    while whole(&answer)?.is_none() {
        answer.reserve(4_096);
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(answer)
}

/// From where to go on behind an answer.
fn next(answer: &[u8]) -> io::Result<String> {
    let body: serde_json::Value = serde_json::from_slice(&whole(answer)?.unwrap_or_default())?;
    body["next_batch"].as_str().map(str::to_owned).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Whether dendron has given this answer again.
fn is_replay(answer: &[u8]) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    // What cannot be read was refused already.
    let _ = response.parse(answer);
    response.headers.iter().any(|header| header.name.eq_ignore_ascii_case("x-dendron") && header.value == b"replay")
}

fn request(token: &str, since: &str, timeout: Duration) -> String {
    format!(
        "GET /_matrix/client/v3/sync?timeout={}&since={since} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n",
        timeout.as_millis(),
    )
}

/// The body of an answer that is there as a whole.
pub(crate) fn whole(arrived: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(arrived).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let httparse::Status::Complete(bytes) = parsed else { return Ok(None) };
    if response.code != Some(200) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let rest = &arrived[bytes..];
    let Some(length) = length else { return joined(rest) };
    let length: usize = std::str::from_utf8(length.value).ok().and_then(|text| text.parse().ok()).unwrap_or_default();
    Ok(rest.get(..length).map(<[u8]>::to_vec))
}

/// Chunks, joined, when the last one is there.
fn joined(mut rest: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let Ok(httparse::Status::Complete((line, size))) = httparse::parse_chunk_size(rest) else { return Ok(None) };
        let size = usize::try_from(size).map_err(io::Error::other)?;
        let Some(chunk) = rest.get(line..line + size + 2) else { return Ok(None) };
        if size == 0 {
            return Ok(Some(body));
        }
        body.extend_from_slice(&chunk[..size]);
        rest = &rest[line + size + 2..];
    }
}
