//! The standing of a whole pool.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{Change, Outcome, QuotaName, Standing};
use crate::clock::Timestamp;
use crate::credential::CredentialId;

/// The standing of a whole pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standings {
    /// The credentials from first to last, in the order in which they are taken within a [tier](Standing::tier). One
    /// that is missing here comes last.
    pub order: Vec<CredentialId>,
    /// The order that a person has set, by default that in which they were added. A limit changes only
    /// [`order`](Self::order).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preferred: Vec<CredentialId>,
    /// The standing of each credential. One that is missing here is in good standing.
    pub credentials: HashMap<CredentialId, Standing>,
}

impl Standings {
    /// Merges an outcome into the credential's standing, into those of the accounts of its quota, and into the order if it
    /// moves the credential. Returns what it has touched, for a vault that says what is new.
    pub fn merge(&mut self, outcome: &Outcome) -> Touched {
        let Outcome { id, change } = outcome;
        self.credentials.entry(*id).or_default().merge(change);
        let sharing = if change.is_of_quota() { self.sharing(*id).collect() } else { Vec::new() };
        for other in &sharing {
            self.credentials.entry(*other).or_default().merge_of_quota(change);
        }
        let mut touched = Touched { id: *id, sharing, is_to_back: false, is_reordered: false };
        match change {
            Change::CooledDown { to_back: true, .. } => {
                touched.is_to_back = true;
                if !touched.sharing.is_empty() {
                    let sharing: HashSet<_> = touched.sharing.drain(..).collect();
                    self.order.sort_by_key(|other| sharing.contains(other));
                    touched.sharing =
                        self.order.iter().copied().filter(|id| sharing.contains(id)).collect();
                }
                insert(&mut self.order, *id, usize::MAX);
            }
            Change::Reset => {
                touched.is_reordered = true;
                let is_moved = |other: &&CredentialId| *other == id || touched.sharing.contains(*other);
                let moved: Vec<_> = self.preferred.iter().filter(is_moved).copied().collect();
                moved.into_iter().for_each(|id| self.put_back(id));
            }
            _ => {}
        }
        touched
    }

    /// Returns the other credentials that [share a quota](Standing::shared_quota) with this one.
    pub fn sharing(&self, id: CredentialId) -> impl Iterator<Item = CredentialId> {
        let quota = self.credentials.get(&id).and_then(Standing::shared_quota);
        // Without a quota, no account is scanned: there may be thousands, and each outcome asks.
        quota.into_iter().flat_map(move |quota| {
            let shares = move |standing: &Standing| standing.shared_quota() == Some(quota);
            let others = self.credentials.iter();
            others.filter(move |(other, one)| **other != id && shares(one)).map(|(id, _)| *id)
        })
    }

    /// Returns a credential's standing as a pool sees it at this moment: with the limits that the other accounts of its
    /// quota have met, and without what a wrong clock has dated.
    pub fn standing(&self, id: CredentialId, now: Timestamp) -> Standing {
        let seen = |id| {
            let mut standing = self.credentials.get(&id).cloned().unwrap_or_default();
            standing.forget_misdated(now);
            standing
        };
        let mut standing = seen(id);
        for other in self.sharing(id) {
            seen(other).limits().for_each(|limit| standing.add_limit(limit));
        }
        standing
    }

    /// Returns the same as [`standing`](Self::standing) for every credential in [`credentials`](Self::credentials), in one
    /// pass: the time for them grows with their number, whatever quotas they share.
    pub fn seen(&self, now: Timestamp) -> HashMap<CredentialId, Standing> {
        let quota = |id: &CredentialId| self.credentials.get(id).and_then(Standing::shared_quota);
        let mut seen = self.credentials.clone();
        let mut shared: HashMap<&QuotaName, Standing> = HashMap::new();
        for (id, standing) in &mut seen {
            standing.forget_misdated(now);
            if let Some(quota) = quota(id) {
                let shared = shared.entry(quota).or_default();
                standing.limits().for_each(|limit| shared.add_limit(limit));
            }
        }
        for (id, standing) in &mut seen {
            // Its own limits are among them, which adds nothing.
            let shared = quota(id).and_then(|quota| shared.get(quota));
            shared.into_iter().flat_map(Standing::limits).for_each(|limit| standing.add_limit(limit));
        }
        seen
    }

    /// Adds a credential at the back.
    pub fn push(&mut self, id: CredentialId) {
        self.order.push(id);
        self.preferred.push(id);
    }

    /// Moves a credential to a place in the order, counted from 0, as a person asks for; a place past the end means
    /// the back. From then on it is preferred to the credential after it.
    pub fn move_to(&mut self, id: CredentialId, place: usize) {
        insert(&mut self.order, id, place);
        let next = self.order.iter().skip_while(|other| **other != id).nth(1).copied();
        self.preferred.retain(|other| *other != id);
        let before = next.and_then(|next| self.preferred.iter().position(|other| *other == next));
        insert(&mut self.preferred, id, before.unwrap_or(usize::MAX));
    }

    /// Forgets a credential.
    pub fn remove(&mut self, id: CredentialId) {
        self.order.retain(|other| *other != id);
        self.preferred.retain(|other| *other != id);
        self.credentials.remove(&id);
    }

    /// Adds the credentials to the preferred order that are missing there: an older vault has no such order.
    pub(crate) fn complete(&mut self) {
        let known: HashSet<_> = self.preferred.iter().copied().collect();
        self.preferred.extend(self.order.iter().filter(|id| !known.contains(*id)));
    }

    /// Moves a credential to where a person prefers it: before the first of those that the preferred order has after
    /// it.
    fn put_back(&mut self, id: CredentialId) {
        let Some(own) = self.preferred.iter().position(|other| *other == id) else { return };
        let later: HashSet<_> = self.preferred[own + 1..].iter().copied().collect();
        self.order.retain(|other| *other != id);
        let place = self.order.iter().position(|other| later.contains(other));
        insert(&mut self.order, id, place.unwrap_or(usize::MAX));
    }
}

/// What an outcome has touched in a pool's standings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Touched {
    /// The outcome's credential, whose standing may have changed.
    pub id: CredentialId,
    /// The others whose standing may have changed, since they share its quota.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sharing: Vec<CredentialId>,
    /// Whether all these have moved to the back: those that share, one after the other, and then the credential itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_to_back: bool,
    /// Whether the order has changed otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_reordered: bool,
}

impl Touched {
    /// Returns the credentials whose standing may have changed; the outcome's own is the last.
    pub fn standings(&self) -> impl Iterator<Item = CredentialId> {
        self.sharing.iter().copied().chain([self.id])
    }
}

/// Moves a credential to a place, counted from 0; a place past the end means the back.
fn insert(order: &mut Vec<CredentialId>, id: CredentialId, place: usize) {
    order.retain(|other| *other != id);
    order.insert(place.min(order.len()), id);
}
