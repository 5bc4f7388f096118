//! One pool: what this process knows of it, and reading it from the engine.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::Inner;
use super::clocks::Difference;
use super::copy::Copy;
use super::entry::{Entry, EntryId};
use super::epoch::Epoch;
use super::keys::Keys;
use super::replica::{Known, NotNext, Replica};
use super::script::{LOAD, READ_ON};
use super::snapshots::Due;
use super::stored::{Stored, damage};
use crate::credential::{CredentialId, PoolKey, Record};
use crate::standing::shift::Shift;
use crate::vault::seal::Sealed;
use crate::vault::{Changes, Revision, StoredPool, VaultError};

/// How many entries are read at a time. A host that has missed more loads the pool.
pub(super) const MOST_ENTRIES: usize = 1024;

/// How often an engine that has forgotten is given back accounts, if it forgets again, or standings, if others change them.
const TRIES: usize = 16;

/// A pool, as far as this process has to do with it.
pub(super) struct Pool {
    pub(super) key: PoolKey,
    pub(super) keys: Keys,
    copy: Mutex<Copy>,
    difference: Mutex<Difference>,
    /// Told of each change, if anybody watches.
    pub(super) changed: watch::Sender<()>,
    /// Whether a task reads the log as it grows.
    pub(super) is_followed: AtomicBool,
    /// Whether that task has read what it has last told of. It also tells that it has lost the log.
    pub(super) is_read: AtomicBool,
}

/// A pool, as the engine says it is.
pub(super) struct Loaded {
    pub(super) seen: Seen,
    pub(super) last: EntryId,
    pub(super) epoch: Epoch,
    pub(super) snapshot: EntryId,
    /// The entries after the snapshot.
    pub(super) log: Vec<Entry>,
    pub(super) replica: Replica,
    pub(super) records: HashMap<CredentialId, String>,
}

/// Whether a log still is the one that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Same,
    /// The entry is not there any more, since the log was trimmed.
    Trimmed,
    /// The log has other entries in its place, or ends before it.
    Forgotten,
}

impl Seen {
    pub(super) fn said(text: &str) -> Self {
        match text {
            "same" => Self::Same,
            "forgotten" => Self::Forgotten,
            _ => Self::Trimmed,
        }
    }
}

impl Pool {
    pub(super) fn new(key: PoolKey, keys: Keys) -> Self {
        let (changed, _) = watch::channel(());
        Self {
            key,
            keys,
            copy: Mutex::default(),
            difference: Mutex::default(),
            changed,
            is_followed: AtomicBool::new(false),
            is_read: AtomicBool::new(false),
        }
    }

    /// Returns by how much the clocks differ, as far as is known.
    pub(super) fn difference(&self) -> MutexGuard<'_, Difference> {
        // It is replaced as a whole.
        self.difference.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn copy(&self) -> MutexGuard<'_, Copy> {
        // What is in it is only used if it fits the log, and a record is read before it is shown.
        self.copy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what this process itself has stored in an engine with this epoch.
    pub(super) fn learn(&self, id: CredentialId, stored: Stored, engine: &Epoch) {
        let mut copy = self.copy();
        copy.drop_if_restored(engine);
        if copy.known.get(&id).is_none_or(|known| stored.is_newer_than(known)) {
            copy.known.insert(id, stored);
        }
    }
}

impl Inner {
    /// Reads the whole pool. An engine that has forgotten is first given back what this process has seen.
    pub(super) async fn load(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
    ) -> Result<StoredPool<Sealed>, VaultError> {
        let difference = self.difference(pool).await?;
        let mut loaded = self.read(pool).await?;
        for _ in 0..TRIES {
            if !self.give_back(pool, &loaded).await? {
                break;
            }
            loaded = self.read(pool).await?;
        }
        for _ in 0..TRIES {
            if !self.give_back_standings(pool, &loaded).await? {
                break;
            }
            loaded = self.read(pool).await?;
        }
        let mut damaged = Vec::new();
        let (mut records, mut by_id) = (Vec::new(), HashMap::new());
        for (id, text) in std::mem::take(&mut loaded.records) {
            match Stored::must_be(id, text) {
                Ok((_, record)) if record.metadata.pool != pool.key => {
                    damaged.push(damage(id, ""));
                }
                Ok((stored, mut record)) => {
                    record.shift(-difference.ahead);
                    records.push((id, stored));
                    by_id.insert(id, record);
                }
                Err(VaultError::Damaged(damage)) => damaged.push(damage),
                Err(error) => return Err(error),
            }
        }
        let mut standings = loaded.replica.standings().clone();
        standings.shift(-difference.ahead);
        let revision = difference.mark(loaded.last.revision());
        pool.copy().take(&mut loaded, records);
        self.keep_snapshot_if_due(pool, Due::BUSY);
        let mut credentials: Vec<Record<Sealed>> =
            standings.order.iter().filter_map(|id| by_id.remove(id)).collect();
        // One that the order has not got comes last, as a pool does it.
        credentials.extend(by_id.into_values());
        Ok(StoredPool::new(credentials, standings, revision, damaged))
    }

