//! The bodies of requests on their way to the upstream, and of responses on their way to the client.

use std::error::Error;
use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_credentials::BoxError;
use tower_credentials::provider::Provider;
use tower_credentials::service::ReplayBody;

use super::access::Seen;
use super::forward;
use super::responses::OwnBody;
use super::under_way::Uploading;

/// How long a client may pause while it sends a body.
const IDLE: Duration = Duration::from_secs(60);

/// A request's body: whole, or recorded as it comes. Either can be sent again.
pub(crate) type RequestBody = Either<Full<Bytes>, ReplayBody<Upload>>;

pin_project! {
    /// A client's body, which says whether the client has broken it off. It fails if the client pauses for too long.
    // tower-http's `TimeoutBody` does not say how long the body is, so it would be sent in chunks.
    pub(crate) struct Upload {
        #[pin]
        body: Incoming,
        #[pin]
        idle: Option<Sleep>,
        broken_off: BrokenOff,
        // Whose accounts the request gets, once that is known.
        provider: Option<Arc<dyn Provider>>,
        // Dropped after the body.
        uploading: Option<Uploading>,
    }
}

/// Why a client's body did not come as it should.
#[derive(Debug)]
pub(crate) enum UploadError {
    BrokenOff(hyper::Error),
    Idle,
}

impl fmt::Display for UploadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BrokenOff(_) => "the client has broken off its request",
            Self::Idle => "the client has sent nothing of its request's body for a minute",
        })
    }
}

impl Error for UploadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::BrokenOff(error) => Some(error),
            Self::Idle => None,
        }
    }
}

/// Whether a client has broken off its request, or paused for too long. `None` if its body is there.
#[derive(Clone, Debug, Default)]
pub(super) struct BrokenOff(Option<Arc<AtomicBool>>);

impl BrokenOff {
    fn of_stream() -> Self {
        Self(Some(Arc::default()))
    }

    pub(super) fn get(&self) -> bool {
        self.0.as_ref().is_some_and(|is| is.load(Ordering::Relaxed))
    }

    fn set(&self) {
        self.0.iter().for_each(|is| is.store(true, Ordering::Relaxed));
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let mut this = self.project();
        if let Poll::Ready(frame) = this.body.poll_frame(cx) {
            this.idle.set(None);
            let mut frame = frame.map(|frame| frame.map_err(UploadError::BrokenOff));
            match &mut frame {
                Some(Ok(frame)) => {
                    if let Some(trailers) = frame.trailers_mut() {
                        let provider = this.provider.as_ref();
                        let names = provider.map_or(&[][..], |provider| provider.header_names());
                        forward::request_trailers(trailers, names);
                    }
                }
                Some(Err(_)) => this.broken_off.set(),
                None => {}
            }
            return Poll::Ready(frame);
        }
        if this.idle.is_none() {
            this.idle.set(Some(tokio::time::sleep(IDLE)));
        }
        let idle = this.idle.as_mut().as_pin_mut();
        ready!(idle.map_or(Poll::Pending, |idle| idle.poll(cx)));
        this.broken_off.set();
        Poll::Ready(Some(Err(UploadError::Idle)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Upload {
    /// Reads it to its end. Most come in one piece, which is not copied.
    async fn whole(self) -> Result<Bytes, UploadError> {
        let mut body = pin!(self);
        let (mut first, mut all) = (Bytes::new(), BytesMut::new());
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame?.into_data() else { continue };
            if first.is_empty() {
                first = piece;
                continue;
            }
            if all.is_empty() {
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&piece);
        }
        Ok(if all.is_empty() { first } else { all.freeze() })
    }
}

/// A request's body, as far as it is there.
pub(super) enum Received {
    Whole(Bytes),
    Streams(Upload),
}

impl Received {
    /// Reads a body that may name a model, if it is no longer than `bound` bytes: which account is free depends on the model.
    pub(super) async fn read(
        headers: &HeaderMap,
        body: Incoming,
        bound: u64,
        uploading: Option<Uploading>,
    ) -> Result<(Self, BrokenOff), UploadError> {
        if body.is_end_stream() {
            return Ok((Self::Whole(Bytes::new()), BrokenOff::default()));
        }
        let may_name_a_model =
            is_json(headers) && body.size_hint().exact().is_some_and(|size| size <= bound);
        let broken_off = if may_name_a_model { BrokenOff::default() } else { BrokenOff::of_stream() };
        let body =
            Upload { body, idle: None, broken_off: broken_off.clone(), provider: None, uploading };
        Ok(match may_name_a_model {
            true => (Self::Whole(body.whole().await?), broken_off),
            false => (Self::Streams(body), broken_off),
        })
    }

    /// What can be searched for a model. It is not copied.
    pub(super) fn beginning(&self) -> Bytes {
        match self {
            Self::Whole(body) => body.clone(),
            Self::Streams(_) => Bytes::new(),
        }
    }

    /// Returns the body for the upstream of a provider. Up to `bound` bytes of a stream are recorded.
    pub(super) fn into_body(self, provider: &Arc<dyn Provider>, bound: u64) -> RequestBody {
        match self {
            Self::Whole(body) => Either::Left(Full::new(body)),
            Self::Streams(body) => {
                let body = Upload { provider: Some(provider.clone()), ..body };
                Either::Right(ReplayBody::with_bound(body, bound))
            }
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return false };
    if kind == "application/json" {
        return true;
    }
    let kind = kind.to_str().ok().and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json") || kind.to_ascii_lowercase().ends_with("+json")
}

pin_project! {
    /// A response's body, which is noted as it passes.
    pub(crate) struct ResponseBody<B> {
        #[pin]
        body: Either<B, OwnBody>,
        seen: Seen,
    }
}

impl<B> ResponseBody<B> {
    pub(super) fn of_upstream(body: B, mut seen: Seen) -> Self
    where
        B: Body,
    {
        if body.is_end_stream() {
            seen.ended();
        }
        Self { body: Either::Left(body), seen }
    }

    pub(super) fn own(body: OwnBody, seen: Seen) -> Self {
        Self { body: Either::Right(body), seen }
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        let mut frame = ready!(this.body.as_mut().poll_frame(cx));
        match &mut frame {
            Some(Ok(frame)) => {
                let is_last = this.body.is_end_stream();
                this.seen.sent(frame.data_ref().map_or(&[], AsRef::as_ref), is_last);
                if let Some(trailers) = frame.trailers_mut() {
                    forward::response_trailers(trailers);
                }
            }
            Some(Err(_)) => return Poll::Ready(frame),
            None => {}
        }
        // A body of a known length is not polled again at its end.
        if frame.is_none() || this.body.is_end_stream() {
            this.seen.ended();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
