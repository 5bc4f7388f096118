//! What a pool cannot use, although it is there.

use std::sync::{Arc, Mutex, PoisonError};

use tower_credentials::Pool;
use tower_credentials::events::Event;
use tower_credentials::vault::Damage;

use crate::output;

/// What a pool can't use, as its events tell it: a key of the environment, too, which is no record of the vault's.
#[derive(Default)]
pub(crate) struct Unusable(Arc<Mutex<Vec<Damage>>>);

impl Unusable {
    pub(crate) fn observer(&self) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
        let told = self.0.clone();
        move |event| {
            if let Event::Damaged { damage } = event {
                told.lock().unwrap_or_else(PoisonError::into_inner).push((*damage).clone());
            }
        }
    }

    /// Warns of what a pool can't use, but for these. A pool that can use nothing says so by its error.
    pub(crate) fn warn(&self, pool: &Pool, known: &[Damage]) {
        if !pool.status().is_empty() {
            self.beside(known).iter().for_each(output::warn);
        }
    }

    /// What is not among these.
    pub(crate) fn beside(&self, known: &[Damage]) -> Vec<Damage> {
        let mut told = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        told.retain(|damage| !known.iter().any(|known| is_same(known, damage)));
        told
    }
}

/// Whether the same is wrong with the same record.
pub(super) fn is_same(one: &Damage, other: &Damage) -> bool {
    (&one.record, &one.reason) == (&other.record, &other.reason)
}
