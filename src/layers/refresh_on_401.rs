//! Renewing a refused credential's secret, and sending again.

use tower_layer::Layer;

use super::context::Roles;
use super::drive::Core;
use super::duty::{Duty, sealed, sends_again};
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

#[derive(Clone, Debug)]
pub struct RefreshOptions {
    pub(crate) refresher: Refresher,
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
        RefreshOn401(Core::new(inner, self.pool.clone(), self.options.clone()))
    }
}

/// The service of [`RefreshOn401Layer`].
#[derive(Clone, Debug)]
pub struct RefreshOn401<S>(Core<S, Refresh>);

/// What [`RefreshOn401`] does.
#[derive(Clone, Copy, Debug)]
pub struct Refresh;

impl Duty for Refresh {}

impl sealed::Duty for Refresh {
    type Options = RefreshOptions;
    const ROLES: Roles = Roles::REFRESH;

    fn refresh(options: &RefreshOptions) -> Option<&RefreshOptions> {
        Some(options)
    }
}

sends_again!(Refresh);
service!(RefreshOn401, Refresh);
