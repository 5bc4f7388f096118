//! How many requests of a connection are under way: one without any is closed after a while, or at once when the gateway
//! ends.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

#[derive(Debug, Default)]
struct State {
    is_ending: AtomicBool,
    count: watch::Sender<usize>,
    /// Those of all connections, among which these are.
    all: Option<Requests>,
}

/// The requests of a connection, or of all.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests(Arc<State>);

impl Requests {
    /// Returns the requests of another connection, if these are those of all.
    pub(super) fn of_connection(&self) -> Self {
        Self(Arc::new(State { all: Some(self.clone()), ..State::default() }))
    }

    /// Counts a request until what this returns is dropped.
    pub(super) fn begin(&self) -> UnderWay {
        self.count(|count| *count += 1);
        UnderWay(self.clone())
    }

    fn count(&self, change: impl Fn(&mut usize) + Copy) {
        self.0.count.send_modify(change);
        if let Some(all) = &self.0.all {
            all.count(change);
        }
    }

    /// Waits until a request is under way.
    pub(super) async fn any(&self) {
        let _ = self.0.count.subscribe().wait_for(|count| *count > 0).await;
    }

    /// Waits until no request has been under way for so long.
    pub(super) async fn idle(&self, bound: Duration) {
        let mut counts = self.0.count.subscribe();
        loop {
            let _ = counts.wait_for(|count| *count == 0).await;
            if tokio::time::timeout(bound, counts.changed()).await.is_err() {
                return;
            }
        }
    }

    /// Lets the connection end once no request is under way.
    pub(super) fn end(&self) {
        self.0.is_ending.store(true, Ordering::Release);
    }

    fn are_over(&self) -> bool {
        self.0.is_ending.load(Ordering::Acquire) && *self.0.count.borrow() == 0
    }
}

/// A request, until its response has ended.
#[derive(Debug)]
pub(super) struct UnderWay(Requests);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.count(|count| *count -= 1);
    }
}

/// A stream that ends once its requests are over, as if the client had closed it. hyper would wait for the rest of a head.
#[derive(Debug)]
pub(super) struct Ending<S> {
    stream: S,
    requests: Requests,
}

impl<S> Ending<S> {
    pub(super) fn new(stream: S, requests: Requests) -> Self {
        Self { stream, requests }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Ending<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.requests.are_over() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Ending<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
