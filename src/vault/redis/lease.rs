//! Leases: one holder at a time over all hosts, for as long as it is heard of.
//!
//! A lease is a key with its holder's token, which lapses by itself. Its holder renews it; so a holder that dies or is cut
//! off keeps others waiting for one lifetime only. Those who wait in this process stand in a line first, and only the first
//! of them asks the engine.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::pool::Pool;
use super::script::{CLAIM, CLAIM_REFRESH, RELEASE, RELEASE_REFRESH, RENEW};
use super::{Inner, keys, random};
use crate::credential::CredentialId;
use crate::vault::fair_lock::{FairLockFuture, FairLockGuard};
use crate::vault::{RefreshLease, VaultError};

/// How long to wait until a lease is asked for again: at first, and at most. A change of the pool ends the wait early.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// Renewals per lifetime of a lease.
const RENEWALS: u32 = 3;

/// The same after one that has failed, until one succeeds.
const RENEWALS_IF_ONE_FAILS: u32 = 30;

/// The subject of a lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Leased {
    Refresh(CredentialId),
    Client(Arc<str>),
}

/// What is leased, and its pool if it is a refresh.
#[derive(Clone)]
enum Subject {
    Refresh(Arc<Pool>, CredentialId),
    Client(Arc<str>),
}

impl Inner {
    /// Waits for the lease of a refresh.
    pub(super) async fn lease_refresh(
        self: Arc<Self>,
        pool: Arc<Pool>,
        id: CredentialId,
        turn: FairLockFuture<Leased>,
    ) -> Result<RefreshLease, VaultError> {
        self.lease(Subject::Refresh(pool, id), turn.await).await
    }

    /// Waits for the lease of a client.
    pub(super) async fn lease_client(
        self: Arc<Self>,
        client: Arc<str>,
        turn: FairLockFuture<Leased>,
    ) -> Result<RefreshLease, VaultError> {
        self.lease(Subject::Client(client), turn.await).await
    }

    async fn lease(
        self: Arc<Self>,
        subject: Subject,
        turn: FairLockGuard<Leased>,
    ) -> Result<RefreshLease, VaultError> {
        // From now on: whoever stops waiting gives back what the engine may have given.
        let mut held =
            Held { inner: self, subject, owner: random::token(), turn: Some(turn), renewing: None };
        let mut pause = ASK_AGAIN.0;
        loop {
            let (said, left) = held.claim().await?;
            match (said.as_str(), &held.subject) {
                ("yours", _) => break,
                ("gone", Subject::Refresh(_, id)) => return Err(VaultError::NotFound(*id)),
                _ => held.wait(left.min(pause)).await,
            }
            pause = (pause * 2).min(ASK_AGAIN.1);
        }
        held.keep();
        Ok(RefreshLease::new(held))
    }
}

/// A lease, or the claim to one. Dropping it releases it, in a task.
struct Held {
    inner: Arc<Inner>,
    subject: Subject,
    owner: String,
    turn: Option<FairLockGuard<Leased>>,
    renewing: Option<AbortHandle>,
}

impl Held {
    /// Asks for the lease. Returns what the engine says, and after how long to ask again at the latest.
    async fn claim(&self) -> Result<(String, Duration), VaultError> {
        let Inner { settings, engine, .. } = &*self.inner;
        let lifetime = settings.lease.as_millis() as u64;
        let call = match &self.subject {
            Subject::Refresh(pool, id) => CLAIM_REFRESH
                .on(pool.keys.with_lease(*id))
                .arg(id.to_string())
                .arg(&self.owner)
                .arg(lifetime)
                .arg(settings.grace.as_millis() as u64)
                .arg(settings.covered().as_millis() as u64)
                .arg(&*engine.run_id(pool.keys.slot()).await?),
            Subject::Client(_) => CLAIM.on([self.key()]).arg(&self.owner).arg(lifetime),
        };
        let (said, left): (String, u64) = engine.run(&self.slot(), &call).await?;
        Ok((said, Duration::from_millis(left)))
    }

    /// Waits this long, or until the pool has changed: a new secret may be what was waited for.
    async fn wait(&self, most: Duration) {
        match &self.subject {
            Subject::Refresh(pool, _) if pool.changed.receiver_count() > 0 => {
                let mut changed = pool.changed.subscribe();
                sleep(most.min(ASK_AGAIN.0)).await;
                let _ = timeout(most.saturating_sub(ASK_AGAIN.0), changed.changed()).await;
            }
            _ => sleep(most / 2 + random::jitter(most / 2)).await,
        }
    }

    /// Renews the lease until it is dropped.
    fn keep(&mut self) {
        let (inner, key, owner) = (self.inner.clone(), self.key(), self.owner.clone());
        inner.held().insert(key.clone(), owner.clone());
        let (slot, lifetime) = (self.slot(), inner.settings.lease);
        let renewing = tokio::spawn(async move {
            let mut pause = lifetime / RENEWALS;
            loop {
                sleep(pause).await;
                let call = RENEW.on([key.clone()]).arg(&owner).arg(lifetime.as_millis() as u64);
                pause = match inner.engine.run::<u8>(&slot, &call).await {
                    // It is lost, and stays so: another one may have had it since.
                    Ok(0) => return,
                    Ok(_) => lifetime / RENEWALS,
                    Err(_) => lifetime / RENEWALS_IF_ONE_FAILS,
                };
            }
        });
        self.renewing = Some(renewing.abort_handle());
    }

    fn key(&self) -> String {
        match &self.subject {
            Subject::Refresh(pool, id) => pool.keys.lease(*id),
            Subject::Client(client) => keys::client_lease(&self.inner.prefix, client),
        }
    }

    fn slot(&self) -> String {
        match &self.subject {
            Subject::Refresh(pool, _) => pool.keys.slot().to_owned(),
            Subject::Client(_) => self.key(),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.renewing.iter().for_each(AbortHandle::abort);
        let key = self.key();
        {
            let mut held = self.inner.held();
            if held.get(&key) == Some(&self.owner) {
                held.remove(&key);
            }
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let call = match &self.subject {
            Subject::Refresh(pool, id) => {
                RELEASE_REFRESH.on(pool.keys.with_lease(*id)).arg(id.to_string()).arg(&self.owner)
            }
            Subject::Client(_) => RELEASE.on([key]).arg(&self.owner),
        };
        let (inner, slot, turn) = (self.inner.clone(), self.slot(), self.turn.take());
        runtime.spawn(async move {
            // If this fails, the lease lapses.
            let _ = inner.engine.run::<u8>(&slot, &call).await;
            drop(turn);
        });
    }
}
