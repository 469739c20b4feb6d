//! What a session and its client see of each other.

use std::task::Waker;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

const PATIENCE: Duration = Duration::from_secs(5);

/// A connection with its client.
fn connected() -> (Transport, DuplexStream) {
    let (server, client) = duplex(1 << 20);
    (Transport::new(Box::new(server), PATIENCE), client)
}

/// What one read gives; `None` where it has to wait.
fn read_now(transport: &mut Transport) -> Option<Vec<u8>> {
    let mut room = [0; 64];
    let mut buffer = ReadBuf::new(&mut room);
    match Pin::new(transport).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer) {
        Poll::Ready(read) => {
            read.unwrap();
            Some(buffer.filled().to_vec())
        }
        Poll::Pending => None,
    }
}

fn received_now(client: &mut DuplexStream) -> Vec<u8> {
    let mut room = vec![0; 1 << 18];
    let mut buffer = ReadBuf::new(&mut room);
    let _ = Pin::new(client).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer);
    buffer.filled().to_vec()
}

#[tokio::test]
async fn a_session_gets_its_request_and_the_next_one_the_rest() {
    let (mut transport, mut client) = connected();
    client.write_all(b"HEADhel").await.unwrap();
    transport.fill().await.unwrap();
    assert_eq!(&transport.begin(4, Fence::Length(5), false)[..], b"HEAD");
    assert_eq!(read_now(&mut transport).as_deref(), Some(&b"hel"[..]));
    assert_eq!(read_now(&mut transport), None);
    assert!(!transport.is_at_the_fence());
    client.write_all(b"loNEXT").await.unwrap();
    assert_eq!(read_now(&mut transport).as_deref(), Some(&b"lo"[..]));
    assert!(transport.is_at_the_fence());
    // The session looks whether the client is there, and sees nothing of what it sends.
    client.write_all(b" AND").await.unwrap();
    for _ in 0..3 {
        assert_eq!(read_now(&mut transport), None);
    }
    assert_eq!(transport.received(), b"NEXT AND");
    assert_eq!(&transport.begin(8, Fence::Length(0), false)[..], b"NEXT AND");
}

#[tokio::test]
async fn an_end_is_seen_behind_bytes_that_wait() {
    let (mut transport, mut client) = connected();
    client.write_all(b"HEADNEXT").await.unwrap();
    transport.fill().await.unwrap();
    transport.begin(4, Fence::Length(0), false);
    assert_eq!(read_now(&mut transport), None);
    drop(client);
    assert_eq!(read_now(&mut transport), Some(Vec::new()));
    assert_eq!(read_now(&mut transport), Some(Vec::new()), "an end stays one");
}

#[tokio::test]
async fn what_is_taken_in_ahead_is_bounded() {
    let (mut transport, mut client) = connected();
    transport.begin(0, Fence::Length(0), false);
    client.write_all(&[b'x'; 10 * AHEAD_BYTES_MAX]).await.unwrap();
    assert_eq!(read_now(&mut transport), None);
    assert!((AHEAD_BYTES_MAX..AHEAD_BYTES_MAX + READ_BYTES).contains(&transport.received().len()));
}

#[tokio::test]
async fn chunks_that_are_broken_are_all_the_session_s() {
    let (mut transport, mut client) = connected();
    transport.begin(0, Fence::CHUNKS, false);
    client.write_all(b"\r\nhello\r\n0\r\n\r\nNEXT").await.unwrap();
    assert_eq!(read_now(&mut transport).as_deref(), Some(&b"\r\nhello\r\n0\r\n\r\nNEXT"[..]));
    assert!(!transport.is_at_the_fence());
}

#[tokio::test]
async fn the_fence_falls_with_another_protocol_and_with_nothing_else() {
    for (may_switch, answer, passes) in [
        (true, "HTTP/1.1 101 Switching Protocols\r\n\r\n", true),
        (true, "HTTP/1.1 200 OK\r\n\r\n", false),
        (false, "HTTP/1.1 101 Switching Protocols\r\n\r\n", false),
    ] {
        let (mut transport, mut client) = connected();
        transport.begin(0, Fence::Length(0), may_switch);
        client.write_all(b"frame").await.unwrap();
        assert_eq!(read_now(&mut transport), None, "{answer}");
        transport.write_all(answer.as_bytes()).await.unwrap();
        assert_eq!(read_now(&mut transport).is_some(), passes, "{may_switch} {answer}");
    }
}

