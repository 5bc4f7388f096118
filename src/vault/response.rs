//! The responses of a vault.

use std::any::Any;
use std::fmt;
use std::time::Duration;

use super::changes::Changes;
use super::damage::Damage;
use super::watch::Watch;
use crate::clock::Timestamp;
use crate::credential::{Generation, Metadata, Record, Secret};
use crate::hex_id::hex_id;
use crate::standing::Standings;

/// A vault's response. [`VaultRequest`](super::VaultRequest) says which variant belongs to which request.
#[derive(Debug)]
#[non_exhaustive]
pub enum VaultResponse<T = Secret> {
    /// A whole pool.
    Pool(StoredPool<T>),
    /// Every credential's metadata, and the records that could not be read.
    List(Listing),
    /// The metadata as it was stored.
    Stored(Metadata),
    /// One credential.
    Credential(Record<T>),
    /// The result of a compare and swap.
    Replaced(Replaced<T>),
    /// The lease of a refresh.
    Lease(RefreshLease),
    /// A refresh that has begun.
    Begun(Begun<T>),
    /// A pool's revision.
    Revision(Revision),
    /// What has changed in a pool; `None` if the vault does not know, and the pool must be loaded.
    Changes(Option<Changes<T>>),
    /// A handle that tells when a pool changes; `None` if the vault tells nobody.
    Watch(Option<Watch>),
    /// The request is done; there is nothing else to say.
    Done,
}

/// A pool as it is stored in a vault.
#[derive(Clone, Debug)]
pub struct StoredPool<T = Secret> {
    /// The credentials, first to last.
    pub credentials: Vec<Record<T>>,
    /// Their standings. A damaged credential keeps its place and its standing here. No
    /// [verdict](crate::standing::Health::NeedsSignIn) is on an older secret than the credential's.
    pub standings: Standings,
    /// The pool's revision.
    pub revision: Revision,
    /// Records of the vault that could not be read; the others are not affected.
    pub damaged: Vec<Damage>,
}

impl<T> StoredPool<T> {
    /// Builds the pool for a response. A verdict on a secret that a newer one has replaced is
    /// [void](crate::standing::Health::NeedsSignIn), even if it was recorded later. Such verdicts are left out here, so
    /// that no reader of a pool has to check for them.
    pub fn new(
        credentials: Vec<Record<T>>,
        mut standings: Standings,
        revision: Revision,
        damaged: Vec<Damage>,
    ) -> Self {
        for Record { metadata, .. } in &credentials {
            if let Some(standing) = standings.credentials.get_mut(&metadata.id) {
                standing.forget_before(metadata.generation);
            }
        }
        Self { credentials, standings, revision, damaged }
    }
}

/// Every credential's metadata, and the records that could not be read.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The credentials, by pool and in each pool's order.
    pub credentials: Vec<Metadata>,
    /// Records that could not be read; the others are not affected.
    pub damaged: Vec<Damage>,
}

/// The result of a compare and swap of a secret.
#[derive(Clone, Debug)]
pub enum Replaced<T = Secret> {
    /// The secret was replaced; this is its generation now.
    Swapped(Generation),
    /// Someone else was first; this is what they stored.
    Conflict(Record<T>),
}

/// A refresh that has begun, or does not have to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Begun<T = Secret> {
    /// The stored record. If its generation isn't the expected one, someone else has refreshed it already.
    pub record: Record<T>,
    /// When an earlier refresh of this same generation began, if it stored nothing, and nothing tells how it ended: its
    /// process may have died. The refresh token may be spent.
    pub unfinished: Option<Timestamp>,
    /// The last exchange of this same generation, if it has [failed](super::VaultRequest::RefreshFailed). As long as a
    /// part of its wait is left, the refresh has not begun and nothing was noted.
    pub failed: Option<FailedRefresh>,
    /// How long from now the refresh token may be presented; `None` without a limit. A lease over a network ends if its
    /// holder is not heard of: a token that is presented later than that may have been presented by the next holder already.
    pub present_within: Option<Duration>,
}

impl<T> Begun<T> {
    /// Returns a refresh of which nothing else is known.
    pub const fn new(record: Record<T>) -> Self {
        Self { record, unfinished: None, failed: None, present_within: None }
    }
}

/// An exchange that has failed without a verdict of the vendor's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedRefresh {
    /// How long to leave the token endpoint alone; in a response, how much of that is left.
    pub wait: Duration,
    /// How many exchanges have failed in a row.
    pub in_a_row: u32,
    /// Why, in words. It is shown to those who ask next, so it must hold no secret.
    pub reason: String,
}

/// The state of a pool at a moment: it differs whenever the pool has changed, be it a credential, a secret, the order or a
/// cooldown. It is opaque: two revisions are equal or not, and neither is later. Written as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Revision([u8; 16]);

hex_id!(Revision, InvalidRevision, "a revision", "32");

impl Revision {
    /// Returns the revision with this number, for a vault that counts.
    pub const fn new(number: u64) -> Self {
        Self((number as u128).to_be_bytes())
    }

    /// Returns the revision with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes of the revision.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// The right to refresh a credential, until it is dropped.
pub struct RefreshLease(#[allow(dead_code, reason = "held for its Drop")] Box<dyn Any + Send + Sync>);

impl RefreshLease {
    /// Returns a lease that ends when `guard` is dropped.
    pub fn new(guard: impl Send + Sync + 'static) -> Self {
        Self(Box::new(guard))
    }
}

impl fmt::Debug for RefreshLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshLease")
    }
}
