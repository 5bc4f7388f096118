//! Sealing requests and opening responses, with the keys and rules of a vault.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::blob::Sealed;
use super::cipher::{Cipher, Shut};
use super::rules::{Barred, Rules};
use crate::credential::{Credential, CredentialId, Generation, Metadata, PoolKey, Record, Secret};
use crate::secret::leaving_no_copy;
use crate::vault::key::{KeyId, VaultKey};
use crate::vault::{Begun, Changes, Replaced, VaultError, VaultRequest, VaultResponse};

/// The last version of a seal that does not bind the attributes.
const UNBOUND: u32 = 1;

/// What resealing a record does with attributes that no seal has bound. Seals of version 1 did not bind attributes, so
/// anyone who could write a record could edit them, and a new seal would vouch for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnboundAttributes {
    /// The record is not resealed, and is reported.
    #[default]
    Ask,
    /// They are kept, and bound: somebody has checked them.
    Keep,
    /// They are dropped.
    Drop,
}

/// What opening has shown about the keys and rules in use.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// The credentials that no key here opens, each with the key that would.
    pub(crate) unopened: Vec<(KeyId, CredentialId)>,
    /// Whether `key.json` may have changed: an old key was needed, or the vault's id is not known here.
    pub(crate) may_be_stale: bool,
}

/// How to pass a request on to the backend.
pub(super) enum Request {
    /// As it is, with its secret sealed.
    Sealed(VaultRequest<Sealed>),
    /// After the stored record was read and opened.
    Stored { pool: PoolKey, id: CredentialId, then: Then },
}

/// What follows once the stored record is open.
pub(super) enum Then {
    /// Sealing needs the metadata, which only the backend knows.
    Swap(Swap),
    /// A process that can't open the record has nothing to exchange, so it must not note that a refresh begins.
    Begin { expected: Generation },
}

/// A [`VaultRequest::ReplaceSecret`] or [`VaultRequest::Reseal`] whose secret is not sealed yet.
pub(super) struct Swap {
    pub(super) expected: Generation,
    secret: Secret,
    attributes: Option<BTreeMap<String, String>>,
    /// Whether it is a new secret, with the next generation.
    is_new: bool,
}

/// Seals requests and opens responses.
#[derive(Clone)]
pub(crate) struct Seals {
    pub(super) cipher: Cipher,
    pub(super) unbound: UnboundAttributes,
    pub(super) name: Arc<dyn Fn(CredentialId) -> String + Send + Sync>,
}

impl Seals {
    pub(crate) fn new(
        key: &VaultKey,
        name: impl Fn(CredentialId) -> String + Send + Sync + 'static,
    ) -> Self {
        let unbound = UnboundAttributes::default();
        Self { cipher: Cipher::new(key), unbound, name: Arc::new(name) }
    }

    /// Whether the record's seal vouches for its attributes, if it has any.
    pub(super) fn binds_attributes(record: &Record<Sealed>) -> bool {
        record.secret.version() > UNBOUND || record.metadata.attributes.is_empty()
    }

    /// Whether the secret is sealed with the current key and in the current format.
    pub(crate) fn is_current(&self, sealed: &Sealed) -> bool {
        sealed.key_id() == self.cipher.key_id() && sealed.version() >= self.cipher.version()
    }

    /// Reseals the record's secret, at the same generation and with the same metadata. `None` if that needs a decision: it
    /// does not open, or it has attributes that nothing has bound.
    #[cfg(feature = "file")]
    pub(crate) fn reseal(&self, record: Record<Sealed>) -> Option<Sealed> {
        if !Self::binds_attributes(&record) && self.unbound != UnboundAttributes::Keep {
            return None;
        }
        let Record { metadata, secret } = self.open(record, &mut Observed::default()).ok()?;
        self.cipher.seal(&metadata, &secret).ok()
    }

    /// Returns the same keys for a vault with these rules.
    #[must_use]
    pub(crate) fn with_rules(&self, rules: Rules) -> Self {
        let mut seals = self.clone();
        seals.cipher.set_rules(rules);
        seals
    }

