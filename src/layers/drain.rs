//! Reading the rest of a response that is discarded, so that its connection can be used again.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

/// The most that is read of a discarded body, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct DrainBound {
    /// In bytes.
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
}

impl Default for DrainBound {
    fn default() -> Self {
        Self { bytes: 64 * 1024, time: Duration::from_millis(100) }
    }
}

pin_project! {
    /// A future that reads a body to its end, or to the bound.
    pub struct Drain<B> {
        #[pin]
        body: B,
        left: u64,
        bound: DrainBound,
        // Created on the first wait. A short body needs none.
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<B: Body> Drain<B> {
    pub(crate) fn new(body: B, bound: DrainBound) -> Self {
        Self { body, left: bound.bytes, bound, timer: None }
    }
}

impl<B: Body> Future for Drain<B> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            // A body that is known to be too long is not read at all.
            if this.body.is_end_stream() || this.body.size_hint().lower() > *this.left {
                return Poll::Ready(());
            }
            match this.body.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let length = frame.data_ref().map_or(0, bytes::Buf::remaining);
                    match this.left.checked_sub(length as u64) {
                        Some(left) => *this.left = left,
                        None => return Poll::Ready(()),
                    }
                }
                Poll::Ready(None | Some(Err(_))) => return Poll::Ready(()),
                Poll::Pending => {
                    let time = this.bound.time;
                    return this.timer.get_or_insert_with(|| Box::pin(sleep(time))).as_mut().poll(cx);
                }
            }
        }
    }
}
