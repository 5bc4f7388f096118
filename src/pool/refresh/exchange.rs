//! The task that renews one credential's secret.

mod keep;

use std::pin::pin;
use std::time::Duration;

use super::{RefreshError, RefreshStage, Refresher};
use crate::credential::{Credential, Metadata, Record, Secret};
use crate::events::{Event, Tally};
use crate::pool::{Lease, Pool};
use crate::standing::{Change, Health};
use crate::vault::{Begun, Replaced, VaultError, VaultExt};

/// How often a new secret is tried to be saved before those who wait are told that it did not work;
/// after that it is tried on, alone.
const TRIES: u32 = 3;

/// How long after a failed save the next try is made: at first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// How long requests wait for a refresh before they are told that it did not work. It goes on: to cut an
/// exchange off may lose the new token.
const PATIENCE: Duration = Duration::from_secs(30);

/// Begins the exchange, in a task of its own: whoever asked for it may go away.
pub(super) fn start(pool: Pool, lease: Lease, refresher: Refresher, saves: bool) {
    let exchange = Exchange { pool, lease, renewed: None, saves };
    tokio::spawn(exchange.run(refresher));
}

/// The one task that renews a credential's secret. However it ends, those who wait are told.
struct Exchange {
    pool: Pool,
    lease: Lease,
    renewed: Option<Lease>,
    saves: bool,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let renewed = self.renewed.take();
        self.end(RefreshStage::Idle, renewed);
    }
}

impl Exchange {
    async fn run(mut self, refresher: Refresher) {
        let result = {
            let mut exchange = pin!(self.exchange(&refresher));
            match tokio::time::timeout(PATIENCE, &mut exchange).await {
                Ok(result) => result,
                Err(_) => {
                    self.end(RefreshStage::Late, None);
                    exchange.await
                }
            }
        };
        match result {
            Ok(lease) => self.renewed = Some(lease),
            Err(error) => {
                let credential = self.credential();
                self.pool.emit(&Event::RefreshFailed { credential, error: &error.to_string() });
                if let RefreshError::Failed(_) = error {
                    let now = self.pool.now();
                    self.pool.with_book(|book, _| book.refresh_failed(self.lease.slot(), now));
                }
            }
        }
    }

    /// The vendor's verdict is in the vault before another process has its turn: a spent token that is
    /// presented again and again looks like a thief's.
    async fn reject(&self, reason: String) -> RefreshError {
        let credential = self.credential();
        self.pool.emit(&Event::NeedsSignIn { credential, reason: &reason });
        let generation = credential.generation;
        self.change(Change::Health(Health::NeedsSignIn { reason: reason.clone(), generation }));
        if self.saves
            && let Some(saving) = self.pool.start_saving()
        {
            saving.await;
        }
        RefreshError::Rejected { reason }
    }

    /// Another process's verdict on this very secret.
    fn known_verdict(&self) -> Option<RefreshError> {
        let known = self.pool.with_book(|book, _| {
            let slot = &book.slots[self.lease.slot()];
            slot.is_of(&self.lease).then(|| slot.standing.health.clone())
        });
        match known {
            Some(Health::NeedsSignIn { reason, .. }) => Some(RefreshError::Rejected { reason }),
            _ => None,
        }
    }

    fn credential(&self) -> &Metadata {
        self.lease.credential()
    }

    fn change(&self, change: Change) {
        let now = self.pool.now();
        self.pool.with_book(|book, config| book.change(self.lease.slot(), change, config, now));
    }

    async fn exchange(&self, refresher: &Refresher) -> Result<Lease, RefreshError> {
        let id = self.credential().id;
        let vault = self.pool.vault();
        // In this order everywhere, so that no two wait for each other.
        let _client = match refresher.turns(self.pool.key()) {
            Some(client) => Some(vault.lease_client(client).await.map_err(failed)?),
            None => None,
        };
        let _credential = vault.lease_refresh(id).await.map_err(failed)?;
        // What others have come to while this one waited.
        self.pool.sync().await.map_err(failed)?;
        if let Some(verdict) = self.known_verdict() {
            return Err(verdict);
        }
        let known = self.credential().generation;
        let Begun { record: stored, unfinished } = match vault.begin_refresh(id, known).await {
            Ok(begun) if begun.record.metadata.generation > known => return self.adopt(&begun.record),
            // An older vault was put in place of the one that was read.
            Ok(begun) if begun.record.metadata.generation < known => {
                vault.begin_refresh(id, begun.record.metadata.generation).await.map_err(failed)?
            }
            begun => begun.map_err(failed)?,
        };
        let exchanged = refresher.exchange(stored.clone()).await;
        match exchanged.map_err(|error| error.redacted(&stored.secret)) {
            Ok(secret) => self.store(stored, secret).await,
            Err(RefreshError::Unread { received, error }) => {
                Err(self.keep(stored, received, error).await)
            }
            Err(RefreshError::Rejected { reason }) => {
                // Whoever has rotated the token meanwhile has made the verdict void.
                match vault.get(id).await {
                    Ok(now) if now.metadata.generation > stored.metadata.generation => self.adopt(&now),
                    _ if unfinished.is_some() => {
                        const CUT_OFF: &str =
                            "an earlier renewal was cut off before its new token was saved";
                        Err(self.reject(format!("{reason}; {CUT_OFF}")).await)
                    }
                    _ if stored.secret.has_unread_answer() => {
                        const UNREAD: &str =
                            "an earlier answer could not be read, and is kept with the account";
                        Err(self.reject(format!("{reason}; {UNREAD}")).await)
                    }
                    _ => Err(self.reject(reason).await),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Saves the new secret; only then is it used. The old refresh token is spent, so this is tried
    /// until it works, unless it never will: others wait for their turns.
    async fn store(&self, old: Credential, secret: Secret) -> Result<Lease, RefreshError> {
        let Metadata { id, generation, .. } = old.metadata;
        let mut backoff = BACKOFF.0;
        let mut tries = 0;
        loop {
            match self.pool.vault().replace_secret(id, generation, secret.clone()).await {
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
                ) => return Err(failed(error)),
                Err(error) => {
                    let credential = self.credential();
                    self.pool.emit(&Event::SecretNotSaved { credential, error: &error.to_string() });
                    tries += 1;
                    if tries == TRIES {
                        self.end(RefreshStage::Late, None);
                    }
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF.1);
                }
            }
        }
    }

    fn adopt(&self, credential: &Credential) -> Result<Lease, RefreshError> {
        self.take_over(credential, false)
    }

    fn take_over(&self, credential: &Credential, in_older_vault: bool) -> Result<Lease, RefreshError> {
        let now = self.pool.now();
        let provider = self.pool.provider();
        self.pool
            .with_book(|book, config| book.adopt(credential, in_older_vault, provider, config, now))
            .map_err(|error| RefreshError::Failed(error.into()))
    }

    /// Tells those who wait, and what those who come from now on find.
    fn end(&self, stage: RefreshStage, lease: Option<Lease>) {
        let before = self
            .pool
            .with_book(|book, _| std::mem::replace(&mut book.slots[self.lease.slot()].refresh, stage));
        self.pool.0.renewals.send_replace(());
        if let RefreshStage::Running(waiters) = before {
            for waiter in waiters {
                let _ = waiter.send(lease.clone());
            }
        }
    }
}

fn failed(error: VaultError) -> RefreshError {
    RefreshError::Failed(error.into())
}
