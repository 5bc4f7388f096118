//! Opening a vault, with its settings.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::directory::{Directory, Patience};
use super::ring::Ring;
use super::store::Store;
use super::vault::FileVault;
use crate::vault::VaultError;
use crate::vault::key::{KeyPlace, KeyService, KeyServiceExt, Keys, Place, Signer, VaultKey};
use crate::vault::seal::{Seals, UnboundAttributes};

impl FileVault {
    /// Opens the vault in `directory`, and makes it if it is missing. Removes temporary files that a killed process has left.
    /// Narrows modes of the vault's files that are too wide, with a `tracing` warning; the mode of `directory` itself only if
    /// it holds nothing but the vault.
    ///
    /// A vault that can't be written to (its disk is full, it is mounted read-only, its directories belong to another user)
    /// can be read. Requests that would change it fail with [`VaultError::Io`], and no refresh token of it is spent.
    ///
    /// # Errors
    /// [`VaultError::Key`] if the vault is sealed with another key; [`VaultError::NetworkFileSystem`];
    /// [`VaultError::Locked`] if another process holds the vault's lock for ten seconds;
    /// [`VaultError::Io`] if a directory or a file can't be made or read, or if the file system does not lock.
    pub async fn open(directory: impl Into<PathBuf>, key: &VaultKey) -> Result<Self, VaultError> {
        Self::builder(directory).open(key).await
    }

    /// Opens the vault in `directory` with the key from this place; makes both if there is no vault. If another process
    /// changes the key later, the vault loads the new one from the same place and goes on. For programs that run for a long
    /// time.
    ///
    /// # Errors
    /// The errors of [`open`](Self::open) and of the place, and [`VaultError::Key`] if there is a vault but no key: a new key
    /// would open nothing of it.
    pub async fn open_from(
        directory: impl Into<PathBuf>,
        place: impl KeyService,
    ) -> Result<Self, VaultError> {
        Self::builder(directory).open_from(place).await
    }

    /// Returns a builder, for other settings than those of [`open`](Self::open).
    pub fn builder(directory: impl Into<PathBuf>) -> FileVaultBuilder {
        FileVaultBuilder {
            directory: directory.into(),
            old_keys: Vec::new(),
            patience: Patience { lock: Duration::from_secs(10), lease: Duration::from_secs(120) },
            on_network: false,
            place: None,
            restored: false,
            unbound: UnboundAttributes::Ask,
        }
    }
}

/// The settings of a [`FileVault`]; made by [`FileVault::builder`], ended by [`open`](Self::open).
#[derive(Clone)]
pub struct FileVaultBuilder {
    directory: PathBuf,
    old_keys: Vec<VaultKey>,
    patience: Patience,
    on_network: bool,
    place: Option<Arc<dyn KeyPlace>>,
    restored: bool,
    unbound: UnboundAttributes,
}

impl FileVaultBuilder {
    /// Adds a key that sealed the vault before. Nothing is sealed with it any more, but it opens what it has sealed. It is
    /// needed until [`FileVault::reseal`] has gone through all records.
    #[must_use]
    pub fn old_key(mut self, key: &VaultKey) -> Self {
        self.old_keys.push(key.clone());
        self
    }

