//! An upload that is refused early: its response is read even if the server has reset the connection.

#![cfg(feature = "hyper")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer, ServiceExt};
use tower_credentials::connect::{EarlyResponse, EarlyResponseLayer};
use tower_credentials::provider::GenericProvider;
use tower_credentials::{BoxError, CredentialsLayer, Pool, SendOnce};

use crate::support::keys;
use crate::thorough::is_thorough;
use crate::wire::{Wire, WireBody, frames, full, soon, whole};

const LENGTH: usize = 1_500_000;

fn rounds() -> usize {
    if is_thorough() { 500 } else { 20 }
}

/// A server's reaction to the limited account, before it has read the body.
#[derive(Clone, Copy, Debug)]
enum Early {
    /// Responds and closes the connection, which is a reset since the body is unread.
    RespondAndReset,
    /// Responds, closes its side, and reads to the end.
    RespondAndLinger,
    /// Sends half of a response's head.
    BreakOff,
    Reset,
}

struct Server {
    origin: String,
    requests: Arc<AtomicUsize>,
}

impl Server {
    async fn start(early: Early) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let count = requests.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, early, count.clone()));
            }
        });
        Self { origin, requests }
    }

    async fn pool(&self) -> Pool {
        let provider = GenericProvider::bearer("x").origin(&self.origin).unwrap();
        Pool::builder(provider, keys(["limited", "good"]).await).open().await.unwrap()
    }
}

async fn serve(mut stream: TcpStream, early: Early, requests: Arc<AtomicUsize>) -> std::io::Result<()> {
    // Announces that it closes the connection: otherwise the client might send the next request on it.
    const LIMITED: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 3000\r\n\
        connection: close\r\ncontent-length: 4\r\n\r\nbusy";
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    requests.fetch_add(1, Ordering::SeqCst);
    if !String::from_utf8_lossy(&head).contains("limited") {
        read_upload(&mut stream).await?;
        return stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    }
    match early {
        Early::RespondAndReset => stream.write_all(LIMITED).await,
        Early::RespondAndLinger => {
            stream.write_all(LIMITED).await?;
            stream.shutdown().await?;
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop)
        }
        Early::BreakOff => stream.write_all(&LIMITED[..20]).await,
        Early::Reset => Ok(()),
    }
}

async fn read_upload(stream: &mut TcpStream) -> std::io::Result<()> {
    let read = tokio::io::copy(&mut stream.take(LENGTH as u64), &mut tokio::io::sink()).await?;
    assert_eq!(read, LENGTH as u64);
    Ok(())
}

fn reading() -> EarlyResponse<HttpConnector> {
    EarlyResponseLayer::new().layer(HttpConnector::new())
}

async fn ask<C, B>(server: &Server, pool: &Pool, connector: C, body: B) -> Result<(u16, Bytes), BoxError>
where
    C: Connect + Clone + Send + Sync + 'static,
    B: Body<Data: Send, Error: Into<BoxError>>
        + tower_credentials::TryCloneBody
        + Send
        + Unpin
        + 'static,
{
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let client = CredentialsLayer::new(pool.clone()).layer(client);
    let response = soon("a response", client.oneshot(Request::post(&server.origin).body(body)?)).await?;
    let status = response.status().as_u16();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}

fn upload() -> Full<Bytes> {
    Full::from(vec![b'x'; LENGTH])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_upload_goes_on_with_the_next_account() {
    for early in [Early::RespondAndReset, Early::RespondAndLinger] {
        for _ in 0..rounds() {
            let server = Server::start(early).await;
            let pool = server.pool().await;
            let response = ask(&server, &pool, reading(), upload()).await;
            assert_eq!(response.unwrap(), (200, "ok".into()), "{early:?}");
            assert_eq!((pool.counters().rotations, server.requests.load(Ordering::SeqCst)), (1, 2));
        }
    }
}

#[tokio::test]
async fn an_upload_that_cannot_be_sent_again_gets_its_whole_response_and_is_read_no_further() {
    let server = Server::start(Early::RespondAndReset).await;
    let pool = server.pool().await;
    let read = Arc::new(AtomicUsize::new(0));
    let body = SendOnce::new(endless(&read));
    let response = ask(&server, &pool, reading(), body).await.unwrap();
    assert_eq!(response, (429, "busy".into()));
    // Only as much as the system's buffers hold.
    assert!(read.load(Ordering::SeqCst) < 64 * 1024 * 1024, "{read:?}");
    assert_eq!(pool.active(), Some(pool.status()[0].credential.id));
    assert_eq!(pool.status()[0].credential.label.as_ref(), "good");
}

#[tokio::test]
async fn a_connection_that_breaks_without_a_response_is_an_error_and_not_sent_again() {
    for early in [Early::Reset, Early::BreakOff] {
        for connector in [true, false] {
            let server = Server::start(early).await;
            let pool = server.pool().await;
            let error = match connector {
                true => ask(&server, &pool, reading(), upload()).await,
                false => ask(&server, &pool, HttpConnector::new(), upload()).await,
            };
            assert!(error.is_err(), "{early:?}");
            assert_eq!(server.requests.load(Ordering::SeqCst), 1, "{early:?}");
        }
    }
}

#[tokio::test]
async fn over_http_2_a_stream_that_is_reset_after_its_response_keeps_the_response() {
    for _ in 0..rounds() {
        let wire = Wire::start(async |request: Request<Incoming>| {
            let is_limited = request.headers()["authorization"] == "Bearer limited";
            let mut response = Response::new(full("busy"));
            if is_limited {
                // hyper resets the stream with NO_ERROR, since its body is dropped unread.
                *response.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
                response.headers_mut().insert("retry-after", HeaderValue::from_static("3000"));
            } else {
                whole(request.into_body()).await;
            }
            response
        })
        .await;
        let provider = GenericProvider::bearer("x").origin(&wire.origin()).unwrap();
        let pool = Pool::builder(provider, keys(["limited", "good"]).await).open().await.unwrap();
        let client = Client::builder(TokioExecutor::new()).http2_only(true).build(reading());
        let client = CredentialsLayer::new(pool.clone()).layer(client);
        let request = Request::post(wire.origin()).body(upload()).unwrap();
        let response = soon("a response", client.oneshot(request)).await.unwrap();
        assert_eq!((response.status().as_u16(), pool.counters().rotations), (200, 1));
    }
}

/// A body without an end. Counts the bytes that are taken from it.
fn endless(taken: &Arc<AtomicUsize>) -> WireBody {
    const PIECE: &[u8] = &[b'x'; 64 * 1024];
    let taken = taken.clone();
    frames(std::iter::repeat_with(move || {
        taken.fetch_add(PIECE.len(), Ordering::SeqCst);
        Frame::data(Bytes::from_static(PIECE))
    }))
}
