//! Resealing one credential, over any backend.

use std::collections::BTreeMap;
use std::future::poll_fn;

use tower_service::Service;

use super::blob::Sealed;
use super::future::backend_failed;
use super::seals::{Observed, Seals, UnboundAttributes};
use super::service::Seal;
use crate::BoxError;
use crate::credential::{CredentialId, PoolKey, Record};
use crate::vault::{Replaced, VaultError, VaultRequest, VaultResponse};

/// The result of resealing a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resealed {
    /// The secret is now sealed with the current key and in the current format.
    Done,
    /// It already was.
    Already,
    /// The record has attributes that no seal has bound, and [nothing says](super::SealLayer::unbound_attributes) what to do
    /// with them. It is left as it was.
    Unconfirmed,
}

impl<V> Seal<V>
where
    V: Service<VaultRequest<Sealed>, Response = VaultResponse<Sealed>, Error: Into<BoxError>> + Clone,
{
    /// Reseals a credential's secret with the current key and in the current format, at the same generation, if needed.
    /// Waits for the credential's lease: a refresh in a process that has only the old key could not save its result.
    ///
    /// # Errors
    /// [`VaultError::Key`] if none of the keys opens the secret, [`VaultError::Damaged`] if it does not open, or the
    /// backend's error. The record is then as it was.
    pub async fn reseal(&self, pool: &PoolKey, id: CredentialId) -> Result<Resealed, VaultError> {
        if self.seals.is_current(&self.stored(pool, id).await?.secret) {
            return Ok(Resealed::Already);
        }
        let lease = VaultRequest::LeaseRefresh { pool: pool.clone(), id };
        let VaultResponse::Lease(_lease) = self.call_backend(lease).await? else {
            return Err(VaultError::UnexpectedResponse);
        };
        loop {
            let stored = self.stored(pool, id).await?;
            if self.seals.is_current(&stored.secret) {
                return Ok(Resealed::Already);
            }
            let was_bound = Seals::binds_attributes(&stored);
            let expected = stored.metadata.generation;
            let Record { mut metadata, secret } = self.seals.open(stored, &mut Observed::default())?;
            let pool = pool.clone();
            let request = match (was_bound, self.seals.unbound) {
                (true, _) | (false, UnboundAttributes::Keep) => {
                    let secret = self.seals.cipher.seal(&metadata, &secret)?;
                    VaultRequest::Reseal { pool, id, expected, secret }
                }
                (false, UnboundAttributes::Drop) => {
                    // Attributes only change together with a secret, which may be the same at the next generation.
                    metadata.attributes.clear();
                    metadata.generation = expected.next();
                    let secret = self.seals.cipher.seal(&metadata, &secret)?;
                    let attributes = Some(BTreeMap::new());
                    VaultRequest::ReplaceSecret { pool, id, expected, secret, attributes }
                }
                (false, UnboundAttributes::Ask) => return Ok(Resealed::Unconfirmed),
            };
            match self.call_backend(request).await? {
                VaultResponse::Replaced(Replaced::Swapped(_)) => return Ok(Resealed::Done),
                // Somebody has replaced it without a lease, perhaps with the old key again.
                VaultResponse::Replaced(Replaced::Conflict(_)) => {}
                _ => return Err(VaultError::UnexpectedResponse),
            }
        }
    }

    async fn stored(&self, pool: &PoolKey, id: CredentialId) -> Result<Record<Sealed>, VaultError> {
        match self.call_backend(VaultRequest::Get { pool: pool.clone(), id }).await? {
            VaultResponse::Credential(record) => Ok(record),
            _ => Err(VaultError::UnexpectedResponse),
        }
    }

    async fn call_backend(
        &self,
        request: VaultRequest<Sealed>,
    ) -> Result<VaultResponse<Sealed>, VaultError> {
        let mut backend = self.inner.clone();
        poll_fn(|cx| backend.poll_ready(cx)).await.map_err(backend_failed)?;
        backend.call(request).await.map_err(backend_failed)
    }
}
