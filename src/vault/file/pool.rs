//! A pool's log, as this process knows it.

mod reading;
pub(super) mod state;
mod writing;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use self::state::{Member, State};
use crate::credential::{CredentialId, Kind, Metadata, PoolKey};
use crate::standing::Standings;
use crate::vault::disk::FileId;
use crate::vault::recent::{News, RecentChanges};
use crate::vault::{Damage, Revision};

/// What this process knows of a pool's files. The methods block, and the caller must hold the mutex around it; for
/// methods that change something also the pool's lock.
pub(super) struct Pool {
    key: PoolKey,
    path: PathBuf,
    state: State,
    log: Option<Log>,
    /// What cannot be read, and must not be changed by this process.
    trouble: Option<Trouble>,
    recent: RecentChanges,
    /// Whether every record of this pool was read for its label, and only this process has changed one since.
    pub(super) is_reconciled: bool,
}

/// The log as it was last read.
struct Log {
    file: File,
    id: FileId,
    /// How much of it was read, in bytes.
    length: u64,
    /// How much of that is the snapshot, in bytes.
    snapshot: u64,
    /// The revision of the snapshot.
    begins_at: Option<Revision>,
    can_append: bool,
}

#[derive(Debug)]
enum Trouble {
    /// Some lines cannot be read; the others count.
    Lines(usize),
    /// Nothing can be read.
    Foreign,
    /// The log of another pool.
    OtherPool(PoolKey),
    /// A newer version wrote it.
    Newer,
    /// The file of version 1 cannot be read.
    Old(Damage),
}

/// What a log says of the accounts of its pool.
const STANDINGS: &str = "the order, tiers, pauses and cooldowns of its accounts";

impl Pool {
    pub(super) fn new(key: PoolKey, path: PathBuf) -> Self {
        Self {
            key,
            path,
            state: State::default(),
            log: None,
            trouble: None,
            recent: RecentChanges::default(),
            is_reconciled: false,
        }
    }

    pub(super) fn standings(&self) -> &Standings {
        &self.state.standings
    }

    pub(super) fn revision(&self) -> Revision {
        Revision::new(self.state.sequence)
    }

    /// Returns what has changed since a revision; `None` if that is not known, or a part of the log can't be read. A new
    /// account is rare: for it the pool is loaded, so that damage to other records is found of which the log does not know.
    pub(super) fn news(&self, since: Revision) -> Option<News> {
        let news = || self.recent.since(since, self.revision());
        self.trouble.is_none().then(news).flatten().filter(|news| !news.has_added)
    }

    pub(super) fn is_member(&self, id: CredentialId) -> bool {
        self.state.members.contains_key(&id)
    }

    pub(super) fn label(&self, id: CredentialId) -> Option<&Arc<str>> {
        self.state.members.get(&id)?.label.as_ref()
    }

    pub(super) fn kind(&self, id: CredentialId) -> Option<Kind> {
        self.state.members.get(&id)?.kind
    }

    /// Whether the log says of this credential what its record says.
    pub(super) fn names(&self, metadata: &Metadata) -> bool {
        let Metadata { id, label, kind, .. } = metadata;
        self.label(*id) == Some(label) && self.kind(*id) == Some(*kind)
    }

    /// Returns the other members with this label. There may be several, some of them gone or never stored.
    pub(super) fn with_label(
        &self,
        label: &str,
        but: CredentialId,
    ) -> impl Iterator<Item = CredentialId> {
        let has = move |known: &Member| known.label.as_deref() == Some(label);
        let members = self.state.members.iter();
        members.filter(move |(id, known)| **id != but && has(known)).map(|(id, _)| *id)
    }

    /// Returns what cannot be read of its files.
    pub(super) fn damage(&self) -> Option<Damage> {
        let reason = match self.trouble.as_ref()? {
            Trouble::Old(damage) => return Some(damage.clone()),
            Trouble::Lines(count) => format!(
                "{} left out, the others count; remove the file to begin again with {STANDINGS}",
                if *count == 1 {
                    "1 damaged line is".to_owned()
                } else {
                    format!("{count} damaged lines are")
                }
            ),
            Trouble::Foreign => format!(
                "it is no log of a pool, so {STANDINGS} begin again; pause again what must not be used (the file is kept \
                 under another name at the next change)"
            ),
            Trouble::OtherPool(pool) => format!(
                "it is the log of the pool {pool}, so {STANDINGS} begin again; pause again what must not be used (the \
                 file is kept under another name at the next change)"
            ),
            Trouble::Newer => "a newer version of this program wrote it; use that one".to_owned(),
        };
        Some(Damage::new(self.path.display().to_string(), reason))
    }

    /// Whether the log still has lines about a member that is gone.
    pub(super) fn has_removed(&self) -> bool {
        self.state.has_removed
    }

    /// Whether some lines cannot be read and the others count.
    pub(super) fn has_bad_lines(&self) -> bool {
        matches!(self.trouble, Some(Trouble::Lines(_)))
    }

    /// Whether it is not a log of this pool, so that the next change sets it aside.
    pub(super) fn is_foreign(&self) -> bool {
        matches!(self.trouble, Some(Trouble::Foreign | Trouble::OtherPool(_)))
    }

    /// Whether a newer version wrote it. This version must not change it.
    pub(super) fn is_newer(&self) -> bool {
        matches!(self.trouble, Some(Trouble::Newer))
    }
}
