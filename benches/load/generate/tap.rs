//! A stretch of wire before a server, on which it is noted when each sync passes.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use crate::fault::{Doing, Outcome};

/// How a sync begins. Dendron writes the head of a request at once, so that it begins what is read at once.
const SYNC: &[u8] = b"GET /_matrix/client/v3/sync?";
const READ_BYTES: usize = 16 * 1024;

/// The wire. It is cut when this is dropped.
pub(crate) struct Tap {
    pub(crate) port: u16,
    passed: Passed,
    _runtime: Runtime,
}

type Passed = Arc<Mutex<Vec<Instant>>>;

impl Tap {
    /// Lays one to a port.
    pub(crate) fn before(server: u16) -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.doing("starting a runtime")?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).doing("listening before Synapse")?;
        let port = listener.local_addr().doing("listening before Synapse")?.port();
        let passed = Passed::default();
        runtime.spawn(accept(listener, server, Arc::clone(&passed)));
        Ok(Tap { port, passed, _runtime: runtime })
    }

    /// When the syncs passed that have passed since the last call.
    pub(crate) fn take(&self) -> Vec<Instant> {
        std::mem::take(&mut *self.passed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn accept(listener: TcpListener, server: u16, passed: Passed) {
    while let Ok((client, _)) = listener.accept().await {
        let passed = Arc::clone(&passed);
        tokio::spawn(async move {
            let server = TcpStream::connect(("127.0.0.1", server)).await?;
            client.set_nodelay(true)?;
            server.set_nodelay(true)?;
            let ((from_client, mut to_client), (mut from_server, to_server)) =
                (client.into_split(), server.into_split());
            tokio::select! {
                noted = note(from_client, to_server, &passed) => noted,
                copied = tokio::io::copy(&mut from_server, &mut to_client) => copied.map(drop),
            }
        });
    }
}

async fn note(mut client: OwnedReadHalf, mut server: OwnedWriteHalf, passed: &Passed) -> io::Result<()> {
    let mut room = vec![0; READ_BYTES];
    loop {
        let count = client.read(&mut room).await?;
        if count == 0 {
            return Ok(());
        }
        if room[..count].starts_with(SYNC) {
            passed.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        }
        server.write_all(&room[..count]).await?;
    }
}
