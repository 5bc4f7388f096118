//! An engine that has forgotten: it was started from an older file, or another node took over without the last changes.
//!
//! Each host has seen the sealed records, so the fleet's memory is another replica: a newer secret than the engine's is
//! given back before anybody presents the old one again. A vault that was restored from a backup on purpose says so by its
//! epoch, and is given nothing.

use std::collections::HashMap;
use std::sync::Arc;

use super::epoch::Epoch;
use super::pool::{Loaded, Pool, Seen};
use super::script::{GIVE_BACK, GIVE_VAULT_RESTORES, RESTORED, RESTORED_VAULT};
use super::stored::Stored;
use super::{Inner, keys, random};
use crate::credential::CredentialId;
use crate::vault::{VaultError, free_label};

/// How many records are given back at a time.
const AT_A_TIME: usize = 200;

/// How often records are offered whose labels are taken, each time with other ones.
const TRIES: usize = 16;

impl Inner {
    /// Gives back what the engine has an older record of, or has lost. Returns whether it was given anything.
    pub(super) async fn give_back(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        loaded: &Loaded,
    ) -> Result<bool, VaultError> {
        let (epoch, lost) = {
            let mut copy = pool.copy();
            if copy.drop_if_restored(&loaded.epoch) {
                tracing::warn!(
                    target: "tower_credentials",
                    pool = %pool.key,
                    "the vault's pool was restored from a backup: what this process knows of it is dropped"
                );
                return Ok(false);
            }
            let is_lost = |(id, known): &(&CredentialId, &Stored)| match loaded.records.get(id) {
                Some(text) => {
                    generation_of(text).is_some_and(|stored| stored < known.generation().get())
                }
                None => loaded.seen == Seen::Forgotten,
            };
            let can_be_read = |(_, known): &(&CredentialId, &Stored)| known.record().is_some();
            let mut lost: Vec<_> = copy.known.iter().filter(is_lost).filter(can_be_read).collect();
            // Lost ones come back in the order in which they were.
            let order = copy.last_known().into_iter().flat_map(|replica| &replica.standings().order);
            let order: HashMap<_, _> = order.zip(0..).collect();
            lost.sort_by_key(|(id, _)| order.get(*id).copied().unwrap_or(usize::MAX));
            let lost: Vec<_> = lost.into_iter().map(|(id, stored)| (*id, stored.clone())).collect();
            let Some(epoch) = copy.epoch.clone() else { return Ok(false) };
            (epoch, lost)
        };
        // So that no host that has not seen a restore on purpose undoes it.
        let has_forgotten_restores = epoch.is_forgotten_by(&loaded.epoch);
        if lost.is_empty() && !has_forgotten_restores {
            return Ok(false);
        }
        // Before any record: a host that starts now must open what it finds.
        self.give_identity_back().await?;
        self.list_pool(&pool.key).await?;
        // A restore on purpose since then, of a backup without this pool, leaves no other mark. One that comes later finds the pool
        // in the list.
        if Some(&*self.vault_restores().await?) != loaded.epoch.vault_restores() {
            return Ok(true);
        }
        let mut given = 0;
        if has_forgotten_restores {
            self.give_vault_restores(&epoch).await?;
            self.offer(pool, &epoch, Vec::new()).await?;
        }
        for some in lost.chunks(AT_A_TIME) {
            given += self.offer(pool, &epoch, some.to_vec()).await?;
        }
        if given > 0 {
            tracing::warn!(
                target: "tower_credentials",
                pool = %pool.key,
                given,
                "the vault's engine had forgotten accounts or secrets, and was given them back; see why it lost them"
            );
        }
        Ok(true)
    }

    /// Adds a restore to the vault and to the epochs of all listed pools, so that no host gives anything back.
    pub(super) async fn restored(&self) -> Result<(), VaultError> {
        // First, since nothing else tells hosts about pools that are missing or not listed.
        let key = keys::restores(&self.prefix);
        let call = RESTORED_VAULT.on([key.clone()]).arg(random::token());
        self.durable.run::<u8>(&key, call).await?;
        for key in self.all_pools().await? {
            let keys = &self.pool(&key).keys;
            let call = RESTORED.on(keys.all()).arg(random::token());
            self.durable.run::<u8>(keys.slot(), call).await?;
        }
        Ok(())
    }

    /// Returns the restores on purpose that the vault has been through, as the engine says. In a cluster another node may have
    /// them than the pool.
    pub(super) async fn vault_restores(&self) -> Result<String, VaultError> {
        let key = keys::restores(&self.prefix);
        let mut get = redis::cmd("GET");
        get.arg(&key);
        Ok(self.engine.command::<Option<String>>(&key, &get).await?.unwrap_or_default())
    }

    /// Gives an engine that has forgotten them the restores of the vault, unless it was restored since.
    async fn give_vault_restores(&self, epoch: &Epoch) -> Result<(), VaultError> {
        let Some(restores) = epoch.vault_restores() else { return Ok(()) };
        let key = keys::restores(&self.prefix);
        let call = GIVE_VAULT_RESTORES.on([key.clone()]).arg(restores);
        self.durable.run::<u8>(&key, call).await?;
        Ok(())
    }

    /// Offers records. Returns how many of them were taken.
    async fn offer(
        &self,
        pool: &Pool,
        epoch: &Epoch,
        mut lost: Vec<(CredentialId, Stored)>,
    ) -> Result<usize, VaultError> {
        let mut given = 0;
        for _ in 0..TRIES {
            let mut call = GIVE_BACK.on(pool.keys.all()).arg(random::number()).arg(epoch.restores());
            let mut sent = Vec::with_capacity(lost.len());
            for (id, stored) in lost {
                let Some(record) = stored.record() else { continue };
                call = call
                    .arg(id.to_string())
                    .arg(stored.generation().get())
                    .arg(&*record.metadata.label)
                    .arg(stored.text());
                sent.push((id, stored, record));
            }
            let said: Vec<String> = self.durable.run(pool.keys.slot(), call).await?;
            let mut said = said.into_iter();
            if said.next().as_deref() != Some("ok") {
                return Ok(given);
            }
            lost = Vec::new();
            let mut taken = None;
            for ((id, stored, mut record), said) in sent.into_iter().zip(said) {
                match said.as_str() {
                    "ok" => given += 1,
                    "gone" => {
                        pool.copy().known.remove(&id);
                    }
                    "taken" => {
                        let labels = match &mut taken {
                            Some(labels) => labels,
                            None => taken.insert(self.labels(pool).await?),
                        };
                        record.metadata.label =
                            free_label(&record.metadata.label, |label| labels.contains(label));
                        labels.insert(record.metadata.label.to_string());
                        lost.push((id, Stored::new(&record, stored.version() + 1)?));
                    }
                    _ => {}
                }
            }
            if lost.is_empty() {
                break;
            }
        }
        Ok(given)
    }
}

/// Returns the generation of a record as it is stored.
fn generation_of(text: &str) -> Option<u64> {
    text.split_once('.')?.0.parse().ok()
}
