//! The bodies of a request and of its response. It counts as under way on its connection until both have ended.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;

use super::origin::Stream;

pin_project! {
    /// The body of a response of an [`AutoClient`](super::AutoClient).
    pub struct AutoBody {
        #[pin]
        body: Incoming,
        // Its place on a connection of HTTP/2.
        stream: Option<Arc<Stream>>,
    }
}

impl AutoBody {
    pub(super) fn http1(body: Incoming) -> Self {
        Self { body, stream: None }
    }

    pub(super) fn http2(body: Incoming, stream: Arc<Stream>) -> Self {
        let stream = Some(stream).filter(|_| !body.is_end_stream());
        Self { body, stream }
    }
}

impl Body for AutoBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || this.body.is_end_stream() {
            *this.stream = None;
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

impl fmt::Debug for AutoBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AutoBody").finish_non_exhaustive()
    }
}

/// The body of a request on a connection of HTTP/2. A body that has ended stays with the client, which can send it again.
pub(super) struct Sent<B> {
    body: Option<B>,
    exact_length: Option<u64>,
    // A server may respond before it has read all. Its limit holds for what is still being sent, too.
    _stream: Option<Arc<Stream>>,
}

impl<B: Body> Sent<B> {
    pub(super) fn whole(body: B, stream: Arc<Stream>) -> Self {
        Self { body: Some(body), exact_length: None, _stream: Some(stream) }
    }

    /// In place of a body that has ended.
    pub(super) fn ended(body: &B) -> Self {
        Self { body: None, exact_length: body.size_hint().exact(), _stream: None }
    }

    /// The body, unless it has stayed with the client.
    pub(super) fn into_inner(self) -> Option<B> {
        self.body
    }
}

impl<B: Body + Unpin> Body for Sent<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.body, self.exact_length) {
            (Some(body), _) => body.size_hint(),
            (None, Some(length)) => SizeHint::with_exact(length),
            (None, None) => SizeHint::new(),
        }
    }
}
