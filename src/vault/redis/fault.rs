//! What goes wrong with an engine, in plain words with the way out.

use std::io;
use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerErrorKind};
use rustls::{AlertDescription, CertificateError};

use super::error::{EngineError, EngineErrorKind};
use super::url::Address;
use crate::vault::VaultError;

/// Why a node gave no answer, or a refusal.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// It can't be reached, or is not ready. Whether a change was made is not known.
    Away(String),
    /// The same, since it is a replica, or has just become one.
    Replica(String),
    /// The same, since its certificate can't be trusted, or since it wants one from its clients.
    Certificate(String),
    /// It is reached, and refuses the name or the password, or wants one.
    Login(String),
    /// A Sentinel does so.
    SentinelLogin(String),
    /// It is reached and refuses.
    Refused(String),
}

impl Fault {
    /// Explains an error of the node at `address`. It never repeats what was sent.
    pub(super) fn of(error: &RedisError, address: &Address) -> Self {
        let at = |what: &str| format!("{address} {what}");
        let code = error.code().unwrap_or_default();
        let detail = error.detail().unwrap_or_default();
        match error.kind() {
            ErrorKind::AuthenticationFailed => {
                Self::Login(at("refuses the name or the password that go with its URL"))
            }
            ErrorKind::Server(ServerErrorKind::ReadOnly) => Self::Replica(at(
                "is a read-only replica; give the address of the primary, or of its Sentinels",
            )),
            // So those who wait for an entry are told that it becomes a replica.
            _ if code == "UNBLOCKED" => Self::Replica(at("is not the primary any more")),
            ErrorKind::Server(ServerErrorKind::NoPerm) => Self::Refused(at(&format!(
                "refuses a command to this user; allow it by ACL SETUSER: {detail}"
            ))),
            ErrorKind::Server(
                ServerErrorKind::BusyLoading
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::TryAgain
                | ServerErrorKind::NotBusy,
            ) => Self::Away(at(&format!("is not ready ({code}); it is tried again"))),
            _ if code == "NOAUTH" => Self::Login(at("wants a password, and none goes with its URL")),
            _ if code == "WRONGPASS" => {
                Self::Login(at("refuses the name or the password that go with its URL"))
            }
            _ if code == "OOM" => {
                Self::Refused(at("is full; raise its maxmemory, or give the vault an engine of its own"))
            }
            _ if code == "MISCONF" => {
                Self::Refused(at("can't write to its disk and so takes no change; see the engine's log"))
            }
            _ if code == "NOREPLICAS" => Self::Refused(at(
                "has too few replicas to take a change (min-replicas-to-write); start them",
            )),
            _ if code == "BUSY" => Self::Away(at("runs a script of someone else's for too long")),
            _ if code == "WRONGTYPE" || detail.contains("WRONGTYPE") => Self::Refused(at(
                "keeps something else under the vault's keys; choose another prefix or database",
            )),
            ErrorKind::Io if error.is_timeout() => Self::Away(at("takes too long to answer")),
            ErrorKind::Io => match tls_error(error).and_then(of_tls) {
                Some(words) => Self::Certificate(at(&words)),
                None => Self::Away(at(&format!("can't be reached ({error})"))),
            },
            _ if detail.contains("cluster support disabled") => {
                Self::Refused(at("is no node of a cluster; leave out ?cluster=true in the engine's URL"))
            }
            _ if detail.contains("OOM") => {
                Self::Refused(at("is full; raise its maxmemory, or give the vault an engine of its own"))
            }
            _ => Self::Refused(at(&format!("failed ({code}): {detail}"))),
        }
    }

    /// Explains an error of the Sentinel at `address`.
    pub(super) fn of_sentinel(error: &RedisError, address: &Address) -> Self {
        if error.detail().is_some_and(|detail| detail.starts_with("unknown command")) {
            return Self::Refused(format!(
                "{address} is no Sentinel; name it as the engine itself in the URL, without +sentinel and the service"
            ));
        }
        match Self::of(error, address) {
            Self::Login(_) => Self::SentinelLogin(format!(
                "the Sentinel {address} refuses the name or the password of the Sentinels, or wants one"
            )),
            Self::Away(words) => Self::Away(format!("the Sentinel {words}")),
            Self::Certificate(words) => Self::Certificate(format!("the Sentinel {words}")),
            fault => fault,
        }
    }

    pub(super) fn is_away(&self) -> bool {
        matches!(self, Self::Away(_) | Self::Replica(_) | Self::Certificate(_))
    }

    pub(super) fn words(&self) -> &str {
        match self {
            Self::Away(words)
            | Self::Replica(words)
            | Self::Certificate(words)
            | Self::Login(words)
            | Self::SentinelLogin(words)
            | Self::Refused(words) => words,
        }
    }
}

/// Returns the error of TLS, if it is one.
fn tls_error(error: &RedisError) -> Option<&rustls::Error> {
    // The error's source is itself shared.
    let source = std::error::Error::source(error)?;
    let shared = source.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>()?;
    shared.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref()
}

/// Explains an error of TLS that is about a certificate.
fn of_tls(error: &rustls::Error) -> Option<String> {
    Some(match error {
        // Another authority of the same name has a bad signature.
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => {
            "has a certificate of an authority that is not trusted here; set root_certificates to that authority's".to_owned()
        }
        rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }) => format!(
            "has a certificate for other names ({}); give the engine's URL one of them",
            presented.join(", ")
        ),
        rustls::Error::InvalidCertificate(error) => {
            format!("has a certificate that is not trusted ({error}); see its dates, and this host's clock")
        }
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "wants a certificate from its clients, and this program has none; set `tls-auth-clients no` in the engine's configuration".to_owned()
        }
        _ => return None,
    })
}

impl From<Fault> for VaultError {
    fn from(fault: Fault) -> Self {
        let is_away = fault.is_away();
        let (kind, words) = match fault {
            Fault::Away(words) => (EngineErrorKind::Away, words),
            Fault::Replica(words) => (EngineErrorKind::Replica, words),
            Fault::Certificate(words) => (EngineErrorKind::Certificate, words),
            Fault::Login(words) => (EngineErrorKind::Login, words),
            Fault::SentinelLogin(words) => (EngineErrorKind::SentinelLogin, words),
            Fault::Refused(words) => (EngineErrorKind::Refused, words),
        };
        let error = EngineError::new(kind, words).into();
        if is_away { Self::Unreachable(error) } else { Self::Layer(error) }
    }
}

/// A reply or a stored value that this version does not understand.
pub(super) fn not_understood(what: &str) -> VaultError {
    VaultError::Layer(
        format!("{what} in the engine is not understood; a newer version may have written it: update this program")
            .into(),
    )
}
