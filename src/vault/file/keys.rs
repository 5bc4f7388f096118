//! Which key seals the vault, and how many seals were made under it: `key.json`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::record::{VERSION, Versioned, is_newer, read_json, write_json};
use crate::vault::disk::{self, FileId, ops};
use crate::vault::key::KeyId;
use crate::vault::seal::{other_key, wrong_key};
use crate::vault::{Damage, VaultError};

/// How many seals one key may make with random nonces of 96 bits: NIST SP 800-38D, section 8.3.
pub(super) const MOST: u64 = 1 << 32;

/// From how many on a warning says that the key is to be rotated.
pub(super) const MANY: u64 = 1 << 31;

/// How many seals are counted at once, before they are made: a process that ends has counted too many,
/// never too few.
const BATCH: u64 = 1 << 10;

/// The file as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    version: u32,
    /// The key that seals from now on.
    key_id: KeyId,
    /// Keys under which records may still be sealed, while they are sealed anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    previous: Vec<KeyId>,
    /// How many seals were made under each key, at the most.
    seals: BTreeMap<KeyId, u64>,
}

impl Marker {
    /// Reads the file; `None` where there is none.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, VaultError> {
        read_json(path, WAY_OUT)
    }

    pub(super) fn key_id(&self) -> KeyId {
        self.key_id
    }

    pub(super) fn previous(&self) -> &[KeyId] {
        &self.previous
    }

    /// How many seals a key has made, at the most.
    pub(super) fn seals(&self, key: KeyId) -> u64 {
        self.seals.get(&key).copied().unwrap_or(0)
    }
}

/// What helps where it can't be read.
const WAY_OUT: &str =
    "it is kept under another name and made anew; seal the vault anew with another key";

impl Versioned for Marker {
    fn version(&self) -> u32 {
        self.version
    }
}

/// What this process knows of the file. The methods block and want the vault's lock held.
pub(super) struct Keys {
    path: PathBuf,
    /// The file as it was last read, kept open so that no other can have its identity.
    known: Option<(File, FileId, Marker)>,
    /// How many seals this process may make before it counts again.
    left: u64,
    /// With which keys the vault was opened, while the file can't be written that is to say so.
    unwritten: Option<Vec<KeyId>>,
}

/// What the file is to say from now on.
struct Change {
    marker: Marker,
    /// Whether there was none that could be read, and whether one that could not.
    is_first: bool,
    was_damaged: bool,
}

