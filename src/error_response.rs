//! Errors of this crate as responses, for callers who prefer those.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{Either, Empty};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::BoxError;
use crate::accessors::accessors;
use crate::error::Error;
use crate::layers::NextReady;

/// Turns [`Error::AllCoolingDown`] into a 429, with `retry-after` (RFC 9110, section 10.2.3) and `retry-after-ms` if an
/// upstream has stated the time. Put it above the other layers. Every other error passes.
///
/// A guessed time is left out, since many SDKs sleep for as long as these headers say. Without them they retry and give
/// up within seconds.
///
/// It is a layer of its own because its response has another body: an empty one, which most clients' body types can't
/// be made from.
///
/// For callers that know nothing about this crate, such as those of a gateway, it can also rewrite the other 429s, and
/// say when waiting is of no use:
///
/// ```
/// use std::time::Duration;
/// use tower_credentials::ErrorResponseLayer;
///
/// let layer = ErrorResponseLayer::new().restate_limits().no_retry_beyond(Duration::from_secs(60));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ErrorResponseLayer {
    options: Options,
}

#[derive(Clone, Copy, Debug, Default)]
struct Options {
    restates: bool,
    no_retry_beyond: Option<Duration>,
}

impl ErrorResponseLayer {
    /// Creates the layer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Also replaces `retry-after` and `retry-after-ms` on the final 429 of a used-up pool with the time until the next
    /// credential is ready, or removes them if that time is a guess. The body is never changed. Defaults to off: the
    /// response is returned unchanged.
    #[must_use]
    pub fn restate_limits(mut self) -> Self {
        self.options.restates = true;
        self
    }

    /// Adds `x-should-retry: false` to these 429s if the next credential is ready later than this. Some SDKs sleep
    /// through a `retry-after` of any length; those of OpenAI and Anthropic obey this header. Defaults to never.
    #[must_use]
    pub fn no_retry_beyond(mut self, bound: Duration) -> Self {
        self.options.no_retry_beyond = Some(bound);
        self
    }
}

impl Options {
    /// Says when the next credential is ready, if that is known.
    fn state(self, headers: &mut HeaderMap, wait: Duration, is_known: bool) {
        if is_known {
            let milliseconds = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            // Whole seconds, rounded up.
            headers.insert(header::RETRY_AFTER, HeaderValue::from(milliseconds.div_ceil(1000)));
            headers.insert(RETRY_AFTER_MS, HeaderValue::from(milliseconds));
        } else {
            headers.remove(header::RETRY_AFTER);
            headers.remove(RETRY_AFTER_MS);
        }
        match self.no_retry_beyond {
            Some(bound) if wait > bound => {
                headers.insert(X_SHOULD_RETRY, HeaderValue::from_static("false"));
            }
            // The upstream's own header was about one account alone.
            _ => drop(headers.remove(X_SHOULD_RETRY)),
        }
    }
}

const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

impl<S> Layer<S> for ErrorResponseLayer {
    type Service = ErrorResponse<S>;

    fn layer(&self, inner: S) -> ErrorResponse<S> {
        ErrorResponse { inner, options: self.options }
    }
}

/// The service of [`ErrorResponseLayer`].
#[derive(Clone, Copy, Debug)]
pub struct ErrorResponse<S> {
    inner: S,
    options: Options,
}

accessors!(ErrorResponse, inner);

impl<S, B, R> Service<Request<B>> for ErrorResponse<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = BoxError>,
{
    type Response = Response<Either<R, Empty<Bytes>>>;
    type Error = BoxError;
    type Future = ErrorResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ErrorResponseFuture { inner: self.inner.call(request), options: self.options }
    }
}

pin_project! {
    /// The future of [`ErrorResponse`].
    #[doc(hidden)]
    #[derive(Debug)]
    pub struct ErrorResponseFuture<F> {
        #[pin]
        inner: F,
        options: Options,
    }
}

impl<F, R> Future for ErrorResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, BoxError>>,
{
    type Output = Result<Response<Either<R, Empty<Bytes>>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx));
        Poll::Ready(match result {
            Ok(mut response) => {
                if this.options.restates
                    && response.status() == StatusCode::TOO_MANY_REQUESTS
                    && let Some(next) = response.extensions().get::<NextReady>().copied()
                {
                    // If a credential is ready now, that is not a guess.
                    let is_known = next.is_stated() || next.wait().is_zero();
                    this.options.state(response.headers_mut(), next.wait(), is_known);
                }
                Ok(response.map(Either::Left))
            }
            Err(error) => match error.downcast_ref() {
                Some(Error::AllCoolingDown { retry_after, is_stated, .. }) => {
                    let mut response = Response::new(Either::Right(Empty::new()));
                    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
                    this.options.state(response.headers_mut(), *retry_after, *is_stated);
                    Ok(response)
                }
                _ => Err(error),
            },
        })
    }
}
