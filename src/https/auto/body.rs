//! The body of a response, which counts as a request under way on its connection until it has ended.

use std::fmt;
use std::pin::Pin;
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
        stream: Option<Stream>,
    }
}

impl AutoBody {
    pub(super) fn http1(body: Incoming) -> Self {
        Self { body, stream: None }
    }

    pub(super) fn http2(body: Incoming, stream: Stream) -> Self {
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
