//! The last changes of a pool, from which a vault says what is new since a revision.

use std::collections::{HashSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::changes::{Changes, OrderChange};
use super::response::Revision;
use crate::credential::CredentialId;
use crate::standing::{Standings, Touched};

/// How many changes are kept at most. Another version may keep more or fewer: all of a revision or none, so a revision in the
/// list is complete, whichever version has stored it.
const KEPT: usize = 256;

/// One change.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// An outcome was merged.
    Merged(Touched),
    /// A record was added.
    Added(CredentialId),
    /// A record has changed: its secret, its label or its attributes.
    Record(CredentialId),
    /// A credential was removed.
    Removed(CredentialId),
    /// A person has changed the order.
    Reordered,
}

/// The last changes of a pool, with the revision before each.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct RecentChanges {
    steps: VecDeque<(Revision, Step)>,
    /// The revision that had more changes than are kept.
    #[serde(skip)]
    overflowed: Option<Revision>,
}

/// What has changed since a revision.
#[derive(Debug, Default)]
pub(crate) struct News {
    standings: HashSet<CredentialId>,
    pub(crate) records: HashSet<CredentialId>,
    removed: HashSet<CredentialId>,
    /// Whether a record was added.
    pub(crate) has_added: bool,
    to_back: Vec<CredentialId>,
    is_reordered: bool,
}

impl RecentChanges {
    /// Adds a change that was made to the pool at this revision. All changes at one revision lead to the same next one, and are
    /// added one after the other.
    pub(crate) fn push(&mut self, before: Revision, step: Step) {
        // Once for all changes.
        self.steps.reserve_exact(KEPT.saturating_sub(self.steps.len()));
        while self.steps.len() >= KEPT && self.overflowed != Some(before) {
            if self.forget_oldest() == Some(before) {
                self.overflowed = Some(before);
            }
        }
        if self.overflowed == Some(before) {
            // Nothing is known of this revision or of one before it.
            return;
        }
        if let Step::Merged(touched) = &step {
            self.leave_out(touched);
        }
        self.steps.push_back((before, step));
    }

    /// Forgets all changes that were made at the oldest revision, and returns it.
    fn forget_oldest(&mut self) -> Option<Revision> {
        let (oldest, _) = self.steps.pop_front()?;
        while self.steps.front().is_some_and(|(before, _)| *before == oldest) {
            self.steps.pop_front();
        }
        Some(oldest)
    }

    /// Takes the accounts that a later change touches, with those that share its quota, out of the changes before: a reader of an
    /// earlier change also reads the later one. So each account is named twice at most, not once for each change of its quota.
    fn leave_out(&mut self, later: &Touched) {
        if later.sharing.is_empty() {
            return;
        }
        let named: HashSet<_> = later.standings().collect();
        let says_places = later.is_to_back || later.is_reordered;
        for (_, step) in &mut self.steps {
            if let Step::Merged(earlier) = step
                && (says_places || !earlier.is_to_back)
            {
                earlier.sharing.retain(|id| !named.contains(id));
                earlier.sharing.shrink_to_fit();
            }
        }
    }

    /// Adds changes that follow these without a gap.
    #[cfg(feature = "file")]
    pub(crate) fn append(&mut self, later: Self) {
        later.steps.into_iter().for_each(|(before, step)| self.push(before, step));
    }

    /// Returns the first revision of which the changes are known.
    #[cfg(feature = "file")]
    pub(crate) fn oldest(&self) -> Option<Revision> {
        self.steps.front().map(|(before, _)| *before)
    }

    /// Returns what has changed since a revision, if that is known. `now` is the revision after the last change.
    pub(crate) fn since(&self, since: Revision, now: Revision) -> Option<News> {
        let mut news = News::default();
        if since == now {
            return Some(news);
        }
        let is_other = |(before, _): &(Revision, Step)| *before != since;
        let last = self.steps.iter().rposition(|step| !is_other(step))?;
        let first = self.steps.range(..last).rposition(is_other).map_or(0, |earlier| earlier + 1);
        self.steps.range(first..).for_each(|(_, step)| news.add(step));
        Some(news)
    }
}

impl News {
    fn add(&mut self, step: &Step) {
        match step {
            Step::Merged(touched) => {
                self.standings.extend(touched.standings());
                if touched.is_to_back {
                    self.to_back.extend(touched.standings());
                }
                self.is_reordered |= touched.is_reordered;
            }
            Step::Added(id) => {
                self.has_added = true;
                self.removed.remove(id);
                self.records.insert(*id);
                self.standings.insert(*id);
                self.is_reordered = true;
            }
            Step::Record(id) => {
                self.records.insert(*id);
                // A new secret voids a verdict on the old one.
                self.standings.insert(*id);
            }
            Step::Removed(id) => {
                self.records.remove(id);
                self.standings.remove(id);
                self.removed.insert(*id);
            }
            Step::Reordered => self.is_reordered = true,
        }
    }

    /// Returns the changes of standings and of the order. The caller adds the records.
    pub(crate) fn changes<T>(&self, standings: &Standings, revision: Revision) -> Changes<T> {
        let standing = |id| standings.credentials.get(id).cloned().unwrap_or_default();
        Changes {
            standings: self.standings.iter().map(|id| (*id, standing(id))).collect(),
            removed: self.removed.iter().copied().collect(),
            order: self.order(standings),
            ..Changes::none(revision)
        }
    }

    /// Returns how the order has changed, which is this now.
    fn order(&self, standings: &Standings) -> OrderChange {
        if self.is_reordered {
            return OrderChange::Whole {
                order: standings.order.clone(),
                preferred: standings.preferred.clone(),
            };
        }
        // Only the last move of each counts.
        let mut seen = HashSet::new();
        let last = self.to_back.iter().rev().filter(|id| seen.insert(**id));
        let mut to_back: Vec<_> = last.copied().filter(|id| !self.removed.contains(id)).collect();
        to_back.reverse();
        OrderChange::ToBack(to_back)
    }
}
