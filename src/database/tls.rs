//! TLS with the database, checked as libpq checks it.
//!
//! The files are read for every connection, so that a certificate can be replaced without a restart.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as RustlsError, RootCertStore, SignatureScheme,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::settings::{Roots, SslMode, Tls};

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[error("{}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    #[error("sslmode verifies certificates, but there is no sslrootcert")]
    NoRoots,
    #[error("the system trusts no authority")]
    NoSystemRoots,
    #[error("{0}")]
    Rustls(#[from] RustlsError),
}

/// What makes the TLS connections that `tls` describes.
pub(super) fn connector(tls: &Tls) -> Result<MakeRustlsConnect, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Verifier::new(tls, &provider)?);
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match tls.client.as_ref().filter(|(certificate, _)| certificate.exists()) {
        Some((certificate, key)) => builder.with_client_auth_cert(certificates(certificate)?, private_key(key)?)?,
        None => builder.with_no_client_auth(),
    };
    config.enable_sni = tls.sends_name;
    Ok(MakeRustlsConnect::new(config))
}

/// Checks the server's certificate as far as the mode asks for it.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// Checks the chain; `None` takes any certificate, as libpq does where it knows no authority.
    chain: Option<Chain>,
    checks_name: bool,
}

#[derive(Debug)]
struct Chain {
    verifier: Arc<WebPkiServerVerifier>,
    /// A server's own certificate may stand among the authorities, as many people set it up.
    roots: Vec<CertificateDer<'static>>,
}

impl Verifier {
    fn new(tls: &Tls, provider: &Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let must_verify = tls.mode >= SslMode::VerifyCa;
        let roots = match &tls.roots {
            Roots::System => Some(rustls_native_certs::load_native_certs().certs),
            Roots::File(path) if must_verify || path.exists() => Some(certificates(path)?),
            Roots::Nobody if must_verify => return Err(TlsError::NoRoots),
            Roots::File(_) | Roots::Nobody => None,
        };
        Ok(Verifier {
            provider: Arc::clone(provider),
            chain: roots.map(|roots| Chain::new(roots, provider)).transpose()?,
            checks_name: tls.mode == SslMode::VerifyFull,
        })
    }
}

impl Chain {
    fn new(roots: Vec<CertificateDer<'static>>, provider: &Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots.iter().cloned());
        let built = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider)).build();
        Ok(Chain { verifier: built.map_err(|_| TlsError::NoSystemRoots)?, roots })
    }

    /// Whether the certificate is one of the authorities itself, and still good.
    fn knows(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> bool {
        let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else { return false };
        let Ok(now) = i64::try_from(now.as_secs()) else { return false };
        let validity = parsed.validity();
        let is_valid = validity.not_before.timestamp() <= now && now <= validity.not_after.timestamp();
        is_valid && self.roots.iter().any(|root| root == certificate)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        if chain.knows(end_entity, now) {
            if self.checks_name {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        // The chain is looked at before the name.
        match chain.verifier.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            Err(RustlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.checks_name => Ok(ServerCertVerified::assertion()),
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) if found.is_empty() => Err(file(path, "there is no certificate in it")),
        Ok(found) => Ok(found),
        Err(reason) => Err(file(path, reason)),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|reason| file(path, reason))
}

fn file(path: &Path, reason: impl ToString) -> TlsError {
    TlsError::File { path: path.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    struct Setting {
        folder: tempfile::TempDir,
        /// By the authority in `ca.pem`, for `db.example`.
        signed: CertificateDer<'static>,
        /// By itself, in `own.pem`, for `db.example`.
        own: CertificateDer<'static>,
    }

    fn setting() -> Setting {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        let issuer = Issuer::new(params, key);
        let params = CertificateParams::new(["db.example".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &issuer).unwrap().der().clone();
        let own = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("own.pem"), own.pem()).unwrap();
        Setting { folder, signed, own: own.der().clone() }
    }

    #[test]
    fn the_modes_check_what_libpq_checks() {
        let setting = setting();
        let file = |name: &str| Roots::File(setting.folder.path().join(name));
        let (signed, own) = (&setting.signed, &setting.own);
        let table = [
            // Without an authority nothing is checked; with one everything below verify-full but the name is.
            (SslMode::Require, Roots::Nobody, own, "other.example", true),
            (SslMode::Require, file("missing.pem"), own, "other.example", true),
            (SslMode::Require, file("ca.pem"), signed, "other.example", true),
            (SslMode::Require, file("ca.pem"), own, "db.example", false),
            (SslMode::VerifyCa, file("ca.pem"), signed, "other.example", true),
            (SslMode::VerifyCa, file("ca.pem"), own, "db.example", false),
            (SslMode::VerifyCa, file("own.pem"), own, "other.example", true),
            (SslMode::VerifyFull, file("ca.pem"), signed, "db.example", true),
            (SslMode::VerifyFull, file("ca.pem"), signed, "other.example", false),
            (SslMode::VerifyFull, file("own.pem"), own, "db.example", true),
            (SslMode::VerifyFull, file("own.pem"), own, "other.example", false),
            (SslMode::VerifyFull, file("own.pem"), signed, "db.example", false),
        ];
        let provider = Arc::new(ring::default_provider());
        for (mode, roots, certificate, name, expected) in table {
            let case = format!("{mode:?} {roots:?} {name}");
            let tls = Tls { mode, roots, client: None, sends_name: true };
            let verifier = Verifier::new(&tls, &provider).unwrap();
            let name = ServerName::try_from(name).unwrap();
            let outcome = verifier.verify_server_cert(certificate, &[], &name, &[], UnixTime::now());
            assert_eq!(outcome.is_ok(), expected, "{case}: {outcome:?}");
        }
    }

    #[test]
    fn a_mode_that_verifies_needs_authorities() {
        let missing = || Roots::File(PathBuf::from("/nonexistent/root.crt"));
        let table = [
            (SslMode::VerifyCa, Roots::Nobody, false),
            (SslMode::VerifyFull, missing(), false),
            (SslMode::Prefer, missing(), true),
        ];
        for (mode, roots, expected) in table {
            let outcome = connector(&Tls { mode, roots, client: None, sends_name: true });
            assert_eq!(outcome.is_ok(), expected, "{mode:?}");
        }
    }
}
