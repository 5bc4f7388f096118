//! The server of a sign-in, at the addresses that the browser comes back to.

use std::collections::VecDeque;
use std::convert::Infallible;
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
use super::peer;
use super::visit::{Event, Reply, Visits};

/// The most connections at once. Browsers open spare ones, and so can anybody on this machine.
const MOST_CONNECTIONS: usize = 128;

/// The most events that wait to be told.
const MOST_EVENTS: usize = 16;

/// The most bytes of a request's head. Browsers send the cookies of every port of this host.
const MOST_BYTES: usize = 256 * 1024;

/// The most fields of a request's head.
const MOST_FIELDS: usize = 1000;

/// How long a connection may take to send its request's head.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the last page may take to be written.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long after the end a second load of the callback gets the page that the first one got.
const LINGER: Duration = Duration::from_secs(1);

/// What becomes of a connection from a program of another user.
const STRANGER: &str = "it comes from a program of another user of this machine; if that was a browser of yours, open the page \
                        for browsers of other machines in it, and paste the address at which it ends";

/// Sends a page to all who wait for it, and waits until it was written.
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
    let _ = tokio::time::timeout(FAREWELL, all).await;
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
    /// Whether it was told that another user's program has come.
    is_stranger_told: bool,
}

/// A connection that is served.
struct Connection {
    task: AbortHandle,
    /// Whether a whole head has come.
    is_asking: Arc<AtomicBool>,
}

impl Loopback {
    /// `vendor` is where the sign-in's first page leads.
    pub(super) fn new(
        listeners: Listeners,
        target: &Target<'_>,
        vendor: HeaderValue,
        state: &CsrfToken,
    ) -> Self {
        let (sender, events) = mpsc::channel(MOST_EVENTS);
        let visits = Visits::new(target.path(), listeners.port, vendor, state, sender);
        Self {
            listeners,
            visits: Arc::new(visits),
            tasks: JoinSet::new(),
            connections: VecDeque::new(),
            graceful: GracefulShutdown::new(),
            events,
            is_stranger_told: false,
        }
    }

    /// The page where a browser of this machine begins.
    pub(super) fn start(&self, target: &Target<'_>) -> String {
        target.page(self.listeners.port, self.visits.start())
    }

    /// What comes next. Cancel safe.
    pub(super) async fn next(&mut self) -> Event {
        loop {
            tokio::select! {
                Some(event) = self.events.recv() => return event,
                Some(_) = self.tasks.join_next() => {}
                accepted = self.listeners.accept() => {
                    match accepted {
                        // They take nobody's place, and get no answer. To tell of each would fill the terminal.
                        Ok(stream) if peer::is_a_strangers(&stream) => {
                            if !std::mem::replace(&mut self.is_stranger_told, true) {
                                return Event::Ignored(STRANGER);
                            }
                        }
                        Ok(stream) => self.serve(stream),
                        // No more file descriptors, say: not to be asked for again at once.
                        Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                    }
                    // It reads what has come already before another one may take its place.
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Makes room for one more connection, and answers whether there is any. The oldest that has asked for nothing gives
    /// way: a browser asks as soon as it is connected, and a stranger's idle connections must not keep it out.
    fn make_room(&mut self) -> bool {
        self.connections.retain(|connection| !connection.task.is_finished());
        if self.connections.len() < MOST_CONNECTIONS {
            return true;
        }
        let is_idle = |connection: &Connection| !connection.is_asking.load(Ordering::Relaxed);
        let idle = self.connections.iter().position(is_idle);
        let idle = idle.and_then(|place| self.connections.remove(place));
        idle.map(|connection| connection.task.abort()).is_some()
    }

    fn serve(&mut self, stream: TcpStream) {
        if !self.make_room() {
            return;
        }
        let visits = self.visits.clone();
        let events = visits.events.clone();
        let (open, written) = oneshot::channel();
        // There is one request on each connection.
        let written = Arc::new(Mutex::new(Some(written)));
        let is_asking = Arc::new(AtomicBool::new(false));
        let asks = is_asking.clone();
        let service = service_fn(move |request| {
            asks.store(true, Ordering::Relaxed);
            visits.clone().answer(written.clone(), request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .max_buf_size(MOST_BYTES)
            .max_headers(MOST_FIELDS)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        let connection = self.graceful.watch(connection);
        let task = self.tasks.spawn(async move {
            let ended = connection.await;
            drop(open);
            // It was the browser, perhaps, and its person waits in vain.
            if let Some(reason) = ended.err().and_then(|error| refused(&error)) {
                let _ = events.send(Event::Ignored(reason)).await;
            }
        });
        self.connections.push_back(Connection { task, is_asking });
    }

    /// Gives whoever loads the callback once more the same page, for a while. Browsers load pages ahead.
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

    /// Writes out what is being answered, and closes.
    async fn close(self) {
        let Self { listeners, graceful, events, tasks, .. } = self;
        drop(listeners);
        // Whoever came a second time is told that it is over.
        drop(events);
        let _ = tokio::time::timeout(FAREWELL, graceful.shutdown()).await;
        drop(tasks);
    }
}

/// A sign-in's server after its end. Dropping it closes its sockets.
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

/// What was wrong with a request that was refused before it was read whole, if that is worth telling: browsers open
/// connections that they send nothing on.
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
