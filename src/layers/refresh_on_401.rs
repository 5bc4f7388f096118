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
/// If a refresh does not help, [`RotateOn429Layer`](crate::RotateOn429Layer) takes over, wherever it stands. If the
/// next credential is answered well then, the refused one cools down (five minutes unless
/// [set](crate::Cooldowns::refused)) and goes to the back. If all are refused, the request is at fault, and none does.
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
