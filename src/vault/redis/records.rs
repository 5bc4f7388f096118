//! Credentials: adding, changing and removing them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::entry::EntryId;
use super::epoch::Epoch;
use super::fault::not_understood;
use super::pool::Pool;
use super::script::{MOVE, PUT, RECORD, REMOVE, SWAP};
use super::stored::Stored;
use super::{Inner, random};
use crate::credential::{CredentialId, Generation, Metadata, PoolKey, Record};
use crate::standing::Outcome;
use crate::standing::shift::Shift;
use crate::vault::seal::Sealed;
use crate::vault::{
    BatchId, Listing, Replaced, Revision, VaultError, check_name, check_names, free_label,
};

/// How often a change is tried that others get ahead of. Each time one of them has succeeded.
const TRIES: usize = 64;

/// What becomes of a record.
enum Change<'a> {
    Secret,
    Seal,
    Label(&'a str),
}

/// The result of a change that expects a record as it was read.
enum Swapped {
    Done,
    /// Another change was first.
    Other,
    LabelTaken,
}

impl Inner {
    pub(super) async fn put(&self, mut record: Record<Sealed>) -> Result<Metadata, VaultError> {
        check_names(&record.metadata)?;
        let (id, wanted) = (record.metadata.id, record.metadata.label.clone());
        let pool = self.pool(&record.metadata.pool);
        self.list_pool(&pool.key).await?;
        let restores = Some(self.vault_restores().await?);
        for _ in 0..TRIES {
            let stored = Stored::new(&record, 0)?;
            let call = PUT
                .on(pool.keys.all())
                .arg(random::number())
                .arg(id.to_string())
                .arg(&*record.metadata.label)
                .arg(stored.text());
            let (said, epoch): (String, String) = self.durable.run(pool.keys.slot(), call).await?;
            match said.as_str() {
                "ok" => {
                    pool.learn(id, stored, &Epoch::said(&epoch).of_vault(restores));
                    return Ok(record.metadata);
                }
                "exists" => return Err(VaultError::Exists(id)),
                _ => {
                    let taken = self.labels(&pool).await?;
                    record.metadata.label = free_label(&wanted, |label| taken.contains(label));
                }
            }
        }
        Err(VaultError::LabelTaken(wanted))
    }

    /// Notes that there is such a pool.
    pub(super) async fn list_pool(&self, key: &PoolKey) -> Result<(), VaultError> {
        let name = serde_json::to_string(key).map_err(|error| VaultError::Layer(error.into()))?;
        let mut add = redis::cmd("SADD");
        add.arg(&self.pools_key).arg(name);
        self.engine.command::<u64>(&self.pools_key, &add).await?;
        Ok(())
    }

    pub(super) async fn labels(&self, pool: &Pool) -> Result<HashSet<String>, VaultError> {
        let mut ask = redis::cmd("HKEYS");
        ask.arg(pool.keys.part("labels"));
        Ok(self.engine.command(pool.keys.slot(), &ask).await?)
    }

    /// Returns all pools that were ever put into.
    pub(super) async fn all_pools(&self) -> Result<Vec<PoolKey>, VaultError> {
        let mut ask = redis::cmd("SMEMBERS");
        ask.arg(&self.pools_key);
        let names: Vec<String> = self.engine.command(&self.pools_key, &ask).await?;
        let read = |name: &String| serde_json::from_str::<PoolKey>(name);
        let mut pools: Vec<_> = names
            .iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map_err(|_| not_understood("a pool's name"))?;
        pools.sort();
        Ok(pools)
    }

    pub(super) async fn list(self: &Arc<Self>) -> Result<Listing, VaultError> {
        let mut listing = Listing::default();
        for key in self.all_pools().await? {
            let stored = self.load(&self.pool(&key)).await?;
            listing.credentials.extend(stored.credentials.into_iter().map(|record| record.metadata));
            listing.damaged.extend(stored.damaged);
        }
        Ok(listing)
    }

    /// Reads one record. If the engine has an older one than this process has seen, it is first given back what it has
    /// forgotten.
    pub(super) async fn stored(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        id: CredentialId,
    ) -> Result<(Stored, Record<Sealed>), VaultError> {
        let known = pool.copy().known.get(&id).map(Stored::generation);
        let found = self.read_record(pool, id).await;
        let has_forgotten = match (&found, known) {
            (Ok((stored, _)), Some(known)) => stored.generation() < known,
            (Err(VaultError::NotFound(_)), Some(_)) => true,
            _ => false,
        };
        if !has_forgotten {
            return found;
        }
        self.load(pool).await?;
        self.read_record(pool, id).await
    }

    async fn read_record(
        &self,
        pool: &Pool,
        id: CredentialId,
    ) -> Result<(Stored, Record<Sealed>), VaultError> {
        let mut get = redis::cmd("HGET");
        get.arg(pool.keys.part("records")).arg(id.to_string());
        let found: Option<Vec<u8>> = self.engine.command(pool.keys.slot(), &get).await?;
        let text = found.ok_or(VaultError::NotFound(id))?;
        Stored::must_be(id, String::from_utf8_lossy(&text).into_owned())
    }

