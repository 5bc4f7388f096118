//! Saving what was recorded about responses.

use tower_layer::Layer;

use super::core::Core;
use super::jobs::{Jobs, LayerOptions};
use super::sends::SendsOnce;
use super::service::service;
use crate::pool::Pool;

/// Saves order, cooldowns and health to the pool's vault if they have changed, before the response is returned.
/// So a restart and other processes know them.
///
/// Inside of [`RotateOn429Layer`](crate::RotateOn429Layer), a cooldown is saved before the request is
/// sent again. A request that changes nothing makes no call to the vault. Nor does a success that only clears
/// failures: that is saved with the next change, or by the task that
/// [syncs](crate::PoolBuilder::sync_every) the pool. A vault that fails, or takes more than a second, never
/// fails or delays a response. What could not be saved is saved later, and an
/// [event](crate::events::EventKind::SaveFailed) is emitted.
///
/// The last response of each account is saved along with other changes. If it is the only change, it is saved
/// [once a minute](crate::PoolBuilder::save_last_responses_every), and no request waits for that.
///
/// Without the other layers, it saves what the pool has recorded by other means.
#[derive(Clone, Debug)]
pub struct CooldownPersistLayer {
    pool: Pool,
}

impl CooldownPersistLayer {
    /// Creates a layer that saves the state of this pool.
    pub fn new(pool: Pool) -> Self {
        Self { pool }
    }
}

impl<S: Clone> Layer<S> for CooldownPersistLayer {
    type Service = CooldownPersist<S>;

    fn layer(&self, inner: S) -> CooldownPersist<S> {
        CooldownPersist(Core::new(inner, self.pool.clone(), LayerOptions::of(Jobs::PERSIST)))
    }
}

/// The service of [`CooldownPersistLayer`].
#[derive(Debug)]
pub struct CooldownPersist<S>(Core<S>);

service!(CooldownPersist, SendsOnce);
