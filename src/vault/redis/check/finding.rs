//! The findings of a check.

use std::fmt;

use serde::Serialize;

use crate::credential::CredentialId;
pub use crate::vault::severity::Severity;

/// The kind of a finding. Serialized in snake case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FindingKind {
    /// Something that this user may not look at.
    NotAllowed,
    /// A key that does not belong to the vault.
    UnknownKey,
    /// A key of another type than the vault's.
    OtherType,
    /// A record that can't be read.
    Record,
    /// Two accounts with one label.
    SameLabel,
    /// The indexes of labels do not match the records.
    Labels,
    /// A note on a refresh, a failure or a lease of an account that is not there.
    Leftover,
    /// A note on a refresh or a failure that can't be read.
    Refresh,
    /// A refresh has begun, nothing was stored, and nothing tells how it ended.
    UnfinishedRefresh,
    /// The last refresh has failed, without a verdict of the vendor's.
    FailedRefresh,
    /// A lease that never lapses.
    Lease,
    /// A log that has a gap, or an entry that can't be read.
    Log,
    /// The revision is not that of the log's last entry.
    Revision,
    /// A snapshot that can't be read, or that does not fit the log.
    Snapshot,
    /// A name in the list of pools that can't be read.
    PoolName,
    /// A pool that is missing in the list of pools.
    UnlistedPool,
    /// A pool without records.
    EmptyPool,
}

/// A finding. It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The kind of the finding.
    pub kind: FindingKind,
    /// How severe it is.
    pub severity: Severity,
    /// The key in the engine.
    pub key: String,
    /// The credential, if it is about the record of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<CredentialId>,
    /// What is wrong.
    pub what: String,
    /// How to mend it, if somebody has to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way_out: Option<String>,
    /// Whether [`RedisBackend::check`](super::super::RedisBackend::check) can mend it.
    pub can_fix: bool,
    /// Whether it was mended.
    pub is_fixed: bool,
}

impl Finding {
    pub(super) fn new(
        kind: FindingKind,
        severity: Severity,
        key: impl Into<String>,
        what: impl Into<String>,
    ) -> Self {
        let (key, what) = (key.into(), what.into());
        Self { kind, severity, key, id: None, what, way_out: None, can_fix: false, is_fixed: false }
    }

    /// Says that it is about the record of this credential.
    pub(super) fn of(mut self, id: CredentialId) -> Self {
        self.id = Some(id);
        self
    }

    pub(super) fn way_out(mut self, way_out: impl Into<String>) -> Self {
        self.way_out = Some(way_out.into());
        self
    }

    /// Marks it as one that can be mended, and says whether it was.
    pub(super) fn fixed(mut self, is_fixed: bool) -> Self {
        (self.can_fix, self.is_fixed) = (true, is_fixed);
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.severity, self.key, self.what)?;
        self.way_out.as_ref().map_or(Ok(()), |way_out| write!(f, "; {way_out}"))
    }
}
