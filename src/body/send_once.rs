//! Bodies that are sent once.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// A body that is sent at most once.
    ///
    /// Wrap a body in it whose type doesn't implement [`TryCloneBody`](crate::TryCloneBody).
    #[derive(Debug, Default)]
    pub struct SendOnce<B> {
        #[pin]
        inner: B,
    }
}

impl<B> SendOnce<B> {
    /// Wraps a body.
    pub fn new(inner: B) -> Self {
        Self { inner }
    }

    /// Returns the body.
    pub fn get_ref(&self) -> &B {
        &self.inner
    }

    /// Returns the body, mutably.
    pub fn get_mut(&mut self) -> &mut B {
        &mut self.inner
    }

    /// Unwraps the body.
    pub fn into_inner(self) -> B {
        self.inner
    }
}

impl<B> From<B> for SendOnce<B> {
    fn from(inner: B) -> Self {
        Self::new(inner)
    }
}

impl<B: Body> Body for SendOnce<B> {
    type Data = B::Data;
    type Error = B::Error;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.project().inner.poll_frame(cx)
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
