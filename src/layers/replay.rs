//! Recording request bodies, so that they can be sent again.

use std::task::{Context, Poll};

use http::Request;
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::accessors::accessors;
use crate::body::{BOUND, ReplayBody};

/// Makes the body of each request a [`ReplayBody`], so that the layers under this one can send a request again
/// even if its body is a stream.
///
/// ```
/// use http_body_util::combinators::BoxBody;
/// use http_body_util::{BodyExt, Full};
/// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
/// # use http::{Request, Response};
/// use tower_credentials::{CredentialsLayer, ReplayBody, ReplayLayer};
/// # use tower_credentials::Pool;
///
/// # async fn send(pool: Pool) -> Result<(), BoxError> {
/// # let client = service_fn(async |_: Request<ReplayBody<BoxBody<bytes::Bytes, BoxError>>>| {
/// #     Ok::<_, BoxError>(Response::new(String::new()))
/// # });
/// let client = ServiceBuilder::new()
///     .layer(ReplayLayer::new().bound(256 * 1024))
///     .layer(CredentialsLayer::new(pool))
///     .service(client);
/// let body = BoxBody::new(Full::from("a question").map_err(BoxError::from));
/// client.oneshot(Request::post("https://api.example.com/v1").body(body)?).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ReplayLayer {
    bound: u64,
}

impl ReplayLayer {
    /// Creates a layer that records up to 2 MiB of each body.
    pub fn new() -> Self {
        Self { bound: BOUND }
    }

    /// Sets how much of each body is recorded, in bytes. Defaults to 2 MiB. A request with a longer body is sent once.
    #[must_use]
    pub fn bound(mut self, bytes: u64) -> Self {
        self.bound = bytes;
        self
    }
}

impl Default for ReplayLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for ReplayLayer {
    type Service = Replay<S>;

    fn layer(&self, inner: S) -> Replay<S> {
        Replay { inner, bound: self.bound }
    }
}

/// The service of [`ReplayLayer`].
#[derive(Clone, Debug)]
pub struct Replay<S> {
    inner: S,
    bound: u64,
}

impl<S> Replay<S> {
    /// Wraps a service, and records up to 2 MiB of each body. For another bound, see [`ReplayLayer::bound`].
    pub fn new(inner: S) -> Self {
        ReplayLayer::new().layer(inner)
    }

    /// Creates the layer of this service.
    pub fn layer() -> ReplayLayer {
        ReplayLayer::new()
    }
}

accessors!(Replay, inner);

impl<S, B> Service<Request<B>> for Replay<S>
where
    S: Service<Request<ReplayBody<B>>>,
    B: Body,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        self.inner.call(request.map(|body| ReplayBody::with_bound(body, self.bound)))
    }
}
