//! What goes wrong with an engine, in plain words with the way out.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::url::Address;
use crate::vault::VaultError;

/// Why a node gave no answer, or a refusal.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// It can't be reached, or is not ready. Whether a change was made is not known.
    Away(String),
    /// The same, since it is a replica, or has just become one.
    Replica(String),
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
            ErrorKind::AuthenticationFailed => Self::Refused(at(
                "refuses the name or the password; set the right ones in the engine's URL",
            )),
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
            _ if code == "NOAUTH" => Self::Refused(at("wants a password; set it in the engine's URL")),
            _ if code == "WRONGPASS" => Self::Refused(at(
                "refuses the name or the password; set the right ones in the engine's URL",
            )),
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
            ErrorKind::Io => Self::Away(at(&format!("can't be reached ({error})"))),
            _ if detail.contains("OOM") => {
                Self::Refused(at("is full; raise its maxmemory, or give the vault an engine of its own"))
            }
            _ => Self::Refused(at(&format!("failed ({code}): {detail}"))),
        }
    }

    pub(super) fn is_away(&self) -> bool {
        matches!(self, Self::Away(_) | Self::Replica(_))
    }

    pub(super) fn words(&self) -> &str {
        match self {
            Self::Away(words) | Self::Replica(words) | Self::Refused(words) => words,
        }
    }
}

impl From<Fault> for VaultError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Away(words) | Fault::Replica(words) => Self::Unreachable(words.into()),
            Fault::Refused(words) => Self::Layer(words.into()),
        }
    }
}

/// A reply or a stored value that this version does not understand.
pub(super) fn not_understood(what: &str) -> VaultError {
    VaultError::Layer(
        format!("{what} in the engine is not understood; a newer version may have written it: update this program")
            .into(),
    )
}
