//! How far a credential's refresh is, and its result.

use tokio::sync::oneshot;

use crate::clock::Timestamp;
use crate::pool::lease::Lease;

/// The result of a refresh, for a request that needs it.
#[derive(Clone, Debug)]
pub(crate) enum Refreshed {
    /// There is a new secret.
    New(Lease),
    /// The vendor has not renewed the secret, or not in time.
    NoHelp,
    /// The vendor was not asked, or its response can't be saved: the credential is not to blame.
    Unavailable,
}

/// How far a credential's refresh is.
#[derive(Debug, Default)]
pub(crate) enum RefreshStage {
    #[default]
    Idle,
    Running(Running),
}

impl RefreshStage {
    pub(crate) fn is_running(&self) -> bool {
        matches!(self, Self::Running(_))
    }
}

/// A refresh that is under way.
#[derive(Debug, Default)]
pub(crate) struct Running {
    /// The requests that wait for it.
    pub(super) waiters: Vec<oneshot::Sender<Refreshed>>,
    /// Set if it takes too long, or if the new secret can't be saved yet. Requests then get this result and do not
    /// wait, and no second refresh starts.
    pub(super) overdue: Option<Refreshed>,
    /// Since when the vendor has the refresh token: to abort the refresh now may lose the new one.
    pub(super) presented_at: Option<Timestamp>,
}

impl Running {
    /// Ends the waits with this result.
    pub(super) fn finish(self, result: &Refreshed) {
        for waiter in self.waiters {
            let _ = waiter.send(result.clone());
        }
    }
}
