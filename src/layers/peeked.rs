//! Bodies whose beginning is read before they are handed on.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

/// The most that is read of an error's body, in bytes, whatever a provider asks for.
pub(super) const MAX_READ: usize = 64 * 1024;

/// The most frames that are read, however short. They are kept, and empty ones bring the end no nearer.
const MAX_FRAMES: usize = 1024;

/// The beginning of a response's body, among the response's extensions.
#[derive(Clone)]
pub(crate) struct BodyPrefix(pub(crate) Bytes);

/// Marks a response, among its extensions, in which the server has failed in place of the content of a stream.
#[cfg(feature = "providers")]
#[derive(Clone, Copy)]
pub(super) struct FailedStream;

/// An item of a body.
type FrameResult<B> = Result<Frame<Bytes>, <B as Body>::Error>;

pin_project! {
    /// A body whose beginning is being read, for a time. All that is read is kept.
    pub(super) struct Peek<B>
    where
        B: Body,
    {
        body: Option<Pin<Box<B>>>,
        read: VecDeque<FrameResult<B>>,
        ended: bool,
        // Whether nothing more is read: after trailers or an error, and after the time.
        over: bool,
        #[pin]
        timer: Sleep,
    }
}

impl<B: Body> Peek<B> {
    /// Begins to read a body. What has arrived after this time is the beginning.
    pub(super) fn new(body: B, patience: Duration) -> Self {
        Self {
            body: Some(Box::pin(body)),
            read: VecDeque::new(),
            ended: false,
            over: false,
            timer: sleep(patience),
        }
    }

    /// Reads the next piece. `None` means that there is no other, or that it is not there in time.
    pub(super) fn poll_data(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let this = self.project();
        let Some(body) = this.body else { return Poll::Ready(None) };
        if *this.over || this.read.len() >= MAX_FRAMES || body.is_end_stream() {
            return Poll::Ready(None);
        }
        let data = match body.as_mut().poll_frame(cx) {
            Poll::Ready(Some(frame)) => {
                let frame = frame.map(whole);
                let data = frame.as_ref().ok().and_then(Frame::data_ref).cloned();
                this.read.push_back(frame);
                data
            }
            Poll::Ready(None) => {
                *this.ended = true;
                None
            }
            Poll::Pending => {
                ready!(this.timer.poll(cx));
                None
            }
        };
        *this.over = data.is_none();
        Poll::Ready(data)
    }

    /// Returns the whole body, with what was read in front of the rest.
    pub(super) fn whole(self: Pin<&mut Self>) -> Option<PeekedBody<B>> {
        let this = self.project();
        let body = this.body.take()?;
        let rest = if *this.ended { Rest::Ended } else { Rest::Begun { body } };
        Some(PeekedBody { read: std::mem::take(this.read), rest })
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
    pub(super) fn unread(body: B) -> Self {
        Self { read: VecDeque::new(), rest: Rest::Unread { body } }
    }

    /// Returns a body of these bytes, in place of another.
    #[cfg(feature = "providers")]
    pub(super) fn of(bytes: Bytes) -> Self {
        Self { read: VecDeque::from([Ok(Frame::data(bytes))]), rest: Rest::Ended }
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
