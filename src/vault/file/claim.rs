//! What a request must have to itself.

use std::sync::Arc;

use crate::credential::{CredentialId, PoolKey};
use crate::vault::VaultRequest;

/// Something that only one request holds at a time: within this process by its place in a queue, among all processes by
/// a file's lock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Claim {
    /// The records, and everything else except what is appended to a pool's log.
    Vault,
    /// A pool's log.
    Pool(PoolKey),
    /// A credential's refresh.
    Lease(CredentialId),
    /// The refreshes of a client's credentials.
    Client(Arc<str>),
}

impl Claim {
    /// Returns what a request claims; `None` if it only looks at one file.
    pub(super) fn of<T>(request: &VaultRequest<T>) -> Option<Self> {
        match request {
            VaultRequest::Get { .. } | VaultRequest::Revision(_) | VaultRequest::Watch(_) => None,
            VaultRequest::Record { pool, .. } => Some(Self::Pool(pool.clone())),
            VaultRequest::LeaseRefresh { id, .. } => Some(Self::Lease(*id)),
            VaultRequest::LeaseClient { client } => Some(Self::Client(client.clone())),
            _ => Some(Self::Vault),
        }
    }
}
