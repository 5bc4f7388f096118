//! Sending a limited request again with the next credential.

use std::num::NonZeroU32;
use std::time::Duration;

use tower_layer::Layer;

use super::core::Core;
use super::drain::DrainBound;
use super::jobs::{Jobs, LayerOptions, RotateOptions};
use super::network::NetworkRetry;
use super::sends::SendsAgain;
use super::service::service;
use crate::pool::Pool;

/// Cools a limited credential down, and sends the same request again with the next one.
///
/// The pool's [`Cooldowns`](crate::Cooldowns) say which responses mean a limit, and for how long. The layer also
/// rotates if a refresh does not help after a 401 or 403. If the stack has no
/// [`RefreshOn401Layer`](crate::RefreshOn401Layer), it rotates at once.
///
/// If every credential is used up, the last response is returned unchanged, with its body unread. Its
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
    /// Creates a layer that rotates over the credentials of this pool.
    pub fn new(pool: Pool) -> Self {
        Self { pool, options: RotateOptions::default() }
    }

    /// Sets the maximum number of credentials to try per request. Defaults to all of the pool's. Sending again
    /// after a refresh or a network error does not count.
    #[must_use]
    pub fn max_attempts(mut self, attempts: NonZeroU32) -> Self {
        self.options.max_attempts = Some(attempts);
        self
    }

    /// Waits for a limit that ends within this time, and sends again with the same credential. The bound is for
    /// all waits of one request together. Defaults to off: every limit rotates.
    #[must_use]
    pub fn wait_up_to(mut self, bound: Duration) -> Self {
        self.options.wait_up_to = Some(bound);
        self
    }

    /// Sets how to retry after a network error. Defaults to once, with the same credential, and only if no
    /// connection was made.
    #[must_use]
    pub fn network(mut self, retry: NetworkRetry) -> Self {
        self.options.network = retry;
        self
    }

    /// Sets how much of a discarded response is read, in bytes and time, so that its HTTP/1.1 connection
    /// can be used again. Defaults to 64 KiB and 100 ms.
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
        let options = LayerOptions { rotate, ..LayerOptions::of(Jobs::ROTATE) };
        RotateOn429(Core::new(inner, self.pool.clone(), options))
    }
}

/// The service of [`RotateOn429Layer`].
#[derive(Debug)]
pub struct RotateOn429<S>(Core<S>);

service!(RotateOn429, SendsAgain);
