//! The findings of a check.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::credential::CredentialId;
use crate::vault::file::damage::as_damage;
use crate::vault::key::KeyId;
pub use crate::vault::severity::Severity;
use crate::vault::{Damage, VaultError};

/// The kind of a finding. Serialized in snake case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FindingKind {
    /// There is no vault in the directory.
    NoVault,
    /// Somebody held the vault's lock for the whole time.
    Locked,
    /// A directory of the vault is missing.
    MissingDirectory,
    /// The group or others may touch a file or a directory.
    OpenToOthers,
    /// A file or a directory belongs to another user.
    ForeignOwner,
    /// A directory of the vault can't be written to: it is mounted read-only, for example.
    Unwritable,
    /// A file that a killed process has left.
    Leftover,
    /// A file that does not belong to the vault.
    UnknownFile,
    /// A damaged file that was set aside.
    SetAside,
    /// A record that can't be read or does not open.
    Record,
    /// A record that is sealed with a key that was not given.
    OtherKey,
    /// A record that the vault should no longer have: its key was given up, or all other records are in a newer format.
    Restored,
    /// A record that is sealed with a key that was revoked.
    RevokedKey,
    /// A record that was sealed in another vault.
    OtherVault,
    /// Records in an older format than this version writes.
    OlderFormat,
    /// A record with attributes that its seal, of version 1, does not bind.
    UnboundAttributes,
    /// A pool's log that can't be read, or only in part.
    Log,
    /// A record that its pool's log does not name, or names by another label.
    Unnamed,
    /// A pool's log names a record that is missing.
    MissingRecord,
    /// A refresh has begun, nothing was stored, and nothing tells how it ended.
    UnfinishedRefresh,
    /// The last refresh has failed, without a verdict of the vendor's.
    FailedRefresh,
    /// A token endpoint's response that could not be read is stored with a credential.
    UnreadResponse,
    /// `key.json`, which names the vault's key, is missing or can't be read.
    Marker,
    /// The key that was given is not the vault's.
    WrongKey,
    /// No key was given, so no record was opened.
    NoKey,
    /// A key change is not finished: not all records are sealed with the new key.
    UnfinishedKeyChange,
    /// The key has made many of the seals that are allowed.
    ManySeals,
    /// The key file is missing, or holds no key.
    KeyFile,
}

/// A finding. It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The kind of the finding.
    pub kind: FindingKind,
    /// How severe it is.
    pub severity: Severity,
    /// The file or directory.
    pub path: String,
    /// The credential, if the finding is about its record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<CredentialId>,
    /// The key that sealed the record, if it was not among the given keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sealed_with: Option<KeyId>,
    /// What is wrong.
    pub what: String,
    /// How to mend it, if somebody has to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way_out: Option<String>,
    /// Whether removing the credential and signing in again is a way out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_removable: bool,
    /// Whether [`Check::fix`](super::Check::fix) mends it.
    pub can_fix: bool,
    /// Whether it was mended.
    pub is_fixed: bool,
}

impl Finding {
    pub(super) fn new(
        kind: FindingKind,
        severity: Severity,
        path: &Path,
        what: impl Into<String>,
    ) -> Self {
        let (path, what) = (path.display().to_string(), what.into());
        Self {
            kind,
            severity,
            path,
            id: None,
            sealed_with: None,
            what,
            way_out: None,
            is_removable: false,
            can_fix: false,
            is_fixed: false,
        }
    }

    /// Says that it is about the record of this credential.
    pub(super) fn of(mut self, id: CredentialId) -> Self {
        self.id = Some(id);
        self
    }

    /// Says that a way out is to remove the credential.
    pub(super) fn removable(mut self) -> Self {
        self.is_removable = true;
        self
    }

    pub(super) fn way_out(mut self, way_out: impl Into<String>) -> Self {
        self.way_out = Some(way_out.into());
        self
    }

    /// Returns the finding for a file that can't be read.
    pub(super) fn damage(kind: FindingKind, path: &Path, error: VaultError) -> Self {
        let Damage { reason, id, is_removable, .. } = as_damage(path, error);
        // A reason has the problem first, then the way out.
        let finding = match reason.split_once("; ") {
            Some((what, way_out)) => Self::new(kind, Severity::Error, path, what).way_out(way_out),
            None => Self::new(kind, Severity::Error, path, reason),
        };
        Self { id, is_removable, ..finding }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.severity, self.path, self.what)?;
        self.way_out.as_ref().map_or(Ok(()), |way_out| write!(f, "; {way_out}"))
    }
}
