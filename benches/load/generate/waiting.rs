//! Connections that have sent what they had to send, and wait.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::handshakes;
use crate::fault::{Doing, Outcome};

/// What an answer without a body ends with.
const END: &[u8] = b"\r\n\r\n";

/// How to connect.
pub(crate) enum Wire {
    Plain(u16),
    Encrypted(u16, Arc<ClientConfig>),
}

/// Open connections. They close when this is dropped.
pub(crate) struct Waiting {
    _connections: Vec<Box<dyn Stream>>,
}

trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

impl Wire {
    /// With TLS, to who shows this certificate.
    pub(crate) fn encrypted(port: u16, trusted: &CertificateDer<'static>) -> Outcome<Self> {
        Ok(Wire::Encrypted(port, Arc::new(handshakes::client(trusted)?)))
    }

    /// A connection of its own for a request, which is sent.
    fn ask(&self, request: &[u8]) -> io::Result<Box<dyn Stream>> {
        let mut stream = self.connect()?;
        stream.write_all(request)?;
        stream.flush()?;
        Ok(stream)
    }

    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let (Wire::Plain(port) | Wire::Encrypted(port, _)) = self;
        let socket = TcpStream::connect(("127.0.0.1", *port))?;
        let Wire::Encrypted(_, config) = self else { return Ok(Box::new(socket)) };
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        Ok(Box::new(StreamOwned::new(connection, socket)))
    }
}

impl Waiting {
    /// Opens a connection for each request, and sends it.
    pub(crate) fn ask<'request>(wire: &Wire, requests: impl Iterator<Item = &'request [u8]>) -> Outcome<Self> {
        Waiting::open(requests, |request| wire.ask(request))
    }

    /// Opens so many connections, of which each has had its answer to a request whose answer has no body.
    pub(crate) fn answered(wire: &Wire, request: &[u8], count: usize) -> Outcome<Self> {
        Waiting::open(0..count, |_| {
            let mut stream = wire.ask(request)?;
            let mut answer = Vec::new();
            let mut room = [0; 1_024];
            while !answer.ends_with(END) {
                match stream.read(&mut room)? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    count => answer.extend_from_slice(&room[..count]),
                }
            }
            Ok(stream)
        })
    }

    fn open<T>(wanted: impl Iterator<Item = T>, one: impl Fn(T) -> io::Result<Box<dyn Stream>>) -> Outcome<Self> {
        let connections: io::Result<Vec<_>> = wanted.map(one).collect();
        Ok(Waiting { _connections: connections.doing("opening a connection that waits")? })
    }
}
