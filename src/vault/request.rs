//! The requests of a vault.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::batch::BatchId;
use super::response::{FailedRefresh, Revision};
use crate::credential::{CredentialId, Generation, PoolKey, Record, Secret};
use crate::standing::Outcome;

/// A request to a vault. `T` is a [`Secret`] for a vault and a sealed one for a backend. Later versions may add requests:
/// see [what a backend must do](super#a-backend-of-ones-own).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum VaultRequest<T = Secret> {
    /// Reads a whole pool. The response is [`Pool`](super::VaultResponse::Pool).
    Load(PoolKey),
    /// Reads the metadata of every credential. The response is [`List`](super::VaultResponse::List).
    List,
    /// Adds a credential, last in its pool. A label that is taken gets `-2`, `-3` and so on; an id that is taken is an
    /// error. The response is [`Stored`](super::VaultResponse::Stored).
    Put(Record<T>),
    /// Gives a credential another label; a label that is taken is an error. The response is
    /// [`Stored`](super::VaultResponse::Stored).
    Relabel {
        /// The credential's pool.
        pool: PoolKey,
        /// The credential.
        id: CredentialId,
        /// Its new label.
        label: Arc<str>,
    },
    /// Moves a credential to another place in its pool's order. The response is [`Done`](super::VaultResponse::Done).
    Move {
        /// The credential's pool.
        pool: PoolKey,
        /// The credential.
        id: CredentialId,
        /// The place, counted from 0; a place past the end means the last one.
        place: usize,
    },
    /// Removes a credential and all that is known of it. A record that can't be read is removed even if the vault can't tell
    /// its pool. The response is [`Done`](super::VaultResponse::Done).
    Remove {
        /// The credential's pool.
        pool: PoolKey,
        /// The credential.
        id: CredentialId,
    },
    /// Reads one credential. The response is [`Credential`](super::VaultResponse::Credential).
    Get {
        /// The credential's pool.
        pool: PoolKey,
        /// The credential.
        id: CredentialId,
    },
    /// Replaces a secret if the stored generation is the expected one. The new secret gets the next generation; its kind
    /// must be the stored one. Durable before the response, which is [`Replaced`](super::VaultResponse::Replaced).
    ReplaceSecret {
        /// The credential's pool.
        pool: PoolKey,
        /// The credential.
        id: CredentialId,
        /// The generation to replace.
        expected: Generation,
        /// The new secret.
        secret: T,
        /// The new attributes; `None` keeps the stored ones. The seal binds attributes to the secret, so they only change
        /// together with it.
        attributes: Option<BTreeMap<String, String>>,
    },
    /// Stores the same secret again, at the same generation. Resealing with another key sends this to the backend. Makes
    /// no new revision, since nothing changes that a pool reads. Durable before the response, which is
    /// [`Replaced`](super::VaultResponse::Replaced).
    Reseal {
        /// The credential's pool.
        pool: PoolKey,
        /// The credential.
        id: CredentialId,
        /// The generation of the secret; nothing is stored if the stored generation is another one by now.
        expected: Generation,
        /// The secret.
        secret: T,
    },
    /// Merges outcomes into a pool's standings. Outcomes of credentials that are gone are dropped. Never touches a secret.
    /// The response is [`Revision`](super::VaultResponse::Revision).
    ///
    /// A caller that gets no response, or an error, may send the same batch again: it counts once.
    Record {
        /// The pool.
        pool: PoolKey,
        /// The outcomes, in order.
        outcomes: Vec<Outcome>,
        /// The name of this batch of outcomes.
        batch: BatchId,
    },
    /// Leases a credential's refresh. The response, [`Lease`](super::VaultResponse::Lease), comes once no one else holds
    /// the lease.
    LeaseRefresh {
        /// The credential's pool.
        pool: PoolKey,
        /// The credential.
        id: CredentialId,
    },
    /// Leases the refreshes of all credentials under this name, usually an OAuth client's, whose refreshes must not run at
    /// the same time. The response, [`Lease`](super::VaultResponse::Lease), comes once no one else holds the lease.
    LeaseClient {
        /// The client.
        client: Arc<str>,
    },
    /// Notes that the secret of a generation is about to be exchanged for another one. After a crash the next process
    /// then knows that the secret may be spent. Send this while the credential's refresh is leased. Durable before the
    /// response, which is [`Begun`](super::VaultResponse::Begun). A new secret deletes the note, and so does an outcome
    /// after which that generation [needs a sign-in](crate::standing::Health::NeedsSignIn).
    BeginRefresh {
        /// The credential's pool.
        pool: PoolKey,
        /// The credential.
        id: CredentialId,
        /// The generation to exchange; nothing is noted if the stored generation is another one by now.
        expected: Generation,
    },
    /// Notes that the exchange of a generation has failed without a verdict of the vendor's, so that nobody asks the token
    /// endpoint again too early. Send this while the credential's refresh is leased. A new secret deletes the
    /// note, and so does an outcome after which that generation [needs a sign-in](crate::standing::Health::NeedsSignIn). The
    /// response is [`Done`](super::VaultResponse::Done); if this fails, other processes find out by themselves.
    RefreshFailed {
        /// The credential's pool.
        pool: PoolKey,
        /// The credential.
        id: CredentialId,
        /// The generation whose exchange failed; nothing is noted if the stored generation is another one by now.
        expected: Generation,
        /// How the exchange failed, and how long to leave the token endpoint alone.
        failed: FailedRefresh,
    },
    /// Reads a pool's revision; cheap enough to ask every second. The response is
    /// [`Revision`](super::VaultResponse::Revision).
    Revision(PoolKey),
    /// Reads what has changed in a pool since a revision; as cheap as [`Revision`](Self::Revision) if nothing has. The
    /// response is [`Changes`](super::VaultResponse::Changes): `None` if the vault does not know, and the pool must be
    /// loaded.
    Changes {
        /// The pool.
        pool: PoolKey,
        /// The revision up to which the caller knows the pool.
        since: Revision,
        /// Whether a [`Watch`](super::Watch) has just told of a change. Then the vault may respond with what that has brought,
        /// without looking for more: the next notice tells of it.
        told: bool,
    },
    /// Asks to be told when a pool changes. The response is [`Watch`](super::VaultResponse::Watch): `None` if the vault
    /// tells nobody, and the revision must be asked for now and then. The response comes at once; only its handle waits.
    Watch(PoolKey),
}

