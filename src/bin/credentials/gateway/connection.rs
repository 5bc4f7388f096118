//! A connection: what it speaks, how its requests are served, and how it ends.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::proxy::Way;
use super::request::After;
use super::route::Forward;
use super::timed::Timed;
use super::tls::{H2, Tls};
use super::{Gateway, http1};

/// How long a connection may take to send the head of its next request, or be idle before it.
pub(super) const HEAD: Duration = Duration::from_secs(75);

/// How long a new connection may send nothing at all.
const FIRST_BYTE: Duration = Duration::from_secs(15);

/// How long a TLS handshake may take.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);

/// The most that is read ahead of a connection. It bounds the head of a request.
pub(super) const BUFFER: u32 = 64 * 1024;

/// How many requests there may be at once on an HTTP/2 connection.
const STREAMS: u32 = 100;

/// How often an HTTP/2 connection is checked, and how long the client may take to reply.
const PING: Duration = Duration::from_secs(15);
const PONG: Duration = Duration::from_secs(10);

/// The first byte of a TLS handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// Serves a connection from the network.
pub(super) async fn serve_tcp<S: Forward>(
    mut stream: TcpStream,
    tls: Option<Arc<Tls>>,
    gateway: Arc<Gateway<S>>,
    end: watch::Receiver<bool>,
) {
    let Some(first) = first_byte(&stream, end.clone()).await else { return };
    let Some(tls) = tls else { return serve_http1(stream, gateway, end).await };
    if first != TLS_HANDSHAKE {
        let _ = tokio::time::timeout(HANDSHAKE, refuse_plain(&mut stream)).await;
        return;
    }
    Box::pin(serve_tls(stream, tls, gateway, end)).await;
}

async fn serve_tls<S: Forward>(
    stream: TcpStream,
    tls: Arc<Tls>,
    gateway: Arc<Gateway<S>>,
    end: watch::Receiver<bool>,
) {
    let handshake = Box::pin(tokio::time::timeout(HANDSHAKE, tls.acceptor().accept(stream))).await;
    // Scanners and clients that do not know the certificate's authority are nothing to tell.
    let Ok(Ok(stream)) = handshake else { return };
    // It is large, and is moved several times.
    let stream = Box::new(stream);
    if stream.get_ref().1.alpn_protocol() == Some(H2) {
        Box::pin(serve_http2(stream, gateway, Way::Address, end)).await;
    } else {
        serve_http1(stream, gateway, end).await;
    }
}

/// Waits for the first byte of a connection, which stays there to be read.
async fn first_byte(stream: &TcpStream, mut end: watch::Receiver<bool>) -> Option<u8> {
    let mut first = [0];
    tokio::select! {
        spoken = tokio::time::timeout(FIRST_BYTE, stream.peek(&mut first)) => match spoken {
            Ok(Ok(1..)) => Some(first[0]),
            _ => None,
        },
        _ = end.wait_for(|end| *end) => None,
    }
}

/// Says that only HTTPS is spoken here.
async fn refuse_plain(stream: &mut TcpStream) -> io::Result<()> {
    const RESPONSE: &[u8] =
        b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
        this gateway speaks HTTPS: the address begins with https://\n";
    // If something is left unread, the system discards what is sent.
    let _ = stream.try_read(&mut vec![0; BUFFER as usize]);
    stream.write_all(RESPONSE).await?;
    stream.shutdown().await
}

/// Serves a connection by HTTP/1.1, and then what it may have become.
pub(super) async fn serve_http1<S: Forward>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    gateway: Arc<Gateway<S>>,
    end: watch::Receiver<bool>,
) {
    // What few connections come to is on the heap, so that the others do not have the room for it.
    match http1::serve(stream, gateway.clone(), Way::Address, end.clone()).await {
        Some(After::WebSocket(websocket)) => Box::pin(websocket.run()).await,
        Some(After::Tunnel(tunnel)) => Box::pin(tunnel.run(gateway, end)).await,
        None => {}
    }
}

/// Serves what comes in a tunnel to a provider's host.
pub(super) async fn serve_inside<S: Forward>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    is_h2: bool,
    gateway: Arc<Gateway<S>>,
    way: Way,
    end: watch::Receiver<bool>,
) {
    if is_h2 {
        serve_http2(stream, gateway, way, end).await;
    } else if let Some(After::WebSocket(websocket)) = http1::serve(stream, gateway, way, end).await {
        websocket.run().await;
    }
}

async fn serve_http2<S: Forward>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    gateway: Arc<Gateway<S>>,
    way: Way,
    end: watch::Receiver<bool>,
) {
    let requests = gateway.under_way.of_connection();
    let ends = requests.clone();
    let service = service_fn(move |request| {
        let (gateway, way, one) = (gateway.clone(), way.clone(), requests.begin());
        async move { Ok::<_, Infallible>(gateway.respond(request, &way, one).await.0) }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(BUFFER)
        .max_send_buf_size(BUFFER as usize)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .serve_connection(TokioIo::new(Timed::new(stream)), service);
    let end = async {
        tokio::select! {
            () = ended(end) => {}
            () = ends.idle(HEAD) => {}
        }
    };
    drive(connection, end, http2::Connection::graceful_shutdown).await;
}

/// Serves the requests of a connection. Once `end` is ready it takes no more, by `stop`.
async fn drive<C: Future>(connection: C, end: impl Future<Output = ()>, stop: impl FnOnce(Pin<&mut C>)) {
    let mut connection = pin!(connection);
    let is_over = tokio::select! {
        // Why a connection broke is of no use to anybody.
        _ = connection.as_mut() => true,
        () = end => false,
    };
    if !is_over {
        stop(connection.as_mut());
        let _ = connection.await;
    }
}

pub(super) async fn ended(mut end: watch::Receiver<bool>) {
    let _ = end.wait_for(|end| *end).await;
}
