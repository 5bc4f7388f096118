//! Reading the beginning of an error's body, in which some vendors say when to come back.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Request, Response, response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower_layer::Layer;
use tower_service::Service;

use super::content_coding;
use crate::accessors::accessors;
use crate::pool::Pool;

/// The most that is read of a body, in bytes, whatever a provider asks for.
const MAX_READ: usize = 64 * 1024;

/// The most frames that are read, however short. They are kept, and empty ones bring the end no nearer.
const MAX_FRAMES: usize = 1024;

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
        Peek { peek: Pin<Box<Peek<R>>> },
        Done,
    }
}

pin_project! {
    struct Peek<R>
    where
        R: Body,
    {
        response: Option<(response::Parts, Pin<Box<R>>)>,
        read: VecDeque<FrameResult<R>>,
        ended: bool,
        // How much of the body must be read, and how much the provider wants to see.
        wanted: usize,
        shown: usize,
        prefix: BytesMut,
        #[pin]
        timer: Sleep,
    }
}

/// An item of a body.
type FrameResult<R> = Result<Frame<Bytes>, <R as Body>::Error>;

/// The beginning of a response's body, among the response's extensions.
#[derive(Clone)]
pub(crate) struct BodyPrefix(pub(crate) Bytes);

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
                    let peek = Box::pin(Peek {
                        response: Some((head, Box::pin(body))),
                        read: VecDeque::new(),
                        ended: false,
                        wanted,
                        shown,
                        prefix: BytesMut::new(),
                        timer: sleep(PATIENCE),
                    });
                    this.stage.set(Stage::Peek { peek });
                }
                StageProj::Peek { peek } => {
                    if let Some(response) = ready!(peek.as_mut().poll_response(cx)) {
                        this.stage.set(Stage::Done);
                        return Poll::Ready(Ok(response));
                    }
                    this.stage.set(Stage::Done);
                }
                // Polled after its end.
                StageProj::Done => return Poll::Pending,
            }
        }
    }
}

impl<R: Body> Peek<R> {
    fn poll_response(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Response<PeekedBody<R>>>> {
        let mut this = self.project();
        while this.prefix.len() < *this.wanted
            && this.read.len() < MAX_FRAMES
            && let Some((_, body)) = this.response
            && !body.is_end_stream()
        {
            let frame = match body.as_mut().poll_frame(cx) {
                Poll::Ready(Some(frame)) => frame.map(whole),
                Poll::Ready(None) => {
                    *this.ended = true;
                    break;
                }
                Poll::Pending => {
                    ready!(this.timer.as_mut().poll(cx));
                    break;
                }
            };
            let data = frame.as_ref().ok().and_then(Frame::data_ref);
            let is_last = data.is_none();
            if let Some(data) = data {
                let room = *this.wanted - this.prefix.len();
                this.prefix.extend_from_slice(&data[..data.len().min(room)]);
            }
            this.read.push_back(frame);
            if is_last {
                // Trailers or an error: the body ends here.
                break;
            }
        }
        Poll::Ready(this.response.take().map(|(mut head, body)| {
            let prefix = this.prefix.split().freeze();
            head.extensions.insert(BodyPrefix(readable(&head.headers, prefix, *this.shown)));
            let rest = if *this.ended { Rest::Ended } else { Rest::Begun { body } };
            Response::from_parts(head, PeekedBody { read: std::mem::take(this.read), rest })
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

/// Makes a frame's data one piece.
fn whole<D: Buf>(frame: Frame<D>) -> Frame<Bytes> {
    frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
}

pin_project! {
    /// A response body whose beginning may have been read already. It yields the whole body, as [`Bytes`].
    pub struct PeekedBody<B>
    where
        B: Body,
    {
        read: VecDeque<FrameResult<B>>,
        #[pin]
        rest: Rest<B>,
    }
}

pin_project! {
    #[project = RestProj]
    enum Rest<B> {
        Unread { #[pin] body: B },
        // On the heap, since a body must not move once it has been polled.
        Begun { body: Pin<Box<B>> },
        // Many bodies must not be polled after their end.
        Ended,
    }
}

impl<B: Body> PeekedBody<B> {
    fn unread(body: B) -> Self {
        Self { read: VecDeque::new(), rest: Rest::Unread { body } }
    }

    fn rest(&self) -> Option<&B> {
        match &self.rest {
            Rest::Unread { body } => Some(body),
            Rest::Begun { body } => Some(body),
            Rest::Ended => None,
        }
    }
}

impl<B: Body> Body for PeekedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FrameResult<B>>> {
        let this = self.project();
        if let Some(frame) = this.read.pop_front() {
            return Poll::Ready(Some(frame));
        }
        let frame = match this.rest.project() {
            RestProj::Unread { body } => ready!(body.poll_frame(cx)),
            RestProj::Begun { body } => ready!(body.as_mut().poll_frame(cx)),
            RestProj::Ended => None,
        };
        Poll::Ready(frame.map(|frame| frame.map(whole)))
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.rest().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let data =
            |frame: &FrameResult<B>| frame.as_ref().ok().and_then(Frame::data_ref).map_or(0, Bytes::len);
        let read: u64 = self.read.iter().map(|frame| data(frame) as u64).sum();
        let rest = self.rest().map_or_else(|| SizeHint::with_exact(0), B::size_hint);
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(read));
        }
        hint.set_lower(rest.lower().saturating_add(read));
        hint
    }
}

impl<B: Body> fmt::Debug for PeekedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeekedBody").field("read", &self.read.len()).finish_non_exhaustive()
    }
}

impl<F, R: Body> fmt::Debug for ErrorBodyFuture<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ErrorBodyFuture")
    }
}
