//! What is found.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::vault::file::damage::as_damage;
use crate::vault::{Damage, VaultError};

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// Nothing is wrong; somebody may want to know.
    Note,
    /// It works, but is not as it should be.
    Warning,
    /// Something does not work, or is lost.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// What sort of thing is found. Serialized in snake case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FindingKind {
    /// There is no vault in the directory.
    NoVault,
    /// Somebody held the vault's lock all the time.
    Locked,
    /// A directory of the vault is missing.
    MissingDirectory,
    /// The group or others may touch a file or a directory.
    OpenToOthers,
    /// A file or a directory belongs to another user.
    ForeignOwner,
    /// What a killed process has left.
    Leftover,
    /// A file that is none of the vault's.
    UnknownFile,
    /// A damaged file that was set aside at some time.
    SetAside,
    /// A record that can't be read or does not open.
    Record,
    /// A record that is sealed with a key that was not given.
    OtherKey,
    /// A record of which the vault has had no such any more: its key was given up, or all else is in a newer format.
    Restored,
    /// A record that is sealed with a key that was revoked.
    RevokedKey,
    /// A record that was sealed in another vault.
    OtherVault,
    /// Records in an older format than this version writes.
    OlderFormat,
    /// A record with attributes that its seal, of version 1, does not bind.
    UnboundAttributes,
    /// A pool's log that can't be read, or not all of it.
    Log,
    /// A record that its pool's log does not name, or by another label.
    Unnamed,
    /// A pool's log names a record that is missing.
    MissingRecord,
    /// A refresh has begun and nothing was stored.
    UnfinishedRefresh,
    /// An answer of a token endpoint that could not be read is kept with a credential.
    UnreadResponse,
    /// `key.json`, which says which key is the vault's, is missing or can't be read.
    Marker,
    /// The key that was given is not the vault's.
    WrongKey,
    /// No key was given, so no record was opened.
    NoKey,
    /// The vault's key is being changed, and not all is sealed with the new one.
    UnfinishedKeyChange,
    /// The key has made many of the seals that it may make.
    ManySeals,
    /// The key's file is missing, or holds no key.
    KeyFile,
}

/// Something that was found. No secret is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// What sort of thing it is.
    pub kind: FindingKind,
    /// How bad it is.
    pub severity: Severity,
    /// The file or directory.
    pub path: String,
    /// What is wrong with it.
    pub what: String,
    /// How it can be mended, where somebody has to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way_out: Option<String>,
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
        Self { kind, severity, path, what, way_out: None, can_fix: false, is_fixed: false }
    }

    pub(super) fn way_out(mut self, way_out: impl Into<String>) -> Self {
        self.way_out = Some(way_out.into());
        self
    }

    /// That something can't be read.
    pub(super) fn damage(kind: FindingKind, path: &Path, error: VaultError) -> Self {
        let Damage { reason, .. } = as_damage(path, error);
        // A reason tells first what is wrong, then what helps.
        match reason.split_once("; ") {
            Some((what, way_out)) => Self::new(kind, Severity::Error, path, what).way_out(way_out),
            None => Self::new(kind, Severity::Error, path, reason),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.severity, self.path, self.what)?;
        self.way_out.as_ref().map_or(Ok(()), |way_out| write!(f, "; {way_out}"))
    }
}
