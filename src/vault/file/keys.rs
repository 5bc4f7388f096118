//! Which key seals the vault, and how many seals it has made: what this process knows of `key.json`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use super::identity::{Identity, SeveralVaults, Vouched};
use super::marker::{IDENTIFIED, Marker};
use super::record::{VERSION, is_newer, write_json};
use super::records::Seal;
use crate::vault::disk::{self, FileId, ops};
use crate::vault::key::{KeyId, Signer};
use crate::vault::seal::{Rules, other_key, wrong_key};
use crate::vault::{Damage, VaultError};

/// The number of seals that one key may make with random nonces of 96 bits: NIST SP 800-38D, section 8.3.
pub(super) const MAX_SEALS: u64 = 1 << 32;

/// The number of seals from which on a warning says that the key should be rotated.
pub(super) const WARN_SEALS: u64 = 1 << 31;

/// The number of seals that are counted together, before they are made: a process that ends has counted too many, never
/// too few.
const BATCH: u64 = 1 << 10;

/// What this process knows of the file. The methods block, and the caller must hold the vault's lock.
pub(super) struct Keys {
    path: PathBuf,
    /// Signers for the keys that this process has.
    signers: Vec<Signer>,
    /// The file as it was last read. It is kept open so that no other file can get its identity.
    known: Option<(File, FileId, Marker)>,
    /// The number of seals that this process may make before it counts again.
    left: u64,
    /// The file's content as it should have been written when the vault was opened, if it could not be written.
    unwritten: Option<Unwritten>,
}

/// A change that is written as soon as possible.
struct Unwritten {
    /// The keys with which the vault was opened.
    keys: Vec<Signer>,
    change: Change,
}

/// The new content of the file.
struct Change {
    marker: Marker,
    /// Its present content; `None` if there is no file, or one that cannot be read.
    instead_of: Option<Marker>,
    was_damaged: bool,
    /// Which seals are admitted until it is written.
    rules: Rules,
}

impl Change {
    /// Whether the file still says what it said when this change was made. Other processes' counts of their seals do
    /// not matter.
    fn is_instead_of(&self, marker: Option<&Marker>) -> bool {
        let says = |marker: &Marker| (marker.key_id, marker.previous.clone(), marker.vault.clone());
        self.instead_of.as_ref().map(says) == marker.map(says)
    }
}

