//! The task that renews one credential's secret.

mod keep;

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::ahead::SHORTEST_LIFE;
use super::put_back::PutBack;
use super::trouble::Trouble;
use super::{HoldOff, RefreshError, RefreshStage, Refreshed, Refresher, Running};
use crate::credential::{Credential, Generation, Metadata, Record, Secret};
use crate::events::{Event, Tally};
use crate::patience::within;
use crate::pool::{Lease, Pool};
use crate::standing::{Change, Health};
use crate::vault::{Begun, RefreshLease, Replaced, VaultError, VaultExt, replace_as_it_came};

/// How often a new secret is tried to be saved before those who wait are told that it did not work;
/// after that it is tried on, alone.
const TRIES: u32 = 3;

/// How long after a failed save the next try is made: at first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// Begins the exchange, in a task of its own: whoever asked for it may go away.
pub(super) fn start(pool: Pool, lease: Lease, refresher: Refresher, saves: bool) {
    let exchange = Exchange { pool, lease, told: Refreshed::Unavailable, saves };
    tokio::spawn(exchange.run(refresher));
}

/// The one task that renews a credential's secret. However it ends, those who wait are told.
struct Exchange {
    pool: Pool,
    lease: Lease,
    /// What those who wait are told at its end.
    told: Refreshed,
    saves: bool,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let before =
            self.pool.with_state(|state, _| std::mem::take(&mut state.slots[self.lease.slot()].refresh));
        self.pool.0.renewals.send_replace(());
        if let RefreshStage::Running(running) = before {
            running.tell(&self.told);
        }
    }
}

impl Running {
    fn tell(self, told: &Refreshed) {
        for waiter in self.waiters {
            let _ = waiter.send(told.clone());
        }
    }
}

impl Exchange {
    async fn run(mut self, refresher: Refresher) {
        match self.take_turn(&refresher).await {
            // Somebody has put an empty one there meanwhile.
            Ok(lease) if lease.lacks_token() => self.told = Refreshed::NoHelp,
            Ok(lease) => self.told = Refreshed::New(lease),
            Err(trouble) => {
                self.told = trouble.told();
                let credential = self.credential();
                self.pool.emit(&Event::RefreshFailed { credential, error: &trouble.to_string() });
            }
        }
    }

    /// Waits for the leases, and exchanges then. To wait is nobody's failure, and has a bound of its own.
    async fn take_turn(&mut self, refresher: &Refresher) -> Result<Lease, Trouble> {
        let turn = self.or_hold_off(self.turn(refresher));
        let _leases = self.patiently(Refreshed::Unavailable, turn).await?;
        let lease = self.exchange_patiently(refresher).await?;
        if !self.has_outlived(&lease) {
            return Ok(lease);
        }
        self.lease = lease;
        self.exchange_patiently(refresher).await
    }

    async fn exchange_patiently(&self, refresher: &Refresher) -> Result<Lease, Trouble> {
        // Others wait for the leases, too: who waits from now on waits for the vendor.
        self.running(|running| running.late = None);
        let exchange = self.or_hold_off(self.exchange(refresher));
        self.patiently(Refreshed::NoHelp, exchange).await
    }

    /// Whether the new token's life was over before it was stored: this process was stopped, or asleep with its
    /// computer, or could not save it for long. Nobody is told of that token: it is renewed once more. A server whose
    /// tokens are dead when they come is asked once, since the next one would be no better.
    fn has_outlived(&self, lease: &Lease) -> bool {
        let (now, presented_at) = (self.pool.now(), self.running(|running| running.presented_at));
        let is_late = presented_at.flatten().is_some_and(|at| now.since(at) > SHORTEST_LIFE);
        is_late && !self.pool.is_closing() && lease.expires_at().is_some_and(|expiry| expiry <= now)
    }

    /// Where this fails, leaves the token endpoint alone for a while. Others are told before it is their turn.
    async fn or_hold_off<T>(
        &self,
        work: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        let done = work.await;
        if let Err(trouble) = &done {
            self.hold_off(trouble).await;
        }
        done
    }

