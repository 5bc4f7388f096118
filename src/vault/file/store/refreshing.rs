//! Leases of refreshes, and the notes on them.

use std::path::{Path, PathBuf};

use super::Store;
use crate::credential::{CredentialId, Generation, PoolKey};
use crate::vault::disk::{self, lock::Granted};
use crate::vault::fair_lock::FairLockGuard;
use crate::vault::file::busy::{Busy, Stopped};
use crate::vault::file::claim::Claim;
use crate::vault::file::{begun, opening};
use crate::vault::seal::Sealed;
use crate::vault::{Begun, FailedRefresh, RefreshLease};

impl Store {
    /// Takes the credential's lease if no other process holds it, or takes over its lock that was waited for. `guard` keeps the
    /// other requests of this process out.
    pub(in crate::vault::file) fn lease(
        &self,
        pool: &PoolKey,
        id: CredentialId,
        guard: FairLockGuard<Claim>,
        granted: Option<Granted>,
    ) -> Result<RefreshLease, (Stopped, FairLockGuard<Claim>)> {
        match self.look_for(pool, id) {
            Ok(()) => lease(&self.lease_path(id), guard, granted),
            Err(error) => Err((error.into(), guard)),
        }
    }

    /// Takes the client's lease, as [`lease`](Self::lease) does.
    pub(in crate::vault::file) fn lease_client(
        &self,
        client: &str,
        guard: FairLockGuard<Claim>,
        granted: Option<Granted>,
    ) -> Result<RefreshLease, (Stopped, FairLockGuard<Claim>)> {
        lease(&self.client_path(client), guard, granted)
    }

    /// Notes that a refresh has begun. The refresh's lease keeps others from doing so.
    pub(super) fn begin_refresh(
        &self,
        pool: &PoolKey,
        id: CredentialId,
        expected: Generation,
    ) -> Result<Begun<Sealed>, Stopped> {
        let _vault = self.lock.take()?;
        let record = self.get_of(pool, id)?;
        if record.metadata.generation != expected {
            return Ok(Begun::new(record));
        }
        // Don't ask for a token that could not be stored.
        self.keys_to_seal()?.may_seal(record.secret.key_id())?;
        self.records.probe(id)?;
        let (unfinished, failed) = begun::note(&self.begun_path(id), expected)?;
        Ok(Begun { unfinished, failed, ..Begun::new(record) })
    }

    /// Notes that a refresh has failed. Its lease keeps others from doing so.
    pub(super) fn refresh_failed(
        &self,
        pool: &PoolKey,
        id: CredentialId,
        expected: Generation,
        failed: &FailedRefresh,
    ) -> Result<(), Stopped> {
        let _vault = self.lock.take()?;
        if self.get_of(pool, id)?.metadata.generation == expected {
            begun::failed(&self.begun_path(id), expected, failed)?;
        }
        Ok(())
    }

    pub(super) fn begun_path(&self, id: CredentialId) -> PathBuf {
        self.root.join(opening::LEASES).join(format!("{id}.begun"))
    }
}

/// Locks the file of a lease, unless it is; makes it if it is missing.
fn lease(
    path: &Path,
    guard: FairLockGuard<Claim>,
    granted: Option<Granted>,
) -> Result<RefreshLease, (Stopped, FairLockGuard<Claim>)> {
    if let Some(granted) = granted {
        return Ok(RefreshLease::new((granted, guard)));
    }
    match disk::lock::take(path) {
        // In this order: the file is unlocked before the next waiter of this process gets the guard.
        Ok(Some(file)) => Ok(RefreshLease::new((file, guard))),
        Ok(None) => Err((Busy::new(path).into(), guard)),
        Err(error) => Err((error.into(), guard)),
    }
}
