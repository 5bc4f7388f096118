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
    /// Opens the vault in `directory`; one that is missing is made. Temporary files that a killed process
    /// left are removed. Modes of ours that are too wide are narrowed, and a `tracing` warning says so;
    /// the mode of `directory` itself only if it holds nothing but the vault.
    ///
    /// A vault that can't be written to (its disk is full, it is mounted read-only, its directories are another's) can be
    /// read. What would change it fails with [`VaultError::Io`], and no refresh token of it is spent.
    ///
    /// # Errors
    /// [`VaultError::Key`] if the vault is sealed with another key; [`VaultError::NetworkFileSystem`];
    /// [`VaultError::Locked`] if another process holds the vault's lock for ten seconds;
    /// [`VaultError::Io`] if a directory or a file can't be made or read, or if the file system does not
    /// lock.
    pub async fn open(directory: impl Into<PathBuf>, key: &VaultKey) -> Result<Self, VaultError> {
        Self::builder(directory).open(key).await
    }

    /// Opens the vault in `directory` with the key that is in this place; where there is no vault, makes both.
    /// Another process may change the key later: the new one is then looked for in the same place, and the vault
    /// goes on with it. For a program that runs for long, and of which others don't know.
    ///
    /// # Errors
    /// As at [`open`](Self::open), whatever the place answers, and [`VaultError::Key`] if there is a vault and no
    /// key: a new one would open nothing of it.
    pub async fn open_from(
        directory: impl Into<PathBuf>,
        place: impl KeyService,
    ) -> Result<Self, VaultError> {
        Self::builder(directory).open_from(place).await
    }

    /// A vault with other settings than [`open`](Self::open)'s.
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

/// Settings of a [`FileVault`]; made by [`FileVault::builder`], ended by [`open`](Self::open).
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
    /// A key that sealed the vault before. Nothing is sealed with it any more, but it opens what it has
    /// sealed, until [`FileVault::reseal`] has gone through all records.
    #[must_use]
    pub fn old_key(mut self, key: &VaultKey) -> Self {
        self.old_keys.push(key.clone());
        self
    }

    /// How long a request waits for a lock that another one holds around its change: ten seconds unless
    /// set. Such a lock is mostly held for less than a millisecond.
    #[must_use]
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.patience.lock = timeout;
        self
    }

    /// How long [`LeaseRefresh`](VaultRequest::LeaseRefresh) waits for a lease that another one holds: two
    /// minutes unless set. A lease is held while a token endpoint is asked.
    #[must_use]
    pub fn lease_timeout(mut self, timeout: Duration) -> Self {
        self.patience.lease = timeout;
        self
    }

    /// Whether the vault may be on a network file system: not, unless set. On some, locks are granted to
    /// several machines at once, and a rename may be seen late: secrets may be lost.
    #[must_use]
    pub fn allow_network_file_system(mut self, allow: bool) -> Self {
        self.on_network = allow;
        self
    }

    /// Whether records are let in that the vault has had no such of any more: sealed with a key that it has given up, or
    /// in an older format than all of it. Not, unless set: a person may have restored them from a backup, but whoever has
    /// that key may have put them there as well. [`FileVault::reseal`] makes them the vault's own.
    #[must_use]
    pub fn restored(mut self, restored: bool) -> Self {
        self.restored = restored;
        self
    }

    /// What [`FileVault::reseal`] does with attributes of records of version 1, which nothing has bound: it leaves such a
    /// record as it is, unless set.
    #[must_use]
    pub fn unbound_attributes(mut self, unbound: UnboundAttributes) -> Self {
        self.unbound = unbound;
        self
    }

    /// Where the vault's key is kept. A key that is not given here and is needed later is looked for there: another
    /// process has made it the vault's. It is asked for when it is first needed; then after a second, and ever
    /// less often. If it is the vault's own, the request that needs it waits as
    /// long as for [a lock](Self::lock_timeout): who changes the key may put it there last.
    #[must_use]
    pub fn key_place(mut self, place: impl KeyService) -> Self {
        self.place = Some(Arc::new(Place::new(place)));
        self
    }

    /// Opens the vault, or makes it.
    ///
    /// # Errors
    /// As at [`FileVault::open`].
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

    /// Opens the vault with the key that is in this place, which is its [place](Self::key_place) from then on;
    /// where there is no vault, makes both.
    ///
    /// # Errors
    /// As at [`FileVault::open_from`].
    pub async fn open_from(self, place: impl KeyService) -> Result<FileVault, VaultError> {
        // Looked at before the key is: whoever makes both at this moment makes the key first.
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

    /// As [`open`](Self::open), with the key before as an [old one](Self::old_key), where there is one.
    ///
    /// # Errors
    /// As at [`FileVault::open`].
    pub async fn open_with(self, keys: &Keys) -> Result<FileVault, VaultError> {
        let mut keys = keys.clone();
        loop {
            let builder = keys.previous.iter().fold(self.clone(), Self::old_key);
            let opened = builder.open(&keys.current).await;
            let Some(place) = self.place.as_ref().filter(|_| matches!(opened, Err(VaultError::Key(_))))
            else {
                return opened;
            };
            // The key may have been changed since these were read.
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
