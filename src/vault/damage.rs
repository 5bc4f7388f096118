//! Records that can't be read.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::credential::{CredentialId, Kind};
use crate::printable::Shown;

/// A record that could not be read. It was left as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Damage {
    /// The record: a file's path, or the credential's id if the vault has no files.
    pub record: String,
    /// What is wrong with it, and the way out.
    pub reason: String,
    /// The credential of the record, if it belongs to the requested pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<CredentialId>,
    /// The kind that is written on the record, if that can be read. The credential counts as one of this kind. If the kind
    /// is unknown it counts as one of each: a damaged sign-in must not bill an API key instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Whether the record itself may be well: the system could not read it this time. A pool goes on using what it has in
    /// memory, and reads the record again later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_pass: bool,
    /// Whether the record may have been restored from a backup: a key that the vault has given up has sealed it, or its format
    /// is older than that of all others. A vault that is opened for restored records admits it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_be_restored: bool,
    /// Whether removing the credential and signing in again is a way out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_removable: bool,
}

impl Damage {
    /// Reports that `record` cannot be read, because of `reason`.
    pub fn new(record: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            record: record.into(),
            reason: reason.into(),
            id: None,
            kind: None,
            may_pass: false,
            may_be_restored: false,
            is_removable: false,
        }
    }

    /// Names the credential of the record, and the kind that is written on it, if that can be read.
    #[must_use]
    pub fn of(mut self, id: CredentialId, kind: Option<Kind>) -> Self {
        (self.id, self.kind) = (Some(id), kind);
        self
    }

    /// Marks the record as one that may itself be well.
    #[must_use]
    pub fn may_pass(mut self) -> Self {
        self.may_pass = true;
        self
    }

    /// Says that removing the credential and signing in again is a way out. The reason has it in words.
    #[must_use]
    pub fn removable(mut self) -> Self {
        self.is_removable = true;
        self
    }

    /// Whether the record may be that of a credential of such a kind.
    pub(crate) fn may_be(&self, is_it: impl Fn(Kind) -> bool) -> bool {
        self.id.is_some() && self.kind.is_none_or(is_it)
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Shown(&self.record), Shown(&self.reason))
    }
}
