//! Resealing a vault, many records at a time: a disk syncs many files that are written together much faster than one after
//! the other.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::directory::{Directory, finished};
use super::store::Store;
use super::store::resealing::ResealedSecret;
use super::vault::FileVault;
use crate::credential::{CredentialId, PoolKey, Record};
use crate::vault::seal::{Resealed, Seal, Seals};
use crate::vault::{Damage, RefreshLease, VaultError};

/// The maximum number of records to reseal at once. Each of them takes two open files, and other changes of the vault wait
/// meanwhile.
const AT_ONCE: usize = 64;

/// The progress or the result of resealing a vault.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Resealing {
    /// The number of records when it began, or when it began again because records were added.
    pub total: usize,
    /// The number of records that it has gone through.
    pub done: usize,
    /// The number of records that needed an old key or had an older format, and were resealed.
    pub sealed: usize,
    /// Records with attributes that no seal has bound, if it was not said
    /// [what to do with them](super::FileVaultBuilder::unbound_attributes). They are left as they are.
    pub unconfirmed: Vec<CredentialId>,
    /// Records that can't be read or do not open. They are left as they are.
    pub damaged: Vec<Damage>,
    /// The number of records that still need another key in the end; damaged and unconfirmed ones count.
    pub left: usize,
}

/// Records that are ready to be stored together.
#[derive(Default)]
struct Prepared {
    sealed: Vec<ResealedSecret>,
    /// The records' leases: nobody can refresh them before they are stored.
    _leases: Vec<RefreshLease>,
    /// Records that need no new seal.
    current: Vec<CredentialId>,
    /// The pools of the records that need a new seal, and why others can't be read.
    others: HashMap<CredentialId, Result<PoolKey, VaultError>>,
    /// The number of records that were processed.
    reached: usize,
}

impl FileVault {
    /// Reseals every record that needs an [old key](super::FileVaultBuilder::old_key) or has an older format with the vault's
    /// key. Calls `progress` after each record. Also reseals records that others add meanwhile with the old key. Skips records
    /// that are done, so a call that was cut off at any point can simply be made again. Other processes may use the vault
    /// meanwhile with either key; a process that has only the old one can't read the records that are done.
    ///
    /// A record is resealed while nobody refreshes it. The old key is no longer needed when [`Resealing::left`] is 0; until
    /// then it opens the rest.
    ///
    /// ```no_run
    /// use tower_credentials::vault::file::FileVault;
    /// use tower_credentials::vault::key::VaultKey;
    ///
    /// # async fn run(old: VaultKey, new: VaultKey) -> Result<(), tower_credentials::vault::VaultError> {
    /// let vault = FileVault::builder("/home/me/.config/example/vault").old_key(&old).open(&new).await?;
    /// let resealing = vault.reseal(|so_far| println!("{} of {}", so_far.done, so_far.total)).await?;
    /// assert_eq!(resealing.left, 0, "{:?}", resealing.damaged);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the vault cannot be read or written, or if a lease is held for too long; the records so far are done. A record that
    /// does not open is not an error: [`Resealing::damaged`] names it.
    pub async fn reseal(&self, mut progress: impl FnMut(&Resealing)) -> Result<Resealing, VaultError> {
        self.ring.identify(&self.directory).await?;
        let seals = self.ring.seals();
        let key = seals.key_id();
        let mut resealing = Resealing::default();
        loop {
            let before = resealing.sealed;
            self.reseal_once(&seals, &mut resealing, &mut progress).await?;
            resealing.left = self.directory.work(move |store| store.forget_previous_keys(key)).await?;
            // Until then others may add records with the old key, so go through all records again.
            let stays = resealing.damaged.len() + resealing.unconfirmed.len();
            if resealing.left <= stays || resealing.sealed == before {
                return Ok(resealing);
            }
        }
    }

