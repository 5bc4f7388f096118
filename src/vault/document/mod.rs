//! A pool as one value.

mod reading;
mod records;
mod refreshes;
#[cfg(feature = "seal")]
mod stored;
mod unknown;
mod unread;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use self::refreshes::Refresh;
use self::unknown::Unknown;
use self::unread::Unread;
use super::batch::MergedBatches;
use super::recent::{RecentChanges, Step};
use super::{Replaced, Revision, VaultError, VaultRequest, VaultResponse};
use crate::clock::Timestamp;
use crate::credential::{CredentialId, PoolKey, Record, Secret};
use crate::random;
use crate::standing::Standings;

/// All that a backend keeps of one pool, as one value: its records, their order and standings, the notes on refreshes, the
/// last batch of each origin, the last changes, and the revision.
///
/// [`apply`](Self::apply) does what a vault promises of each request that names a pool, so a store that keeps one value for
/// each pool and can change it in one step becomes a backend: by a transaction, as the example `sqlite_backend` does, or by
/// a compare-and-swap. It leaves to the backend:
///
/// - `List`, with a [`listing`](Self::listing) of each document;
/// - the two leases; [`get`](Self::get) says whether the credential of one exists;
/// - `Watch`, if the store can tell of a change;
/// - that an id is unique in the vault: a document knows those of its own pool, so a backend that keeps several pools looks
///   for the id of a `Put` in the others, for example in a table of ids with a unique key.
///
/// Each change stores the whole document, which has 1 to 4 KB for each credential and up to 60 KB besides. So it is for pools of
/// up to a few hundred credentials; for larger ones, keep each record in a place of its own.
///
/// # The stored form
/// With the feature `seal`, a document is [`Serialize`](serde::Serialize) if `T` is, and
/// [`Deserialize`](serde::Deserialize) as well, in JSON or any other format that describes itself and writes structs as maps. Its secrets are stored as
/// they are: a backend has a `PoolDocument<Sealed>`. The stored form has a version, and a newer one is refused. A credential
/// that can't be read is [damaged](super::Damage), the others are not affected, and it is written back as it was. So is an
/// entry whose name is not a credential's id; no request removes it.
///
/// Fields that this version does not know are kept, so processes of different versions may share a document: those of the
/// document itself, of a credential, its record, its metadata, its standing and the note on its refresh. Those of a
/// value that is replaced as a whole, such as a secret or a cooldown, are gone with it.
///
/// A document is read for each change and stored after it. If you keep one in memory, drop it if storing it
/// fails. A lost document may begin anew, and an older one may be restored from a backup: the first change after it
/// was read draws a new random half of the revision, so that no revision comes twice.
///
/// ```
/// use std::time::SystemTime;
///
/// use tower_credentials::vault::{PoolDocument, VaultRequest};
/// use tower_credentials::{BoxError, Credential, PoolKey, Secret};
///
/// let pool = PoolKey::new("example");
/// let mut document = PoolDocument::new(pool.clone());
/// let put = VaultRequest::Put(Credential::new(pool, "work", Secret::api_key("sk-1")));
/// let applied = document.apply(put, SystemTime::now().into())?;
/// assert!(applied.is_changed);
///
/// let stored = serde_json::to_string(&document)?;
/// let read: PoolDocument = serde_json::from_str(&stored)?;
/// assert_eq!(&*read.listing().credentials[0].label, "work");
/// # Ok::<_, BoxError>(())
/// ```
pub struct PoolDocument<T = Secret> {
    pool: PoolKey,
    revision: Revision,
    /// Whether the random half of the revision was drawn for this value.
    is_drawn: bool,
    records: HashMap<CredentialId, Record<T>>,
    /// The credentials that can't be read, by the names that they have in the stored form.
    unread: BTreeMap<String, Unread>,
    labels: HashMap<Arc<str>, CredentialId>,
    standings: Standings,
    refreshes: HashMap<CredentialId, Refresh>,
    batches: MergedBatches,
    recent: RecentChanges,
    unknown: Unknown,
}

/// A request that a document has done.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "a document that has changed must be stored"]
pub struct Applied<T = Secret> {
    /// The response.
    pub response: VaultResponse<T>,
    /// Whether the document has changed. Store it, durably, before the response is given. Its revision may be the same, since
    /// a note on a refresh makes none.
    pub is_changed: bool,
}

impl<T> Applied<T> {
    const fn read(response: VaultResponse<T>) -> Self {
        Self { response, is_changed: false }
    }

    const fn changed(response: VaultResponse<T>) -> Self {
        Self { response, is_changed: true }
    }
}

