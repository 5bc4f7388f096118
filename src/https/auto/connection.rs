//! A connection: how it is made, and its task.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::time::Duration;

use http::Uri;
use http_body::Body;
use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::Connection as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tower_service::Service;

use super::origin::MAX_STREAMS;
use crate::BoxError;
use crate::connect::EarlyResponseStream;
use crate::https::connector::Connector;

/// How long it may take to make a connection, with its proxy and TLS.
const CONNECT: Duration = Duration::from_secs(20);

/// After this time without a request, a connection is closed.
const IDLE: Duration = Duration::from_secs(90);

/// How much of a response is read ahead of its reader, and of a request ahead of the server.
const WINDOW: u32 = 512 * 1024;

/// The most that the headers of a response may be.
const MAX_HEADERS: u32 = 64 * 1024;

type Io = MaybeHttpsStream<TokioIo<EarlyResponseStream<TcpStream>>>;

/// A connection of HTTP/2.
pub(super) type Http2<B> = Connection<Io, B, TokioExecutor>;

/// Makes connections.
pub(super) struct Opener {
    connector: Connector,
    builder: Builder<TokioExecutor>,
}

impl Opener {
    pub(super) fn new(connector: Connector, ping: Duration) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(ping)
            .keep_alive_timeout(ping)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW)
            // A response that nobody reads may fill its stream's window, but not that of all.
            .initial_connection_window_size(WINDOW * MAX_STREAMS as u32)
            .max_send_buf_size(WINDOW as usize)
            .max_header_list_size(MAX_HEADERS)
            // The first request is held until the server has said how many it takes: more might be refused.
            .initial_max_send_streams(0);
        Self { connector, builder }
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
            Ok(Some(self.builder.handshake(stream).await?))
        };
        tokio::time::timeout(CONNECT, opening).await.unwrap_or_else(|_| {
            let reason = format!("no connection within {} s", CONNECT.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, reason).into())
        })
    }
}

/// Drives a connection to its end. `told` is called whenever the server has said anew how many requests it takes at once, and
/// `retire` once the connection has been idle for long: it says whether no request has come meanwhile.
pub(super) async fn drive<B>(
    connection: Http2<B>,
    mut busy: watch::Receiver<usize>,
    told: impl Fn(usize),
    retire: impl Fn() -> bool,
) where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let mut connection = pin!(connection);
    let mut limit = 0;
    let mut over = pin!(poll_fn(|cx| {
        let polled = connection.as_mut().poll(cx);
        if polled.is_pending() && connection.current_max_send_streams() != limit {
            limit = connection.current_max_send_streams();
            told(limit);
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