    /// Leaves the token endpoint alone for a while, here and in other processes.
    async fn hold_off(&self, trouble: &Trouble) {
        let Some(hold_off) = trouble.hold_off() else { return };
        let (slot, reason) = (self.lease.slot(), trouble.to_string());
        let failed = self.pool.with_state(|state, _| state.refresh_failed(slot, hold_off, reason));
        if let HoldOff::Vendor { .. } = hold_off {
            // Void after an answer that could not be read, which is kept as a generation of its own: another process tries
            // the old refresh token once more.
            let Metadata { id, generation, .. } = *self.credential();
            // If it can't be told, others find out by themselves.
            let _ = self.pool.vault().refresh_failed(id, generation, failed).await;
        }
    }

    /// Goes on with this for as long as it takes: to cut an exchange off may lose the new token. Those who wait
    /// for it are told after a while.
    async fn patiently<T>(&self, told: Refreshed, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        if let Some(patience) = self.pool.0.config.renewal_patience {
            if let Ok(done) = within(patience, &mut work).await {
                return done;
            }
            self.late(told);
        }
        work.await
    }

    /// Those who wait are told this, and so are those who come until this is over.
    fn late(&self, told: Refreshed) {
        let waiters = self.running(|running| {
            running.late = Some(told.clone());
            let waiters = std::mem::take(&mut running.waiters);
            Running { waiters, ..Running::default() }
        });
        if let Some(waiters) = waiters {
            waiters.tell(&told);
        }
    }

    fn running<T>(&self, change: impl FnOnce(&mut Running) -> T) -> Option<T> {
        self.pool.with_state(|state, _| match &mut state.slots[self.lease.slot()].refresh {
            RefreshStage::Running(running) => Some(change(running)),
            RefreshStage::Idle => None,
        })
    }

