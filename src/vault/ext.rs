//! The trait of all vaults, with a typed method for each request.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::sync::Arc;

use tower_service::Service;

use super::{
    BatchId, Begun, Changes, FailedRefresh, Listing, RefreshLease, Replaced, Revision, StoredPool,
    VaultError, VaultRequest, VaultResponse, Watch, check_secret,
};
use crate::BoxError;
use crate::credential::{Credential, CredentialId, Generation, Metadata, PoolKey, Secret};
use crate::standing::Outcome;

/// A service that keeps credentials: every `Service<VaultRequest, Response = VaultResponse>` is one. Its contract is at
/// [the module](super#a-backend-of-ones-own).
pub trait Vault:
    Service<VaultRequest, Response = VaultResponse, Error: Into<BoxError>, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<S> Vault for S where
    S: Service<VaultRequest, Response = VaultResponse, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// Calls `vault` once it is ready and takes its response apart with `$pattern => $value`.
macro_rules! call {
    ($vault:expr, $request:expr, $pattern:pat => $value:expr) => {{
        let vault = $vault.clone();
        let request = $request;
        async move {
            match call(vault, request).await? {
                $pattern => Ok($value),
                _ => Err(VaultError::UnexpectedResponse),
            }
        }
    }};
}

/// The name of the lease that [`VaultExt::ensure`] takes.
const ENSURE: &str = "the keys of a configuration";

/// A method for each [`VaultRequest`], on every [`Vault`] and on every vault inside layers.
///
/// Each method works on a clone of the vault: it waits until the clone is ready, calls it, and returns the content of the
/// response. A layer's own error, such as a timeout's, becomes [`VaultError::Layer`]; a [`VaultError`] that passed through
/// layers comes out as it went in. A response that does not belong to the request is [`VaultError::UnexpectedResponse`].
///
/// ```
/// use tower_credentials::vault::{MemoryVault, VaultExt};
/// use tower_credentials::{Credential, PoolKey, Secret};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_credentials::vault::VaultError> {
/// let vault = MemoryVault::new();
/// let key = PoolKey::new("example");
/// vault.put(Credential::new(key.clone(), "work", Secret::api_key("sk-1"))).await?;
/// assert_eq!(vault.load_pool(key).await?.credentials.len(), 1);
/// # Ok(())
/// # }
/// ```
pub trait VaultExt: Vault {
    /// Reads a whole pool. It is empty if nothing was ever put into it.
    ///
    /// # Errors
    /// If the vault cannot be read. A single damaged record is not an error:
    /// [`StoredPool::damaged`] names it.
    fn load_pool(&self, pool: PoolKey) -> impl Future<Output = Result<StoredPool, VaultError>> + Send {
        call!(self, VaultRequest::Load(pool), VaultResponse::Pool(pool) => pool)
    }

    /// Reads the metadata of every credential, by pool and in each pool's order.
    ///
    /// # Errors
    /// If the vault cannot be read. A single damaged record is not an error: [`Listing::damaged`] names it.
    fn list(&self) -> impl Future<Output = Result<Listing, VaultError>> + Send {
        call!(self, VaultRequest::List, VaultResponse::List(listing) => listing)
    }

    /// Adds a credential, last in its pool, and returns its metadata as stored: a label that is taken becomes `label-2`,
    /// `label-3` and so on.
    ///
    /// # Errors
    /// [`VaultError::Exists`] for an id that is taken, [`VaultError::InvalidName`],
    /// [`VaultError::InvalidSecret`] for a key or a token that no request could carry, [`VaultError::WrongKind`], or if the
    /// vault cannot be written.
    fn put(&self, credential: Credential) -> impl Future<Output = Result<Metadata, VaultError>> + Send {
        let checked = check_secret(&credential.secret);
        let put = put_again(self.clone(), credential);
        async move {
            checked?;
            put.await
        }
    }

