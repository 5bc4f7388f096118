//! Sending again after a network error.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tower::retry::backoff::{ExponentialBackoff, ExponentialBackoffMaker, MakeBackoff};
use tower::util::rng::HasherRng;

use crate::BoxError;
use crate::error::Error;

/// Whether, when and how often to send a request again, with the same credential, if the client failed
/// and there was no response.
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
        // The bounds are in order and the jitter is below 1, so this never fails.
        let backoff = ExponentialBackoffMaker::new(min, max, 0.5, HasherRng::new())
            .unwrap_or_else(|_| ExponentialBackoffMaker::default());
        Self { times: 1, backoff, when: Arc::new(is_connect_error) }
    }
}

impl NetworkRetry {
    /// Sets how many times a request is sent again. Defaults to 1.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Sets the errors after which to send again. Defaults to [`is_connect_error`]. If the request may have been sent before
    /// the error came, sending it again may bill it twice.
    #[must_use]
    pub fn when(mut self, repeat: impl Fn(&BoxError) -> bool + Send + Sync + 'static) -> Self {
        self.when = Arc::new(repeat);
        self
    }

    /// Sets how long to wait before each retry. Defaults to 50 ms, doubled up to 2 s, with jitter. See
    /// tower's [`ExponentialBackoffMaker`].
    #[must_use]
    pub fn backoff(mut self, backoff: ExponentialBackoffMaker) -> Self {
        self.backoff = backoff;
        self
    }

    pub(crate) fn max_repeats(&self) -> u32 {
        self.times
    }

    pub(crate) fn is_retryable(&self, error: &BoxError) -> bool {
        // Our own layers would fail again.
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

/// Returns whether an error is known to have come before the request was sent or processed. Such a request can be sent
/// again without harm.
///
/// That is true if one of the error's sources is a refused or unreachable connection. With the feature `hyper` or
/// `reqwest`, it is also true of
/// - what hyper-util's client or reqwest calls a connect error (a name that can't be resolved, a failed TLS handshake);
/// - a connection that was closed before the request was written to it;
/// - an HTTP/2 request that the server says it did not process (RFC 9113, section 8.7): its stream was reset with
///   `REFUSED_STREAM`, or is beyond the last one of a `GOAWAY`.
///
/// Any other reset, and a connection that breaks without a `GOAWAY` of an earlier stream, say nothing about what the
/// server has done with the request.
pub fn is_connect_error(error: &BoxError) -> bool {
    let first: &(dyn StdError + 'static) = &**error;
    let sources = || std::iter::successors(Some(first), |&error| error.source());
    // The client knows whether there was a connection. The system's error for one that breaks may look the same.
    #[cfg(any(feature = "hyper", feature = "reqwest"))]
    if let Some(is_before) = sources().filter_map(client_says_unsent).reduce(|one, other| one || other) {
        return is_before;
    }
    sources().find_map(|error| error.downcast_ref::<io::Error>()).is_some_and(|error| {
        use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
        matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
    })
}

/// Returns whether a client's error says that the request was not sent or not processed, or `None` if it is not a
/// client's error.
#[cfg(any(feature = "hyper", feature = "reqwest"))]
fn client_says_unsent(error: &(dyn StdError + 'static)) -> Option<bool> {
    #[cfg(feature = "reqwest")]
    if let Some(error) = error.downcast_ref::<reqwest::Error>() {
        return Some(error.is_connect());
    }
    #[cfg(feature = "reqwest-middleware")]
    if let Some(reqwest_middleware::Error::Reqwest(error)) = error.downcast_ref() {
        return Some(error.is_connect());
    }
    #[cfg(feature = "hyper")]
    if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
        return Some(error.is_connect());
    }
    #[cfg(all(feature = "hyper", feature = "tls"))]
    if let Some(error) = error.downcast_ref::<crate::https::AutoError>() {
        return Some(error.is_connect());
    }
    // The connection was closed with the request still in its queue.
    #[cfg(feature = "hyper")]
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return Some(error.is_canceled());
    }
    let error = error.downcast_ref::<h2::Error>()?;
    // The server's GOAWAY fails a stream only if its id is beyond the last one; the others go on.
    let is_refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    Some(error.is_remote() && (error.is_go_away() || is_refused))
}
