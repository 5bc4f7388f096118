//! What this process has seen of a pool.

use tokio::time::Instant;

use super::entry::{Entry, EntryId};
use super::pool::{Loaded, Seen};
use super::replica::{Known, NotNext, Replica};
use super::stored::Stored;
use crate::credential::CredentialId;
use crate::vault::VaultError;

/// What this process has seen.
#[derive(Default)]
pub(super) struct Copy {
    /// The standings, if no entry of the log was missed since they were loaded.
    pub(super) replica: Option<Replica>,
    /// The standings that were given up, for an engine that has forgotten them.
    given_up: Option<Replica>,
    /// The records, which an engine that forgets is given back.
    pub(super) known: Known,
    /// The last entry that was seen.
    pub(super) last: EntryId,
    /// The entry up to which the stored snapshot goes.
    pub(super) snapshot: EntryId,
    /// Until when another host has the time to store a snapshot.
    pub(super) snapshot_claimed_until: Option<Instant>,
    /// What tells this pool from one that was restored from a backup on purpose.
    pub(super) epoch: Option<String>,
}

impl Copy {
    /// Applies entries that were read. Returns whether there was anything new.
    pub(super) fn feed(&mut self, entries: Vec<Entry>) -> Result<bool, VaultError> {
        let Some(replica) = &mut self.replica else { return Ok(!entries.is_empty()) };
        let before = replica.last();
        for entry in entries {
            match replica.apply(&entry, &mut self.known) {
                Ok(()) => {}
                Err(why) => {
                    self.give_up_replica();
                    return match why {
                        NotNext::Gap | NotNext::Forgotten => Ok(true),
                        NotNext::Unread(error) => Err(error),
                    };
                }
            }
        }
        self.last = replica.last();
        Ok(self.last != before)
    }

    /// Gives the standings up, so that they are loaded. They are kept until then, for an engine that has forgotten them.
    pub(super) fn give_up_replica(&mut self) {
        if let Some(replica) = self.replica.take() {
            self.given_up = Some(replica);
        }
    }

    /// Forgets what was known.
    pub(super) fn forget(&mut self) {
        self.known.clear();
        (self.replica, self.given_up) = (None, None);
    }

    /// Returns the standings as they were last seen.
    pub(super) fn last_known(&self) -> Option<&Replica> {
        self.replica.as_ref().or(self.given_up.as_ref())
    }

    /// Takes a pool as it was loaded.
    pub(super) fn take(&mut self, loaded: &mut Loaded, records: Vec<(CredentialId, Stored)>) {
        let has_newer =
            self.replica.as_ref().is_some_and(|replica| replica.last().number > loaded.last.number);
        if loaded.seen == Seen::Forgotten || !has_newer {
            let mut known: Known = records.into_iter().collect();
            for (id, before) in self.known.drain() {
                // This process has replaced it while the pool was loaded.
                if known.get(&id).is_some_and(|stored| before.is_newer_than(stored)) {
                    known.insert(id, before);
                }
            }
            self.known = known;
            let keeps_ring = loaded.seen == Seen::Same
                && self.replica.as_ref().is_some_and(|replica| replica.last() == loaded.last);
            if !keeps_ring {
                let before = self.replica.take().or_else(|| self.given_up.take());
                let mut replica = std::mem::take(&mut loaded.replica);
                if let Some(before) = before.filter(|_| loaded.seen == Seen::Same) {
                    replica.follows(before);
                }
                self.replica = Some(replica);
            }
            self.given_up = None;
            self.last = loaded.last;
        }
        self.snapshot = loaded.snapshot;
        if !loaded.epoch.is_empty() {
            self.epoch = Some(loaded.epoch.clone());
        }
    }
}