    /// Sets how long a request waits for a lock that another one holds around a change. Defaults to ten seconds. Such a lock
    /// is usually held for less than a millisecond.
    #[must_use]
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.patience.lock = timeout;
        self
    }

    /// Sets how long [`LeaseRefresh`](crate::vault::VaultRequest::LeaseRefresh) waits for a lease that another request holds.
    /// Defaults to two minutes. A lease is held while a token endpoint is called.
    #[must_use]
    pub fn lease_timeout(mut self, timeout: Duration) -> Self {
        self.patience.lease = timeout;
        self
    }

    /// Sets whether the vault may be on a network file system. Defaults to false. Some of them grant a lock to several machines
    /// at once, and show a rename late: secrets may be lost.
    #[must_use]
    pub fn allow_network_file_system(mut self, allow: bool) -> Self {
        self.on_network = allow;
        self
    }

    /// Sets whether restored records are admitted: records that are sealed with a key that the vault has given up, or in an
    /// older format than all its records. Defaults to false: they may come from a backup, but somebody else who has that key
    /// may have put them there as well. [`FileVault::reseal`] makes them the vault's own.
    #[must_use]
    pub fn restored(mut self, restored: bool) -> Self {
        self.restored = restored;
        self
    }

    /// Sets what [`FileVault::reseal`] does with attributes of records of version 1, which no seal has bound. Defaults to
    /// [`UnboundAttributes::Ask`], which leaves such records as they are.
    #[must_use]
    pub fn unbound_attributes(mut self, unbound: UnboundAttributes) -> Self {
        self.unbound = unbound;
        self
    }

    /// Sets the place of the vault's key. If another process changes the vault's key, the new key is loaded from there: when
    /// it is first needed, then again after a second, and then less and less often. A request that needs the vault's own key
    /// waits for it as long as for [a lock](Self::lock_timeout), since a key change may store the key last.
    #[must_use]
    pub fn key_place(mut self, place: impl KeyService) -> Self {
        self.place = Some(Arc::new(Place::new(place)));
        self
    }

    /// Opens the vault, or makes it.
    ///
    /// # Errors
    /// The same as those of [`FileVault::open`].
    pub async fn open(self, key: &VaultKey) -> Result<FileVault, VaultError> {
        let Self { directory, old_keys, patience, on_network, place, restored, unbound } = self;
        let keys: Vec<_> = std::iter::once(key).chain(&old_keys).map(Signer::new).collect();
        let store = Store::new(directory);
        let open = move |store: &Store| store.open(&keys, on_network);
        let directory = Directory::open(store, patience, open).await?;
        let names = directory.store().clone();
        let seals = Seals::new(key, move |id| names.record_path(id).display().to_string());
        let mut seals = old_keys.iter().fold(seals, |seals, key| seals.with_old(key));
        if let Ok(Some((_, rules))) = directory.facts().await {
            seals = seals.with_rules(rules);
        }
        seals.set_unbound(unbound);
        if restored {
            seals.trust_restored();
        }
        Ok(FileVault { directory, ring: Arc::new(Ring::new(seals, place)) })
    }

    /// Opens the vault with the key from this place, which becomes its [key place](Self::key_place). Makes both if there is no
    /// vault.
    ///
    /// # Errors
    /// The same as those of [`FileVault::open_from`].
    pub async fn open_from(self, place: impl KeyService) -> Result<FileVault, VaultError> {
        // Look at the vault before the key: another process that makes both just now makes the key first.
        let is_there = FileVault::is_at(&self.directory);
        let keys = match place.load_keys().await? {
            Some(keys) => keys,
            None if is_there => {
                let vault = self.directory.display();
                return Err(VaultError::Key(format!(
                    "the key of the vault {vault} is missing where it is looked for; put it there again, from a \
                     backup say: a new one would open nothing of the vault"
                )));
            }
            None => Keys::new(place.load_or_create().await?),
        };
        self.key_place(place).open_with(&keys).await
    }

    /// Like [`open`](Self::open), with the previous key as an [old key](Self::old_key), if there is one.
    ///
    /// # Errors
    /// The same as those of [`FileVault::open`].
    pub async fn open_with(self, keys: &Keys) -> Result<FileVault, VaultError> {
        let mut keys = keys.clone();
        loop {
            let builder = keys.previous.iter().fold(self.clone(), Self::old_key);
            let opened = builder.open(&keys.current).await;
            let Some(place) = self.place.as_ref().filter(|_| matches!(opened, Err(VaultError::Key(_))))
            else {
                return opened;
            };
            // The key may have changed since these were read.
            match place.keys().await? {
                Some(now) if !now.is_same(&keys) => keys = now,
                _ => return opened,
            }
        }
    }
}

impl fmt::Debug for FileVaultBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileVaultBuilder").field("directory", &self.directory).finish_non_exhaustive()
    }
}