    /// Makes sure that a credential is in the vault, for keys from a program's configuration. A program may call it at each
    /// start. Returns the metadata as stored, of the first of these:
    ///
    /// - the credential of the pool with the same secret, whatever its label;
    /// - the credential of the pool with the same label and kind, which gets the new secret;
    /// - a new credential, which is [put](Self::put).
    ///
    /// If several processes call it at once, one of them puts the credential.
    ///
    /// # Errors
    /// The errors of [`put`](Self::put) and [`replace_secret`](Self::replace_secret), and [`VaultError::Damaged`] if a
    /// record of the pool can't be read: it may be this credential's.
    fn ensure(
        &self,
        credential: Credential,
    ) -> impl Future<Output = Result<Metadata, VaultError>> + Send {
        let vault = self.clone();
        async move {
            check_secret(&credential.secret)?;
            let _one_at_a_time = vault.lease_client(ENSURE.into()).await?;
            let stored = vault.load_pool(credential.metadata.pool.clone()).await?;
            let known = stored.credentials.iter();
            if let Some(same) = known.clone().find(|known| known.secret.is_same(&credential.secret)) {
                return Ok(same.metadata.clone());
            }
            let Metadata { label, kind, .. } = &credential.metadata;
            let of_label =
                |known: &&Credential| known.metadata.label == *label && known.metadata.kind == *kind;
            let Some(known) = known.clone().find(of_label) else {
                return match stored.damaged.into_iter().next() {
                    Some(damage) => Err(VaultError::Damaged(damage)),
                    None => vault.put(credential).await,
                };
            };
            let Metadata { id, generation, .. } = known.metadata;
            let pool = &credential.metadata.pool;
            match vault.replace_secret(pool, id, generation, credential.secret).await? {
                Replaced::Swapped(_) => vault.get(pool, id).await.map(|stored| stored.metadata),
                Replaced::Conflict(stored) => Ok(stored.metadata),
            }
        }
    }

    /// Gives a credential another label and returns its metadata as stored.
    ///
    /// # Errors
    /// [`VaultError::NotFound`], [`VaultError::LabelTaken`], [`VaultError::InvalidName`], or if the
    /// vault cannot be written.
    fn relabel(
        &self,
        pool: &PoolKey,
        id: CredentialId,
        label: impl Into<Arc<str>>,
    ) -> impl Future<Output = Result<Metadata, VaultError>> + Send {
        let (pool, label) = (pool.clone(), label.into());
        call!(self, VaultRequest::Relabel { pool, id, label }, VaultResponse::Stored(metadata) => metadata)
    }

    /// Moves a credential to a place in its pool's order, counted from 0; a place past the
    /// end means the last one.
    ///
    /// # Errors
    /// [`VaultError::NotFound`], or if the vault cannot be written.
    fn move_to(
        &self,
        pool: &PoolKey,
        id: CredentialId,
        place: usize,
    ) -> impl Future<Output = Result<(), VaultError>> + Send {
        let pool = pool.clone();
        call!(self, VaultRequest::Move { pool, id, place }, VaultResponse::Done => ())
    }

    /// Removes a credential with all that is known of it.
    ///
    /// # Errors
    /// [`VaultError::NotFound`], or if the vault cannot be written.
    fn remove(
        &self,
        pool: &PoolKey,
        id: CredentialId,
    ) -> impl Future<Output = Result<(), VaultError>> + Send {
        let pool = pool.clone();
        call!(self, VaultRequest::Remove { pool, id }, VaultResponse::Done => ())
    }

    /// Reads one credential.
    ///
    /// # Errors
    /// [`VaultError::NotFound`], [`VaultError::Damaged`], [`VaultError::Key`], or if the vault cannot
    /// be read.
    fn get(
        &self,
        pool: &PoolKey,
        id: CredentialId,
    ) -> impl Future<Output = Result<Credential, VaultError>> + Send {
        let pool = pool.clone();
        call!(self, VaultRequest::Get { pool, id }, VaultResponse::Credential(credential) => credential)
    }

