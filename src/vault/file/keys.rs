//! Which key seals the vault, and how many seals were made under it: what this process knows of `key.json`.

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

/// How many seals one key may make with random nonces of 96 bits: NIST SP 800-38D, section 8.3.
pub(super) const MOST: u64 = 1 << 32;

/// From how many on a warning says that the key is to be rotated.
pub(super) const MANY: u64 = 1 << 31;

/// How many seals are counted at once, before they are made: a process that ends has counted too many,
/// never too few.
const BATCH: u64 = 1 << 10;

/// What this process knows of the file. The methods block and want the vault's lock held.
pub(super) struct Keys {
    path: PathBuf,
    /// What vouches under the keys that this process has.
    signers: Vec<Signer>,
    /// The file as it was last read, kept open so that no other can have its identity.
    known: Option<(File, FileId, Marker)>,
    /// How many seals this process may make before it counts again.
    left: u64,
    /// What the file was to say when the vault was opened, while it can't be written.
    unwritten: Option<Unwritten>,
}

/// What is written once it can be.
struct Unwritten {
    /// With which keys the vault was opened.
    keys: Vec<Signer>,
    change: Change,
}

/// What the file is to say from now on.
struct Change {
    marker: Marker,
    /// What it says so far; nothing where there is none, or one that can't be read.
    instead_of: Option<Marker>,
    was_damaged: bool,
    /// Which seals are let in until it is written.
    rules: Rules,
}

impl Change {
    /// Whether the file says so far what it did when this was made. That others count their seals changes nothing.
    fn is_instead_of(&self, marker: Option<&Marker>) -> bool {
        let says = |marker: &Marker| (marker.key_id, marker.previous.clone(), marker.vault.clone());
        self.instead_of.as_ref().map(says) == marker.map(says)
    }
}

