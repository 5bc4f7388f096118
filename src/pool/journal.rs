//! Outcomes that are not in the vault yet.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};

use crate::credential::CredentialId;
use crate::standing::{Change, Outcome, Scope};
use crate::vault::{BatchId, BatchOrigin};

/// Outcomes that wait to be saved, and the batch of those that are being saved.
///
/// Bounded: in a program that never saves, outcomes that later ones supersede are dropped.
#[derive(Debug)]
pub(crate) struct Journal {
    pending: Vec<Outcome>,
    /// The batch that the vault has not confirmed. After a failure it is sent again unchanged, since the vault may have it.
    saving: Vec<Outcome>,
    is_saving: bool,
    /// The name of the last batch.
    batch: BatchId,
    /// How many saves have started: a load that overlaps with one may have its outcomes or not.
    saves: u64,
    /// How many of the pending ones must be saved: up to the last one that is worth a write of its own.
    urgent: usize,
    /// The number of outcomes at which it is compacted next.
    limit: usize,
}

/// How many outcomes are kept at least before any is dropped.
const LIMIT: usize = 1024;

/// How many outcomes of one kind, credential and scope outlive a compaction.
const KEPT: usize = 2;

impl Default for Journal {
    fn default() -> Self {
        Self {
            pending: Vec::new(),
            saving: Vec::new(),
            is_saving: false,
            batch: BatchId { origin: BatchOrigin::random(), number: 0 },
            saves: 0,
            urgent: 0,
            limit: 0,
        }
    }
}

impl Journal {
    /// Adds an outcome. One that is not urgent is saved with the next one that is.
    pub(crate) fn push(&mut self, outcome: Outcome, urgent: bool) {
        self.pending.push(outcome);
        if urgent {
            self.hurry();
        }
        if self.pending.len() > self.limit.max(LIMIT) {
            self.compact();
            self.limit = 2 * self.pending.len();
        }
    }

    /// Returns whether something must be saved now.
    pub(crate) fn is_urgent(&self) -> bool {
        self.urgent > 0
    }

    /// Makes all pending outcomes urgent.
    pub(crate) fn hurry(&mut self) {
        self.urgent = self.pending.len();
    }

    /// Returns the outcomes that are not known to be in the vault, oldest first.
    pub(crate) fn unsaved(&self) -> impl Iterator<Item = &Outcome> {
        self.saving.iter().chain(&self.pending)
    }

    /// Whether a batch was sent that the vault has not confirmed.
    pub(crate) fn is_unconfirmed(&self) -> bool {
        !self.saving.is_empty()
    }

    /// Takes the urgent outcomes into a batch, to be saved now, together with the last responses and allowances. The others stay; else it
    /// would depend on the timing of a layer's save whether they are saved. There must be no unconfirmed batch.
    pub(crate) fn take(&mut self, responses: impl Iterator<Item = Outcome>) {
        let urgent = std::mem::take(&mut self.urgent);
        self.saving.extend(self.pending.drain(..urgent));
        self.saving.extend(responses);
        self.batch.number += 1;
    }

    /// Returns the unconfirmed batch, to be saved now.
    pub(crate) fn start(&mut self) -> (Vec<Outcome>, BatchId) {
        self.is_saving = true;
        self.saves += 1;
        (self.saving.clone(), self.batch)
    }

    /// Returns the outcomes that were being saved, which are in the vault now.
    pub(crate) fn arrived(&mut self) -> std::vec::Drain<'_, Outcome> {
        self.is_saving = false;
        self.saving.drain(..)
    }

    /// Returns how many saves have started, if none is under way.
    pub(crate) fn settled(&self) -> Option<u64> {
        (!self.is_saving).then_some(self.saves)
    }

    /// Keeps the batch for another try, after a failure.
    pub(crate) fn failed(&mut self) {
        self.is_saving = false;
    }

    fn compact(&mut self) {
        type Kind = (CredentialId, Discriminant<Change>, Option<Scope>);
        let mut seen: HashMap<Kind, usize> = HashMap::new();
        let mut longest = HashMap::new();
        self.pending.reverse();
        self.pending.retain(|outcome| {
            let scope = match &outcome.change {
                Change::CooledDown { cooldown, .. } => {
                    let known = longest.entry((outcome.id, cooldown.scope.clone())).or_default();
                    *known = cooldown.until.max(*known);
                    cooldown.scope.clone()
                }
                Change::Succeeded { scope, .. } | Change::Misdated { scope, .. } => scope.clone(),
                Change::Health(_)
                | Change::Reset
                | Change::Paused
                | Change::Resumed
                | Change::Tier { .. }
                | Change::Quota { .. }
                | Change::QuotaStated(_)
                | Change::Answered(_)
                | Change::Allowance { .. } => None,
            };
            let count = seen.entry((outcome.id, discriminant(&outcome.change), scope)).or_default();
            *count += 1;
            *count <= KEPT
        });
        self.pending.reverse();
        if self.urgent > 0 {
            self.hurry();
        }
        // A deadline later than those of the kept outcomes is not lost.
        for outcome in &mut self.pending {
            if let Change::CooledDown { cooldown, .. } = &mut outcome.change
                && let Some(until) = longest.get(&(outcome.id, cooldown.scope.clone()))
            {
                cooldown.until = *until;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::standing::{Cooldown, Reason, Standing};

    fn cooled(id: CredentialId, until: u64) -> Outcome {
        let (until, set_at) = (Timestamp::from_millis(until), Timestamp::from_millis(1));
        let cooldown = Cooldown {
            until,
            set_at,
            reason: Reason::Limited,
            scope: None,
            generation: None,
            cause: None,
        };
        Outcome { id, change: Change::CooledDown { cooldown, failure: true, to_back: true } }
    }

    /// The public API does not show the journal, and it grows only in a program that never saves.
    #[test]
    fn a_journal_that_is_never_saved_stays_small_and_keeps_the_latest_deadline() {
        let ids = [CredentialId::random(), CredentialId::random()];
        let mut journal = Journal::default();
        journal.push(cooled(ids[0], 1_000_000), true);
        for until in 0..100_000 {
            journal.push(cooled(ids[until as usize % 2], until), true);
        }
        journal.take(std::iter::empty());
        let (outcomes, _) = journal.start();
        assert!(outcomes.len() <= LIMIT + 1, "{}", outcomes.len());
        let mut standing = Standing::default();
        for outcome in outcomes.iter().filter(|outcome| outcome.id == ids[0]) {
            standing.merge(&outcome.change);
        }
        assert_eq!(standing.cooldown(None).unwrap().until, Timestamp::from_millis(1_000_000));
    }
}
