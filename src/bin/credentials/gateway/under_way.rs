//! How many requests of a connection are under way: one without any is closed after a while, or at once when the gateway
//! ends.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use super::timed::Timed;

#[derive(Debug, Default)]
struct State {
    is_ending: AtomicBool,
    count: AtomicUsize,
    /// How many have begun so far.
    begun: AtomicUsize,
    /// How many bodies of requests may still be read.
    uploads: AtomicUsize,
    /// Whether something waits until the client takes it.
    has_unsent: AtomicBool,
    /// Told when the first one begins, and when the last one ends.
    changed: Notify,
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
        self.add();
        self.0.all.iter().for_each(Self::add);
        UnderWay { requests: self.clone(), is_handed_on: false }
    }

    fn add(&self) {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        if self.0.count.fetch_add(1, Ordering::AcqRel) == 0 {
            self.0.changed.notify_waiters();
        }
    }

    fn remove(&self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.changed.notify_waiters();
        }
    }

    fn are_any(&self) -> bool {
        self.0.count.load(Ordering::Acquire) > 0
    }

    /// Waits until a request is under way.
    pub(super) async fn any(&self) {
        loop {
            let mut changed = pin!(self.0.changed.notified());
            // From now on, so that no change is missed.
            changed.as_mut().enable();
            if self.are_any() {
                return;
            }
            changed.await;
        }
    }

    /// Waits until no request has been under way for so long.
    pub(super) async fn idle(&self, bound: Duration) {
        loop {
            let mut changed = pin!(self.0.changed.notified());
            changed.as_mut().enable();
            if self.are_any() {
                changed.await;
            } else if tokio::time::timeout(bound, changed).await.is_err() {
                return;
            }
        }
    }

    /// How many have begun so far.
    pub(super) fn begun(&self) -> usize {
        self.0.begun.load(Ordering::Relaxed)
    }

    /// Whether nothing passes on the connection: no request, no rest of a body, and nothing of a response.
    pub(super) fn are_quiet(&self) -> bool {
        let are_read = self.0.uploads.load(Ordering::Acquire) == 0;
        !self.are_any() && are_read && !self.0.has_unsent.load(Ordering::Relaxed)
    }

    /// Lets the connection end once no request is under way.
    pub(super) fn end(&self) {
        self.0.is_ending.store(true, Ordering::Release);
    }

    fn are_over(&self) -> bool {
        self.0.is_ending.load(Ordering::Acquire) && !self.are_any()
    }
}

/// A request, until its response has ended.
#[derive(Debug)]
pub(super) struct UnderWay {
    requests: Requests,
    /// Whether the connection has the whole response.
    is_handed_on: bool,
}

impl UnderWay {
    /// The connection has the whole response. Nobody waits for the request any more, but for its connection, which has still
    /// to send some of it.
    pub(super) fn handed_on(&mut self) {
        if !std::mem::replace(&mut self.is_handed_on, true) {
            self.requests.0.all.iter().for_each(Requests::remove);
        }
    }

    /// Counts its body as one that may still be read, until what this returns is dropped. It may outlive the response.
    pub(super) fn upload(&self) -> Uploading {
        self.requests.0.uploads.fetch_add(1, Ordering::AcqRel);
        Uploading(self.requests.clone())
    }
}

/// The body of a request that may still be read.
#[derive(Debug)]
pub(super) struct Uploading(Requests);

impl Drop for Uploading {
    fn drop(&mut self) {
        self.0.0.uploads.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.handed_on();
        self.requests.remove();
    }
}

/// A stream that ends once its requests are over, as if the client had closed it. hyper would wait for the rest of a head.
#[derive(Debug)]
pub(super) struct Ending<T> {
    stream: Timed<T>,
    requests: Requests,
    /// What is read before the rest.
    first: Bytes,
}

impl<T> Ending<T> {
    pub(super) fn new(stream: T, requests: Requests) -> Self {
        Self { stream: Timed::new(stream), requests, first: Bytes::new() }
    }

    /// Lets what was read be read again.
    pub(super) fn put_back(&mut self, read: Bytes) {
        // An empty one may still hold the buffer that it was read into.
        self.first = if read.is_empty() { Bytes::new() } else { read };
    }
}

impl<T: AsyncRead + Unpin> Ending<T> {
    /// Waits until there is something to read. Returns false if the client has closed the stream.
    pub(super) async fn has_more(&mut self) -> io::Result<bool> {
        if self.first.is_empty() {
            let mut first = [0];
            let length = self.stream.read(&mut first).await?;
            self.first = Bytes::copy_from_slice(&first[..length]);
        }
        Ok(!self.first.is_empty())
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Ending<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.requests.are_over() {
            return Poll::Ready(Ok(()));
        }
        if !self.first.is_empty() {
            let length = self.first.len().min(buffer.remaining());
            buffer.put_slice(&self.first.split_to(length));
            let rest = std::mem::take(&mut self.first);
            self.put_back(rest);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> Ending<T> {
    fn write<R>(
        &mut self,
        write: impl FnOnce(Pin<&mut Timed<T>>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        let written = write(Pin::new(&mut self.stream));
        self.requests.0.has_unsent.store(written.is_pending(), Ordering::Relaxed);
        written
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Ending<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(|stream| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(|stream| stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(|stream| stream.poll_shutdown(cx))
    }
}
