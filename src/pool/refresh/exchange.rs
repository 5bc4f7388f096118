//! The task that renews one credential's secret.

mod keep;

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::failure::Failure;
use super::presenting::{Asked, Presenting};
use super::put_back::PutBack;
use super::renewal::{HoldOff, SHORTEST_LIFE};
use super::stage::{RefreshStage, Refreshed, Running};
use super::{RefreshError, Refresher};
use crate::counters::RefreshOutcome;
use crate::credential::{Credential, CredentialId, Generation, Metadata, Record, Secret};
use crate::events::{EventKind, Numbers};
use crate::patience::within;
use crate::pool::{Lease, Pool};
use crate::standing::{Change, Health};
use crate::vault::{
    Begun, FailedRefresh, RefreshLease, Replaced, VaultError, VaultExt, replace_as_it_came,
};

/// How many times the task tries to save a new secret before the waiting requests continue without it. It keeps trying
/// after that.
const TRIES: u32 = 3;

/// How long to wait after a failed save: at first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// Starts the exchange in a task of its own, since the request that asked for it may be dropped.
pub(super) fn start(pool: Pool, lease: Lease, refresher: Refresher, saves: bool) {
    let exchange = Exchange { pool, lease, result: Refreshed::Unavailable, saves };
    tokio::spawn(exchange.run(refresher));
}

/// The only task that renews a credential's secret. However it ends, the waiting requests get a result.
struct Exchange {
    pool: Pool,
    lease: Lease,
    /// The result for the waiting requests.
    result: Refreshed,
    saves: bool,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let before =
            self.pool.with_state(|state, _| std::mem::take(&mut state.slots[self.lease.slot()].refresh));
        self.pool.0.renewals.send_replace(());
        if let RefreshStage::Running(running) = before {
            running.finish(&self.result);
        }
    }
}

impl Exchange {
    async fn run(mut self, refresher: Refresher) {
        match self.exchange_leased(&refresher).await {
            // Somebody has stored an empty token meanwhile.
            Ok(lease) if lease.lacks_token() => self.result = Refreshed::NoHelp,
            Ok(lease) => self.result = Refreshed::New(lease),
            Err(failure) => {
                self.result = failure.result();
                failure.outcome().into_iter().for_each(|outcome| self.lease.stats().refresh(outcome));
                let (account, error) = (self.credential().into(), failure.to_string().into());
                self.pool.emit(Numbers::NONE, EventKind::RefreshFailed { account, error });
            }
        }
    }

    /// Waits for the leases, then exchanges. The wait has a bound of its own, and is not a failure of the vendor's.
    async fn exchange_leased(&mut self, refresher: &Refresher) -> Result<Lease, Failure> {
        let leases = self.or_hold_off(self.lease(refresher));
        let _leases = self.patiently(Refreshed::Unavailable, leases).await?;
        let lease = self.exchange_patiently(refresher).await?;
        if !self.has_outlived(&lease) {
            return Ok(lease);
        }
        self.lease = lease;
        self.exchange_patiently(refresher).await
    }

    async fn exchange_patiently(&self, refresher: &Refresher) -> Result<Lease, Failure> {
        // From now on requests wait for the vendor, not for other holders of the leases.
        self.running(|running| running.overdue = None);
        let exchange = self.or_hold_off(self.exchange(refresher));
        self.patiently(Refreshed::NoHelp, exchange).await
    }

    /// Returns whether the new token expired before it was stored: this process was stopped, its computer was
    /// suspended, or the vault failed for long. No request gets that token; it is renewed once more. A server whose
    /// tokens are dead when they come is asked once only, since the next token would be no better.
    fn has_outlived(&self, lease: &Lease) -> bool {
        let (now, presented_at) = (self.pool.now(), self.running(|running| running.presented_at));
        let is_late = presented_at.flatten().is_some_and(|at| now.since(at) > SHORTEST_LIFE);
        is_late && !self.pool.is_closing() && lease.expires_at().is_some_and(|expiry| expiry <= now)
    }

