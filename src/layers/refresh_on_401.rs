//! Renewing a refused credential's secret, and sending again.

use tower_layer::Layer;

use super::core::Core;
use super::jobs::{Jobs, LayerOptions, RefreshOptions};
use super::sends::SendsAgain;
use super::service::service;
use crate::pool::{Pool, Refresher};

/// Renews a credential's secret after a 401 or 403, once, and sends the request again with it.
///
/// However many requests ask, one refresh is made, and the others wait for its result. A request that was
/// refused with an older secret than the pool's makes none. The new secret is in the vault before anyone uses
/// it. The exchange runs in a task of its own, so nothing is lost if the caller goes away.
///
/// If a refresh does not help, [`RotateOn429Layer`](crate::RotateOn429Layer) takes over, wherever it is in the stack.
/// If the next credential succeeds then, the refused one cools down and goes to the back. The cooldown defaults to
/// five minutes; see [`Cooldowns::refused`](crate::Cooldowns::refused). If all are refused, the request is at fault,
/// and none cools down.
#[derive(Clone, Debug)]
pub struct RefreshOn401Layer {
    pool: Pool,
    options: RefreshOptions,
}

impl RefreshOn401Layer {
    /// Creates a layer that renews secrets of this pool with this refresher.
    pub fn new(pool: Pool, refresher: impl Into<Refresher>) -> Self {
        Self { pool, options: RefreshOptions { refresher: refresher.into() } }
    }
}

impl<S: Clone> Layer<S> for RefreshOn401Layer {
    type Service = RefreshOn401<S>;

    fn layer(&self, inner: S) -> RefreshOn401<S> {
        let refresh = Some(self.options.clone());
        let options = LayerOptions { refresh, ..LayerOptions::of(Jobs::REFRESH) };
        RefreshOn401(Core::new(inner, self.pool.clone(), options))
    }
}

/// The service of [`RefreshOn401Layer`].
#[derive(Debug)]
pub struct RefreshOn401<S>(Core<S>);

service!(RefreshOn401, SendsAgain);