    /// Replaces a secret durably if the stored generation is `expected`. A conflict is not an error:
    /// [`Replaced::Conflict`] has what someone else has stored.
    ///
    /// # Errors
    /// [`VaultError::NotFound`], [`VaultError::InvalidSecret`], [`VaultError::WrongKind`], [`VaultError::Damaged`],
    /// [`VaultError::Key`], or if the vault cannot be written. The stored secret is then the old one.
    fn replace_secret(
        &self,
        pool: &PoolKey,
        id: CredentialId,
        expected: Generation,
        secret: impl Into<Secret>,
    ) -> impl Future<Output = Result<Replaced, VaultError>> + Send {
        let secret = secret.into();
        let checked = check_secret(&secret);
        let replace = replace_as_it_came(self.clone(), pool.clone(), id, expected, secret);
        async move {
            checked?;
            replace.await
        }
    }

    /// Like [`replace_secret`](Self::replace_secret), but replaces the attributes, too.
    ///
    /// # Errors
    /// The same as those of [`replace_secret`](Self::replace_secret).
    fn replace(
        &self,
        pool: &PoolKey,
        id: CredentialId,
        expected: Generation,
        secret: impl Into<Secret>,
        attributes: BTreeMap<String, String>,
    ) -> impl Future<Output = Result<Replaced, VaultError>> + Send {
        let (pool, secret, attributes) = (pool.clone(), secret.into(), Some(attributes));
        let checked = check_secret(&secret);
        let replace = call!(
            self,
            VaultRequest::ReplaceSecret { pool, id, expected, secret, attributes },
            VaultResponse::Replaced(replaced) => replaced
        );
        async move {
            checked?;
            replace.await
        }
    }

    /// Merges outcomes into a pool's standings, in order, and returns the pool's revision after that. Outcomes of credentials
    /// that are gone are dropped.
    ///
    /// # Errors
    /// If the vault cannot be written; then nothing was merged.
    fn record(
        &self,
        pool: PoolKey,
        outcomes: Vec<Outcome>,
    ) -> impl Future<Output = Result<Revision, VaultError>> + Send {
        let batch = BatchId::unique();
        call!(
            self,
            VaultRequest::Record { pool, outcomes, batch },
            VaultResponse::Revision(revision) => revision
        )
    }

    /// Waits until no one else holds the lease of this credential's refresh, and takes it. Dropping the
    /// future leaves the queue; dropping the lease lets the next caller in.
    ///
    /// # Errors
    /// [`VaultError::NotFound`], or if the vault cannot lock.
    fn lease_refresh(
        &self,
        pool: &PoolKey,
        id: CredentialId,
    ) -> impl Future<Output = Result<RefreshLease, VaultError>> + Send {
        let pool = pool.clone();
        call!(self, VaultRequest::LeaseRefresh { pool, id }, VaultResponse::Lease(lease) => lease)
    }

    /// Waits until no one else holds the lease of this client's refreshes, and takes it. See
    /// [`LeaseClient`](VaultRequest::LeaseClient).
    ///
    /// # Errors
    /// If the vault cannot lock.
    fn lease_client(
        &self,
        client: Arc<str>,
    ) -> impl Future<Output = Result<RefreshLease, VaultError>> + Send {
        call!(self, VaultRequest::LeaseClient { client }, VaultResponse::Lease(lease) => lease)
    }

    /// Notes that the secret of this generation is about to be exchanged, and reads what is stored. See
    /// [`BeginRefresh`](VaultRequest::BeginRefresh).
    ///
    /// # Errors
    /// [`VaultError::NotFound`], or if the vault cannot be written; then nothing must be exchanged.
    fn begin_refresh(
        &self,
        pool: &PoolKey,
        id: CredentialId,
        expected: Generation,
    ) -> impl Future<Output = Result<Begun, VaultError>> + Send {
        let pool = pool.clone();
        call!(self, VaultRequest::BeginRefresh { pool, id, expected }, VaultResponse::Begun(begun) => begun)
    }

    /// Notes that the exchange of this generation has failed, and how long to leave the token endpoint alone.
    /// See [`RefreshFailed`](VaultRequest::RefreshFailed).
    ///
    /// # Errors
    /// [`VaultError::NotFound`], or if the vault cannot be written.
    fn refresh_failed(
        &self,
        pool: &PoolKey,
        id: CredentialId,
        expected: Generation,
        failed: FailedRefresh,
    ) -> impl Future<Output = Result<(), VaultError>> + Send {
        let pool = pool.clone();
        call!(self, VaultRequest::RefreshFailed { pool, id, expected, failed }, VaultResponse::Done => ())
    }

