//! TLS of the gateway's own, with a certificate from files.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, ServerConfig};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use super::stored::Stamp;
use crate::failure::{Exit, Failure};
use crate::output;

/// The most of a file that is read.
const MOST: usize = 1024 * 1024;

/// HTTP/2 in a connection's choice of protocols (ALPN, RFC 7301).
pub(super) const H2: &[u8] = b"h2";

/// The TLS of a server. Its certificate can be replaced.
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    certificate: Arc<Current>,
}

/// The certificate for the handshakes from now on.
struct Current(RwLock<Arc<CertifiedKey>>);

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current(..)")
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Tls {
    pub(crate) fn new(certificate: Arc<CertifiedKey>) -> Result<Self, Failure> {
        let certificate = Arc::new(Current(RwLock::new(certificate)));
        let config = config(certificate.clone())
            .map_err(|error| Failure::failed("TLS could not be set up").because(error))?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate })
    }

    /// Takes another certificate for the handshakes from now on.
    pub(crate) fn set(&self, certificate: Arc<CertifiedKey>) {
        *self.certificate.0.write().unwrap_or_else(PoisonError::into_inner) = certificate;
    }

    pub(super) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }
}

/// What a server of HTTP/2 and HTTP/1.1 with these certificates does in a handshake.
pub(super) fn config(certificates: Arc<dyn ResolvesServerCert>) -> Result<ServerConfig, Error> {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?;
    let mut config = config.with_no_client_auth().with_cert_resolver(certificates);
    config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// A file, and the flag or setting that names it.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) path: PathBuf,
    pub(crate) by: &'static str,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", output::path(&self.path), self.by)
    }
}

/// The files of a certificate and its key, which are followed.
pub(crate) struct CertificateFiles {
    certificate: Named,
    key: Named,
    stamps: Option<[Stamp; 2]>,
    /// Whether they have changed since they were read.
    has_changed: bool,
}

impl CertificateFiles {
    pub(crate) fn new(certificate: Named, key: Named) -> Self {
        Self { certificate, key, stamps: None, has_changed: false }
    }

    /// Reads them.
    pub(crate) fn read(&mut self) -> Result<Arc<CertifiedKey>, Failure> {
        // A change from now on is read later.
        self.stamps = Some(self.stamps());
        let (certificate, key) = (&self.certificate, &self.key);
        let refused = |message: String| Err(Failure::usage(message));
        let text = read(certificate, |_| Ok(()))?;
        let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
        // What the parser says may quote the file, and that may be the key's.
        let chain = chain.unwrap_or_default();
        if chain.is_empty() {
            return refused(format!("{certificate} has no certificate in PEM"));
        }
        let text = read(key, for_its_owner_alone)?;
        let Ok(parsed) = PrivateKeyDer::from_pem_slice(&text) else {
            return refused(format!("{key} has no private key in PEM that is not encrypted"));
        };
        let Ok(parsed) = ring::sign::any_supported_type(&parsed) else {
            return refused(format!("{key} has a private key of a kind that is not supported"));
        };
        let certified = CertifiedKey::new(chain, parsed);
        match certified.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Arc::new(certified)),
            Err(Error::InconsistentKeys(_)) => {
                refused(format!("{key} is not the key of the certificate {certificate}"))
            }
            Err(error) => {
                Err(Failure::usage(format!("the certificate {certificate} is not valid")).because(error))
            }
        }
    }

    /// Reads them if they have changed. It waits until the next call, since they may be written one after the other.
    pub(crate) fn look(&mut self) -> Option<Result<Arc<CertifiedKey>, Failure>> {
        let stamps = Some(self.stamps());
        if stamps != self.stamps {
            self.stamps = stamps;
            self.has_changed = true;
            return None;
        }
        std::mem::take(&mut self.has_changed).then(|| self.read())
    }

    fn stamps(&self) -> [Stamp; 2] {
        [Stamp::of(&self.certificate.path), Stamp::of(&self.key.path)]
    }
}

fn read(
    file: &Named,
    check: impl FnOnce(&std::fs::Metadata) -> Result<(), String>,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |error: io::Error| {
        let exit = match error.kind() {
            io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::Failed,
        };
        Failure::new(exit, format!("could not read {file}")).because(error)
    };
    let opened = File::open(&file.path).map_err(failed)?;
    check(&opened.metadata().map_err(failed)?).map_err(|mode| {
        Failure::usage(format!("others than its owner may read {file}, whose mode is {mode}"))
            .way_out(format!("chmod 600 {}", crate::shell::quoted(file.path.display())))
    })?;
    // Of its full size at once, so that no copy of a key is left behind as it grows.
    let mut text = Zeroizing::new(Vec::with_capacity(MOST));
    opened.take(MOST as u64).read_to_end(&mut text).map_err(failed)?;
    Ok(text)
}

/// Refuses a key that others may read; its group may if it is root's, as with Debian's `ssl-cert`.
#[cfg(unix)]
pub(super) fn for_its_owner_alone(metadata: &std::fs::Metadata) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt;
    let mode = metadata.mode() & 0o7777;
    let others = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if mode & others == 0 { Ok(()) } else { Err(format!("{mode:04o}")) }
}

#[cfg(not(unix))]
pub(super) fn for_its_owner_alone(_: &std::fs::Metadata) -> Result<(), String> {
    Ok(())
}