    async fn read(&self, pool: &Pool) -> Result<Loaded, VaultError> {
        let (last, known_epoch) = {
            let copy = pool.copy();
            (copy.last, copy.epoch.clone())
        };
        // Before the pool: what a later restore has changed is then dropped with the next look.
        let restores = self.vault_restores().await?;
        let call = LOAD.on(pool.keys.all()).arg(last.to_say());
        let within = self.engine.within * 10;
        type Said = (String, String, String, String, Vec<Entry>, HashMap<String, Vec<u8>>);
        let (seen, last, epoch, snapshot, entries, records): Said =
            self.engine.run_within(pool.keys.slot(), &call, within).await?;
        let last = EntryId::said(&last)?;
        let mut replica = Replica::of_snapshot(&snapshot)?;
        let snapshot = replica.last();
        let mut known = Known::new();
        for entry in &entries {
            match replica.apply(entry, &mut known) {
                Ok(()) => {}
                Err(NotNext::Unread(error)) => return Err(error),
                Err(NotNext::Gap | NotNext::Forgotten) => return Err(has_a_gap(&pool.key)),
            }
        }
        if replica.last() != last {
            return Err(has_a_gap(&pool.key));
        }
        // What is not text can't be read, and is reported as that.
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let by_id = records.into_iter().filter_map(|(id, bytes)| Some((id.parse().ok()?, text(bytes))));
        let records = by_id.collect();
        let epoch = Epoch::said(&epoch).of_vault(Some(restores));
        let seen = match known_epoch {
            // Another log may be longer than the one that was read, and trimmed.
            Some(known) if known.is_other_log(&epoch) => Seen::Forgotten,
            _ => Seen::said(&seen),
        };
        Ok(Loaded { seen, last, epoch, snapshot, log: entries, replica, records })
    }

    /// Reads the revision.
    pub(super) async fn revision(&self, pool: &Pool) -> Result<Revision, VaultError> {
        let difference = self.difference(pool).await?;
        Ok(difference.mark(self.last(pool).await?.revision()))
    }

    /// Returns the last entry's id.
    pub(super) async fn last(&self, pool: &Pool) -> Result<EntryId, VaultError> {
        let mut get = redis::cmd("GET");
        get.arg(pool.keys.part("revision"));
        let last: Option<String> = self.engine.command(pool.keys.slot(), &get).await?;
        EntryId::said(&last.unwrap_or_default())
    }

    /// Reads what is new since a revision. What a watch has told of, the task that follows the log has read already.
    pub(super) async fn changes(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        since: Revision,
        told: bool,
    ) -> Result<Option<Changes<Sealed>>, VaultError> {
        let last = pool.copy().replica.as_ref().map(Replica::last);
        let Some(last) = last else {
            let now = self.revision(pool).await?;
            return Ok((now == since).then(|| Changes::none(now)));
        };
        let difference = self.difference(pool).await?;
        let is_read = told && pool.is_read.load(Ordering::Acquire);
        if !is_read && !self.read_on(pool, last).await? {
            return Ok(None);
        }
        // The pool is loaded, so its epoch becomes known.
        if pool.copy().has_begun() {
            return Ok(None);
        }
        self.keep_snapshot_if_due(pool, Due::BUSY);
        let changes = {
            let copy = pool.copy();
            // A revision from before the difference has changed is not known here.
            let since = difference.mark(since);
            copy.replica.as_ref().and_then(|replica| replica.changes(since, &copy.known))
        };
        Ok(changes.map(|mut changes| {
            changes.revision = difference.mark(changes.revision);
            changes.standings.iter_mut().for_each(|(_, standing)| standing.shift(-difference.ahead));
            changes.credentials.shift(-difference.ahead);
            changes
        }))
    }

    /// Reads the log on from an entry. Returns whether all of it was read; if not, the pool must be loaded.
    pub(super) async fn read_on(&self, pool: &Pool, from: EntryId) -> Result<bool, VaultError> {
        let call = READ_ON.on(pool.keys.all()).arg(from.to_say()).arg(MOST_ENTRIES);
        let (seen, last, entries): (String, String, Vec<Entry>) =
            self.engine.run(pool.keys.slot(), &call).await?;
        let last = EntryId::said(&last)?;
        if Seen::said(&seen) != Seen::Same {
            return Ok(false);
        }
        let mut copy = pool.copy();
        copy.feed(entries)?;
        Ok(copy.replica.as_ref().is_some_and(|replica| replica.last().number >= last.number))
    }
}

fn has_a_gap(pool: &PoolKey) -> VaultError {
    let words = format!(
        "the log of pool {pool} has a gap: something else has deleted keys of the vault; restore them, or remove all of the \
         pool's keys and sign in again"
    );
    VaultError::Layer(words.into())
}
