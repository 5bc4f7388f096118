//! Sending again after a network error.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower::retry::backoff::{ExponentialBackoff, ExponentialBackoffMaker, MakeBackoff};
use tower::util::rng::HasherRng;

use crate::BoxError;
use crate::error::Error;

/// Whether, when and how often a request is sent again, with the same credential, because the client
/// failed rather than the upstream answered.
///
/// ```
/// use tower_credentials::NetworkRetry;
///
/// // A request that may be sent twice without harm:
/// let retry = NetworkRetry::default().times(2).when(|_error| true);
/// let never = NetworkRetry::default().times(0);
/// ```
#[derive(Clone)]
pub struct NetworkRetry {
    times: u32,
    backoff: ExponentialBackoffMaker,
    when: Arc<dyn Fn(&BoxError) -> bool + Send + Sync>,
}

impl Default for NetworkRetry {
    fn default() -> Self {
        let (min, max) = (Duration::from_millis(50), Duration::from_secs(2));
        // The bounds are in order and the jitter is below 1, so this is always the first one.
        let backoff = ExponentialBackoffMaker::new(min, max, 0.5, HasherRng::new())
            .unwrap_or_else(|_| ExponentialBackoffMaker::default());
        Self { times: 1, backoff, when: Arc::new(is_before_send) }
    }
}

impl NetworkRetry {
    /// Sets how many times a request is sent again. Defaults to 1.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Sets the errors after which to send again. Defaults to [`is_before_send`]. An error that came after the request may have
    /// been sent is a request that may be billed twice.
    #[must_use]
    pub fn when(mut self, repeat: impl Fn(&BoxError) -> bool + Send + Sync + 'static) -> Self {
        self.when = Arc::new(repeat);
        self
    }

    /// Sets how long to wait before each time. Defaults to 50 ms, doubled up to 2 s, with jitter. See
    /// tower's [`ExponentialBackoffMaker`].
    #[must_use]
    pub fn backoff(mut self, backoff: ExponentialBackoffMaker) -> Self {
        self.backoff = backoff;
        self
    }

    pub(crate) fn allows(&self) -> u32 {
        self.times
    }

    pub(crate) fn is_worth(&self, error: &BoxError) -> bool {
        // Our own layers would refuse it again.
        !error.is::<Error>() && (self.when)(error)
    }

    pub(crate) fn start(&self) -> ExponentialBackoff {
        self.backoff.clone().make_backoff()
    }
}

impl fmt::Debug for NetworkRetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkRetry").field("times", &self.times).finish_non_exhaustive()
    }
}

/// Whether an error is known to have come before the request was sent: the connection was never made.
///
/// True of a refused or unreachable connection anywhere among the error's sources, and, with the
/// feature `hyper` or `reqwest`, of every error that hyper-util's client or reqwest calls one of connecting
/// (a name that can't be resolved, a failed TLS handshake).
pub fn is_before_send(error: &BoxError) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&**error);
    while let Some(error) = source {
        #[cfg(feature = "reqwest")]
        if let Some(error) = error.downcast_ref::<reqwest::Error>() {
            return error.is_connect();
        }
        #[cfg(feature = "reqwest-middleware")]
        if let Some(reqwest_middleware::Error::Reqwest(error)) = error.downcast_ref() {
            return error.is_connect();
        }
        #[cfg(feature = "hyper")]
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return error.is_connect();
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
            return matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable);
        }
        source = error.source();
    }
    false
}
