//! Quotas that several accounts share: the keys of one organisation, say. A limit that one of them has met holds up all.
//!
//! A limit is kept once, in the standing of the account that has met it. Whoever reads a pool's standings derives those of
//! the other accounts, so that no two readers of the same standings disagree.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Change, Cooldown, Reason, Scope, Standing};
use crate::clock::Timestamp;
use crate::credential::Generation;
use crate::vault::{VaultError, check_name, check_stored_name};

/// The name of a quota. Accounts of one pool with the same name share it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QuotaName(Arc<str>);

impl QuotaName {
    /// Creates the name.
    ///
    /// ```
    /// use tower_credentials::standing::QuotaName;
    ///
    /// assert_eq!(QuotaName::new("acme")?.as_str(), "acme");
    /// assert!(QuotaName::new("").is_err());
    /// # Ok::<(), tower_credentials::vault::VaultError>(())
    /// ```
    ///
    /// # Errors
    /// [`VaultError::InvalidName`], as for [any name](check_name): it must be printable, not blank, and not too long.
    pub fn new(name: impl Into<Arc<str>>) -> Result<Self, VaultError> {
        let name = name.into();
        check_name("quota", &name)?;
        Ok(Self(name))
    }

    /// Returns it as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// For a name that is stored. Older versions may have refused fewer characters.
impl TryFrom<String> for QuotaName {
    type Error = VaultError;

    fn try_from(name: String) -> Result<Self, VaultError> {
        check_stored_name("quota", &name)?;
        Ok(Self(name.into()))
    }
}

impl From<QuotaName> for String {
    fn from(name: QuotaName) -> Self {
        name.as_str().to_owned()
    }
}

impl fmt::Display for QuotaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for QuotaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// The quota that an account takes from, as a person has set it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quota {
    /// Its own, whatever its vendor says.
    Own,
    /// The one with this name, which it shares with all accounts of the pool that have the same.
    Shared(QuotaName),
}

/// The quota that an account takes from, as its vendor's responses say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatedQuota {
    /// The vendor's name for it, such as the organization's id.
    pub name: QuotaName,
    /// When a response has named it first.
    pub said_at: Timestamp,
    /// The generation of the secret that was sent. A newer secret may be another organization's.
    pub generation: Generation,
}

impl StatedQuota {
    /// Returns whether this replaces what was known. Of two secrets the newer one's counts, and of one secret's the later
    /// one, with the exception for wrong clocks that [`Change::Answered`] has.
    pub(crate) fn replaces(&self, known: Option<&Self>) -> bool {
        known.is_none_or(|known| {
            let is_misdated = known.said_at.since(self.said_at) > super::MISDATED;
            let order = |one: &Self| (one.generation, one.said_at);
            known.generation <= self.generation
                && (order(known) < order(self) || is_misdated)
                && !(known.generation == self.generation && known.name == self.name)
        })
    }
}

impl Reason {
    /// Returns whether it is about the quota that the account takes from. A refusal is about the account alone.
    pub(crate) fn is_of_quota(self) -> bool {
        match self {
            Self::Limited | Self::UsedUp | Self::Spent => true,
            Self::Refused => false,
        }
    }
}

impl Change {
    /// Returns whether it also changes the accounts that share a quota with the credential.
    pub(crate) fn is_of_quota(&self) -> bool {
        match self {
            Self::CooledDown { cooldown, to_back, .. } => *to_back && cooldown.reason.is_of_quota(),
            Self::Succeeded { .. } | Self::Reset => true,
            _ => false,
        }
    }
}

impl Standing {
    /// Returns the name of the quota that it shares with all accounts of the pool that have the same. A person's word comes
    /// before the vendor's.
    pub fn shared_quota(&self) -> Option<&QuotaName> {
        match &self.quota {
            Some(Quota::Own) => None,
            Some(Quota::Shared(name)) => Some(name),
            None => self.stated_quota.as_ref().map(|stated| &stated.name),
        }
    }

    /// Returns the limits that it has met, ended or not: its cooldowns but for refusals.
    pub(crate) fn limits(&self) -> impl Iterator<Item = &Cooldown> {
        self.cooldowns.iter().filter(|cooldown| cooldown.reason.is_of_quota())
    }

    /// Adds a limit that another account of its quota has met. Of two cooldowns of one scope the later end counts.
    pub(crate) fn add_limit(&mut self, limit: &Cooldown) {
        match self.cooldowns.iter_mut().find(|known| known.scope == limit.scope) {
            Some(known) if known.until >= limit.until => {}
            Some(known) => known.clone_from(limit),
            None => self.cooldowns.push(limit.clone()),
        }
    }

    /// Merges a change of another account of its quota: what ends the other's limits ends these.
    pub(crate) fn merge_of_quota(&mut self, change: &Change) {
        match change {
            Change::Succeeded { set_until, scope } => self.end_limits(|limit| {
                limit.set_at <= *set_until && is_of(limit.scope.as_ref(), scope.as_ref())
            }),
            Change::Reset => self.end_limits(|_| true),
            _ => {}
        }
    }

    fn end_limits(&mut self, ends: impl Fn(&Cooldown) -> bool) {
        let ends = |known: &mut Cooldown| known.reason.is_of_quota() && ends(known);
        if self.cooldowns.extract_if(.., ends).count() > 0 {
            self.failures = 0;
        }
    }
}

/// Returns whether a cooldown of this scope holds up a request of that one.
fn is_of(cooldown: Option<&Scope>, request: Option<&Scope>) -> bool {
    cooldown.is_none() || cooldown == request
}