    /// Does this. If it fails, no refresh starts for a while; others know that before they get the leases.
    async fn or_hold_off<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let result = work.await;
        if let Err(failure) = &result {
            self.hold_off(failure).await;
        }
        result
    }

    /// Starts no refresh for a while, here and in other processes.
    async fn hold_off(&self, failure: &Failure) {
        let Some(hold_off) = failure.hold_off() else { return };
        let (slot, reason) = (self.lease.slot(), failure.to_string());
        let failed = self.pool.with_state(|state, _| state.refresh_failed(slot, hold_off, reason));
        if let HoldOff::Vendor { .. } = hold_off {
            // Without effect after a response that could not be read, which is stored as a new generation: another
            // process tries the old refresh token once more.
            let Metadata { id, generation, .. } = *self.credential();
            // If this fails, other processes find out by asking the vendor.
            let _ = self.pool.vault().refresh_failed(self.pool.key(), id, generation, failed).await;
        }
    }

    /// Does this for as long as it takes, since an aborted exchange may lose the new token. After a while the waiting
    /// requests continue with this result.
    async fn patiently<T>(&self, result: Refreshed, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        if let Some(patience) = self.pool.0.config.renewal_patience {
            if let Ok(done) = within(patience, &mut work).await {
                return done;
            }
            self.stop_waiting(result);
        }
        work.await
    }

    /// Gives this result to the waiting requests, and to those that come until the refresh ends.
    fn stop_waiting(&self, result: Refreshed) {
        let waiters = self.running(|running| {
            running.overdue = Some(result.clone());
            let waiters = std::mem::take(&mut running.waiters);
            Running { waiters, ..Running::default() }
        });
        if let Some(waiters) = waiters {
            waiters.finish(&result);
        }
    }

    fn running<T>(&self, change: impl FnOnce(&mut Running) -> T) -> Option<T> {
        self.pool.with_state(|state, _| match &mut state.slots[self.lease.slot()].refresh {
            RefreshStage::Running(running) => Some(change(running)),
            RefreshStage::Idle => None,
        })
    }

    /// Takes the leases, unless the pool is closed meanwhile.
    async fn lease(&self, refresher: &Refresher) -> Result<[Option<RefreshLease>; 2], Failure> {
        let (vault, pool, id) = (self.pool.vault(), self.pool.key(), self.credential().id);
        let lock = refresher.lock_name(pool);
        let leases = async move {
            // Always in this order, so that no two wait for each other.
            let client = match lock {
                Some(name) => Some(vault.lease_client(name).await?),
                None => None,
            };
            Ok([client, Some(vault.lease_refresh(pool, id).await?)])
        };
        let (mut leases, mut closing) = (pin!(leases), pin!(self.pool.closing()));
        std::future::poll_fn(|cx| match closing.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(Failure::Closing)),
            Poll::Pending => leases.as_mut().poll(cx).map_err(Failure::Vault),
        })
        .await
    }

    /// Records the vendor's verdict, in the vault before another process gets the leases: a spent token that is sent
    /// again and again looks like a thief's.
    async fn reject(&self, reason: String) -> Failure {
        let credential = self.credential();
        self.pool.emit(
            Numbers::NONE,
            EventKind::NeedsSignIn { account: credential.into(), reason: reason.as_str().into() },
        );
        let generation = credential.generation;
        self.change(Change::Health(Health::NeedsSignIn {
            reason: reason.clone(),
            generation,
            cause: None,
        }));
        if self.saves
            && let Some(saving) = self.pool.start_saving()
        {
            saving.await;
        }
        Failure::Vendor(RefreshError::Rejected { reason })
    }

    /// Returns the verdict on this very secret, if another process has got one.
    fn known_verdict(&self) -> Option<Failure> {
        let known = self.pool.with_state(|state, _| {
            let slot = &state.slots[self.lease.slot()];
            slot.is_of(&self.lease).then(|| slot.standing.health.clone())
        });
        match known {
            Some(Health::NeedsSignIn { reason, .. }) => {
                Some(Failure::Vendor(RefreshError::Rejected { reason }))
            }
            _ => None,
        }
    }

    fn credential(&self) -> &Metadata {
        self.lease.credential()
    }

    fn change(&self, change: Change) {
        let now = self.pool.now();
        self.pool.with_state(|state, config| state.change(self.lease.slot(), change, config, now));
    }

    async fn exchange(&self, refresher: &Refresher) -> Result<Lease, Failure> {
        let id = self.credential().id;
        let vault = self.pool.vault();
        // Others may have renewed it while this task waited.
        self.pool.load_changes(false).await?;
        if let Some(verdict) = self.known_verdict() {
            return Err(verdict);
        }
        let known = self.credential().generation;
        let (begun, presenting) = match self.begin(known).await? {
            (begun, _) if begun.record.metadata.generation > known => {
                let lease = self.adopt(&begun.record)?;
                if !lease.lacks_token() {
                    return Ok(lease);
                }
                self.begin(begun.record.metadata.generation).await?
            }
            // An older vault has replaced the one that was loaded.
            (begun, _) if begun.record.metadata.generation < known => {
                match self.pool.put_back(self.lease.slot(), begun.record).await? {
                    PutBack::Theirs(newer) => return self.take_over_theirs(&newer, true),
                    PutBack::Ours(stored) => self.begin(stored.metadata.generation).await?,
                }
            }
            begun => begun,
        };
        let Begun { record: stored, unfinished, failed, .. } = begun;
        if let Some(failed) = failed.clone() {
            let slot = self.lease.slot();
            self.pool.with_state(|state, _| state.slots[slot].renewal.have_failed(failed.in_a_row));
            if !failed.wait.is_zero() {
                return Err(Failure::HeldOff(failed));
            }
        }
        if !presenting.may() {
            return Err(VaultError::LeaseLost(id).into());
        }
        let now = self.pool.now();
        self.running(|running| running.presented_at = Some(now));
        let exchanged = presenting.scope(refresher.exchange(stored.clone())).await;
        if exchanged.is_err() && presenting.was_refused() {
            return Err(VaultError::LeaseLost(id).into());
        }
        match exchanged.map_err(|error| error.redacted(&stored.secret)) {
            Ok(secret) if secret.is_blank() => {
                self.store_without_token(stored, secret, "the refresher has given an empty token").await
            }
            Ok(secret) if !secret.fits_a_header() => {
                const UNUSABLE: &str = "the refresher has given a token with a line break or another control character, which no header takes";
                self.store_without_token(stored, secret.without_token(), UNUSABLE).await
            }
            Ok(secret) => self.store(stored, secret).await,
            Err(RefreshError::Unread { received, error }) => {
                Err(Failure::Vendor(self.keep(stored, received, error).await))
            }
            Err(RefreshError::Rejected { reason }) => {
                // If somebody has renewed the token meanwhile, the verdict is void.
                match vault.get(self.pool.key(), id).await {
                    Ok(now) if now.metadata.generation > stored.metadata.generation => self.adopt(&now),
                    _ if unfinished.is_some() && stored.secret.refresh_token().is_some() => {
                        const CUT_OFF: &str =
                            "an earlier renewal was cut off before its new token was saved";
                        Err(self.reject(format!("{reason}; {CUT_OFF}")).await)
                    }
                    _ if stored.secret.has_unread_response() => {
                        const UNREAD: &str =
                            "an earlier response could not be read, and is kept with the account";
                        Err(self.reject(format!("{reason}; {UNREAD}")).await)
                    }
                    _ => match failed.filter(|failed| !failed.reason.is_empty()) {
                        // Its response may have been lost, and the new token with it.
                        Some(FailedRefresh { reason: before, .. }) => Err(self
                            .reject(format!("{reason}; the renewal before failed: {before}"))
                            .await),
                        None => Err(self.reject(reason).await),
                    },
                }
            }
            Err(error) => Err(Failure::Vendor(error)),
        }
    }

    /// Fails, since the refresher has given no token that can be used. If a refresh token came without it, that is
    /// saved all the same: the old one may be spent.
    async fn store_without_token(
        &self,
        old: Credential,
        secret: Secret,
        why: &'static str,
    ) -> Result<Lease, Failure> {
        if secret.refresh_token().is_some() {
            self.store(old, secret).await?;
        }
        Err(Failure::Vendor(RefreshError::Failed(why.into())))
    }

    /// Notes in the vault that the exchange begins, unless the pool is being closed and none will follow.
    async fn begin(&self, expected: Generation) -> Result<(Begun, Presenting), Failure> {
        if self.pool.is_closing() {
            return Err(Failure::Closing);
        }
        let asked = Asked::now();
        let vault = self.pool.vault();
        let begun = vault.begin_refresh(self.pool.key(), self.credential().id, expected).await?;
        let presenting = Presenting::within(begun.present_within, asked);
        Ok((begun, presenting))
    }

    async fn replace(
        &self,
        id: CredentialId,
        expected: Generation,
        secret: Secret,
    ) -> Result<Replaced, VaultError> {
        replace_as_it_came(self.pool.vault(), self.pool.key().clone(), id, expected, secret).await
    }

    /// Saves the new secret; only then is it used. The old refresh token is spent, so this retries until it succeeds,
    /// unless it never can: others wait for the leases.
    async fn store(&self, old: Credential, secret: Secret) -> Result<Lease, Failure> {
        let Metadata { id, generation, .. } = old.metadata;
        let mut backoff = BACKOFF.0;
        let mut tries = 0;
        loop {
            match self.replace(id, generation, secret.clone()).await {
                Ok(Replaced::Swapped(generation)) => {
                    let in_older_vault = old.metadata.generation < self.credential().generation;
                    let metadata = Metadata { generation, updated_at: self.pool.now(), ..old.metadata };
                    self.lease.stats().refresh(RefreshOutcome::Renewed);
                    let lease = self.take_over(&Record { metadata, secret }, in_older_vault)?;
                    self.pool.emit(
                        Numbers::NONE,
                        EventKind::Refreshed { account: lease.credential().into() },
                    );
                    return Ok(lease);
                }
                Ok(Replaced::Conflict(theirs)) => return self.adopt(&theirs),
                Err(
                    error @ (VaultError::NotFound(_)
                    | VaultError::WrongKind { .. }
                    | VaultError::TooLong { .. }),
                ) => return Err(Failure::Vendor(RefreshError::Failed(error.into()))),
                Err(error) => {
                    let (account, error) = (self.credential().into(), error.to_string().into());
                    self.pool.emit(Numbers::NONE, EventKind::SecretNotSaved { account, error });
                    tries += 1;
                    if tries == TRIES && self.pool.0.config.renewal_patience.is_some() {
                        self.stop_waiting(Refreshed::Unavailable);
                    }
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF.1);
                }
            }
        }
    }

    fn adopt(&self, credential: &Credential) -> Result<Lease, Failure> {
        self.take_over_theirs(credential, false)
    }

    /// Takes over what another process has stored.
    fn take_over_theirs(&self, theirs: &Credential, in_older_vault: bool) -> Result<Lease, Failure> {
        let lease = self.take_over(theirs, in_older_vault)?;
        if !lease.lacks_token() {
            lease.stats().refresh(RefreshOutcome::Adopted);
        }
        Ok(lease)
    }

    fn take_over(&self, credential: &Credential, in_older_vault: bool) -> Result<Lease, Failure> {
        let now = self.pool.now();
        let provider = self.pool.provider();
        self.pool
            .with_state(|state, config| state.adopt(credential, in_older_vault, provider, config, now))
            .map_err(|error| Failure::Vendor(RefreshError::Failed(error.into())))
    }
}
