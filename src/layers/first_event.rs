//! Looking at the first events of a response that streams, since a 200 may carry an error in place of content.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header, response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::content_coding;
use super::event_reader::EventReader;
use super::peeked::{BodyPrefix, FailedStream, MAX_READ, Peek, PeekedBody};
use super::response_class::ResponseClass;
use crate::accessors::accessors;
use crate::pool::Pool;
use crate::provider::{EventMeaning, StreamEvent, is_servers_own};

/// Looks at the first events of a response that streams, before the response is handed on. If one of them is an error
/// that the layers above act on, the response becomes that error: the request then goes on with another account, as after
/// the same error without a stream.
///
/// Vendors send the head of a stream before they know whether the request will work. An account that is limited may get a
/// 200 whose first event is Anthropic's `rate_limit_error` or OpenAI's `response.failed`, after events that say nothing
/// yet, such as `message_start` and `ping`. The pool's provider [knows](crate::provider::Provider::event) which event
/// means what.
///
/// - *An error before any content* becomes a response with the status that the vendor sends without a stream
///   (`rate_limit_error` is a 429), and with the error as a JSON body. The other headers stay, and the rest of the stream
///   is dropped. If no other account is left, the caller gets this response: an SDK knows how to treat it, and when to
///   try again.
/// - *An error on which the layers would not act* is left in its stream, which is handed on unchanged. Those of the server
///   itself are such errors, such as Anthropic's `overloaded_error`, unless the pool
///   [rotates](crate::PoolBuilder::rotate_overloads) on them, or its [cooldowns](crate::Cooldowns::limited_statuses) or a
///   [rule](crate::provider::ResponseRule) call them a limit.
/// - *After the first content* the stream is the caller's, whatever it says later.
///
/// Responses with status 200 and the type `text/event-stream` are looked at. No more than a [bound](Self::bound) of bytes
/// and time is waited for. A stream that tells nothing by then is handed on, byte for byte, like one with content. A
/// compressed stream is not looked at.
///
/// It belongs under all other layers, also under [`ErrorBodyLayer`](crate::ErrorBodyLayer), which it does not need.
///
/// ```
/// # use tower_credentials::{CredentialsLayer, ErrorBodyLayer, FirstEventLayer, Pool};
/// use std::time::Duration;
///
/// # fn stack(pool: Pool) {
/// let layers = tower::ServiceBuilder::new()
///     .layer(CredentialsLayer::new(pool.clone()))
///     .layer(ErrorBodyLayer::new(pool.clone()))
///     .layer(FirstEventLayer::new(pool).bound(64 * 1024, Duration::from_secs(2)));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FirstEventLayer {
    pool: Pool,
    bound: Bound,
}

/// How much of a stream is waited for.
#[derive(Clone, Copy, Debug)]
struct Bound {
    bytes: usize,
    time: Duration,
}

impl FirstEventLayer {
    /// Creates a layer that looks at streams for the provider of this pool.
    pub fn new(pool: Pool) -> Self {
        // OpenAI's first two events both repeat the request's instructions and tools.
        Self { pool, bound: Bound { bytes: 128 * 1024, time: Duration::from_secs(5) } }
    }

    /// Sets how much of a stream is waited for, in bytes and in time since its head. Defaults to 128 KiB and 5 s.
    ///
    /// A caller waits for the head of a stream that tells nothing until then. Content is never held back.
    #[must_use]
    pub fn bound(mut self, bytes: usize, time: Duration) -> Self {
        self.bound = Bound { bytes, time };
        self
    }
}

impl<S> Layer<S> for FirstEventLayer {
    type Service = FirstEvent<S>;

    fn layer(&self, inner: S) -> FirstEvent<S> {
        FirstEvent { inner, pool: self.pool.clone(), bound: self.bound }
    }
}

/// The service of [`FirstEventLayer`].
#[derive(Clone, Debug)]
pub struct FirstEvent<S> {
    inner: S,
    pool: Pool,
    bound: Bound,
}

accessors!(FirstEvent, inner);

impl<S, B, R> Service<Request<B>> for FirstEvent<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body,
{
    type Response = Response<PeekedBody<R>>;
    type Error = S::Error;
    type Future = FirstEventFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let future = self.inner.call(request);
        FirstEventFuture { stage: Stage::Call { future }, pool: self.pool.clone(), bound: self.bound }
    }
}

