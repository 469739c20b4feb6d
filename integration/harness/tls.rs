//! Certificates by an authority of the tests' own, and the client's side of TLS.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Failed;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use time::OffsetDateTime;

/// How long a server may be silent.
const PATIENCE: Duration = Duration::from_secs(20);

/// An authority that lives as long as a test.
pub struct Authority {
    /// Its certificate, as a file for those who are to trust it.
    pub file: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// The files of a certificate for this machine.
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// A connection that trusts one authority alone.
pub type Connection = StreamOwned<ClientConnection, TcpStream>;

impl Authority {
    /// Makes an authority, and writes its certificate into a folder.
    pub fn new(folder: &Path) -> Result<Self, Failed> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "authority of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let file = folder.join("authority.pem");
        std::fs::write(&file, certificate.pem())?;
        Ok(Authority { file, issuer: Issuer::new(params, key), certificate: certificate.der().clone() })
    }

    /// Writes a new certificate for this machine into the files, the way an administrator's tools do: beside them first.
    /// Returns the certificate.
    pub fn sign(&self, files: &Files, expires: OffsetDateTime) -> Result<CertificateDer<'static>, Failed> {
        let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.not_after = expires;
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        replace(&files.key, &key.serialize_pem())?;
        replace(&files.certificate, &certificate.pem())?;
        Ok(certificate.der().clone())
    }

    /// The client's side of a connection to `localhost`, with these protocols to choose from.
    pub fn client(&self, protocols: &[&[u8]]) -> Result<ClientConnection, Failed> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone())?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(ClientConnection::new(Arc::new(config), ServerName::try_from("localhost")?)?)
    }

    /// Connects to `localhost`, and returns when the handshake is done.
    pub fn connect(&self, port: u16) -> Result<Connection, Failed> {
        self.connect_speaking(port, &[])
    }

    /// The same, with these protocols to choose from.
    pub fn connect_speaking(&self, port: u16, protocols: &[&[u8]]) -> Result<Connection, Failed> {
        let mut connection = self.client(protocols)?;
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(connection, stream))
    }

    /// The certificate that a new connection is shown.
    pub fn shown(&self, port: u16) -> Result<CertificateDer<'static>, Failed> {
        let connection = self.connect(port)?;
        let chain = connection.conn.peer_certificates().unwrap_or_default();
        Ok(chain.first().ok_or("no certificate was shown")?.clone().into_owned())
    }
}

impl Files {
    /// The files of this name in a folder.
    pub fn new(folder: &Path, name: &str) -> Self {
        Files { certificate: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) }
    }
}

/// Puts a file in the place of another at once.
pub fn replace(path: &Path, text: &str) -> Result<(), Failed> {
    let new = path.with_extension("new");
    std::fs::write(&new, text)?;
    std::fs::rename(new, path)?;
    Ok(())
}