impl Keys {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, signers: Vec::new(), known: None, left: 0, unwritten: None }
    }

    /// Adds keys that this process has.
    pub(super) fn add(&mut self, signers: &[Signer]) {
        for signer in signers {
            if self.signers.iter().all(|known| known.id() != signer.id()) {
                self.signers.push(signer.clone());
            }
        }
    }

    /// Returns the key that seals from now on and which seals are admitted; `None` if there is no file. Changes that
    /// could not be written count as written, unless another process has written since.
    pub(super) fn facts(&mut self) -> Result<Option<(KeyId, Rules)>, VaultError> {
        let marker = match (self.read(), &self.unwritten) {
            (Err(VaultError::Damaged(_)), Some(Unwritten { change, .. })) if change.was_damaged => None,
            (marker, _) => marker?,
        };
        Ok(match (&self.unwritten, marker) {
            (Some(Unwritten { change, .. }), marker) if change.is_instead_of(marker.as_ref()) => {
                Some((change.marker.key_id, change.rules.clone()))
            }
            (_, marker) => marker.map(|marker| (marker.key_id, marker.rules())),
        })
    }

    /// Opens the vault for a process that seals with the first of these keys and opens with all of them. If no file
    /// says which key is the vault's, `sealed` returns how its records are sealed.
    ///
    /// A file that cannot be read is made again, and named. If `may_wait`, the vault can be opened even if the file
    /// cannot be written (on a full disk or a read-only mount); [`settle`](Self::settle) writes it later.
    pub(super) fn open(
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
    pub(super) fn settle(
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

    /// Gives the vault an id if it has none, so that everything sealed from now on is bound to it. `seals` returns what
    /// the records say.
    pub(super) fn identify(
        &mut self,
        seals: impl FnOnce() -> Result<Vec<Seal>, VaultError>,
    ) -> Result<(), VaultError> {
        let marker = self.current()?;
        if marker.vault.is_some() || !self.can_vouch(&marker) {
            return Ok(());
        }
        let Ok(vault) = Identity::of(&seals()?) else { return Ok(()) };
        self.write_signed(Marker { vault: Some(vault), ..marker })
    }

    /// Stops trusting a key, whatever was sealed with it.
    pub(super) fn revoke(&mut self, key: KeyId) -> Result<(), VaultError> {
        let mut marker = self.current()?;
        if marker.keys().contains(&key) {
            return Err(VaultError::Key(format!(
                "the key {key} is one of the vault's own; replace it first: credentials vault rotate-key"
            )));
        }
        let Some(vault) = &mut marker.vault else {
            let reason = "the vault is of an older version, which revokes nothing; reseal it first";
            return Err(VaultError::Key(reason.to_owned()));
        };
        vault.revoke(key);
        self.write_signed(marker)
    }

    /// Returns what the file says about a key that may seal. Refused if the vault has another key by now.
    fn of_sealing(&mut self, key: KeyId) -> Result<Option<Marker>, VaultError> {
        match self.current() {
            Ok(marker) if marker.key_id == key || marker.previous.contains(&key) => Ok(Some(marker)),
            Ok(marker) => Err(wrong_key(marker.key_id, key)),
            // The count guards against 2^32 seals. An error in it must not cost the current seal.
            Err(error) => {
                tracing::warn!("seals are not counted: {error}");
                Ok(None)
            }
        }
    }

    /// Checks whether this key may seal, before anything is sealed.
    pub(super) fn may_seal(&mut self, key: KeyId) -> Result<(), VaultError> {
        self.of_sealing(key).map(|_| ())
    }

    /// Counts one seal with this key that is about to be written. Refused if the vault has another key by now, or if
    /// the key has made as many seals as it may.
    pub(super) fn count(&mut self, key: KeyId) -> Result<(), VaultError> {
        let Some(marker) = self.of_sealing(key)? else { return Ok(()) };
        if self.left == 0 {
            let counted = marker.seals(key);
            if counted >= MAX_SEALS {
                return Err(VaultError::Key(format!(
                    "the key {key} has made 2^32 seals, as many as it safely can; give the vault another key: \
                     credentials vault rotate-key"
                )));
            }
            if counted >= WARN_SEALS {
                tracing::warn!(
                    "the key {key} has made {counted} of at most 2^32 seals; replace it: credentials vault rotate-key"
                );
            }
            let mut marker = marker;
            marker.seals.insert(key, counted + BATCH);
            self.write(marker)?;
            self.left = BATCH;
        }
        self.left -= 1;
        Ok(())
    }

    /// Gives up the keys before the current one. No record is sealed with them any more, and none has an older format
    /// than this.
    pub(super) fn forget_previous(&mut self, key: KeyId, least: u32) -> Result<(), VaultError> {
        let marker = self.current()?;
        if marker.key_id != key {
            return Err(wrong_key(marker.key_id, key));
        }
        let mut vault = marker.vault.clone();
        if let Some(vault) = &mut vault {
            vault.retire(marker.previous.iter().copied());
            vault.raise(least);
        }
        if !marker.previous.is_empty() || vault != marker.vault {
            self.write_signed(Marker { previous: Vec::new(), vault, ..marker })?;
        }
        Ok(())
    }

    fn current(&mut self) -> Result<Marker, VaultError> {
        let metadata = ops::metadata(&self.path).map_err(disk::failed("read", &self.path))?;
        if let Some((_, id, marker)) = &self.known
            && *id == FileId::of(&metadata)
        {
            return Ok(marker.clone());
        }
        // Another process has counted, or another key seals now.
        let marker = self.read()?;
        marker.ok_or_else(|| disk::failed("read", &self.path)(io::ErrorKind::NotFound.into()))
    }

    fn read(&mut self) -> Result<Option<Marker>, VaultError> {
        self.known = None;
        let Some((file, metadata)) = disk::open_plain(&self.path)? else { return Ok(None) };
        let marker = Marker::read(&self.path)?;
        if marker.as_ref().is_some_and(|marker| marker.is_vouched_for(&self.signers) == Vouched::No) {
            return Err(Marker::forged(&self.path));
        }
        self.known = marker.as_ref().map(|marker| (file, FileId::of(&metadata), marker.clone()));
        Ok(marker)
    }

    fn write(&mut self, marker: Marker) -> Result<(), VaultError> {
        self.known = None;
        self.left = 0;
        write_json(&self.path, &marker)
    }

    /// Signs and writes a marker after a change of what the vault says about itself.
    fn write_signed(&mut self, mut marker: Marker) -> Result<(), VaultError> {
        let keys = marker.keys();
        if let Some(vault) = &mut marker.vault {
            vault.sign(&self.signers, &keys);
            marker.version = IDENTIFIED;
        }
        self.write(marker)
    }

    /// Whether this process can sign with all of the vault's keys: a process that has only one of them trusts that one.
    fn can_vouch(&self, marker: &Marker) -> bool {
        let has = |key: &KeyId| self.signers.iter().any(|signer| signer.id() == *key);
        marker.keys().iter().all(has)
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
