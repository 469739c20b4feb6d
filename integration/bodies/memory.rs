//! Bodies stream through dendron, and it keeps no more of them than a few buffers.
//!
//! Each measure is taken after the same was done before, so that what the allocator keeps for good is not counted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use super::edge::Edge;
use super::media_stub::Pattern;
use crate::harness::{ensure, ensure_eq};

/// A body that a buffer without a bound would show.
const LARGE: u64 = 100_000_000;
/// By how much resident memory may rise meanwhile.
const RISE_MAX: u64 = 2_000_000;
/// Often enough to see a body of this size that is held for a moment.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(5);

pub(super) fn chunks_pass_both_ways() -> Result<(), Failed> {
    let edge = Edge::start(LARGE)?;
    for length in [0, 1, 4096, 65_536, 1_000_003, 20_000_000] {
        let status = edge.upload(length, true)?;
        ensure_eq!(status, "HTTP/1.1 200 OK", "{length} bytes in chunks");
        let seen = edge.stub.last()?;
        ensure_eq!(seen.head.header("transfer-encoding"), "chunked", "{length} bytes in chunks: framing");
        ensure!(seen.is_whole && seen.length == length, "{length} bytes in chunks: {seen:?}");
        edge.download(length, true, |_| {})?;
    }
    Ok(())
}

pub(super) fn uploads_are_not_kept() -> Result<(), Failed> {
    let edge = Edge::start(LARGE)?;
    for chunked in [false, true] {
        let upload = || {
            ensure_eq!(edge.upload(LARGE, chunked)?, "HTTP/1.1 200 OK", "chunked: {chunked}");
            let seen = edge.stub.last()?;
            ensure!(seen.is_whole && seen.length == LARGE, "chunked: {chunked}: {seen:?}");
            Ok(())
        };
        upload()?;
        let rise = rise_during(&edge, upload)?;
        ensure!(rise < RISE_MAX, "chunked: {chunked}: an upload raised the memory by {rise} bytes");
    }
    Ok(())
}

/// What nobody wants is read for a while, so that the client hears why.
pub(super) fn refused_uploads_are_not_kept() -> Result<(), Failed> {
    let edge = Edge::start(1000)?;
    for chunked in [false, true] {
        let upload = || {
            ensure_eq!(edge.upload(LARGE, chunked)?, "HTTP/1.1 413 Payload Too Large", "chunked: {chunked}");
            Ok(())
        };
        upload()?;
        let rise = rise_during(&edge, upload)?;
        ensure!(rise < RISE_MAX, "chunked: {chunked}: a refused upload raised the memory by {rise} bytes");
    }
    Ok(())
}

pub(super) fn downloads_are_not_kept() -> Result<(), Failed> {
    let edge = Edge::start(LARGE)?;
    for chunked in [false, true] {
        let download = || edge.download(LARGE, chunked, |_| {});
        download()?;
        let rise = rise_during(&edge, download)?;
        ensure!(rise < RISE_MAX, "chunked: {chunked}: a download raised the memory by {rise} bytes");
    }
    Ok(())
}

/// The same by TLS and HTTP/2, whose windows are buffers of their own.
pub(super) fn encrypted_bodies_are_not_kept() -> Result<(), Failed> {
    let edge = Edge::start(LARGE)?;
    let file = edge.path("body");
    let from = file.display().to_string();
    Pattern::new().write(&mut std::fs::File::create(&file)?, LARGE, false)?;
    for (url, option, version) in edge.ways() {
        let target = format!("{url}{}", super::UPLOAD);
        let upload = ["--request", "POST", "--upload-file", &from, &target];
        let target = format!("{url}/_matrix/client/v1/media/download/stub/{LARGE}");
        let download = ["--output", "/dev/null", &target];
        for arguments in [&upload[..], &download] {
            let work = || {
                let (how, _) = edge.curl(option, arguments)?;
                ensure_eq!(how, format!("200 over {version}"), "curl {option} {arguments:?}");
                Ok(())
            };
            work()?;
            let rise = rise_during(&edge, work)?;
            ensure!(rise < RISE_MAX, "curl {option} {arguments:?} raised the memory by {rise} bytes");
        }
        let seen = edge.stub.last()?;
        ensure!(seen.is_whole && seen.length == LARGE, "an upload to {url} by curl {option}: {seen:?}");
    }
    Ok(())
}

/// Synapse would send faster than the client takes: dendron must make it wait.
pub(super) fn slow_reader_costs_no_memory() -> Result<(), Failed> {
    let edge = Edge::start(LARGE)?;
    edge.download(LARGE, false, |_| {})?;
    let begun = Instant::now();
    let rise = rise_during(&edge, || {
        // It dawdles for its first megabytes, while all the rest would have had time to come.
        let dawdle = |length| {
            if length < 4_000_000 {
                thread::sleep(Duration::from_millis(10))
            }
        };
        edge.download(LARGE, false, dawdle)
    })?;
    ensure!(begun.elapsed() > Duration::from_secs(1), "the reader was not slow: {:?}", begun.elapsed());
    ensure!(rise < RISE_MAX, "a slow reader raised the memory by {rise} bytes");
    Ok(())
}

/// By how much dendron's resident memory rises at most while something is done.
fn rise_during(edge: &Edge, work: impl Fn() -> Result<(), Failed>) -> Result<u64, Failed> {
    let before = edge.resident()?;
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut most = before;
            let mut samples = 0_u32;
            while !is_done.load(Ordering::Relaxed) {
                most = most.max(edge.resident()?);
                samples += 1;
                thread::sleep(SAMPLE_INTERVAL);
            }
            ensure!(samples > 5, "the memory was looked at only {samples} times");
            Ok(most - before)
        });
        let outcome = work();
        is_done.store(true, Ordering::Relaxed);
        let rise = sampler.join().map_err(|_| "the sampler panicked")?;
        outcome.and(rise)
    })
}