    /// Goes through all current records once.
    async fn reseal_once(
        &self,
        seals: &Arc<Seals>,
        resealing: &mut Resealing,
        progress: &mut impl FnMut(&Resealing),
    ) -> Result<(), VaultError> {
        let ids = self.directory.work(|store| Ok(store.record_ids()?)).await?;
        (resealing.total, resealing.done) = (ids.len(), 0);
        resealing.damaged.clear();
        resealing.unconfirmed.clear();
        let mut rest = ids.as_slice();
        while !rest.is_empty() {
            let mut prepared = self.reseal_at_once(seals, &rest[..rest.len().min(AT_ONCE)]).await?;
            let (reached, then) = rest.split_at(prepared.reached);
            for id in reached {
                let resealed = if prepared.stored.contains(id) {
                    Ok(Resealed::Done)
                } else if prepared.current.contains(id) {
                    Ok(Resealed::Already)
                } else {
                    match prepared.others.remove(id) {
                        // Somebody holds its lease, so wait for it; or the record does not open or is unconfirmed.
                        Some(Ok(pool)) => {
                            Seal::with_seals(self.directory.clone(), seals.clone())
                                .reseal(&pool, *id)
                                .await
                        }
                        Some(Err(error)) => Err(error),
                        None => Err(VaultError::NotFound(*id)),
                    }
                };
                self.note(*id, resealed, resealing)?;
                progress(resealing);
            }
            rest = then;
        }
        Ok(())
    }

    fn note(
        &self,
        id: CredentialId,
        resealed: Result<Resealed, VaultError>,
        resealing: &mut Resealing,
    ) -> Result<(), VaultError> {
        match resealed {
            Ok(Resealed::Done) => resealing.sealed += 1,
            Ok(Resealed::Unconfirmed) => resealing.unconfirmed.push(id),
            Ok(Resealed::Already) | Err(VaultError::NotFound(_)) => {}
            Err(VaultError::Damaged(damage)) => resealing.damaged.push(damage),
            Err(VaultError::Key(reason)) => {
                let path = self.directory.store().record_path(id);
                resealing.damaged.push(Damage::new(path.display().to_string(), reason));
            }
            Err(error) => return Err(error),
        }
        resealing.done += 1;
        Ok(())
    }

    /// Reseals the records that need no decision, up to the first that somebody refreshes just now.
    async fn reseal_at_once(
        &self,
        seals: &Arc<Seals>,
        ids: &[CredentialId],
    ) -> Result<AtOnce, VaultError> {
        let (directory, seals, ids) = (self.directory.clone(), seals.clone(), ids.to_vec());
        let prepared = spawn_blocking(move || Prepared::of(&directory, &seals, &ids)).await;
        let mut prepared = finished(prepared, self.directory())?;
        let mut at_once = AtOnce {
            reached: prepared.reached,
            current: std::mem::take(&mut prepared.current),
            others: std::mem::take(&mut prepared.others),
            stored: Vec::new(),
        };
        // The leases must outlast the work, even if no one waits for it.
        let prepared = Arc::new(prepared);
        if !prepared.sealed.is_empty() {
            at_once.stored = match self.directory.work(move |store| store.reseal(&prepared.sealed)).await
            {
                // The vault has another key by now, which the caller reports for each record.
                Err(VaultError::Key(_)) => Vec::new(),
                stored => stored?,
            };
        }
        Ok(at_once)
    }
}

/// The records that were processed together.
struct AtOnce {
    /// The number of records that were processed.
    reached: usize,
    current: Vec<CredentialId>,
    others: HashMap<CredentialId, Result<PoolKey, VaultError>>,
    stored: Vec<CredentialId>,
}

impl Prepared {
    fn of(directory: &Directory, seals: &Seals, ids: &[CredentialId]) -> Self {
        let store = directory.store();
        let mut prepared = Self::default();
        for id in ids.iter().copied() {
            prepared.reached += 1;
            let Record { metadata, secret } = match store.get(id) {
                Ok(stored) => stored,
                Err(error) => {
                    prepared.others.insert(id, Err(error));
                    continue;
                }
            };
            if seals.is_current(&secret) {
                prepared.current.push(id);
                continue;
            }
            let lease = directory.free_lease(&metadata.pool, id);
            prepared.others.insert(id, Ok(metadata.pool));
            // The caller waits for this lease before it goes on, and while it holds no other.
            let Some(lease) = lease else { break };
            prepared.seal(store, seals, id, lease);
        }
        prepared
    }

    fn seal(&mut self, store: &Store, seals: &Seals, id: CredentialId, lease: RefreshLease) {
        // The previous holder of the lease may have stored another secret.
        let Ok(stored) = store.get(id) else { return };
        if seals.is_current(&stored.secret) {
            self.current.push(id);
            return;
        }
        let expected = stored.metadata.generation;
        if let Some(secret) = seals.reseal(stored) {
            self.sealed.push(ResealedSecret { id, expected, secret });
            self._leases.push(lease);
        }
    }
}
