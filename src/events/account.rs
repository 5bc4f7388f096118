//! The account that an event is about.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::credential::{CredentialId, Generation, Metadata, PoolKey};

/// The credential that an event is about. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Account {
    /// The pool that it belongs to. Serialized as `provider` and `namespace`.
    #[serde(flatten)]
    pub pool: PoolKey,
    /// Its label at the time.
    pub label: Arc<str>,
    /// Its permanent id.
    pub id: CredentialId,
    /// The generation of its secret at the time.
    pub generation: Generation,
}

impl From<&Metadata> for Account {
    fn from(metadata: &Metadata) -> Self {
        let Metadata { id, pool, label, generation, .. } = metadata;
        Self { pool: pool.clone(), label: label.clone(), id: *id, generation: *generation }
    }
}