impl Keys {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, signers: Vec::new(), known: None, left: 0, unwritten: None }
    }

    /// This process has these keys, too.
    pub(super) fn add(&mut self, signers: &[Signer]) {
        for signer in signers {
            if self.signers.iter().all(|known| known.id() != signer.id()) {
                self.signers.push(signer.clone());
            }
        }
    }

    /// The key that seals from now on and which seals are let in; `None` where there is no file. What could not be
    /// written so far counts as if it were, unless another process has written since.
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

    /// Opens the vault for whoever seals with the first of these keys and opens with all of them. Where no
    /// file says which key is the vault's, `sealed` answers how its records are sealed.
    ///
    /// A file that can't be read is made anew, and named. If `may_wait`, the vault can be opened although the file
    /// can't be written (a full disk, a file system that is mounted read-only); [`settle`](Self::settle) makes up for it.
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

    /// Writes what could not be written when the vault was opened. For who is about to seal.
    pub(super) fn settle(
        &mut self,
        sealed: impl FnOnce() -> Result<Vec<Seal>, VaultError>,
    ) -> Result<(), VaultError> {
        // Another process may have written since, so it is looked at anew.
        match self.unwritten.as_ref().map(|unwritten| unwritten.keys.clone()) {
            Some(keys) => self.open(&keys, false, sealed).map(drop),
            None => Ok(()),
        }
    }

    /// What the file is to say, if that is anything else than now; and what is wrong with it.
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
                // One that names another key as the present one is not ours to make anew.
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
            // The vault's key is known here and another is to follow it: from now on it seals.
            return Ok((Some(follow(marker, key)?), None));
        }
        if marker.previous.contains(&key) {
            // Whoever has a place for it finds the new key there; and who hasn't is told when that is needed.
            tracing::info!(
                "the vault is being sealed anew with the key {current}; the key {key} opens only what was \
                 not reached yet"
            );
            return Ok((None, None));
        }
        let (path, reason) = (self.path.display(), other_key(current, key));
        // The records say under which key they are. Only if that is this one, the file is wrong.
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

    /// What says which key is the vault's, where no file does: the first of these, if it or another of them
    /// sealed the records that there are.
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
        // An id that no seal has is drawn anew when it is written; until then nothing is to be bound to it.
        let is_drawn = seals.iter().all(|seal| seal.vault.is_none());
        let rules = if is_drawn { Rules::default() } else { vault.rules() };
        // One that can't be read may have counted many.
        let seals = BTreeMap::from_iter(was_damaged.then_some((key, MANY)));
        let marker = Marker { version: VERSION, key_id: key, previous, seals, vault: Some(vault) };
        Ok(Change { marker, instead_of: None, was_damaged, rules })
    }

    fn make(&mut self, change: &Change) -> Result<(), VaultError> {
        if change.instead_of.is_none() {
            // Whoever makes the file of the keys is the first here.
            disk::sync_way(disk::parent(&self.path))?;
        }
        if change.was_damaged {
            // It stays until another takes its place: whoever comes after a crash must find it damaged too.
            disk::keep_copy(&self.path)?;
        }
        self.write_signed(change.marker.clone())
    }

    /// Gives a vault an id that has none, so that what is sealed from now on is bound to it. `seals` answers what the
    /// records say. Nothing where it has one.
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

    /// Trusts a key no more, whatever was sealed with it.
    pub(super) fn revoke(&mut self, key: KeyId) -> Result<(), VaultError> {
        let mut marker = self.current()?;
        if marker.keys().contains(&key) {
            return Err(VaultError::Key(format!(
                "the key {key} is one of the vault's own; seal the vault anew with another key first"
            )));
        }
        let Some(vault) = &mut marker.vault else {
            let reason = "the vault is of an older version, which revokes nothing; seal it anew first";
            return Err(VaultError::Key(reason.to_owned()));
        };
        vault.revoke(key);
        self.write_signed(marker)
    }

    /// What the file says of a key that may seal. Refused where the vault is another key's by now.
    fn of_sealing(&mut self, key: KeyId) -> Result<Option<Marker>, VaultError> {
        match self.current() {
            Ok(marker) if marker.key_id == key || marker.previous.contains(&key) => Ok(Some(marker)),
            Ok(marker) => Err(wrong_key(marker.key_id, key)),
            // The count guards against 2^32 seals; it must not cost the one at hand.
            Err(error) => {
                tracing::warn!("seals are not counted: {error}");
                Ok(None)
            }
        }
    }

    /// Whether this key may seal, for who does not do so yet.
    pub(super) fn may_seal(&mut self, key: KeyId) -> Result<(), VaultError> {
        self.of_sealing(key).map(|_| ())
    }

    /// Counts one seal that is about to be written, under this key. Refused where the vault is another
    /// key's by now, and where the key has made as many as it may.
    pub(super) fn count(&mut self, key: KeyId) -> Result<(), VaultError> {
        let Some(marker) = self.of_sealing(key)? else { return Ok(()) };
        if self.left == 0 {
            let counted = marker.seals(key);
            if counted >= MOST {
                return Err(VaultError::Key(format!(
                    "the key {key} has made 2^32 seals, as many as it safely can; seal the vault anew with \
                     another key"
                )));
            }
            if counted >= MANY {
                tracing::warn!(
                    "the key {key} has made {counted} of at most 2^32 seals; seal the vault anew with another"
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

    /// Gives up the keys before the present one: no record is sealed under them any more, and none in an older format
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

    /// Writes what was changed of what the vault says of itself, and vouches for it.
    fn write_signed(&mut self, mut marker: Marker) -> Result<(), VaultError> {
        let keys = marker.keys();
        if let Some(vault) = &mut marker.vault {
            vault.sign(&self.signers, &keys);
            marker.version = IDENTIFIED;
        }
        self.write(marker)
    }

    /// Whether this process can vouch under all of the vault's keys: whoever has one of them alone trusts that one.
    fn can_vouch(&self, marker: &Marker) -> bool {
        let has = |key: &KeyId| self.signers.iter().any(|signer| signer.id() == *key);
        marker.keys().iter().all(has)
    }
}

/// What says that this key follows the vault's own, which takes it back if it was given up before.
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
