//! Bodies that stream as a test says, and servers and clients for them, over HTTP/1.1 and HTTP/2 on loopback.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tower_credentials::BoxError;

pub(crate) type WireBody = UnsyncBoxBody<Bytes, BoxError>;
pub(crate) type WireReply = Response<WireBody>;

/// How long anything is waited for before a test fails.
const DEADLINE: Duration = Duration::from_secs(30);

/// Waits for what must happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(DEADLINE, future).await;
    waited.unwrap_or_else(|_| panic!("{what}: it has not happened"))
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> WireBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that yields what is sent into the channel, as it comes. Closed once the body is dropped.
pub(crate) fn channel() -> (mpsc::Sender<Frame<Bytes>>, WireBody) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Channel(receiver).boxed_unsync())
}

struct Channel(mpsc::Receiver<Frame<Bytes>>);

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

/// A body of these frames, none of which is there before it is asked for.
pub(crate) fn frames<I>(frames: I) -> WireBody
where
    I: IntoIterator<Item = Frame<Bytes>>,
    I::IntoIter: Send + Unpin + 'static,
{
    Frames(frames.into_iter()).boxed_unsync()
}

struct Frames<I>(I);

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

/// A body of this many bytes, made as they are sent.
pub(crate) fn long(bytes: usize) -> WireBody {
    const PIECE: &[u8] = &[b'x'; 64 * 1024];
    assert_eq!(bytes % PIECE.len(), 0);
    frames(std::iter::repeat_n(Bytes::from_static(PIECE), bytes / PIECE.len()).map(Frame::data))
}

/// Reads a body to its end and counts its bytes.
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

/// Reads a body to its end: its data and its trailers.
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
    pub(crate) async fn start<F, Canned>(respond: F) -> Self
    where
        F: Fn(Request<Incoming>) -> Canned + Clone + Send + 'static,
        Canned: Future<Output = WireReply> + Send + 'static,
    {
        Self::start_with(200, respond).await
    }

    /// One that takes this many requests at once on each connection of HTTP/2.
    pub(crate) async fn start_with<F, Canned>(streams: u32, respond: F) -> Self
    where
        F: Fn(Request<Incoming>) -> Canned + Clone + Send + 'static,
        Canned: Future<Output = WireReply> + Send + 'static,
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
                let respond = respond.clone();
                let service = service_fn(move |request| {
                    let reply = respond(request);
                    async move { Ok::<_, Infallible>(reply.await) }
                });
                tokio::spawn(async move {
                    let mut builder = auto::Builder::new(TokioExecutor::new());
                    builder.http2().max_concurrent_streams(streams);
                    // A client that goes away is part of many tests.
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

pub(crate) type WireClient = Client<HttpConnector, WireBody>;

/// A client that speaks HTTP/2 by prior knowledge, or HTTP/1.1.
pub(crate) fn wire_client(http2: bool) -> WireClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).http2_only(http2).build(connector)
}

/// Tells when it is dropped.
pub(crate) struct Guard(pub(crate) Option<tokio::sync::oneshot::Sender<()>>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take() {
            let _ = sender.send(());
        }
    }
}

/// The most memory that a process has had in use so far, in KiB.
#[cfg(target_os = "linux")]
pub(crate) fn peak_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
