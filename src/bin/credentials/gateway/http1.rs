//! A connection of HTTP/1.1. While it has no request it keeps neither buffers nor a state of hyper's, which would be most of
//! its memory.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::server::conn::http1::{self, UpgradeableConnection};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::Gateway;
use super::connection::{BUFFER, HANDSHAKE, HEAD, ended};
use super::proxy::Way;
use super::request::After;
use super::route::Forward;
use super::under_way::{Ending, Requests};

/// How long a connection without a request keeps its buffers.
const KEPT: Duration = Duration::from_millis(50);

/// Serves the requests of a connection. Returns what it carries after them.
pub(super) async fn serve<S: Forward>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    gateway: Arc<Gateway<S>>,
    way: Way,
    end: watch::Receiver<bool>,
) -> Option<After<S::Body>> {
    let requests = gateway.under_way.of_connection();
    let mut stream = Ending::new(stream, requests.clone());
    let joined = Arc::new(Mutex::new(None));
    loop {
        let (gateway, way, joining) = (gateway.clone(), way.clone(), joined.clone());
        // On the heap, so that an idle connection does not have the room for it.
        let busy = Box::pin(until_idle(stream, requests.clone(), gateway, way, joining, end.clone()));
        let Some(idle) = busy.await else { break };
        stream = idle;
        let has_more = tokio::select! {
            read = timeout(HEAD, stream.has_more()) => matches!(read, Ok(Ok(true))),
            () = ended(end.clone()) => false,
        };
        if !has_more {
            let _ = timeout(HANDSHAKE, stream.shutdown()).await;
            break;
        }
    }
    joined.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Serves requests until the connection ends, or has none for a moment: then it returns the stream.
async fn until_idle<S: Forward, T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: Ending<T>,
    requests: Requests,
    gateway: Arc<Gateway<S>>,
    way: Way,
    joined: Arc<Mutex<Option<After<S::Body>>>>,
    end: watch::Receiver<bool>,
) -> Option<Ending<T>> {
    let counted = requests.clone();
    let service = service_fn(move |request| {
        let (gateway, joined, under_way) = (gateway.clone(), joined.clone(), counted.begin());
        let way = way.clone();
        async move {
            let (response, after) = gateway.respond(request, &way, under_way).await;
            if after.is_some() {
                *joined.lock().unwrap_or_else(PoisonError::into_inner) = after;
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(BUFFER as usize)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    drive(connection, requests, end).await
}

/// Drives a connection until it ends or is idle. Once the gateway ends, it takes no more requests.
async fn drive<T, V, B>(
    mut connection: UpgradeableConnection<TokioIo<Ending<T>>, V>,
    requests: Requests,
    end: watch::Receiver<bool>,
) -> Option<Ending<T>>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    V: HttpService<hyper::body::Incoming, ResBody = B, Error = Infallible> + Unpin,
    B: http_body::Body<Error: Into<tower_credentials::BoxError>> + 'static,
{
    let mut end = pin!(ended(end));
    let (mut is_ending, mut quiet) = (false, Quiet::of(&requests));
    let is_idle = poll_fn(|cx| {
        // Why a connection broke is of no use to anybody.
        if Pin::new(&mut connection).poll(cx).is_ready() {
            return Poll::Ready(false);
        }
        if !is_ending && end.as_mut().poll(cx).is_ready() {
            is_ending = true;
            requests.end();
            Pin::new(&mut connection).graceful_shutdown();
            if Pin::new(&mut connection).poll(cx).is_ready() {
                return Poll::Ready(false);
            }
        }
        if is_ending { Poll::Pending } else { quiet.poll(&requests, cx).map(|()| true) }
    });
    if !is_idle.await {
        return None;
    }
    let parts = connection.into_parts()?;
    let mut stream = parts.io.into_inner();
    stream.put_back(parts.read_buf);
    Some(stream)
}

/// Notices that a connection has had no request for a moment. A request costs it no timer.
struct Quiet {
    /// How many requests had begun at first, and when the timer was set.
    before: usize,
    then: usize,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Quiet {
    fn of(requests: &Requests) -> Self {
        Self { before: requests.begun(), then: 0, timer: None }
    }

    fn poll(&mut self, requests: &Requests, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let begun = requests.begun();
            let is_idle = requests.are_quiet() && begun != self.before;
            let Some(timer) = &mut self.timer else {
                if !is_idle {
                    return Poll::Pending;
                }
                (self.timer, self.then) = (Some(Box::pin(sleep(KEPT))), begun);
                continue;
            };
            ready!(timer.as_mut().poll(cx));
            if !is_idle {
                // Whatever it is busy with, it is polled after that.
                self.timer = None;
                return Poll::Pending;
            }
            if begun == self.then {
                return Poll::Ready(());
            }
            self.then = begun;
            timer.as_mut().reset(Instant::now() + KEPT);
        }
    }
}
