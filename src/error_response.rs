//! Errors of this crate as responses, for callers who would rather have those.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{Either, Empty};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::BoxError;
use crate::access::access;
use crate::error::Error;

/// Turns [`Error::AllCoolingDown`] into a 429 with `retry-after` (RFC 9110, section 10.2.3) and
/// `retry-after-ms`. Put it over the other layers; every other error passes.
///
/// A layer of its own since the response it makes has a body of its own: an empty one, which most
/// clients' body types can't be made of.
#[derive(Clone, Copy, Debug, Default)]
pub struct ErrorResponseLayer;

impl ErrorResponseLayer {
    /// The layer.
    pub fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for ErrorResponseLayer {
    type Service = ErrorResponse<S>;

    fn layer(&self, inner: S) -> ErrorResponse<S> {
        ErrorResponse { inner }
    }
}

/// The service of [`ErrorResponseLayer`].
#[derive(Clone, Copy, Debug)]
pub struct ErrorResponse<S> {
    inner: S,
}

access!(ErrorResponse, inner);

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
        ErrorResponseFuture { inner: self.inner.call(request) }
    }
}

pin_project! {
    /// The response of [`ErrorResponse`].
    #[derive(Debug)]
    pub struct ErrorResponseFuture<F> {
        #[pin]
        inner: F,
    }
}

impl<F, R> Future for ErrorResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, BoxError>>,
{
    type Output = Result<Response<Either<R, Empty<Bytes>>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(self.project().inner.poll(cx));
        Poll::Ready(match result {
            Ok(response) => Ok(response.map(Either::Left)),
            Err(error) => match error.downcast_ref() {
                Some(Error::AllCoolingDown { retry_after, .. }) => {
                    let milliseconds = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
                    let mut response = Response::new(Either::Right(Empty::new()));
                    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
                    let headers = response.headers_mut();
                    // Whole seconds, and never too few.
                    let seconds = HeaderValue::from(milliseconds.div_ceil(1000));
                    headers.insert(header::RETRY_AFTER, seconds);
                    let name = HeaderName::from_static("retry-after-ms");
                    headers.insert(name, HeaderValue::from(milliseconds));
                    Ok(response)
                }
                _ => Err(error),
            },
        })
    }
}
