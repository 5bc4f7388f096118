//! Which key seals the vault, and how many seals it has made: what this process knows of `key.json`.

mod opening;

use std::fs::File;
use std::io;
use std::path::PathBuf;

use super::identity::{Identity, Vouched};
use super::marker::{IDENTIFIED, Marker};
use super::record::write_json;
use super::records::Seal;
use crate::vault::VaultError;
use crate::vault::disk::{self, FileId, ops};
use crate::vault::key::{KeyId, Signer};
use crate::vault::seal::{Rules, wrong_key};
use opening::Unwritten;

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