impl<T> VaultRequest<T> {
    /// Returns the pool that the request is about: `None` if it is about all of them, or about none.
    pub fn pool(&self) -> Option<&PoolKey> {
        match self {
            Self::Load(pool)
            | Self::Relabel { pool, .. }
            | Self::Move { pool, .. }
            | Self::Remove { pool, .. }
            | Self::Get { pool, .. }
            | Self::ReplaceSecret { pool, .. }
            | Self::Reseal { pool, .. }
            | Self::Record { pool, .. }
            | Self::LeaseRefresh { pool, .. }
            | Self::BeginRefresh { pool, .. }
            | Self::RefreshFailed { pool, .. }
            | Self::Revision(pool)
            | Self::Changes { pool, .. }
            | Self::Watch(pool) => Some(pool),
            Self::Put(record) => Some(&record.metadata.pool),
            Self::List | Self::LeaseClient { .. } => None,
        }
    }

    /// Returns the request's name, such as `load` or `replace secret`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Load(_) => "load",
            Self::List => "list",
            Self::Put(_) => "put",
            Self::Relabel { .. } => "relabel",
            Self::Move { .. } => "move",
            Self::Remove { .. } => "remove",
            Self::Get { .. } => "get",
            Self::ReplaceSecret { .. } => "replace secret",
            Self::Reseal { .. } => "reseal",
            Self::Record { .. } => "record",
            Self::LeaseRefresh { .. } => "lease refresh",
            Self::LeaseClient { .. } => "lease client",
            Self::BeginRefresh { .. } => "begin refresh",
            Self::RefreshFailed { .. } => "refresh failed",
            Self::Revision(_) => "revision",
            Self::Changes { .. } => "changes",
            Self::Watch(_) => "watch",
        }
    }
}
