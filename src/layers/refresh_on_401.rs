//! Renewing a refused credential's secret, and sending again.

use tower_layer::Layer;

use super::core::Core;
use super::jobs::{Jobs, RefreshOptions, Roles};
use super::sends::SendsAgain;
use super::service::service;
use crate::pool::{Pool, Refresher};

/// On a 401 or 403, renews the credential's secret, once, and sends the request again with it.
///
/// However many requests ask, one refresh is made; the others wait for its result, and a request whose
/// answer came from an older secret than the pool's makes none. The new secret is in the vault before
/// anyone uses it. The exchange runs in a task of its own: a caller who goes away loses nothing.
///
/// A credential that a refresh does not help cools down (five minutes unless
/// [set](crate::Cooldowns::refused)) and goes to the back; then
/// [`RotateOn429Layer`](crate::RotateOn429Layer) takes over, wherever it stands.
#[derive(Clone, Debug)]
pub struct RefreshOn401Layer {
    pool: Pool,
    options: RefreshOptions,
}

impl RefreshOn401Layer {
    /// Renews secrets of this pool by this refresher.
    pub fn new(pool: Pool, refresher: impl Into<Refresher>) -> Self {
        Self { pool, options: RefreshOptions { refresher: refresher.into() } }
    }
}

impl<S: Clone> Layer<S> for RefreshOn401Layer {
    type Service = RefreshOn401<S>;

    fn layer(&self, inner: S) -> RefreshOn401<S> {
        let refresh = Some(self.options.clone());
        let jobs = Jobs { refresh, ..Jobs::plain(Roles::REFRESH) };
        RefreshOn401(Core::new(inner, self.pool.clone(), jobs))
    }
}

/// The service of [`RefreshOn401Layer`].
#[derive(Debug)]
pub struct RefreshOn401<S>(Core<S>);

service!(RefreshOn401, SendsAgain);
