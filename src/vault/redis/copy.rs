//! What this process has seen of a pool.

use tokio::time::Instant;

use super::entry::{Entry, EntryId};
use super::epoch::Epoch;
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
    /// What tells this pool from one that was restored from a backup on purpose, and from one that has begun anew.
    pub(super) epoch: Option<Epoch>,
    /// Whether there was no entry yet when the epoch was read.
    was_empty: bool,
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

    /// Compares the engine's epoch with the one that is known. Drops all that is known if the pool was restored from a backup
    /// on purpose, and returns whether it was.
    pub(super) fn drop_if_restored(&mut self, engine: &Epoch) -> bool {
        let known = self.epoch.get_or_insert_with(|| engine.clone());
        let is_restored = known.was_restored_to(engine);
        if is_restored {
            self.known.clear();
            (self.replica, self.given_up) = (None, None);
            self.epoch = Some(engine.clone());
        }
        is_restored
    }

    /// Returns whether the log has begun since the epoch was read, so which log it is, and since which restore, is not known.
    pub(super) fn has_begun(&self) -> bool {
        self.was_empty && self.last != EntryId::NONE
    }

    /// Returns the standings as they were last seen.
    pub(super) fn last_known(&self) -> Option<&Replica> {
        self.replica.as_ref().or(self.given_up.as_ref())
    }

    /// Takes a pool as it was loaded.
    pub(super) fn take(&mut self, loaded: &mut Loaded, records: Vec<(CredentialId, Stored)>) {
        self.drop_if_restored(&loaded.epoch);
        if self.epoch.as_ref().is_some_and(|known| known.is_forgotten_by(&loaded.epoch)) {
            // The engine has forgotten again since it was given back, or was restored while it was read.
            return;
        }
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
        self.epoch = Some(loaded.epoch.clone());
        self.was_empty = loaded.last == EntryId::NONE;
    }
}
