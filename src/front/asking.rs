//! A question asked of its process, up to the head of the answer.
//!
//! Until the answer has begun, the question can still become the proxy's. From then on it is the client's alone: what
//! breaks off breaks off for the client, too.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Poll, ready};

use bytes::BytesMut;
use pingora_core::protocols::Stream;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use super::answer::{self, AnswerHead, Form, Parsed};
use super::desk::Desk;
use crate::exchange::Ended;
use crate::proxy::relay::{Connected, Errand, Unanswered};
use crate::reply::Failure;

/// How much of an answer is read at once. The room is on the stack: who waits for an answer has none for it.
const READ_BYTES: usize = 16 * 1024;

/// An answer whose head has come.
pub(super) struct Begun<T> {
    pub(super) stream: Stream,
    pub(super) head: AnswerHead,
    /// The head as the client gets it.
    pub(super) written: T,
    /// What has come, from the head on.
    pub(super) received: BytesMut,
}

/// Why an answer has not begun.
#[derive(Debug)]
enum Fault {
    /// The process has broken the connection.
    Broken,
    /// It was silent for too long.
    Silent,
    /// It has said something that is no plain answer.
    Odd,
}

/// Why the rest of an answer does not come.
#[derive(Debug)]
pub(super) enum Cut {
    ClientGone,
    BrokenOff,
    Silent,
}

impl From<Cut> for Ended {
    fn from(cut: Cut) -> Self {
        match cut {
            Cut::ClientGone => Ended::ClientGone,
            Cut::BrokenOff => Ended::BrokenOff,
            Cut::Silent => Ended::TimedOut,
        }
    }
}

/// Asks a process; its answer when the head has come, which is written as the client gets it.
pub(super) async fn ask<F: Form>(
    desk: &impl Desk,
    errand: &mut Errand,
    form: &F,
) -> Result<Begun<F::Head>, Unanswered> {
    let Connected { mut stream, is_reused } = desk.connect(errand).await?;
    match begin(&mut stream, errand, form).await {
        Ok((head, written, received)) => Ok(Begun { stream, head, written, received }),
        Err(Fault::Silent) => Err(Unanswered::Failed(Failure::TimedOut)),
        Err(Fault::Broken) => Err(desk.broke(errand, is_reused)),
        Err(Fault::Odd) => Err(desk.was_odd(errand)),
    }
}

/// Sends a question, and waits for the head of its answer.
async fn begin<F: Form>(
    stream: &mut Stream,
    errand: &Errand,
    form: &F,
) -> Result<(AnswerHead, F::Head, BytesMut), Fault> {
    let sent = timeout(errand.patience(), async {
        stream.write_all(errand.request()).await?;
        stream.flush().await
    });
    sent.await.map_err(|_| Fault::Silent)?.map_err(|_| Fault::Broken)?;
    let mut received = BytesMut::new();
    loop {
        match timeout(errand.patience(), receive(stream, &mut received)).await {
            Ok(Ok(1..)) => {}
            Ok(_) => return Err(Fault::Broken),
            Err(_) => return Err(Fault::Silent),
        }
        match answer::read(&received, errand.told(), form) {
            Parsed::Partial => {}
            Parsed::Odd => return Err(Fault::Odd),
            Parsed::Whole(head, written) => return Ok((head, written, received)),
        }
    }
}

/// Waits for a part of an answer; how long it is, 0 at the end. Nothing is lost when the future is dropped.
pub(super) async fn receive(stream: &mut Stream, received: &mut BytesMut) -> io::Result<usize> {
    poll_fn(|context| {
        let mut room = [const { MaybeUninit::uninit() }; READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
        received.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    })
    .await
}