impl Keys {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, known: None, left: 0, unwritten: None }
    }

    /// Opens the vault for whoever seals with the first of these keys and opens with all of them. Where no
    /// file says which key is the vault's, `sealed` answers under which its records are.
    ///
    /// A file that can't be read is made anew, and named. If `may_wait`, the vault can be opened although the file
    /// can't be written (a full disk, a file system that is mounted read-only); [`settle`](Self::settle) makes up for it.
    pub(super) fn open(
        &mut self,
        keys: &[KeyId],
        may_wait: bool,
        sealed: impl FnOnce() -> Result<Vec<KeyId>, VaultError>,
    ) -> Result<Option<Damage>, VaultError> {
        let (change, damage) = self.look(keys, sealed)?;
        let done = change.map_or(Ok(()), |change| self.make(change));
        self.unwritten = match done {
            Ok(()) => None,
            Err(error) if may_wait && disk::is_unwritable(&error) => {
                tracing::info!("the vault can be read, and not written to: {error}");
                Some(keys.to_vec())
            }
            Err(error) => return Err(error),
        };
        Ok(damage)
    }

    /// Writes what could not be written when the vault was opened. For who is about to seal.
    pub(super) fn settle(
        &mut self,
        sealed: impl FnOnce() -> Result<Vec<KeyId>, VaultError>,
    ) -> Result<(), VaultError> {
        match self.unwritten.clone() {
            Some(keys) => self.open(&keys, false, sealed).map(drop),
            None => Ok(()),
        }
    }

    /// What the file is to say, if that is anything else than now; and what is wrong with it.
    fn look(
        &mut self,
        keys: &[KeyId],
        sealed: impl FnOnce() -> Result<Vec<KeyId>, VaultError>,
    ) -> Result<(Option<Change>, Option<Damage>), VaultError> {
        let Some(&key) = keys.first() else { return Err(VaultError::UnexpectedResponse) };
        let (marker, damage) = match self.read() {
            Ok(marker) => (marker, None),
            Err(VaultError::Damaged(damage)) if !is_newer(&self.path)? => (None, Some(damage)),
            Err(error) => return Err(error),
        };
        let Some(Marker { key_id: current, mut previous, seals, .. }) = marker else {
            return Ok((Some(first(keys, sealed()?, damage.is_some())?), damage));
        };
        if current == key {
            return Ok((None, None));
        }
        if keys.contains(&current) {
            // The vault's key is known here and another is to follow it: from now on it seals.
            previous.retain(|other| *other != key);
            previous.push(current);
            let marker = Marker { version: VERSION, key_id: key, previous, seals };
            return Ok((Some(Change { marker, is_first: false, was_damaged: false }), None));
        } else if previous.contains(&key) {
            tracing::warn!(
                "the vault is being sealed anew with the key {current}; the key {key} opens only what was \
                 not reached yet"
            );
        } else {
            let (path, reason) = (self.path.display(), other_key(current, key));
            // The records say under which key they are. Only where that is this one, the file is wrong.
            let sealed = sealed()?;
            let is_wrong = !sealed.is_empty() && sealed.iter().all(|sealed| keys.contains(sealed));
            return Err(VaultError::Key(match is_wrong {
                true => format!(
                    "{path}: {reason}; but every record is sealed with the key {key}, so this file is damaged: move it \
                     away"
                ),
                false => format!("{path}: {reason}"),
            }));
        }
        Ok((None, None))
    }

    fn make(&mut self, change: Change) -> Result<(), VaultError> {
        if change.is_first {
            // Whoever makes the file of the keys is the first here.
            disk::sync_way(disk::parent(&self.path))?;
        }
        if change.was_damaged {
            // It stays until another takes its place: whoever comes after a crash must find it damaged too.
            disk::keep_copy(&self.path)?;
        }
        self.write(change.marker)
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

    /// Forgets the keys before the present one: no record is sealed under them any more.
    pub(super) fn forget_previous(&mut self, key: KeyId) -> Result<(), VaultError> {
        let marker = self.current()?;
        if marker.key_id != key {
            return Err(wrong_key(marker.key_id, key));
        }
        if !marker.previous.is_empty() {
            self.write(Marker { previous: Vec::new(), ..marker })?;
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
        self.known = marker.as_ref().map(|marker| (file, FileId::of(&metadata), marker.clone()));
        Ok(marker)
    }

    fn write(&mut self, marker: Marker) -> Result<(), VaultError> {
        self.known = None;
        self.left = 0;
        write_json(&self.path, &marker)
    }
}

/// What says which key is the vault's, where no file does: the first of these, if it or another of them sealed the
/// records that there are.
fn first(keys: &[KeyId], mut sealed: Vec<KeyId>, was_damaged: bool) -> Result<Change, VaultError> {
    let key = keys[0];
    if let Some(&other) = sealed.first()
        && !sealed.iter().any(|known| keys.contains(known))
    {
        return Err(wrong_key(other, key));
    }
    sealed.retain(|other| *other != key);
    sealed.sort_unstable();
    sealed.dedup();
    // One that can't be read may have counted many.
    let seals = BTreeMap::from_iter(was_damaged.then_some((key, MANY)));
    let marker = Marker { version: VERSION, key_id: key, previous: sealed, seals };
    Ok(Change { marker, is_first: true, was_damaged })
}