impl<T> PoolDocument<T> {
    /// Returns the document of a pool that nothing was put into.
    pub fn new(pool: PoolKey) -> Self {
        Self {
            pool,
            revision: Revision::default(),
            is_drawn: false,
            records: HashMap::new(),
            unread: BTreeMap::new(),
            labels: HashMap::new(),
            standings: Standings::default(),
            refreshes: HashMap::new(),
            batches: MergedBatches::default(),
            recent: RecentChanges::default(),
            unknown: Unknown::default(),
        }
    }

    /// Returns the pool.
    pub fn pool(&self) -> &PoolKey {
        &self.pool
    }

    /// Returns the pool's revision. Some changes make none, such as a secret that is sealed anew: to compare and swap, use the stored
    /// bytes or a count of your own.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Makes a new revision, for a change.
    fn change(&mut self, step: Step) {
        self.recent.push(self.revision, step);
        self.next_revision();
    }

    /// Makes a new revision: a random number for each time that the document was read, and a count.
    fn next_revision(&mut self) {
        let before = u128::from_be_bytes(*self.revision.as_bytes());
        let random = match std::mem::replace(&mut self.is_drawn, true) {
            true => (before >> 64) as u64,
            false => u64::from_be_bytes(random::bytes()),
        };
        let count = (before as u64).wrapping_add(1);
        let after = u128::from(random) << 64 | u128::from(count);
        self.revision = Revision::from_bytes(after.to_be_bytes());
    }
}

impl<T: Clone + 'static> PoolDocument<T> {
    /// Does a request of this pool, at this moment: it dates new secrets and refreshes that begin, and tells how long a token
    /// endpoint is still left alone. An error changes nothing.
    ///
    /// # Errors
    /// The request's own errors; [`VaultError::Unsupported`] for `List`, `Watch` and the leases, which are the backend's; and
    /// [`VaultError::Layer`] if the request is of another pool.
    ///
    /// # Panics
    /// If the operating system cannot provide random numbers.
    pub fn apply(&mut self, request: VaultRequest<T>, now: Timestamp) -> Result<Applied<T>, VaultError> {
        if let Some(pool) = request.pool().filter(|pool| **pool != self.pool) {
            let error = format!("a request of the pool {pool} came to the document of {}", self.pool);
            return Err(VaultError::Layer(error.into()));
        }
        Ok(match request {
            VaultRequest::Load(_) => Applied::read(VaultResponse::Pool(self.load())),
            VaultRequest::Get { id, .. } => {
                Applied::read(VaultResponse::Credential(self.get(id)?.clone()))
            }
            VaultRequest::Revision(_) => Applied::read(VaultResponse::Revision(self.revision)),
            VaultRequest::Changes { since, .. } => {
                Applied::read(VaultResponse::Changes(self.changes(since)))
            }
            VaultRequest::Put(record) => Applied::changed(VaultResponse::Stored(self.put(record)?)),
            VaultRequest::Relabel { id, label, .. } => {
                Applied::changed(VaultResponse::Stored(self.relabel(id, label)?))
            }
            VaultRequest::Move { id, place, .. } => {
                self.move_to(id, place)?;
                Applied::changed(VaultResponse::Done)
            }
            VaultRequest::Remove { id, .. } => {
                self.remove(id)?;
                Applied::changed(VaultResponse::Done)
            }
            VaultRequest::ReplaceSecret { id, expected, secret, attributes, .. } => {
                replaced(self.replace(id, expected, secret, attributes, now)?)
            }
            VaultRequest::Reseal { id, expected, secret, .. } => {
                replaced(self.reseal(id, expected, secret)?)
            }
            VaultRequest::Record { outcomes, batch, .. } => {
                let is_changed = self.record(&outcomes, batch);
                Applied { response: VaultResponse::Revision(self.revision), is_changed }
            }
            VaultRequest::BeginRefresh { id, expected, .. } => {
                let (begun, is_changed) = self.begin_refresh(id, expected, now)?;
                Applied { response: VaultResponse::Begun(begun), is_changed }
            }
            VaultRequest::RefreshFailed { id, expected, failed, .. } => {
                let is_changed = self.refresh_failed(id, expected, &failed, now)?;
                Applied { response: VaultResponse::Done, is_changed }
            }
            other @ (VaultRequest::List
            | VaultRequest::Watch(_)
            | VaultRequest::LeaseRefresh { .. }
            | VaultRequest::LeaseClient { .. }) => {
                return Err(VaultError::Unsupported { request: other.name() });
            }
        })
    }
}

fn replaced<T>(replaced: Replaced<T>) -> Applied<T> {
    let is_changed = matches!(replaced, Replaced::Swapped(_));
    Applied { response: VaultResponse::Replaced(replaced), is_changed }
}

impl<T> fmt::Debug for PoolDocument<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolDocument")
            .field("pool", &self.pool)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}
