//! Reading the beginning of an error's body, in which some vendors say when to come back.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::content_coding;
use super::peeked::{BodyPrefix, MAX_READ, Peek, PeekedBody};
use crate::accessors::accessors;
use crate::pool::Pool;

/// How long to wait for the beginning of a body. What has arrived by then is read.
const PATIENCE: Duration = Duration::from_millis(500);

/// Reads the beginning of an error's body if the pool's provider
/// [wants](crate::provider::Provider::body_prefix) to see it, so that the other layers know the limits and
/// verdicts in it: Google's `RetryInfo`, for example, or OpenAI's `usage_limit_reached`.
///
/// It belongs under all other layers. The caller still gets the whole body, unchanged. A success, and an error
/// whose body the provider does not want, passes untouched. Without this layer, a limit whose time is only in the
/// body counts as one without a time.
///
/// With the feature `decompress`, which `providers` implies, compressed bodies are read, too, in the usual
/// [codings](Self::CODINGS), even in several of them. No more is decompressed than is read.
///
/// ```
/// # use tower_credentials::{CredentialsLayer, ErrorBodyLayer, Pool};
/// # fn stack(pool: Pool) {
/// let layers = tower::ServiceBuilder::new()
///     .layer(CredentialsLayer::new(pool.clone()))
///     .layer(ErrorBodyLayer::new(pool));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ErrorBodyLayer {
    pool: Pool,
}

impl ErrorBodyLayer {
    /// The content codings that can be decoded, as `accept-encoding` names them. If a client asks for others, the
    /// layers can't read what its errors say.
    pub const CODINGS: &[&str] = content_coding::READABLE;

    /// Creates a layer that reads for the provider of this pool.
    pub fn new(pool: Pool) -> Self {
        Self { pool }
    }
}

impl<S> Layer<S> for ErrorBodyLayer {
    type Service = ErrorBody<S>;

    fn layer(&self, inner: S) -> ErrorBody<S> {
        ErrorBody { inner, pool: self.pool.clone() }
    }
}

/// The service of [`ErrorBodyLayer`].
#[derive(Clone, Debug)]
pub struct ErrorBody<S> {
    inner: S,
    pool: Pool,
}

accessors!(ErrorBody, inner);

impl<S, B, R> Service<Request<B>> for ErrorBody<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body,
{
    type Response = Response<PeekedBody<R>>;
    type Error = S::Error;
    type Future = ErrorBodyFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let future = self.inner.call(request);
        ErrorBodyFuture { stage: Stage::Call { future }, pool: self.pool.clone() }
    }
}

pin_project! {
    /// The future of [`ErrorBody`].
    #[doc(hidden)]
    pub struct ErrorBodyFuture<F, R>
    where
        R: Body,
    {
        #[pin]
        stage: Stage<F, R>,
        pool: Pool,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<F, R>
    where
        R: Body,
    {
        Call { #[pin] future: F },
        Read { reading: Pin<Box<Reading<R>>> },
        Done,
    }
}

pin_project! {
    struct Reading<R>
    where
        R: Body,
    {
        head: Option<response::Parts>,
        #[pin]
        peek: Peek<R>,
        // How much of the body must be read, and how much the provider wants to see.
        wanted: usize,
        shown: usize,
        prefix: BytesMut,
    }
}

impl<F, R, E> Future for ErrorBodyFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body,
{
    type Output = Result<Response<PeekedBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.stage.as_mut().project() {
                StageProj::Call { future } => {
                    let (head, body) = ready!(future.poll(cx))?.into_parts();
                    let is_error = head.status.is_client_error() || head.status.is_server_error();
                    let wanted =
                        if is_error { this.pool.provider().body_prefix(head.status) } else { 0 };
                    if wanted == 0 {
                        this.stage.set(Stage::Done);
                        return Poll::Ready(Ok(Response::from_parts(head, PeekedBody::unread(body))));
                    }
                    let shown = wanted.min(MAX_READ);
                    let wanted = match content_coding::is_coded(&head.headers) {
                        true => shown.max(content_coding::MAX_COMPRESSED),
                        false => shown,
                    };
                    let reading = Box::pin(Reading {
                        head: Some(head),
                        peek: Peek::new(body, PATIENCE),
                        wanted,
                        shown,
                        prefix: BytesMut::new(),
                    });
                    this.stage.set(Stage::Read { reading });
                }
                StageProj::Read { reading } => {
                    let response = ready!(reading.as_mut().poll_response(cx));
                    this.stage.set(Stage::Done);
                    if let Some(response) = response {
                        return Poll::Ready(Ok(response));
                    }
                }
                // Polled after its end.
                StageProj::Done => return Poll::Pending,
            }
        }
    }
}

impl<R: Body> Reading<R> {
    fn poll_response(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Response<PeekedBody<R>>>> {
        let mut this = self.project();
        while this.prefix.len() < *this.wanted
            && let Some(data) = ready!(this.peek.as_mut().poll_data(cx))
        {
            let room = *this.wanted - this.prefix.len();
            this.prefix.extend_from_slice(&data[..data.len().min(room)]);
        }
        let whole = this.head.take().zip(this.peek.whole());
        Poll::Ready(whole.map(|(mut head, body)| {
            let prefix = this.prefix.split().freeze();
            head.extensions.insert(BodyPrefix(readable(&head.headers, prefix, *this.shown)));
            Response::from_parts(head, body)
        }))
    }
}

/// Returns the text of this beginning of a body, at most this many bytes of it.
fn readable(headers: &HeaderMap, prefix: Bytes, limit: usize) -> Bytes {
    if !content_coding::is_coded(headers) {
        return prefix;
    }
    match content_coding::decoded(headers, &prefix, limit) {
        Some(text) => text.into(),
        // In an unknown coding there may still be text: some servers only say that they compress.
        None => prefix.slice(..prefix.len().min(limit)),
    }
}

impl<F, R: Body> fmt::Debug for ErrorBodyFuture<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ErrorBodyFuture")
    }
}
