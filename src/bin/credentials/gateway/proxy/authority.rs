//! The authority by which a proxy speaks for the providers' hosts, to those that trust it.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, Error, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256,
    SanType,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use super::super::tls;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the authority of a run is valid. Programs read it at their start, and a command may run for weeks.
pub(crate) const OF_A_RUN: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How long the certificate of a host is valid, and after how long there is another one.
const OF_A_HOST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How far the clocks of this machine and of a client may be apart.
const SKEW: Duration = Duration::from_secs(60 * 60);

/// An authority that can vouch for certain hosts only (RFC 5280, section 4.2.1.10): whoever stole its key could pose as
/// nobody else.
pub(crate) struct Authority {
    key: Zeroizing<KeyPair>,
    /// As in its certificate.
    params: CertificateParams,
    certificate: String,
    hosts: BTreeSet<String>,
    leaves: Mutex<HashMap<String, (Instant, Arc<ServerConfig>)>>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

/// What makes an authority, as it is kept.
pub(super) struct Parts<'a> {
    /// PKCS #8.
    pub(super) key: &'a [u8],
    /// In PEM.
    pub(super) certificate: String,
    pub(super) name: &'a str,
    pub(super) hosts: BTreeSet<String>,
}

impl Authority {
    /// Makes one for these hosts.
    pub(crate) fn new(name: &str, hosts: BTreeSet<String>, lifetime: Duration) -> Result<Self, Error> {
        let key = Zeroizing::new(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?);
        let mut params = params(name);
        (params.not_before, params.not_after) = validity(lifetime);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.name_constraints = Some(constraints(&hosts));
        let certificate = params.self_signed(&*key)?.pem();
        Ok(Self { key, params, certificate, hosts, leaves: Mutex::default() })
    }

    /// Takes one that was kept.
    pub(super) fn of_parts(parts: Parts<'_>) -> Result<Self, Error> {
        let key = PrivatePkcs8KeyDer::from(parts.key);
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256)?;
        Ok(Self {
            key: Zeroizing::new(key),
            params: params(parts.name),
            certificate: parts.certificate,
            hosts: parts.hosts,
            leaves: Mutex::default(),
        })
    }

    /// Its key, in PKCS #8.
    pub(super) fn key(&self) -> &[u8] {
        self.key.serialized_der()
    }

    /// Its certificate, in PEM.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    pub(super) fn hosts(&self) -> &BTreeSet<String> {
        &self.hosts
    }

    /// Whether it can vouch for a host.
    pub(super) fn vouches_for(&self, host: &str) -> bool {
        self.hosts.contains(host)
    }

    /// Returns what speaks TLS as this host.
    pub(super) fn acceptor(&self, host: &str) -> Result<TlsAcceptor, Error> {
        // Nobody waits while one is made: to make two at once does no harm.
        let known = self.leaves.lock().unwrap_or_else(PoisonError::into_inner).get(host).cloned();
        if let Some((made_at, config)) = known
            && made_at.elapsed() < DAY
        {
            return Ok(TlsAcceptor::from(config));
        }
        let config = Arc::new(self.config(host)?);
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        leaves.insert(host.to_owned(), (Instant::now(), config.clone()));
        Ok(TlsAcceptor::from(config))
    }

    fn config(&self, host: &str) -> Result<ServerConfig, Error> {
        let (certificate, key) = self.certified(host)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialized_der()));
        let key = ring::sign::any_ecdsa_type(&key).map_err(|_| Error::UnsupportedSignatureAlgorithm)?;
        let key = Arc::new(CertifiedKey::new(vec![certificate], key));
        let name = host.parse::<IpAddr>().is_err().then(|| host.to_owned());
        tls::config(Arc::new(OneName { name, key })).map_err(|_| Error::UnsupportedSignatureAlgorithm)
    }

    /// Makes a certificate for a host, and its key.
    fn certified(&self, host: &str) -> Result<(CertificateDer<'static>, Zeroizing<KeyPair>), Error> {
        let key = Zeroizing::new(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?);
        let mut params = params(host);
        (params.not_before, params.not_after) = validity(OF_A_HOST);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // Without it strict verifiers refuse the certificate (RFC 5280, section 4.2.1.1).
        params.use_authority_key_identifier_extension = true;
        params.subject_alt_names = vec![match host.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(host.try_into()?),
        }];
        let issuer = Issuer::from_params(&self.params, &*self.key);
        let certificate = params.signed_by(&*key, &issuer)?;
        Ok((certificate.into(), key))
    }
}

