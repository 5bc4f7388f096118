//! Sending a limited request again with the next credential.

use std::num::NonZeroU32;
use std::time::Duration;

use tower_layer::Layer;

use super::core::Core;
use super::drain::DrainBound;
use super::jobs::{Jobs, Roles, RotateOptions};
use super::network::NetworkRetry;
use super::sends::SendsAgain;
use super::service::service;
use crate::pool::Pool;

/// Cools a limited credential down and sends the same request again with the next one.
///
/// Which answers mean a limit, and for how long, is the pool's to say:
/// [`Cooldowns`](crate::Cooldowns). A credential whose 401 or 403 no refresh has helped is rotated
/// away from as well; where no [`RefreshOn401Layer`](crate::RefreshOn401Layer) is in the stack, that
/// is at once.
///
/// When every credential is used up, the last response is returned as it came, its body unread; its
/// extensions have a [`NextReady`](crate::NextReady). A request whose body can't be cloned
/// ([`TryCloneBody`](crate::TryCloneBody)) is sent once.
///
/// ```
/// # use tower_credentials::{Pool, RotateOn429Layer};
/// use std::{num::NonZeroU32, time::Duration};
///
/// # fn stack(pool: Pool) {
/// let layer = RotateOn429Layer::new(pool)
///     .max_attempts(NonZeroU32::new(3).unwrap())
///     .wait_up_to(Duration::from_secs(2));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RotateOn429Layer {
    pool: Pool,
    options: RotateOptions,
}

impl RotateOn429Layer {
    /// Rotates over the credentials of this pool.
    pub fn new(pool: Pool) -> Self {
        Self { pool, options: RotateOptions::default() }
    }

    /// With how many credentials a request is tried at most: with each of the pool unless set. Sending
    /// again after a refresh or a network error does not count.
    #[must_use]
    pub fn max_attempts(mut self, attempts: NonZeroU32) -> Self {
        self.options.max_attempts = Some(attempts);
        self
    }

    /// Waits, and sends again with the same credential, where the limit ends sooner than this; all of
    /// a request's waiting together takes no longer. Off unless set: every limit is rotated away from.
    #[must_use]
    pub fn wait_up_to(mut self, bound: Duration) -> Self {
        self.options.wait_up_to = Some(bound);
        self
    }

    /// What to do after a network error: sent again once, with the same credential, if the connection
    /// was never made, unless set.
    #[must_use]
    pub fn network(mut self, retry: NetworkRetry) -> Self {
        self.options.network = retry;
        self
    }

    /// How much of a response that is thrown away is read, in bytes and time, so that its HTTP/1.1
    /// connection can be used again: 64 KiB and 100 ms unless set.
    #[must_use]
    pub fn drain(mut self, bytes: u64, time: Duration) -> Self {
        self.options.drain = DrainBound { bytes, time };
        self
    }

    pub(super) fn parts(&self) -> (Pool, RotateOptions) {
        (self.pool.clone(), self.options.clone())
    }
}

impl<S: Clone> Layer<S> for RotateOn429Layer {
    type Service = RotateOn429<S>;

    fn layer(&self, inner: S) -> RotateOn429<S> {
        let rotate = Some(self.options.clone());
        let jobs = Jobs { rotate, ..Jobs::plain(Roles::ROTATE) };
        RotateOn429(Core::new(inner, self.pool.clone(), jobs))
    }
}

/// The service of [`RotateOn429Layer`].
#[derive(Debug)]
pub struct RotateOn429<S>(Core<S>);

service!(RotateOn429, SendsAgain);
