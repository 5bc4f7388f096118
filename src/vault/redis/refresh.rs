//! Refreshes that begin, and that fail.

use std::sync::Arc;
use std::time::Duration;

use super::Inner;
use super::fault::not_understood;
use super::pool::Pool;
use super::script::{BEGIN, FAILED};
use super::stored::Stored;
use crate::clock::Timestamp;
use crate::credential::{CredentialId, Generation};
use crate::vault::seal::Sealed;
use crate::vault::{Begun, FailedRefresh, VaultError};

impl Inner {
    /// Notes that a refresh begins, if this process still holds its lease.
    pub(super) async fn begin(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        id: CredentialId,
        expected: Generation,
    ) -> Result<Begun<Sealed>, VaultError> {
        let first = self.begin_once(pool, id, expected).await;
        let has_forgotten = match &first {
            Ok(begun) => begun.record.metadata.generation < expected,
            Err(VaultError::NotFound(_)) => pool.copy().known.contains_key(&id),
            Err(_) => false,
        };
        if !has_forgotten {
            return first;
        }
        // An older secret may be spent: the engine is given back the newer one, if anybody here has seen it.
        self.load(pool).await?;
        self.begin_once(pool, id, expected).await
    }

    async fn begin_once(
        &self,
        pool: &Pool,
        id: CredentialId,
        expected: Generation,
    ) -> Result<Begun<Sealed>, VaultError> {
        let owner = self.owner(pool, id);
        let slot = pool.keys.slot();
        let call = BEGIN
            .on(pool.keys.with_lease(id))
            .arg(id.to_string())
            .arg(expected.get())
            .arg(&owner)
            .arg(self.settings.covered().as_millis() as u64)
            .arg(&*self.engine.run_id(slot).await?);
        let said: Vec<String> = self.durable.run(slot, call).await?;
        let mut said = said.into_iter();
        let what = said.next().unwrap_or_default();
        match what.as_str() {
            "gone" => return Err(VaultError::NotFound(id)),
            "lost" => return Err(VaultError::LeaseLost(id)),
            _ => {}
        }
        let (_, record) = Stored::must_be(id, said.next().unwrap_or_default())?;
        let mut begun = Begun::new(record);
        if what == "other" {
            return Ok(begun);
        }
        let number = |text: Option<String>| match text.as_deref() {
            None | Some("") => Ok(None),
            Some(digits) => digits.parse::<u64>().map(Some).map_err(|_| not_understood("a note")),
        };
        begun.unfinished = number(said.next())?.map(Timestamp::from_millis);
        if let Some(left) = number(said.next())? {
            begun.failed = Some(FailedRefresh {
                wait: Duration::from_millis(left),
                in_a_row: number(said.next())?.and_then(|count| count.try_into().ok()).unwrap_or(0),
                reason: said.next().unwrap_or_default(),
            });
        }
        begun.present_within =
            (what == "begun" && !owner.is_empty()).then_some(self.settings.present_within);
        Ok(begun)
    }

    /// Notes that a refresh has failed. The wait ends by the engine's clock.
    pub(super) async fn failed(
        &self,
        pool: &Pool,
        id: CredentialId,
        expected: Generation,
        failed: &FailedRefresh,
    ) -> Result<(), VaultError> {
        let call = FAILED
            .on(pool.keys.with_lease(id))
            .arg(id.to_string())
            .arg(expected.get())
            .arg(self.owner(pool, id))
            .arg(u64::try_from(failed.wait.as_millis()).unwrap_or(u64::MAX))
            .arg(failed.in_a_row)
            .arg(&failed.reason);
        match self.engine.run::<u8>(pool.keys.slot(), &call).await? {
            0 => Err(VaultError::NotFound(id)),
            _ => Ok(()),
        }
    }

    /// Returns the token of the lease that this process holds; empty without one.
    fn owner(&self, pool: &Pool, id: CredentialId) -> String {
        self.held().get(&pool.keys.lease(id)).cloned().unwrap_or_default()
    }
}