/// A certificate of this name, and an authority's unless something else is set.
fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

/// Since when and until when a certificate is valid.
fn validity<T: std::ops::Add<Duration, Output = T> + From<SystemTime>>(lifetime: Duration) -> (T, T) {
    let begin = SystemTime::now() - SKEW;
    (begin.into(), T::from(begin) + lifetime)
}

/// Only these hosts. A kind of names that is not constrained at all would be unbounded, so none is left out.
fn constraints(hosts: &BTreeSet<String>) -> NameConstraints {
    let mut permitted = Vec::new();
    let (mut has_names, mut has_v4, mut has_v6) = (false, false, false);
    for host in hosts {
        permitted.push(match host.parse::<IpAddr>() {
            Ok(address) => {
                *(if address.is_ipv4() { &mut has_v4 } else { &mut has_v6 }) = true;
                let bits = if address.is_ipv4() { 32 } else { 128 };
                GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, bits))
            }
            Err(_) => {
                has_names = true;
                GeneralSubtree::DnsName(host.clone())
            }
        });
    }
    if !has_names {
        // There is no such name (RFC 6761, section 6.4).
        permitted.push(GeneralSubtree::DnsName("invalid".to_owned()));
    }
    let all = |address: IpAddr| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, 0));
    let mut excluded = Vec::new();
    if !has_v4 {
        excluded.push(all(Ipv4Addr::UNSPECIFIED.into()));
    }
    if !has_v6 {
        excluded.push(all(Ipv6Addr::UNSPECIFIED.into()));
    }
    NameConstraints { permitted_subtrees: permitted, excluded_subtrees: excluded }
}

/// The certificate of one host, for nobody who asks for another (RFC 6066, section 3).
struct OneName {
    /// `None` for an address, which clients do not name.
    name: Option<String>,
    key: Arc<CertifiedKey>,
}

impl fmt::Debug for OneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneName").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for OneName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_meant = match (hello.server_name(), &self.name) {
            (Some(asked), Some(name)) => asked.eq_ignore_ascii_case(name),
            (Some(_), None) => false,
            (None, _) => true,
        };
        is_meant.then(|| self.key.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::time::Duration;

    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{CertificateError, Error, RootCertStore};

    use super::{Authority, DAY, OF_A_HOST, OF_A_RUN};

    /// Whether whoever trusts the authority takes its certificate for this host, so long from now.
    fn verify(authority: &Authority, host: &str, later: Duration) -> Result<(), Error> {
        let (certificate, _) = authority.certified(host).unwrap();
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(authority.certificate().as_bytes()).unwrap();
        roots.add(root).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
        let name = ServerName::try_from(host).unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs()) + later);
        verifier.verify_server_cert(&certificate, &[], &name, &[], now).map(|_| ())
    }

    #[test]
    fn an_authority_is_believed_for_its_hosts_alone() {
        for (hosts, others) in [
            (
                &["api.acme.test"][..],
                &["other.test", "acme.test", "xapi.acme.test", "127.0.0.1", "::1"][..],
            ),
            (&["api.acme.test", "127.0.0.1"], &["other.test", "127.0.0.2", "::1", "localhost"]),
            (&["127.0.0.1", "::1"], &["localhost", "test", "::2", "10.0.0.1"]),
            (&["::1"], &["localhost", "127.0.0.1"]),
        ] {
            let named: BTreeSet<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
            let authority = Authority::new("a test", named, OF_A_RUN).unwrap();
            for host in hosts {
                verify(&authority, host, Duration::ZERO).unwrap();
            }
            // With its key one can make such a certificate, and nobody believes it.
            for host in others {
                let error = verify(&authority, host, Duration::ZERO).unwrap_err();
                let Error::InvalidCertificate(CertificateError::Other(why)) = error else {
                    panic!("{host}: {error}")
                };
                assert!(why.to_string().contains("NameConstraintViolation"), "{host}: {why}");
            }
        }
    }

    #[test]
    fn a_certificate_of_a_host_is_valid_for_a_week() {
        let authority = Authority::new("a test", ["a.test".to_owned()].into(), OF_A_RUN).unwrap();
        verify(&authority, "a.test", OF_A_HOST - DAY).unwrap();
        verify(&authority, "a.test", OF_A_HOST + DAY).unwrap_err();
    }
}
