//! A stretch of wire before a server, on which it is noted when each sync passes.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use super::punctual;
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
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.worker_threads(1).enable_all().on_thread_start(|| {
            punctual::go_first();
        });
        let runtime = runtime.build().doing("starting a runtime")?;
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
    while let Ok((mut client, _)) = listener.accept().await {
        let passed = Arc::clone(&passed);
        tokio::spawn(async move {
            client.set_nodelay(true)?;
            // Read before there is a connection on, for which Synapse may let one wait.
            let begun = read(&mut client, &passed).await?;
            let mut server = TcpStream::connect(("127.0.0.1", server)).await?;
            server.set_nodelay(true)?;
            server.write_all(&begun).await?;
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
    loop {
        let bytes = read(&mut client, passed).await?;
        if bytes.is_empty() {
            return Ok(());
        }
        server.write_all(&bytes).await?;
    }
}

/// Reads what there is, and notes if a sync begins there.
async fn read(client: &mut (impl AsyncRead + Unpin), passed: &Passed) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(READ_BYTES);
    client.read_buf(&mut bytes).await?;
    if bytes.starts_with(SYNC) {
        passed.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
    }
    Ok(bytes)
}
