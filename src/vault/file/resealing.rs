//! Sealing a vault anew, many records at a time: a disk keeps many files that are written together far sooner than
//! one after another.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::directory::{Directory, finished};
use super::store::Store;
use super::store::resealing::ResealedSecret;
use super::vault::FileVault;
use crate::credential::CredentialId;
use crate::vault::seal::{Resealed, Seal, Seals};
use crate::vault::{Damage, RefreshLease, VaultError};

/// How many records are sealed anew at once, at the most. Each of them takes two open files, and others wait meanwhile
/// that change the vault.
const AT_ONCE: usize = 64;

/// What sealing a vault anew has come to.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Resealing {
    /// How many records there were when it began, or began once more for what was added meanwhile.
    pub total: usize,
    /// How many of them were looked at.
    pub done: usize,
    /// How many of those needed the old key, or were in an older format, and were sealed anew.
    pub sealed: usize,
    /// Which have attributes that no seal has bound, of which
    /// [nothing was said](super::FileVaultBuilder::unbound_attributes). They are left as they are.
    pub unconfirmed: Vec<CredentialId>,
    /// Records that can't be read or do not open. They are left as they are.
    pub damaged: Vec<Damage>,
    /// How many records still need another key, in the end; damaged and unconfirmed ones count.
    pub left: usize,
}

/// What is to be stored at once.
#[derive(Default)]
struct Prepared {
    sealed: Vec<ResealedSecret>,
    /// Their leases: nobody refreshes them before they are stored.
    _leases: Vec<RefreshLease>,
    /// Those that need no new seal.
    present: Vec<CredentialId>,
    /// How many records were looked at.
    reached: usize,
}

impl FileVault {
    /// Seals every record that needs an [old key](super::FileVaultBuilder::old_key), or is in an older format, anew with
    /// the vault's key; `progress` is called after each. What others add meanwhile under the old key is taken up, too.
    /// Records that are done are passed over, so that a
    /// call that was cut off at any point is simply made again. Other processes may use the vault
    /// meanwhile, with either key; whoever has only the old one can't read what is done.
    ///
    /// A record is sealed anew while nobody refreshes it. The old key can be thrown away when
    /// [`Resealing::left`] is 0; until then it opens what is left.
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
    /// When the vault cannot be read or written, or a lease is held for too long; what is done is done. A
    /// record that does not open is no error: [`Resealing::damaged`] names it.
    pub async fn reseal(&self, mut progress: impl FnMut(&Resealing)) -> Result<Resealing, VaultError> {
        self.ring.identify(&self.directory).await?;
        let seals = self.ring.seals();
        let key = seals.key_id();
        let mut resealing = Resealing::default();
        loop {
            let before = resealing.sealed;
            self.reseal_once(&seals, &mut resealing, &mut progress).await?;
            resealing.left = self.directory.work(move |store| store.forget_previous_keys(key)).await?;
            // Until then others go on with the old key, and what they have added meanwhile is taken up.
            let stays = resealing.damaged.len() + resealing.unconfirmed.len();
            if resealing.left <= stays || resealing.sealed == before {
                return Ok(resealing);
            }
        }
    }

    /// Goes through all records that there are now.
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
            let prepared = self.reseal_at_once(seals, &rest[..rest.len().min(AT_ONCE)]).await?;
            let (reached, then) = rest.split_at(prepared.reached);
            for id in reached {
                let resealed = match () {
                    () if prepared.stored.contains(id) => Ok(Resealed::Done),
                    () if prepared.present.contains(id) => Ok(Resealed::Already),
                    // Somebody has its lease, which is waited for, or there is something to be said of it.
                    () => Seal::with_seals(self.directory.clone(), seals.clone()).reseal(*id).await,
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

    /// Seals those of these records anew of which nothing else is to be said, up to the first that somebody refreshes just
    /// now.
    async fn reseal_at_once(
        &self,
        seals: &Arc<Seals>,
        ids: &[CredentialId],
    ) -> Result<AtOnce, VaultError> {
        let (directory, seals, ids) = (self.directory.clone(), seals.clone(), ids.to_vec());
        let prepared = spawn_blocking(move || Prepared::of(&directory, &seals, &ids)).await;
        // The leases outlast the work, even if no one waits for that.
        let prepared = Arc::new(finished(prepared, self.directory())?);
        let mut at_once =
            AtOnce { reached: prepared.reached, present: prepared.present.clone(), stored: Vec::new() };
        if !prepared.sealed.is_empty() {
            at_once.stored = match self.directory.work(move |store| store.reseal(&prepared.sealed)).await
            {
                // The vault is another key's by now, which is said of each record.
                Err(VaultError::Key(_)) => Vec::new(),
                stored => stored?,
            };
        }
        Ok(at_once)
    }
}

/// What was done at once.
struct AtOnce {
    /// How many records were looked at.
    reached: usize,
    present: Vec<CredentialId>,
    stored: Vec<CredentialId>,
}

impl Prepared {
    fn of(directory: &Directory, seals: &Seals, ids: &[CredentialId]) -> Self {
        let store = directory.store();
        let mut prepared = Self::default();
        for id in ids.iter().copied() {
            prepared.reached += 1;
            match store.get(id) {
                Ok(stored) if seals.is_current(&stored.secret) => prepared.present.push(id),
                Ok(_) => match directory.free_lease(id) {
                    Some(lease) => prepared.seal(store, seals, id, lease),
                    // It is waited for before those after it are looked at, and by who holds no other.
                    None => break,
                },
                // It is read once more by whoever names it.
                Err(_) => {}
            }
        }
        prepared
    }

    fn seal(&mut self, store: &Store, seals: &Seals, id: CredentialId, lease: RefreshLease) {
        // Whoever had the lease may have stored another secret.
        let Ok(stored) = store.get(id) else { return };
        if seals.is_current(&stored.secret) {
            self.present.push(id);
            return;
        }
        let expected = stored.metadata.generation;
        if let Some(secret) = seals.reseal(stored) {
            self.sealed.push(ResealedSecret { id, expected, secret });
            self._leases.push(lease);
        }
    }
}
