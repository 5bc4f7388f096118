//! An engine that has forgotten: it was started from an older file, or another node took over without the last changes.
//!
//! Each host has seen the sealed records, so the fleet's memory is another replica: a newer secret than the engine's is
//! given back before anybody presents the old one again. A vault that was restored from a backup on purpose has another
//! epoch, and is given nothing.

use std::collections::HashMap;
use std::sync::Arc;

use super::pool::{Pool, Seen};
use super::script::GIVE_BACK;
use super::stored::Stored;
use super::{Inner, random};
use crate::credential::CredentialId;
use crate::vault::{VaultError, free_label};

/// How many records are given back at a time.
const AT_A_TIME: usize = 200;

impl Inner {
    /// Gives back what the engine has an older record of, or has lost. Returns whether it was given anything.
    pub(super) async fn give_back(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        seen: Seen,
        epoch: &str,
        stored: &HashMap<CredentialId, String>,
    ) -> Result<bool, VaultError> {
        let (epoch, lost) = {
            let mut copy = pool.copy();
            let known_epoch = copy.epoch.clone();
            if !epoch.is_empty() && known_epoch.as_ref().is_some_and(|known| known != epoch) {
                tracing::warn!(
                    target: "tower_credentials",
                    pool = %pool.key,
                    "the vault's pool was restored from a backup: what this process knows of it is dropped"
                );
                copy.forget();
                copy.epoch = Some(epoch.to_owned());
                return Ok(false);
            }
            let is_lost = |(id, known): &(&CredentialId, &Stored)| match stored.get(id) {
                Some(text) => {
                    generation_of(text).is_some_and(|stored| stored < known.generation().get())
                }
                None => seen == Seen::Forgotten,
            };
            let mut lost: Vec<_> = copy.known.iter().filter(is_lost).collect();
            // Lost ones come back in the order in which they were.
            let order = copy.last_known().into_iter().flat_map(|replica| &replica.standings().order);
            let order: HashMap<_, _> = order.zip(0..).collect();
            lost.sort_by_key(|(id, _)| order.get(*id).copied().unwrap_or(usize::MAX));
            let lost: Vec<_> = lost.into_iter().map(|(id, stored)| (*id, stored.clone())).collect();
            (known_epoch, lost)
        };
        let Some(epoch) = epoch.filter(|_| !lost.is_empty()) else { return Ok(false) };
        // Before any record: a host that starts now must open what it finds.
        self.give_identity_back().await?;
        self.list_pool(&pool.key).await?;
        let mut given = 0;
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

    /// Gives all pools another epoch, so that no host gives anything back.
    pub(super) async fn restored(&self) -> Result<(), VaultError> {
        for key in self.all_pools().await? {
            let keys = &self.pool(&key).keys;
            let mut set = redis::cmd("SET");
            set.arg(keys.part("epoch")).arg(random::token());
            self.engine.command::<()>(keys.slot(), &set).await?;
        }
        Ok(())
    }

    /// Offers records. Returns how many of them were taken.
    async fn offer(
        &self,
        pool: &Pool,
        epoch: &str,
        mut lost: Vec<(CredentialId, Stored)>,
    ) -> Result<usize, VaultError> {
        let mut given = 0;
        // The second time with other labels.
        for _ in 0..2 {
            let mut call = GIVE_BACK.on(pool.keys.all()).arg(random::number()).arg(epoch);
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
