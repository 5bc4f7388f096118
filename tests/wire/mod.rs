//! Servers and clients of HTTP/1.1 and HTTP/2 on loopback, and bodies that stream as a test says.
#![allow(dead_code, reason = "each test binary uses a part of it")]

#[cfg(feature = "tls")]
pub(crate) mod certified;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tower_credentials::BoxError;

pub(crate) type WireBody = UnsyncBoxBody<Bytes, BoxError>;
pub(crate) type WireReply = Response<WireBody>;

/// How long a test waits for anything before it fails.
const DEADLINE: Duration = Duration::from_secs(30);

/// Waits for something that must happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(DEADLINE, future).await;
    waited.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> WireBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that yields what is sent into the channel. The channel closes when the body is dropped.
pub(crate) fn channel() -> (mpsc::Sender<Frame<Bytes>>, WireBody) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Channel(receiver).boxed_unsync())
}

pub(crate) struct Channel(pub(crate) mpsc::Receiver<Frame<Bytes>>);

impl Body for Channel {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

/// A body of these frames, each made only when it is asked for.
pub(crate) fn frames<I>(frames: I) -> WireBody
where
    I: IntoIterator<Item = Frame<Bytes>>,
    I::IntoIter: Send + Unpin + 'static,
{
    Frames(frames.into_iter()).boxed_unsync()
}

pub(crate) struct Frames<I>(pub(crate) I);

impl<I: Iterator<Item = Frame<Bytes>> + Unpin> Body for Frames<I> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.0.next().map(Ok))
    }
}

/// A body of this many bytes, which are made as they are sent.
pub(crate) fn long(bytes: usize) -> WireBody {
    const PIECE: &[u8] = &[b'x'; 64 * 1024];
    assert_eq!(bytes % PIECE.len(), 0);
    frames(std::iter::repeat_n(Bytes::from_static(PIECE), bytes / PIECE.len()).map(Frame::data))
}

/// Reads a body to its end. Returns its length in bytes.
pub(crate) async fn length<B>(mut body: B) -> usize
where
    B: Body<Data = Bytes, Error: std::fmt::Debug> + Unpin,
{
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.unwrap().into_data().map_or(0, |data| data.len());
    }
    length
}

/// Reads a body to its end. Returns its data and its trailers.
pub(crate) async fn whole<B>(body: B) -> (Bytes, HeaderMap)
where
    B: Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let collected = body.collect().await.unwrap();
    let trailers = collected.trailers().cloned().unwrap_or_default();
    (collected.to_bytes(), trailers)
}

/// The next piece of a body's data.
pub(crate) async fn piece<B>(body: &mut B) -> Bytes
where
    B: Body<Data = Bytes, Error: std::fmt::Debug> + Unpin,
{
    let frame = soon("a piece of a body", body.frame()).await;
    frame.expect("the body has ended").unwrap().into_data().expect("these are trailers")
}

/// A server for HTTP/1.1 and, with prior knowledge, HTTP/2.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
}

impl Wire {
    pub(crate) async fn start<F>(
        respond: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    ) -> Self
    where
        F: Future<Output = WireReply> + Send + 'static,
    {
        Self::start_with(200, respond).await
    }

    /// A server that takes this many requests at once on each HTTP/2 connection.
    pub(crate) async fn start_with<F>(
        streams: u32,
        respond: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    ) -> Self
    where
        F: Future<Output = WireReply> + Send + 'static,
    {
        Self::may_fail(streams, move |request| {
            let reply = respond(request);
            async move { Ok(reply.await) }
        })
        .await
    }

    /// A server that closes the connection instead of responding if `respond` fails.
    pub(crate) async fn may_fail<F>(
        streams: u32,
        respond: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Result<WireReply, BoxError>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                stream.set_nodelay(true).unwrap();
                let service = service_fn(respond.clone());
                tokio::spawn(async move {
                    let mut builder = auto::Builder::new(TokioExecutor::new());
                    builder.http2().max_concurrent_streams(streams);
                    // Many tests have a client that goes away.
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, connections }
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// The sender of a response's body, frame by frame.
pub(crate) type Pieces = mpsc::Sender<Frame<Bytes>>;

/// A server whose response bodies stream what a test sends: each request yields a channel for its response. It reads
/// requests to their end first, since a server that leaves part of one unread does not see its client go.
pub(crate) async fn piecewise(
    headers: &'static [(&'static str, &'static str)],
) -> (Wire, mpsc::UnboundedReceiver<Pieces>) {
    let (bodies, made) = mpsc::unbounded_channel();
    let wire = Wire::start(move |request| {
        let bodies = bodies.clone();
        async move {
            whole(request.into_body()).await;
            let (pieces, body) = channel();
            bodies.send(pieces).unwrap();
            let mut response = Response::new(body);
            for (name, value) in headers {
                response.headers_mut().insert(*name, HeaderValue::from_static(value));
            }
            response
        }
    })
    .await;
    (wire, made)
}

/// A server that hands each upload to the test, and responds when the test says so or drops the sender.
pub(crate) async fn uploads() -> (Wire, mpsc::UnboundedReceiver<(Incoming, oneshot::Sender<()>)>) {
    let (bodies, arrived) = mpsc::unbounded_channel();
    let wire = Wire::start(move |request| {
        let (done, end) = oneshot::channel();
        bodies.send((request.into_body(), done)).unwrap();
        async move {
            let _ = end.await;
            Response::new(full("thanks"))
        }
    })
    .await;
    (wire, arrived)
}

pub(crate) type WireClient = Client<HttpConnector, WireBody>;

/// A client that speaks HTTP/2 by prior knowledge, or HTTP/1.1.
pub(crate) fn wire_client(http2: bool) -> WireClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).http2_only(http2).build(connector)
}

/// Sends a signal when it is dropped.
pub(crate) struct Guard(pub(crate) Option<tokio::sync::oneshot::Sender<()>>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take() {
            let _ = sender.send(());
        }
    }
}

/// The peak memory of a process so far, in KiB.
#[cfg(target_os = "linux")]
pub(crate) fn peak_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
