//! What the file should say once the vault is open, and writing it as soon as that can be done.

use std::collections::BTreeMap;

use super::{Keys, WARN_SEALS};
use crate::vault::disk;
use crate::vault::file::identity::{Identity, SeveralVaults};
use crate::vault::file::marker::Marker;
use crate::vault::file::record::{VERSION, is_newer};
use crate::vault::file::records::Seal;
use crate::vault::key::{KeyId, Signer};
use crate::vault::seal::{Rules, other_key, wrong_key};
use crate::vault::{Damage, VaultError};

/// A change that is written as soon as possible.
pub(super) struct Unwritten {
    /// The keys with which the vault was opened.
    keys: Vec<Signer>,
    pub(super) change: Change,
}

/// The new content of the file.
pub(super) struct Change {
    pub(super) marker: Marker,
    /// Its present content; `None` if there is no file, or one that cannot be read.
    instead_of: Option<Marker>,
    pub(super) was_damaged: bool,
    /// Which seals are admitted until it is written.
    pub(super) rules: Rules,
}

impl Change {
    /// Whether the file still says what it said when this change was made. Other processes' counts of their seals do
    /// not matter.
    pub(super) fn is_instead_of(&self, marker: Option<&Marker>) -> bool {
        let says = |marker: &Marker| (marker.key_id, marker.previous.clone(), marker.vault.clone());
        self.instead_of.as_ref().map(says) == marker.map(says)
    }
}

impl Keys {
    /// Opens the vault for a process that seals with the first of these keys and opens with all of them. If no file
    /// says which key is the vault's, `sealed` returns how its records are sealed.
    ///
    /// A file that cannot be read is made again, and named. If `may_wait`, the vault can be opened even if the file
    /// cannot be written (on a full disk or a read-only mount); [`settle`](Self::settle) writes it later.
    pub(in crate::vault::file) fn open(
        &mut self,
        signers: &[Signer],
        may_wait: bool,
        sealed: impl FnOnce() -> Result<Vec<Seal>, VaultError>,
    ) -> Result<Option<Damage>, VaultError> {
        self.add(signers);
        let (change, damage) = self.look(signers, sealed)?;
        let done = change.as_ref().map_or(Ok(()), |change| self.make(change));
        self.unwritten = match (done, change) {
            (Err(error), Some(change)) if may_wait && disk::is_unwritable(&error) => {
                tracing::info!("the vault can be read, and not written to: {error}");
                Some(Unwritten { keys: signers.to_vec(), change })
            }
            (done, _) => done.map(|()| None)?,
        };
        Ok(damage)
    }

    /// Writes what could not be written when the vault was opened. Called before something is sealed.
    pub(in crate::vault::file) fn settle(
        &mut self,
        sealed: impl FnOnce() -> Result<Vec<Seal>, VaultError>,
    ) -> Result<(), VaultError> {
        // Another process may have written since, so look again.
        match self.unwritten.as_ref().map(|unwritten| unwritten.keys.clone()) {
            Some(keys) => self.open(&keys, false, sealed).map(drop),
            None => Ok(()),
        }
    }

