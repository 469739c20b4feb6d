//! The certificates of a TLS listener: chosen by the name that the client asks for, read again when their files change.
//!
//! A connection keeps the certificate that it began with; a new one gets the new files. Files that cannot be read or do
//! not fit together leave the last good ones in place.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use pingora_rustls::sign::CertifiedKey;
use pingora_rustls::{ClientHello, CryptoProvider, ResolvesServerCert};
use serde::Deserialize;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Where a certificate and its key are.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// The chain, the listener's own certificate first, as PEM.
    pub certificate: PathBuf,
    /// The private key, as PEM.
    pub key: PathBuf,
}

/// Why certificate files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read, or holds no certificate or no key.
    #[error("cannot read a certificate from {certificate} and its key from {key}")]
    Files {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The certificate cannot be understood.
    #[error("{0} does not hold a valid X.509 certificate")]
    Form(PathBuf),
    /// The key is of a kind that TLS does not use, or belongs to another certificate.
    #[error("the key of {certificate} cannot be used: {reason}")]
    Key {
        /// The certificate's file.
        certificate: PathBuf,
        /// What the TLS library says.
        reason: String,
    },
}

/// The certificates of one listener.
#[derive(Debug)]
pub struct Certificates {
    files: Vec<CertificateFiles>,
    current: ArcSwap<Loaded>,
}

/// What was read, at one time, from all the files of a listener.
#[derive(Debug, Default)]
struct Loaded {
    default: Option<Arc<CertifiedKey>>,
    /// By lower-case DNS name; a wildcard stands under its name without the `*`.
    by_name: HashMap<String, Arc<CertifiedKey>>,
    /// When the first of them expires, in seconds since 1970.
    expires: Option<i64>,
    /// The files' times when they were read, to see a change.
    modified: Vec<Option<SystemTime>>,
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] for the first file that cannot be used.
    pub fn load(files: Vec<CertificateFiles>) -> Result<Self, CertificateError> {
        pingora_rustls::install_default_crypto_provider();
        let current = ArcSwap::from_pointee(Loaded::read(&files)?);
        Ok(Certificates { files, current })
    }

    /// When the first of the certificates expires, in seconds since 1970.
    pub fn expires(&self) -> Option<i64> {
        self.current.load().expires
    }

    /// Reads the files again if one of them changed; returns whether there is something new.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] if a changed file cannot be used; the last good certificates then stay.
    pub fn reload(&self) -> Result<bool, CertificateError> {
        if modified(&self.files) == self.current.load().modified {
            return Ok(false);
        }
        self.current.store(Arc::new(Loaded::read(&self.files)?));
        Ok(true)
    }

    fn choose(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.load();
        let named = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            let exact = current.by_name.get(&name);
            exact.or_else(|| current.by_name.get(&name[name.find('.')?..]))
        });
        named.or(current.default.as_ref()).cloned()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name())
    }
}

impl Loaded {
    fn read(files: &[CertificateFiles]) -> Result<Self, CertificateError> {
        let mut loaded = Loaded { modified: modified(files), ..Loaded::default() };
        for file in files {
            let key = Arc::new(read_key(file)?);
            let leaf = key.end_entity_cert().map_err(|_| CertificateError::Form(file.certificate.clone()))?;
            let (_, leaf) =
                X509Certificate::from_der(leaf).map_err(|_| CertificateError::Form(file.certificate.clone()))?;
            let expires = leaf.validity().not_after.timestamp();
            loaded.expires = Some(loaded.expires.map_or(expires, |first| first.min(expires)));
            for name in names_of(&leaf) {
                loaded.by_name.entry(name).or_insert_with(|| Arc::clone(&key));
            }
            loaded.default.get_or_insert(key);
        }
        Ok(loaded)
    }
}

fn read_key(files: &CertificateFiles) -> Result<CertifiedKey, CertificateError> {
    let unreadable = || CertificateError::Files { certificate: files.certificate.clone(), key: files.key.clone() };
    let (certificate, key) = (path_text(&files.certificate), path_text(&files.key));
    let found = pingora_rustls::load_certs_and_key_files(&certificate, &key).map_err(|_| unreadable())?;
    let (chain, key) = found.ok_or_else(unreadable)?;
    let unusable = |reason: String| CertificateError::Key { certificate: files.certificate.clone(), reason };
    let provider = CryptoProvider::get_default().ok_or_else(|| unusable("no TLS library".to_owned()))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| unusable(error.to_string()))
}

fn path_text(path: &Path) -> String {
    path.display().to_string()
}

fn names_of(leaf: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = leaf.subject_alternative_name() else { return Vec::new() };
    let dns = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.strip_prefix('*').unwrap_or(name).to_ascii_lowercase()),
        _ => None,
    });
    dns.collect()
}

fn modified(files: &[CertificateFiles]) -> Vec<Option<SystemTime>> {
    let paths = files.iter().flat_map(|files| [&files.certificate, &files.key]);
    paths.map(|path| std::fs::metadata(path).and_then(|data| data.modified()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, hosts: &[&str]) -> CertificateFiles {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(hosts).unwrap();
        let files = CertificateFiles {
            certificate: folder.join(format!("{name}.crt")),
            key: folder.join(format!("{name}.key")),
        };
        std::fs::write(&files.certificate, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        files
    }

    fn chosen(certificates: &Certificates, name: Option<&str>) -> Vec<u8> {
        certificates.choose(name).unwrap().end_entity_cert().unwrap().to_vec()
    }

    #[test]
    fn a_certificate_is_chosen_by_name_and_the_first_is_for_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let first = write(folder.path(), "first", &["a.example"]);
        let second = write(folder.path(), "second", &["b.example", "*.c.example"]);
        let certificates = Certificates::load(vec![first, second]).unwrap();
        let (first, second) = (chosen(&certificates, Some("a.example")), chosen(&certificates, Some("b.example")));
        assert_ne!(first, second);
        for (name, expected) in [
            (Some("B.Example"), &second),
            (Some("x.c.example"), &second),
            (Some("c.example"), &first),
            (Some("x.y.c.example"), &first),
            (Some("unknown.example"), &first),
            (Some("localhost"), &first),
            (None, &first),
        ] {
            assert_eq!(&chosen(&certificates, name), expected, "{name:?}");
        }
        assert!(certificates.expires().is_some());
    }

    #[test]
    fn changed_files_are_read_again_and_broken_ones_are_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let files = write(folder.path(), "one", &["a.example"]);
        let certificates = Certificates::load(vec![files.clone()]).unwrap();
        let before = chosen(&certificates, None);
        assert!(!certificates.reload().unwrap());

        std::fs::write(&files.certificate, "not a certificate").unwrap();
        set_newer(&files.certificate, 10);
        assert!(certificates.reload().is_err());
        assert_eq!(chosen(&certificates, None), before);

        write(folder.path(), "one", &["a.example"]);
        set_newer(&files.certificate, 20);
        assert!(certificates.reload().unwrap());
        assert_ne!(chosen(&certificates, None), before);
    }

    fn set_newer(path: &Path, seconds: u64) {
        let time = SystemTime::now() + std::time::Duration::from_secs(seconds);
        std::fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let one = write(folder.path(), "one", &["a.example"]);
        let other = write(folder.path(), "other", &["a.example"]);
        let mixed = CertificateFiles { certificate: one.certificate, key: other.key };
        assert!(Certificates::load(vec![mixed]).is_err());
    }
}