    /// Reads a pool's revision; cheap enough to ask every second.
    ///
    /// # Errors
    /// If the vault cannot be read.
    fn revision(&self, pool: PoolKey) -> impl Future<Output = Result<Revision, VaultError>> + Send {
        call!(self, VaultRequest::Revision(pool), VaultResponse::Revision(revision) => revision)
    }

    /// Reads what has changed in a pool since a revision; as cheap as [`revision`](Self::revision) if nothing has. `None` if
    /// the vault does not know: [load the pool](Self::load_pool) then.
    ///
    /// # Errors
    /// [`VaultError::Unsupported`] by a vault that never knows, or if the vault cannot be read.
    fn changes(
        &self,
        pool: PoolKey,
        since: Revision,
    ) -> impl Future<Output = Result<Option<Changes>, VaultError>> + Send {
        let request = VaultRequest::Changes { pool, since, told: false };
        call!(self, request, VaultResponse::Changes(changes) => changes)
    }

    /// Reads what a [`Watch`] has told of, as [`changes`](Self::changes) does. What has changed after its last notice may be
    /// missing; the next notice tells of it.
    ///
    /// # Errors
    /// The same as those of [`changes`](Self::changes).
    fn told_changes(
        &self,
        pool: PoolKey,
        since: Revision,
    ) -> impl Future<Output = Result<Option<Changes>, VaultError>> + Send {
        let request = VaultRequest::Changes { pool, since, told: true };
        call!(self, request, VaultResponse::Changes(changes) => changes)
    }

    /// Asks to be told when a pool changes. `None` if the vault tells nobody.
    ///
    /// # Errors
    /// [`VaultError::Unsupported`] by a vault that tells nobody, or if the vault cannot be read.
    fn watch(&self, pool: PoolKey) -> impl Future<Output = Result<Option<Watch>, VaultError>> + Send {
        call!(self, VaultRequest::Watch(pool), VaultResponse::Watch(watch) => watch)
    }
}

impl<V: Vault> VaultExt for V {}

/// Like [`VaultExt::record`], without another clone: for a vault that is the caller's own clone already.
pub(crate) async fn record(
    vault: impl Vault,
    pool: PoolKey,
    outcomes: Vec<Outcome>,
    batch: BatchId,
) -> Result<(), VaultError> {
    match call(vault, VaultRequest::Record { pool, outcomes, batch }).await? {
        VaultResponse::Revision(_) => Ok(()),
        _ => Err(VaultError::UnexpectedResponse),
    }
}

/// Like [`VaultExt::put`], without the check of the secret: for a credential that was in a vault before, which must not be
/// lost.
pub(crate) async fn put_again(
    vault: impl Vault,
    credential: Credential,
) -> Result<Metadata, VaultError> {
    call!(vault, VaultRequest::Put(credential), VaultResponse::Stored(metadata) => metadata).await
}

/// Like [`VaultExt::replace_secret`], without the check of the secret: for one from a token endpoint or from a vault. The
/// old secret may be spent, so the new one is stored whatever it is.
pub(crate) async fn replace_as_it_came(
    vault: impl Vault,
    pool: PoolKey,
    id: CredentialId,
    expected: Generation,
    secret: Secret,
) -> Result<Replaced, VaultError> {
    let request = VaultRequest::ReplaceSecret { pool, id, expected, secret, attributes: None };
    call!(vault, request, VaultResponse::Replaced(replaced) => replaced).await
}

pub(crate) async fn call<V: Vault>(
    mut vault: V,
    request: VaultRequest,
) -> Result<VaultResponse, VaultError> {
    poll_fn(|cx| vault.poll_ready(cx)).await.map_err(failed)?;
    vault.call(request).await.map_err(failed)
}

fn failed(error: impl Into<BoxError>) -> VaultError {
    error.into().into()
}
