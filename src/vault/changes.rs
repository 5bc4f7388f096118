//! What has changed in a pool since a revision.

use super::response::Revision;
use crate::credential::{CredentialId, Record, Secret};
use crate::standing::Standing;

/// What has changed in a pool since a [revision](Revision). Each part is what is stored now, not the steps that led there, so
/// that it may be read twice. If a changed record can't be read there are none: a [`Load`](super::VaultRequest::Load) says
/// what is damaged.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Changes<T = Secret> {
    /// The pool's revision with these changes.
    pub revision: Revision,
    /// The credentials that are new, renewed, or have another label.
    pub credentials: Vec<Record<T>>,
    /// The credentials that are gone.
    pub removed: Vec<CredentialId>,
    /// The standings that have changed. A [verdict](crate::standing::Health::NeedsSignIn) may be on an older secret than the
    /// credential's: the reader [forgets](Standing::forget_before) it.
    pub standings: Vec<(CredentialId, Standing)>,
    /// The changes of the order.
    pub order: OrderChange,
}

impl<T> Changes<T> {
    /// Returns no changes.
    pub const fn none(revision: Revision) -> Self {
        Self {
            revision,
            credentials: Vec::new(),
            removed: Vec::new(),
            standings: Vec::new(),
            order: OrderChange::ToBack(Vec::new()),
        }
    }
}

/// The changes of a pool's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderChange {
    /// These credentials have moved to the back, one after the other. The others keep their order.
    ToBack(Vec<CredentialId>),
    /// This is the whole order.
    Whole {
        /// The order, as in [`Standings::order`](crate::standing::Standings::order).
        order: Vec<CredentialId>,
        /// The order that a person has set, as in [`Standings::preferred`](crate::standing::Standings::preferred).
        preferred: Vec<CredentialId>,
    },
}