pin_project! {
    /// The future of [`FirstEvent`].
    #[doc(hidden)]
    pub struct FirstEventFuture<F, R>
    where
        R: Body,
    {
        #[pin]
        stage: Stage<F, R>,
        pool: Pool,
        bound: Bound,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<F, R>
    where
        R: Body,
    {
        Call { #[pin] future: F },
        // On the heap, so that responses that don't stream pay nothing for it.
        Look { look: Pin<Box<Look<R>>> },
        Done,
    }
}

pin_project! {
    /// A stream whose first events are being looked at.
    struct Look<R>
    where
        R: Body,
    {
        head: Option<response::Parts>,
        #[pin]
        peek: Peek<R>,
        events: EventReader,
        // How many more bytes may be looked at.
        left: usize,
    }
}

impl<F, R, E> Future for FirstEventFuture<F, R>
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
                    let response = ready!(future.poll(cx))?;
                    if !is_event_stream(&response) {
                        this.stage.set(Stage::Done);
                        return Poll::Ready(Ok(response.map(PeekedBody::unread)));
                    }
                    let (head, body) = response.into_parts();
                    let look = Box::pin(Look {
                        head: Some(head),
                        peek: Peek::new(body, this.bound.time),
                        events: EventReader::default(),
                        left: this.bound.bytes,
                    });
                    this.stage.set(Stage::Look { look });
                }
                StageProj::Look { look } => {
                    let response = ready!(look.as_mut().poll_response(this.pool, cx));
                    // Drops the rest of a stream that has become an error.
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

impl<R: Body> Look<R> {
    fn poll_response(
        mut self: Pin<&mut Self>,
        pool: &Pool,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Response<PeekedBody<R>>>> {
        let meaning = ready!(self.as_mut().poll_meaning(pool, cx));
        let this = self.project();
        let Some(head) = this.head.take() else { return Poll::Ready(None) };
        let head = match meaning {
            EventMeaning::Error { status, body } => match into_error(pool, head, status, &body) {
                Ok(head) => {
                    let body = PeekedBody::of(body);
                    return Poll::Ready(Some(Response::from_parts(head, body)));
                }
                Err(head) => head,
            },
            EventMeaning::Nothing | EventMeaning::Content => head,
        };
        Poll::Ready(this.peek.whole().map(|body| Response::from_parts(head, body)))
    }

    /// Reads up to the first event that means something, within the bound.
    fn poll_meaning(self: Pin<&mut Self>, pool: &Pool, cx: &mut Context<'_>) -> Poll<EventMeaning> {
        let mut this = self.project();
        while *this.left > 0
            && let Some(data) = ready!(this.peek.as_mut().poll_data(cx))
        {
            let mut seen = &data[..data.len().min(*this.left)];
            *this.left -= seen.len();
            while let Some(event) = this.events.next(&mut seen) {
                match pool.provider().event(&StreamEvent::new(&event.name, &event.data)) {
                    EventMeaning::Nothing => {}
                    meaning => return Poll::Ready(meaning),
                }
            }
        }
        Poll::Ready(EventMeaning::Nothing)
    }
}

/// Whether a response streams events that can be read. One that has no body, as after a HEAD, does not.
fn is_event_stream<R: Body>(response: &Response<R>) -> bool {
    let headers = response.headers();
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return false };
    let kind = kind.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    response.status() == StatusCode::OK
        && kind.eq_ignore_ascii_case(b"text/event-stream")
        && !content_coding::is_coded(headers)
        && !response.body().is_end_stream()
}

/// Turns the head of a stream into that of an error with this status and body, if the layers above act on it. Returns the
/// head unchanged otherwise.
fn into_error(
    pool: &Pool,
    mut head: response::Parts,
    status: StatusCode,
    body: &Bytes,
) -> Result<response::Parts, response::Parts> {
    let mut error = Response::new(());
    *error.status_mut() = status;
    let headers = error.headers_mut();
    headers.clone_from(&head.headers);
    // These are about the stream.
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(header::TRAILER);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    let shown = pool.provider().body_prefix(status).min(MAX_READ).min(body.len());
    let prefix = BodyPrefix(body.slice(..shown));
    error.extensions_mut().insert(prefix);
    if status.is_server_error() && is_servers_own(body) {
        error.extensions_mut().insert(FailedStream);
    }
    let (class, _) = ResponseClass::of(pool, &error);
    if matches!(class, ResponseClass::Good | ResponseClass::Other) {
        return Err(head);
    }
    head.status = status;
    head.headers = std::mem::take(error.headers_mut());
    head.extensions.extend(std::mem::take(error.extensions_mut()));
    Ok(head)
}

impl<F, R: Body> fmt::Debug for FirstEventFuture<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FirstEventFuture")
    }
}
