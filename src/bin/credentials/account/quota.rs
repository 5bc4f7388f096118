//! The quota that an account takes from, and who shares it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use tower_credentials::standing::{QuotaName, Standings};
use tower_credentials::{CredentialId, Metadata};

use crate::naming::name;
use crate::output;

/// The accounts of each quota of a pool that has a name, each with its own name.
pub(crate) struct Quotas<'a> {
    standings: &'a Standings,
    members: HashMap<&'a QuotaName, Arc<[(CredentialId, String)]>>,
}

/// The quota that an account takes from.
#[derive(Clone, Debug, Default)]
pub(crate) struct QuotaOf {
    /// The name, unless it is its own.
    pub(crate) shared: Option<QuotaName>,
    pub(crate) said_by: Option<SaidBy>,
    id: Option<CredentialId>,
    /// The accounts that take from it, with this one. They are the same for all of them.
    members: Option<Arc<[(CredentialId, String)]>>,
}

/// Whose word it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SaidBy {
    Person,
    Vendor,
}

impl<'a> Quotas<'a> {
    /// Groups these accounts by their quotas, by the standings of their pool.
    pub(crate) fn of(standings: &'a Standings, accounts: impl Iterator<Item = &'a Metadata>) -> Self {
        let mut members: HashMap<_, Vec<_>> = HashMap::new();
        for account in accounts {
            let standing = standings.credentials.get(&account.id);
            if let Some(quota) = standing.and_then(|standing| standing.shared_quota()) {
                members.entry(quota).or_default().push((account.id, name(account)));
            }
        }
        let members = members.into_iter().map(|(quota, members)| (quota, members.into())).collect();
        Self { standings, members }
    }

    /// Returns the quota of one of the accounts.
    pub(crate) fn quota(&self, id: CredentialId) -> QuotaOf {
        let Some(standing) = self.standings.credentials.get(&id) else { return QuotaOf::default() };
        let said_by = match (&standing.quota, &standing.stated_quota) {
            (Some(_), _) => Some(SaidBy::Person),
            (None, Some(_)) => Some(SaidBy::Vendor),
            (None, None) => None,
        };
        let shared = standing.shared_quota();
        let members = shared.and_then(|quota| self.members.get(quota)).cloned();
        QuotaOf { shared: shared.cloned(), said_by, id: Some(id), members }
    }
}

impl QuotaOf {
    /// Returns the names of the others that share it.
    pub(crate) fn with(&self) -> impl Iterator<Item = &str> {
        let members = self.members.iter().flat_map(|members| members.iter());
        members.filter(|(id, _)| Some(*id) != self.id).map(|(_, name)| name.as_str())
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
        let with: Vec<_> = self.with().collect();
        match (&self.shared, with.as_slice()) {
            (None, _) => Ok(()),
            (Some(_), []) => f.write_str(", which no other account shares"),
            (Some(_), with) => write!(f, ", shared with {}", output::plain(&with.join(", "))),
        }
    }
}