#[tokio::test]
async fn small_writes_leave_together_and_large_ones_at_once() {
    let (mut transport, mut client) = connected();
    transport.write_all(b"head").await.unwrap();
    transport.write_all(b"body").await.unwrap();
    assert_eq!(received_now(&mut client), b"");
    transport.flush().await.unwrap();
    assert_eq!(received_now(&mut client), b"headbody");
    transport.write_all(b"head").await.unwrap();
    transport.write_all(&[b'x'; 100_000]).await.unwrap();
    assert_eq!(received_now(&mut client).len(), 100_004);
    transport.rest();
    assert_eq!((transport.socket.lock().to_send.capacity(), transport.received.capacity()), (0, 0));
    // What was written is not lost with the connection.
    transport.write_all(b"last").await.unwrap();
    drop(transport);
    let mut last = String::new();
    client.read_to_string(&mut last).await.unwrap();
    assert_eq!(last, "last");
}

/// What a session does in one turn of the connection's task.
fn turn(transport: &mut Transport, act: impl FnOnce(&mut Transport, &mut Context<'_>)) {
    let mut context = Context::from_waker(Waker::noop());
    transport.socket().take_turn(&mut context, |context| act(transport, context));
}

/// Writes and flushes, which is done at once.
fn write(transport: &mut Transport, context: &mut Context<'_>, text: &str) {
    let mut transport = Pin::new(transport);
    assert!(
        matches!(transport.as_mut().poll_write(context, text.as_bytes()), Poll::Ready(Ok(count)) if count == text.len())
    );
    assert!(matches!(transport.poll_flush(context), Poll::Ready(Ok(()))));
}

#[tokio::test]
async fn what_a_session_flushes_leaves_together_at_the_end_of_the_turn_and_not_later() {
    let (mut transport, mut client) = connected();
    turn(&mut transport, |transport, context| {
        write(transport, context, "head");
        assert_eq!(received_now(&mut client), b"");
        write(transport, context, "body");
        assert_eq!(received_now(&mut client), b"");
    });
    // The session has not been asked again, and may be waiting for anything.
    assert_eq!(received_now(&mut client), b"headbody");
    turn(&mut transport, |transport, context| write(transport, context, "HTTP/1.1 100 Continue\r\n\r\n"));
    assert_eq!(received_now(&mut client), b"HTTP/1.1 100 Continue\r\n\r\n");
    // What was not flushed waits for the rest, and outside of a turn a flush sends at once.
    turn(&mut transport, |transport, context| {
        assert!(Pin::new(transport).poll_write(context, b"he").is_ready());
    });
    assert_eq!(received_now(&mut client), b"");
    transport.write_all(b"ad").await.unwrap();
    transport.flush().await.unwrap();
    assert_eq!(received_now(&mut client), b"head");
}

#[tokio::test]
async fn a_session_is_told_that_its_turn_could_not_send() {
    let (mut transport, client) = connected();
    drop(client);
    turn(&mut transport, |transport, context| write(transport, context, "head"));
    let mut context = Context::from_waker(Waker::noop());
    let told = Pin::new(&mut transport).poll_write(&mut context, b"body");
    assert!(matches!(told, Poll::Ready(Err(_))), "{told:?}");
}

#[tokio::test]
async fn the_last_of_an_answer_waits_for_a_slow_client_for_some_time() {
    for patience in [Duration::from_millis(50), PATIENCE] {
        let (server, mut client) = duplex(4);
        let mut transport = Transport::new(Box::new(server), patience);
        turn(&mut transport, |transport, context| write(transport, context, "head and body"));
        assert!(transport.socket.lock().is_behind());
        if patience < PATIENCE {
            assert!(!transport.settle().await, "nobody reads");
            continue;
        }
        let mut all = [0; 13];
        let (read, has_left) = tokio::join!(client.read_exact(&mut all), transport.settle());
        read.unwrap();
        assert!(has_left && !transport.socket.lock().is_behind());
        assert_eq!(&all, b"head and body");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_writer() {
    let (server, mut client) = duplex(1000);
    let mut transport = Transport::new(Box::new(server), PATIENCE);
    let writing = tokio::spawn(async move {
        for _ in 0..100 {
            transport.write_all(&[b'x'; 999]).await.unwrap();
        }
        transport.flush().await.unwrap();
    });
    let mut count = 0;
    let mut room = [0; 77];
    while count < 99_900 {
        count += client.read(&mut room).await.unwrap();
    }
    writing.await.unwrap();
}