    /// Takes the leases, unless the pool is closed before it is this one's turn.
    async fn turn(&self, refresher: &Refresher) -> Result<[Option<RefreshLease>; 2], Trouble> {
        let (vault, id) = (self.pool.vault(), self.credential().id);
        let turns = refresher.turns(self.pool.key());
        let leases = async move {
            // In this order everywhere, so that no two wait for each other.
            let client = match turns {
                Some(client) => Some(vault.lease_client(client).await?),
                None => None,
            };
            Ok([client, Some(vault.lease_refresh(id).await?)])
        };
        let (mut leases, mut closing) = (pin!(leases), pin!(self.pool.closing()));
        std::future::poll_fn(|cx| match closing.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(Trouble::Closing)),
            Poll::Pending => leases.as_mut().poll(cx).map_err(Trouble::Vault),
        })
        .await
    }

    /// The vendor's verdict is in the vault before another process has its turn: a spent token that is
    /// presented again and again looks like a thief's.
    async fn reject(&self, reason: String) -> Trouble {
        let credential = self.credential();
        self.pool.emit(&Event::NeedsSignIn { credential, reason: &reason });
        let generation = credential.generation;
        self.change(Change::Health(Health::NeedsSignIn { reason: reason.clone(), generation }));
        if self.saves
            && let Some(saving) = self.pool.start_saving()
        {
            saving.await;
        }
        Trouble::Vendor(RefreshError::Rejected { reason })
    }

    /// Another process's verdict on this very secret.
    fn known_verdict(&self) -> Option<Trouble> {
        let known = self.pool.with_state(|state, _| {
            let slot = &state.slots[self.lease.slot()];
            slot.is_of(&self.lease).then(|| slot.standing.health.clone())
        });
        match known {
            Some(Health::NeedsSignIn { reason, .. }) => {
                Some(Trouble::Vendor(RefreshError::Rejected { reason }))
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

    async fn exchange(&self, refresher: &Refresher) -> Result<Lease, Trouble> {
        let id = self.credential().id;
        let vault = self.pool.vault();
        // What others have come to while this one waited.
        self.pool.sync().await?;
        if let Some(verdict) = self.known_verdict() {
            return Err(verdict);
        }
        let known = self.credential().generation;
        let Begun { record: stored, unfinished, failed } = match self.begin(known).await? {
            begun if begun.record.metadata.generation > known => {
                let lease = self.adopt(&begun.record)?;
                if !lease.lacks_token() {
                    return Ok(lease);
                }
                self.begin(begun.record.metadata.generation).await?
            }
            // An older vault was put in place of the one that was read.
            begun if begun.record.metadata.generation < known => {
                match self.pool.put_back(self.lease.slot(), begun.record).await? {
                    PutBack::Theirs(newer) => return self.take_over(&newer, true),
                    PutBack::Ours(stored) => self.begin(stored.metadata.generation).await?,
                }
            }
            begun => begun,
        };
        if let Some(failed) = failed {
            let slot = self.lease.slot();
            self.pool.with_state(|state, _| state.slots[slot].renewal.have_failed(failed.in_a_row));
            if !failed.wait.is_zero() {
                return Err(Trouble::HeldOff(failed));
            }
        }
        let now = self.pool.now();
        self.running(|running| running.presented_at = Some(now));
        let exchanged = refresher.exchange(stored.clone()).await;
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
                Err(Trouble::Vendor(self.keep(stored, received, error).await))
            }
            Err(RefreshError::Rejected { reason }) => {
                // Whoever has rotated the token meanwhile has made the verdict void.
                match vault.get(id).await {
                    Ok(now) if now.metadata.generation > stored.metadata.generation => self.adopt(&now),
                    _ if unfinished.is_some() && stored.secret.refresh_token().is_some() => {
                        const CUT_OFF: &str =
                            "an earlier renewal was cut off before its new token was saved";
                        Err(self.reject(format!("{reason}; {CUT_OFF}")).await)
                    }
                    _ if stored.secret.has_unread_response() => {
                        const UNREAD: &str =
                            "an earlier answer could not be read, and is kept with the account";
                        Err(self.reject(format!("{reason}; {UNREAD}")).await)
                    }
                    _ => Err(self.reject(reason).await),
                }
            }
            Err(error) => Err(Trouble::Vendor(error)),
        }
    }

    /// The refresher has given no token that can be used. A refresh token that came in its place is saved all the same:
    /// the old one may be spent.
    async fn store_without_token(
        &self,
        old: Credential,
        secret: Secret,
        why: &'static str,
    ) -> Result<Lease, Trouble> {
        if secret.refresh_token().is_some() {
            self.store(old, secret).await?;
        }
        Err(Trouble::Vendor(RefreshError::Failed(why.into())))
    }

    /// Notes that the exchange begins. No note is made that no exchange follows.
    async fn begin(&self, expected: Generation) -> Result<Begun, Trouble> {
        if self.pool.is_closing() {
            return Err(Trouble::Closing);
        }
        Ok(self.pool.vault().begin_refresh(self.credential().id, expected).await?)
    }

    /// Saves the new secret; only then is it used. The old refresh token is spent, so this is tried
    /// until it works, unless it never will: others wait for their turns.
    async fn store(&self, old: Credential, secret: Secret) -> Result<Lease, Trouble> {
        let Metadata { id, generation, .. } = old.metadata;
        let mut backoff = BACKOFF.0;
        let mut tries = 0;
        loop {
            match replace_as_it_came(self.pool.vault(), id, generation, secret.clone()).await {
                Ok(Replaced::Swapped(generation)) => {
                    let in_older_vault = old.metadata.generation < self.credential().generation;
                    let metadata = Metadata { generation, updated_at: self.pool.now(), ..old.metadata };
                    Tally::add(&self.pool.tally().refreshes);
                    let lease = self.take_over(&Record { metadata, secret }, in_older_vault)?;
                    self.pool.emit(&Event::Refreshed { credential: lease.credential() });
                    return Ok(lease);
                }
                Ok(Replaced::Conflict(theirs)) => return self.adopt(&theirs),
                Err(
                    error @ (VaultError::NotFound(_)
                    | VaultError::WrongKind { .. }
                    | VaultError::TooLong { .. }),
                ) => return Err(Trouble::Vendor(RefreshError::Failed(error.into()))),
                Err(error) => {
                    let credential = self.credential();
                    self.pool.emit(&Event::SecretNotSaved { credential, error: &error.to_string() });
                    tries += 1;
                    if tries == TRIES && self.pool.0.config.renewal_patience.is_some() {
                        self.late(Refreshed::Unavailable);
                    }
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF.1);
                }
            }
        }
    }

    fn adopt(&self, credential: &Credential) -> Result<Lease, Trouble> {
        self.take_over(credential, false)
    }

    fn take_over(&self, credential: &Credential, in_older_vault: bool) -> Result<Lease, Trouble> {
        let now = self.pool.now();
        let provider = self.pool.provider();
        self.pool
            .with_state(|state, config| state.adopt(credential, in_older_vault, provider, config, now))
            .map_err(|error| Trouble::Vendor(RefreshError::Failed(error.into())))
    }
}
