//! Saving what the answers taught.

use tower_layer::Layer;

use super::core::Core;
use super::jobs::{Jobs, Roles};
use super::sends::SendsOnce;
use super::service::service;
use crate::pool::Pool;

/// Saves order, cooldowns and health to the pool's vault when they have changed, before the response
/// goes on, so that a restart and other processes know them.
///
/// Inside of [`RotateOn429Layer`](crate::RotateOn429Layer), a cooldown is saved before the request is
/// sent again. A request that changed nothing asks nothing of the vault, nor does a success that merely
/// forgives failures: that is saved with the next change, or by the task that
/// [syncs](crate::PoolBuilder::sync_every) the pool. A vault that fails, or takes more than a second, never
/// fails or holds up a response: what it missed is saved later, and an
/// [event](crate::events::Event::SaveFailed) tells.
///
/// When each account last answered is saved along with that, and by itself
/// [once a minute](crate::PoolBuilder::save_last_responses_every), by no request.
///
/// Alone it saves whatever the pool has learnt by other means.
#[derive(Clone, Debug)]
pub struct CooldownPersistLayer {
    pool: Pool,
}

impl CooldownPersistLayer {
    /// Saves what this pool learns.
    pub fn new(pool: Pool) -> Self {
        Self { pool }
    }
}

impl<S: Clone> Layer<S> for CooldownPersistLayer {
    type Service = CooldownPersist<S>;

    fn layer(&self, inner: S) -> CooldownPersist<S> {
        CooldownPersist(Core::new(inner, self.pool.clone(), Jobs::plain(Roles::PERSIST)))
    }
}

/// The service of [`CooldownPersistLayer`].
#[derive(Debug)]
pub struct CooldownPersist<S>(Core<S>);

service!(CooldownPersist, SendsOnce);