    #[cfg(feature = "file")]
    pub(crate) fn rules(&self) -> &Rules {
        self.cipher.rules()
    }

    /// Admits records that were restored from a backup.
    #[cfg(feature = "file")]
    pub(crate) fn trust_restored(&mut self) {
        self.cipher.trust_restored();
    }

    /// Sets what to do with attributes that no seal has bound.
    pub(crate) fn set_unbound(&mut self, unbound: UnboundAttributes) {
        self.unbound = unbound;
    }

    /// Returns the id of the key that seals.
    pub(crate) fn key_id(&self) -> KeyId {
        self.cipher.key_id()
    }

    /// Whether this key is one of these keys.
    #[cfg(feature = "file")]
    pub(crate) fn knows(&self, key: KeyId) -> bool {
        self.cipher.knows(key)
    }

    /// Returns the same keys, sealing with this one if it is among them.
    #[cfg(feature = "file")]
    #[must_use]
    pub(crate) fn sealing_with(&self, key: KeyId) -> Self {
        let mut seals = self.clone();
        seals.cipher.seal_with(key);
        seals
    }

    /// Returns these keys and one more, which only opens.
    #[must_use]
    pub(crate) fn with_old(&self, key: &VaultKey) -> Self {
        let mut seals = self.clone();
        seals.cipher.add_old(key);
        seals
    }

    /// Seals a request's secret.
    pub(super) fn request(&self, request: VaultRequest) -> Result<Request, VaultError> {
        let request = match request {
            VaultRequest::Put(Record { metadata, secret }) => {
                let secret = self.cipher.seal(&metadata, &secret)?;
                VaultRequest::Put(Record { metadata, secret })
            }
            VaultRequest::ReplaceSecret { pool, id, expected, secret, attributes } => {
                let swap = Swap { expected, secret, attributes, is_new: true };
                return Ok(Request::Stored { pool, id, then: Then::Swap(swap) });
            }
            VaultRequest::Reseal { pool, id, expected, secret } => {
                let swap = Swap { expected, secret, attributes: None, is_new: false };
                return Ok(Request::Stored { pool, id, then: Then::Swap(swap) });
            }
            VaultRequest::Load(pool) => VaultRequest::Load(pool),
            VaultRequest::List => VaultRequest::List,
            VaultRequest::Relabel { pool, id, label } => VaultRequest::Relabel { pool, id, label },
            VaultRequest::Move { pool, id, place } => VaultRequest::Move { pool, id, place },
            VaultRequest::Remove { pool, id } => VaultRequest::Remove { pool, id },
            VaultRequest::Get { pool, id } => VaultRequest::Get { pool, id },
            VaultRequest::Record { pool, outcomes, batch } => {
                VaultRequest::Record { pool, outcomes, batch }
            }
            VaultRequest::LeaseRefresh { pool, id } => VaultRequest::LeaseRefresh { pool, id },
            VaultRequest::LeaseClient { client } => VaultRequest::LeaseClient { client },
            VaultRequest::BeginRefresh { pool, id, expected } => {
                return Ok(Request::Stored { pool, id, then: Then::Begin { expected } });
            }
            VaultRequest::RefreshFailed { pool, id, expected, failed } => {
                VaultRequest::RefreshFailed { pool, id, expected, failed }
            }
            VaultRequest::Revision(pool) => VaultRequest::Revision(pool),
            VaultRequest::Changes { pool, since, told } => VaultRequest::Changes { pool, since, told },
            VaultRequest::Watch(pool) => VaultRequest::Watch(pool),
        };
        Ok(Request::Sealed(request))
    }

