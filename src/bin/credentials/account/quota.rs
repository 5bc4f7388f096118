//! The quota that an account takes from, and who shares it.

use std::fmt;

use serde::Serialize;
use tower_credentials::standing::{QuotaName, Standings};
use tower_credentials::{CredentialId, Metadata};

use crate::naming::name;
use crate::output;

/// The quota that an account takes from.
#[derive(Clone, Debug, Default)]
pub(crate) struct QuotaOf {
    /// The name, unless it is its own.
    pub(crate) shared: Option<QuotaName>,
    pub(crate) said_by: Option<SaidBy>,
    /// The names of the others that share it.
    pub(crate) with: Vec<String>,
}

/// Whose word it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SaidBy {
    Person,
    Vendor,
}

impl QuotaOf {
    /// Returns the quota of one of these accounts, by the standings of their pool.
    pub(crate) fn of<'a>(
        id: CredentialId,
        standings: &Standings,
        accounts: impl Iterator<Item = &'a Metadata>,
    ) -> Self {
        let Some(standing) = standings.credentials.get(&id) else { return Self::default() };
        let said_by = match (&standing.quota, &standing.stated_quota) {
            (Some(_), _) => Some(SaidBy::Person),
            (None, Some(_)) => Some(SaidBy::Vendor),
            (None, None) => None,
        };
        let others: Vec<_> = standings.sharing(id).collect();
        let with = accounts.filter(|account| others.contains(&account.id)).map(name).collect();
        Self { shared: standing.shared_quota().cloned(), said_by, with }
    }

    /// Returns whether somebody has said anything.
    pub(crate) fn is_said(&self) -> bool {
        self.said_by.is_some()
    }
}

impl fmt::Display for QuotaOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.shared {
            Some(quota) => write!(f, "the quota {}", output::plain(quota.as_str()))?,
            None => f.write_str("a quota of its own")?,
        }
        if self.said_by == Some(SaidBy::Vendor) {
            f.write_str(", which its vendor names")?;
        }
        match (&self.shared, self.with.as_slice()) {
            (None, _) => Ok(()),
            (Some(_), []) => f.write_str(", which no other account shares"),
            (Some(_), with) => write!(f, ", shared with {}", output::plain(&with.join(", "))),
        }
    }
}