    pub(super) async fn relabel(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        id: CredentialId,
        label: Arc<str>,
    ) -> Result<Metadata, VaultError> {
        check_name("label", &label)?;
        for _ in 0..TRIES {
            let (stored, mut record) = self.stored(pool, id).await?;
            record.metadata.label = label.clone();
            match self.swap(pool, &stored, &record, Change::Label(&label)).await? {
                Swapped::Done => return Ok(record.metadata),
                Swapped::LabelTaken => return Err(VaultError::LabelTaken(label)),
                Swapped::Other => {}
            }
        }
        Err(too_busy())
    }

    /// Stores a secret if the stored one has the `expected` generation. With the same generation it is the same one, sealed
    /// again.
    pub(super) async fn replace(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        id: CredentialId,
        (expected, next): (Generation, Generation),
        secret: Sealed,
        attributes: Option<BTreeMap<String, String>>,
    ) -> Result<Replaced<Sealed>, VaultError> {
        let mut updated_at = self.settings.clock.now();
        updated_at.shift(self.difference(pool).await?.ahead);
        for _ in 0..TRIES {
            let (stored, mut record) = self.stored(pool, id).await?;
            if record.metadata.generation != expected {
                return Ok(Replaced::Conflict(record));
            }
            record.secret = secret.clone();
            if let Some(attributes) = &attributes {
                record.metadata.attributes = attributes.clone();
            }
            let change = if next == expected { Change::Seal } else { Change::Secret };
            if next != expected {
                (record.metadata.generation, record.metadata.updated_at) = (next, updated_at);
            }
            if let Swapped::Done = self.swap(pool, &stored, &record, change).await? {
                return Ok(Replaced::Swapped(next));
            }
        }
        Err(too_busy())
    }

    async fn swap(
        &self,
        pool: &Pool,
        before: &Stored,
        record: &Record<Sealed>,
        change: Change<'_>,
    ) -> Result<Swapped, VaultError> {
        let id = record.metadata.id;
        // If the node that has them is away, the pool's may be there, and a new secret must be saved.
        let restores = self.vault_restores().await.ok();
        let stored = Stored::new(record, before.version() + 1)?;
        let (what, label) = match change {
            Change::Secret => ("secret", ""),
            Change::Seal => ("seal", ""),
            Change::Label(label) => ("label", label),
        };
        let call = SWAP
            .on(pool.keys.all())
            .arg(random::number())
            .arg(id.to_string())
            .arg(before.head())
            .arg(stored.text())
            .arg(what)
            .arg(label);
        let said: Vec<String> = self.durable.run(pool.keys.slot(), call).await?;
        match said.first().map(String::as_str) {
            Some("ok") => {
                let epoch = said.get(1).map(String::as_str).unwrap_or_default();
                pool.learn(id, stored, &Epoch::said(epoch).of_vault(restores));
                Ok(Swapped::Done)
            }
            Some("taken") => Ok(Swapped::LabelTaken),
            Some("gone") => Err(VaultError::NotFound(id)),
            _ => Ok(Swapped::Other),
        }
    }

    pub(super) async fn move_to(
        &self,
        pool: &Pool,
        id: CredentialId,
        place: usize,
    ) -> Result<(), VaultError> {
        let call = MOVE.on(pool.keys.all()).arg(random::number()).arg(id.to_string()).arg(place);
        match self.engine.run::<u8>(pool.keys.slot(), &call).await? {
            0 => Err(VaultError::NotFound(id)),
            _ => Ok(()),
        }
    }

    pub(super) async fn remove(&self, pool: &Pool, id: CredentialId) -> Result<(), VaultError> {
        let call = REMOVE.on(pool.keys.all()).arg(random::number()).arg(id.to_string());
        let removed = self.durable.run::<u8>(pool.keys.slot(), call).await?;
        pool.copy().known.remove(&id);
        if removed == 0 { Err(VaultError::NotFound(id)) } else { Ok(()) }
    }

    pub(super) async fn record(
        &self,
        pool: &Pool,
        mut outcomes: Vec<Outcome>,
        batch: BatchId,
    ) -> Result<Revision, VaultError> {
        if outcomes.is_empty() {
            return self.revision(pool).await;
        }
        let difference = self.difference(pool).await?;
        outcomes.iter_mut().for_each(|outcome| outcome.shift(difference.ahead));
        let mut call = RECORD
            .on(pool.keys.all())
            .arg(random::number())
            .arg(batch.origin.to_string())
            .arg(batch.number);
        for outcome in &outcomes {
            let refused = outcome.change.refuses().map(|generation| generation.to_string());
            let json =
                serde_json::to_string(outcome).map_err(|error| VaultError::Layer(error.into()))?;
            call = call.arg(outcome.id.to_string()).arg(refused.unwrap_or_default()).arg(json);
        }
        let last: String = self.engine.run(pool.keys.slot(), &call).await?;
        Ok(difference.mark(EntryId::said(&last)?.revision()))
    }
}

fn too_busy() -> VaultError {
    VaultError::Unreachable("other hosts change the same record all the time; try again".into())
}
