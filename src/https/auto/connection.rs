//! A connection: how it is made, and its task.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http_body::Body;
use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper::rt::Executor;
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::Connection as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tower_service::Service;

use super::origin::MAX_STREAMS;
use crate::BoxError;
use crate::connect::EarlyResponseStream;
use crate::https::connector::Connector;

/// How long it may take to make a connection, with its proxy and TLS, and until the server has said what it takes.
const CONNECT: Duration = Duration::from_secs(20);

/// After this time without a request, a connection is closed.
const IDLE: Duration = Duration::from_secs(90);

/// How much of a response is read ahead of its reader, and of a request ahead of the server.
const WINDOW: u32 = 512 * 1024;

/// The most that the headers of a response may be.
const MAX_HEADERS: u32 = 64 * 1024;

type Io = MaybeHttpsStream<TokioIo<EarlyResponseStream<TcpStream>>>;

/// Makes connections.
pub(super) struct Opener {
    connector: Connector,
    ping: Duration,
}

impl Opener {
    pub(super) fn new(connector: Connector, ping: Duration) -> Self {
        Self { connector, ping }
    }

    /// Makes a connection. Returns `None` if the server does not speak HTTP/2.
    pub(super) async fn open<B>(&self, to: Uri) -> Result<Option<(SendRequest<B>, Http2<B>)>, BoxError>
    where
        B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        let opening = async {
            let mut connector = self.connector.clone();
            poll_fn(|cx| connector.poll_ready(cx)).await?;
            let stream = connector.call(to).await?;
            if !stream.connected().is_negotiated_h2() {
                return Ok(None);
            }
            self.handshake(stream).await.map(Some)
        };
        tokio::time::timeout(CONNECT, opening).await.unwrap_or_else(|_| {
            let reason = format!("no connection within {} s", CONNECT.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, reason).into())
        })
    }

    /// Begins HTTP/2. Waits until the server has said how many requests it takes: more might be refused.
    async fn handshake<B>(&self, stream: Io) -> Result<(SendRequest<B>, Http2<B>), BoxError>
    where
        B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        let tasks = Tasks::new();
        let mut builder = Builder::new(tasks.clone());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(self.ping)
            .keep_alive_timeout(self.ping)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW)
            // A response that nobody reads may fill its stream's window, but not that of all.
            .initial_connection_window_size(WINDOW * MAX_STREAMS as u32)
            .max_send_buf_size(WINDOW as usize)
            .max_header_list_size(MAX_HEADERS)
            // Until the server has said how many.
            .initial_max_send_streams(0);
        let (sender, requests) = builder.handshake(stream).await?;
        let mut connection = Http2 { requests: Some(requests), frames: tasks.take(), limit: 0 };
        connection.begin().await?;
        Ok((sender, connection))
    }
}

/// A connection of HTTP/2.
///
/// hyper gives requests their streams in one task, and reads and writes frames in another. If the second one has read the
/// response to a request and the connection's end (GOAWAY) before the first one goes on, that drops the request (hyper 1.12).
/// Here one task polls both in turns, so that each knows at once what the other one has done.
pub(super) struct Http2<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    /// What gives requests their streams. `None` once it takes no more.
    requests: Option<Connection<Io, B, Tasks>>,
    /// What reads and writes frames. Empty once the connection has ended.
    frames: Vec<Task>,
    /// How many requests the server takes at once; 0 until it has said so.
    limit: usize,
}

impl<B> Http2<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    /// Waits until the server has said how many requests it takes at once.
    async fn begin(&mut self) -> Result<(), BoxError> {
        poll_fn(|cx| match self.poll(cx)? {
            Poll::Pending if self.limit > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                let reason = "the server has ended the connection at once";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason).into()))
            }
        })
        .await
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Carries requests until it takes no more. `told` is called whenever the server has said anew how many it takes at once,
    /// and `retire` once the connection has been idle for long: it says whether no request has come meanwhile.
    pub(super) async fn carry(
        &mut self,
        mut busy: watch::Receiver<usize>,
        told: impl Fn(usize),
        retire: impl Fn() -> bool,
    ) {
        let mut limit = self.limit;
        let mut over = pin!(poll_fn(|cx| {
            let polled = self.poll(cx);
            if std::mem::replace(&mut limit, self.limit) != limit {
                told(self.limit);
            }
            // Why it has ended is in the errors of its requests.
            polled.map(drop)
        }));
        loop {
            tokio::select! {
                () = &mut over => return,
                () = idle(&mut busy) => {}
            }
            if retire() {
                return over.await;
            }
        }
    }

    /// Carries the responses to the requests that it has taken.
    pub(super) async fn finish(mut self) {
        poll_fn(|cx| poll_all(&mut self.frames, cx)).await;
    }

    /// Polls it until it takes no more requests.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        let Some(requests) = &mut self.requests else { return Poll::Ready(Ok(())) };
        let mut polled = Pin::new(&mut *requests).poll(cx);
        if polled.is_pending() {
            let _ = poll_all(&mut self.frames, cx);
            // What was read may have been the end.
            polled = Pin::new(&mut *requests).poll(cx);
        }
        self.limit = requests.current_max_send_streams();
        if polled.is_ready() {
            self.requests = None;
        }
        polled
    }
}

/// Polls tasks until all have ended.
fn poll_all(tasks: &mut Vec<Task>, cx: &mut Context<'_>) -> Poll<()> {
    tasks.retain_mut(|task| task.as_mut().poll(cx).is_pending());
    if tasks.is_empty() { Poll::Ready(()) } else { Poll::Pending }
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Holds the tasks that hyper starts with a connection, and spawns the later ones, which are of one request each.
#[derive(Clone)]
struct Tasks(Arc<Mutex<Option<Vec<Task>>>>);

impl Tasks {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Some(Vec::new()))))
    }

    fn held(&self) -> MutexGuard<'_, Option<Vec<Task>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns those so far.
    fn take(&self) -> Vec<Task> {
        self.held().take().unwrap_or_default()
    }
}

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        match &mut *self.held() {
            Some(held) => held.push(Box::pin(task)),
            None => drop(tokio::spawn(task)),
        }
    }
}

/// Waits until no request has been under way for long. Waits for ever if the connection takes no more requests.
async fn idle(busy: &mut watch::Receiver<usize>) {
    while busy.wait_for(|count| *count == 0).await.is_ok() {
        match tokio::time::timeout(IDLE, busy.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => break,
            Err(_) => return,
        }
    }
    std::future::pending().await
}