    /// Returns what the file should say, if that differs from what it says, and what is wrong with it.
    fn look(
        &mut self,
        signers: &[Signer],
        sealed: impl FnOnce() -> Result<Vec<Seal>, VaultError>,
    ) -> Result<(Option<Change>, Option<Damage>), VaultError> {
        let keys: Vec<_> = signers.iter().map(Signer::id).collect();
        let Some(&key) = keys.first() else { return Err(VaultError::UnexpectedResponse) };
        let (marker, damage) = match self.read() {
            Ok(marker) => (marker, None),
            Err(VaultError::Damaged(damage)) if !is_newer::<Marker>(&self.path)? => {
                // If it names another key as the current one, it is not for this process to replace.
                if let Ok(Some(marker)) = Marker::read(&self.path)
                    && !keys.contains(&marker.key_id)
                {
                    return Err(wrong_key(marker.key_id, key));
                }
                (None, Some(damage))
            }
            Err(error) => return Err(error),
        };
        let Some(marker) = marker else {
            return Ok((Some(self.first(&keys, &sealed()?, damage.is_some())?), damage));
        };
        let current = marker.key_id;
        if current == key {
            return Ok((None, None));
        }
        if keys.contains(&current) {
            // This process has the vault's key, and another key should follow it: that one seals from now on.
            return Ok((Some(follow(marker, key)?), None));
        }
        if marker.previous.contains(&key) {
            // A process with a key place finds the new key there; any other is told when it needs the key.
            tracing::info!(
                "the vault is being resealed with the key {current}; the key {key} opens only what was \
                 not reached yet"
            );
            return Ok((None, None));
        }
        let (path, reason) = (self.path.display(), other_key(current, key));
        // The records say with which key they are sealed. Only if it is this key, the file is wrong.
        let sealed = sealed()?;
        let is_wrong = !sealed.is_empty() && sealed.iter().all(|seal| keys.contains(&seal.key));
        Err(VaultError::Key(match is_wrong {
            true => format!(
                "{path}: {reason}; but every record is sealed with the key {key}, so this file is damaged: move it \
                 away"
            ),
            false => format!("{path}: {reason}"),
        }))
    }

    /// Returns what to write if no file says which key is the vault's: the first of these keys, if it or another of
    /// them sealed the existing records.
    fn first(&self, keys: &[KeyId], seals: &[Seal], was_damaged: bool) -> Result<Change, VaultError> {
        let key = keys[0];
        let mut previous: Vec<_> = seals.iter().map(|seal| seal.key).collect();
        if let Some(&other) = previous.first()
            && !previous.iter().any(|known| keys.contains(known))
        {
            return Err(wrong_key(other, key));
        }
        previous.retain(|other| *other != key);
        previous.sort_unstable();
        previous.dedup();
        let vault = Identity::of(seals).map_err(|SeveralVaults(vaults)| {
            let vaults: Vec<_> = vaults.iter().map(ToString::to_string).collect();
            disk::damaged(
                &self.path,
                format!(
                    "it can't be read, and the records are of several vaults ({}); restore it from a backup, or move \
                     the records of all but one vault away",
                    vaults.join(", ")
                ),
            )
        })?;
        // If no seal has an id, one is drawn when the file is written. Until then nothing must be bound to it.
        let is_drawn = seals.iter().all(|seal| seal.vault.is_none());
        let rules = if is_drawn { Rules::default() } else { vault.rules() };
        // A file that cannot be read may have counted many seals.
        let seals = BTreeMap::from_iter(was_damaged.then_some((key, WARN_SEALS)));
        let marker = Marker { version: VERSION, key_id: key, previous, seals, vault: Some(vault) };
        Ok(Change { marker, instead_of: None, was_damaged, rules })
    }

    fn make(&mut self, change: &Change) -> Result<(), VaultError> {
        if change.instead_of.is_none() {
            // The process that makes the keys' file is the first one here.
            disk::sync_way(disk::parent(&self.path))?;
        }
        if change.was_damaged {
            // It stays until the new file replaces it: after a crash, the next process must find it damaged, too.
            disk::keep_copy(&self.path)?;
        }
        self.write_signed(change.marker.clone())
    }
}

/// Returns the change that makes this key follow the vault's current one. Takes the key back if it was given up before.
fn follow(marker: Marker, key: KeyId) -> Result<Change, VaultError> {
    let mut next = Marker { version: VERSION, key_id: key, ..marker.clone() };
    next.previous.retain(|other| *other != key);
    next.previous.push(marker.key_id);
    if next.vault.as_mut().is_some_and(|vault| !vault.take_back(key)) {
        return Err(VaultError::Key(format!(
            "the key {key} was revoked, and seals nothing any more; give another one"
        )));
    }
    let rules = next.rules();
    Ok(Change { marker: next, instead_of: Some(marker), was_damaged: false, rules })
}
