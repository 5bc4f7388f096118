//! All four layers as one.

use tower_layer::Layer;

use super::core::Core;
use super::jobs::{Jobs, LayerOptions, RefreshOptions};
use super::rotate_on_429::RotateOn429Layer;
use super::sends::SendsAgain;
use super::service::service;
use crate::pool::{Pool, Refresher};

/// The four layers in the recommended order, as one: rotate, refresh, apply the headers, save. It does
/// the same as the four, at a lower cost.
///
/// ```
/// # use tower_credentials::{CredentialsLayer, Pool, Refresher};
/// # fn stack(pool: Pool, refresher: Refresher) {
/// use std::{num::NonZeroU32, time::Duration};
///
/// let layer = CredentialsLayer::new(pool)
///     .refresher(refresher)
///     .rotate(|layer| layer.wait_up_to(Duration::from_secs(2)));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct CredentialsLayer {
    rotate: RotateOn429Layer,
    refresh: Option<RefreshOptions>,
}

impl CredentialsLayer {
    /// Creates a layer with all four jobs, for the credentials of this pool.
    pub fn new(pool: Pool) -> Self {
        let refresh = pool.refresher().map(|refresher| RefreshOptions { refresher });
        Self { rotate: RotateOn429Layer::new(pool), refresh }
    }

    /// Sets the refresher that renews secrets. Defaults to the pool's
    /// [own](crate::PoolBuilder::refresher). Without any, a refused credential is rotated away from at once.
    #[must_use]
    pub fn refresher(mut self, refresher: impl Into<Refresher>) -> Self {
        self.refresh = Some(RefreshOptions { refresher: refresher.into() });
        self
    }

    /// Sets the options of [`RotateOn429Layer`].
    #[must_use]
    pub fn rotate(mut self, set: impl FnOnce(RotateOn429Layer) -> RotateOn429Layer) -> Self {
        self.rotate = set(self.rotate);
        self
    }
}

impl<S: Clone> Layer<S> for CredentialsLayer {
    type Service = Credentials<S>;

    fn layer(&self, inner: S) -> Credentials<S> {
        let (pool, rotate) = self.rotate.parts();
        let options =
            LayerOptions { jobs: Jobs::ALL, rotate: Some(rotate), refresh: self.refresh.clone() };
        Credentials(Core::new(inner, pool, options))
    }
}

/// The service of [`CredentialsLayer`].
#[derive(Debug)]
pub struct Credentials<S>(Core<S>);

service!(Credentials, SendsAgain);