    /// Returns the request that swaps the secret. The backend checks the generation once more.
    ///
    /// Attributes that nothing has bound so far are not bound by a new secret either: nobody has checked them.
    pub(super) fn swap(
        &self,
        mut metadata: Metadata,
        swap: Swap,
        was_bound: bool,
    ) -> Result<VaultRequest<Sealed>, VaultError> {
        let Swap { expected, secret, attributes, is_new } = swap;
        let (pool, id) = (metadata.pool.clone(), metadata.id);
        if is_new {
            metadata.generation = expected.next();
        }
        if let Some(attributes) = &attributes {
            metadata.attributes = attributes.clone();
        }
        let version = match was_bound || attributes.is_some() {
            true => self.cipher.version(),
            false => UNBOUND,
        };
        let secret = self.cipher.seal_as(version, &metadata, &secret)?;
        Ok(if is_new {
            VaultRequest::ReplaceSecret { pool, id, expected, secret, attributes }
        } else {
            VaultRequest::Reseal { pool, id, expected, secret }
        })
    }

    /// Opens a response's secret.
    pub(super) fn response(
        &self,
        response: VaultResponse<Sealed>,
        observed: &mut Observed,
    ) -> Result<VaultResponse, VaultError> {
        Ok(match response {
            // `Opening` opens a pool, some secrets at a time.
            VaultResponse::Pool(_) => return Err(VaultError::UnexpectedResponse),
            VaultResponse::Credential(record) => VaultResponse::Credential(self.open(record, observed)?),
            VaultResponse::Replaced(Replaced::Conflict(record)) => {
                VaultResponse::Replaced(Replaced::Conflict(self.open(record, observed)?))
            }
            VaultResponse::Replaced(Replaced::Swapped(generation)) => {
                VaultResponse::Replaced(Replaced::Swapped(generation))
            }
            VaultResponse::Begun(Begun { record, unfinished, failed, present_within }) => {
                let record = self.open(record, observed)?;
                VaultResponse::Begun(Begun { record, unfinished, failed, present_within })
            }
            VaultResponse::List(listing) => VaultResponse::List(listing),
            VaultResponse::Stored(metadata) => VaultResponse::Stored(metadata),
            VaultResponse::Lease(lease) => VaultResponse::Lease(lease),
            VaultResponse::Revision(revision) => VaultResponse::Revision(revision),
            VaultResponse::Changes(changes) => {
                VaultResponse::Changes(changes.and_then(|changes| self.open_changes(changes, observed)))
            }
            VaultResponse::Watch(watch) => VaultResponse::Watch(watch),
            VaultResponse::Done => VaultResponse::Done,
        })
    }

    /// Opens the secrets of changes; `None` if one does not open.
    fn open_changes(&self, changes: Changes<Sealed>, observed: &mut Observed) -> Option<Changes> {
        let Changes { revision, credentials, removed, standings, order } = changes;
        let mut opened = Changes { removed, standings, order, ..Changes::none(revision) };
        leaving_no_copy(|| {
            for Record { metadata, secret } in credentials {
                let secret = self.try_open(&metadata, secret, observed).ok()?;
                opened.credentials.push(Record { metadata, secret });
            }
            Some(opened)
        })
    }

    pub(super) fn open(
        &self,
        record: Record<Sealed>,
        observed: &mut Observed,
    ) -> Result<Credential, VaultError> {
        let Record { metadata, secret } = record;
        match self.try_open(&metadata, secret, observed) {
            Ok(secret) => Ok(Record { metadata, secret }),
            Err(shut) => Err(self.cipher.error(shut, (self.name)(metadata.id))),
        }
    }

    /// Opens a secret, and records whether the keys and rules here may be stale.
    pub(super) fn try_open(
        &self,
        metadata: &Metadata,
        secret: Sealed,
        observed: &mut Observed,
    ) -> Result<Secret, Shut> {
        let is_old = secret.key_id() != self.cipher.key_id();
        let opened = self.cipher.open(metadata, secret);
        match &opened {
            Ok(_) => observed.may_be_stale |= is_old,
            Err(Shut::OtherKey(key)) => observed.unopened.push((*key, metadata.id)),
            Err(Shut::Barred(Barred::OtherVault(_))) => {
                observed.may_be_stale |= self.cipher.rules().vault.is_none();
            }
            Err(_) => {}
        }
        opened
    }
}
