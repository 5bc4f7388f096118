//! What a pool cannot use, although it is there.

use std::sync::{Arc, Mutex, PoisonError};

use tower_credentials::Pool;
use tower_credentials::events::{Event, EventKind};
use tower_credentials::vault::Damage;

use super::damage::warn_of_damage;

/// What a pool can't use, from its events. That may be a key of the environment, which is no record of the vault.
#[derive(Default)]
pub(crate) struct Unusable(Arc<Mutex<Vec<Damage>>>);

impl Unusable {
    pub(crate) fn observer(&self) -> impl Fn(&Event) + Send + Sync + 'static {
        let damaged = self.0.clone();
        move |event| {
            if let EventKind::Damaged { damage } = &event.kind {
                damaged.lock().unwrap_or_else(PoisonError::into_inner).push(Damage::clone(damage));
            }
        }
    }

    /// Warns of what a pool can't use, except for these. A pool that can use nothing says so in its error.
    pub(crate) fn warn(&self, pool: &Pool, known: &[Damage]) {
        if !pool.status().is_empty() {
            self.beside(known).iter().for_each(warn_of_damage);
        }
    }

    /// Returns what is not among these.
    pub(crate) fn beside(&self, known: &[Damage]) -> Vec<Damage> {
        let mut damaged = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        damaged.retain(|damage| !known.iter().any(|known| is_same(known, damage)));
        damaged
    }
}

/// Whether both are the same damage to the same record.
pub(super) fn is_same(one: &Damage, other: &Damage) -> bool {
    (&one.record, &one.reason) == (&other.record, &other.reason)
}
