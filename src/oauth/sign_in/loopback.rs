//! The server of a sign-in, at the addresses to which the browser returns.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use oauth2::CsrfToken;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

use super::listen::{Listeners, Target};
use super::page::Page;
use super::peer::Peer;
use super::visit::{Event, Reply, Visits};

/// The maximum number of connections at once. Browsers open spare ones, and so can anybody on this machine.
const MAX_CONNECTIONS: usize = 128;

/// The capacity of the channel of events.
const MAX_EVENTS: usize = 16;

/// The maximum size of a request's head in bytes. Browsers send the cookies of every port of this host.
const MAX_HEAD: usize = 256 * 1024;

/// The maximum number of a request's header fields.
const MAX_FIELDS: usize = 1000;

/// The time a connection may take to send its request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The time that writing the last page may take.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// The time after the end in which a second load of the callback still gets the page that the first one got.
const LINGER: Duration = Duration::from_secs(1);

/// Why a connection from another user's program is ignored.
const STRANGER: &str = "it comes from a program of another user of this machine; if that was a browser of yours, open the page \
                        for browsers of other machines in it, and paste the address at which it ends";

/// Sends a page to all browsers that wait for it, and waits until it has been written.
pub(super) async fn reply_all(replies: Vec<Reply>, page: &Page) {
    let mut all_written = Vec::new();
    for Reply { page: sender, written } in replies {
        let _ = sender.send(page.clone());
        all_written.push(written);
    }
    let all = async {
        for written in all_written {
            let _ = written.await;
        }
    };
    let _ = tokio::time::timeout(FAREWELL_TIMEOUT, all).await;
}

/// The server of a sign-in. Dropping it closes its sockets.
pub(super) struct Loopback {
    listeners: Listeners,
    visits: Arc<Visits>,
    tasks: JoinSet<()>,
    /// The open connections, the oldest first.
    connections: VecDeque<Connection>,
    graceful: GracefulShutdown,
    events: mpsc::Receiver<Event>,
    /// Whether a request of another user's program has been reported.
    is_stranger_reported: Arc<AtomicBool>,
}

struct Connection {
    task: AbortHandle,
    /// Whether a whole request head has arrived.
    has_request: Arc<AtomicBool>,
}

impl Loopback {
    /// `vendor` is the URL to which the sign-in's first page redirects.
    pub(super) fn new(
        listeners: Listeners,
        target: &Target<'_>,
        vendor: HeaderValue,
        state: &CsrfToken,
    ) -> Self {
        let (sender, events) = mpsc::channel(MAX_EVENTS);
        let visits = Visits::new(target.path(), listeners.port, vendor, state, sender);
        Self {
            listeners,
            visits: Arc::new(visits),
            tasks: JoinSet::new(),
            connections: VecDeque::new(),
            graceful: GracefulShutdown::new(),
            events,
            is_stranger_reported: Arc::default(),
        }
    }

    /// The URL of the page where a browser of this machine begins.
    pub(super) fn start(&self, target: &Target<'_>) -> String {
        target.page(self.listeners.port, self.visits.start())
    }

    /// Waits for the next event. Cancel safe.
    pub(super) async fn next(&mut self) -> Event {
        loop {
            tokio::select! {
                Some(event) = self.events.recv() => return event,
                Some(_) = self.tasks.join_next() => {}
                accepted = self.listeners.accept() => {
                    match accepted {
                        Ok(stream) => self.serve(stream),
                        // Out of file descriptors, for example: trying again at once would spin.
                        Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                    }
                    // Lets the connection read what has arrived before another one may take its place.
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Makes room for one more connection, and returns whether there is any. The oldest one without a request is closed: a
    /// browser sends its request as soon as it is connected, and a stranger's idle connections must not keep it out.
    fn make_room(&mut self) -> bool {
        self.connections.retain(|connection| !connection.task.is_finished());
        if self.connections.len() < MAX_CONNECTIONS {
            return true;
        }
        let is_idle = |connection: &Connection| !connection.has_request.load(Ordering::Relaxed);
        let idle = self.connections.iter().position(is_idle);
        let idle = idle.and_then(|place| self.connections.remove(place));
        idle.map(|connection| connection.task.abort()).is_some()
    }

    fn serve(&mut self, stream: TcpStream) {
        if !self.make_room() {
            return;
        }
        // Looked up for a request only: the table may be long, and idle connections are many in an attack.
        let Some(peer) = Peer::of(&stream) else { return };
        let is_reported = self.is_stranger_reported.clone();
        let visits = self.visits.clone();
        let events = visits.events.clone();
        let (open, written) = oneshot::channel();
        // There is one request on each connection.
        let written = Arc::new(Mutex::new(Some(written)));
        let has_request = Arc::new(AtomicBool::new(false));
        let arrived = has_request.clone();
        let service = service_fn(move |request| {
            arrived.store(true, Ordering::Relaxed);
            let (visits, written, is_reported) = (visits.clone(), written.clone(), is_reported.clone());
            async move {
                if !peer.is_a_strangers().await {
                    return visits.respond(written, request).await.map_err(|never| match never {});
                }
                // Only the first is reported: a flood of them would fill the terminal.
                if !is_reported.swap(true, Ordering::Relaxed) {
                    let _ = visits.events.send(Event::Ignored(STRANGER)).await;
                }
                // No response: hyper closes the connection.
                Err(io::Error::from(io::ErrorKind::ConnectionRefused))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_FIELDS)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        let connection = self.graceful.watch(connection);
        let task = self.tasks.spawn(async move {
            let ended = connection.await;
            drop(open);
            // Perhaps it was the browser, and a person waits in vain.
            if let Some(reason) = ended.err().and_then(|error| refused(&error)) {
                let _ = events.send(Event::Ignored(reason)).await;
            }
        });
        self.connections.push_back(Connection { task, has_request });
    }

    /// For a while, sends the same page to whoever loads the callback again. Browsers prefetch pages.
    pub(super) fn linger(mut self, page: Page) -> Farewell {
        Farewell(tokio::spawn(async move {
            let again = async {
                loop {
                    if let Some(reply) = self.next().await.reply() {
                        let _ = reply.page.send(page.clone());
                    }
                }
            };
            let _: Result<Infallible, _> = tokio::time::timeout(LINGER, again).await;
            self.close().await;
        }))
    }

    /// Finishes the responses under way, and closes.
    async fn close(self) {
        let Self { listeners, graceful, events, tasks, .. } = self;
        drop(listeners);
        // A browser that still waits for a page learns that the sign-in has ended.
        drop(events);
        let _ = tokio::time::timeout(FAREWELL_TIMEOUT, graceful.shutdown()).await;
        drop(tasks);
    }
}

/// The server after the sign-in's end. Dropping it closes its sockets.
pub(super) struct Farewell(JoinHandle<()>);

impl Future for Farewell {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why a request could not be read, if that is worth reporting: browsers also open connections and send nothing.
fn refused(error: &hyper::Error) -> Option<&'static str> {
    if error.is_parse_too_large() {
        Some(
            "its head is longer than 256 KiB; delete the cookies of localhost in the browser, or paste the \
             address at which it ends",
        )
    } else if error.is_parse() {
        Some("it is not HTTP; see that the browser does not turn http:// into https://")
    } else {
        None
    }
}
