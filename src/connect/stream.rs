//! A connection that holds back write errors until it is read to its end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection of [`EarlyResponse`](super::EarlyResponse).
///
/// Once the other side has closed it, writing waits, and reading goes on: data that has arrived is still there. The write
/// error is returned when there is nothing more to read.
#[derive(Debug)]
pub struct EarlyResponseStream<T> {
    inner: T,
    state: State,
}

#[derive(Debug)]
enum State {
    /// There was no write error, or it has been returned.
    Normal,
    /// A write error is held back.
    Held {
        /// `None` once something is read after it: then the response says more than the error.
        error: Option<io::Error>,
        writer: Waker,
    },
}

impl<T> EarlyResponseStream<T> {
    pub(super) fn new(inner: T) -> Self {
        Self { inner, state: State::Normal }
    }

    /// Returns the inner connection.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// Writes, unless a write error is held back.
    fn write<R>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>>
    where
        T: Unpin,
    {
        if let State::Held { writer, .. } = &mut self.state {
            writer.clone_from(cx.waker());
            return Poll::Pending;
        }
        match ready!(write(Pin::new(&mut self.inner), cx)) {
            Err(error) if is_closed_by_peer(&error) => {
                self.state = State::Held { error: Some(error), writer: cx.waker().clone() };
                // The task that writes also reads, and may have tried to before the response was there.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            written => Poll::Ready(written),
        }
    }
}

fn is_closed_by_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
}

impl<T: AsyncRead + Unpin> AsyncRead for EarlyResponseStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.inner).poll_read(cx, buf));
        if let State::Held { error, writer } = &mut self.state {
            if read.is_ok() && buf.filled().len() > before {
                *error = None;
                return Poll::Ready(read);
            }
            // The end. From now on, writing fails on its own.
            writer.wake_by_ref();
            let error = error.take();
            self.state = State::Normal;
            return Poll::Ready(error.map_or(read, Err));
        }
        Poll::Ready(read)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for EarlyResponseStream<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |inner, cx| inner.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |inner, cx| inner.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(cx, |inner, cx| inner.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<T: Connection> Connection for EarlyResponseStream<T> {
    fn connected(&self) -> Connected {
        self.inner.connected()
    }
}
