//! The connections to one origin: which of them takes a request, and when another is made.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::Uri;
use http::uri::{Authority, Scheme};
use http_body::Body;
use hyper::client::conn::http2::SendRequest;
use tokio::sync::{oneshot, watch};

use super::body::Sent;
use super::connection::{Http2, Opener};
use super::error::ConnectError;
use crate::BoxError;

/// The most requests at once on a connection.
pub(super) const MAX_STREAMS: usize = 100;

/// How long a server that has not offered HTTP/2 is asked by HTTP/1.1 only.
const HTTP1_FOR: Duration = Duration::from_secs(3600);

/// An origin that is asked.
pub(super) struct Origin<B> {
    uri: Uri,
    opener: Arc<Opener>,
    state: Mutex<State<B>>,
}

struct State<B> {
    /// Those that take requests.
    connections: Vec<Open<B>>,
    next: u64,
    /// How many are being made.
    connecting: usize,
    /// The requests that wait for a connection, first to last.
    waiting: VecDeque<oneshot::Sender<Answer<B>>>,
    speaks: Speaks,
}

/// What is known of a server.
#[derive(Clone, Copy)]
enum Speaks {
    Unknown,
    /// HTTP/2, with so many requests at once on the latest connection.
    Http2(usize),
    /// No HTTP/2; until then that is not asked again.
    Http1(Instant),
}

/// A connection that takes requests.
struct Open<B> {
    id: u64,
    sender: SendRequest<Sent<B>>,
    /// How many requests the server takes at once.
    limit: usize,
    /// How many are under way.
    busy: watch::Sender<usize>,
    has_carried: bool,
}

/// How a request is sent.
pub(super) enum Answer<B> {
    Place(Place<B>),
    Http1,
    Failed(ConnectError),
}

/// A place on a connection.
pub(super) struct Place<B> {
    pub(super) sender: SendRequest<Sent<B>>,
    /// Whether the connection has carried no request yet.
    pub(super) is_first: bool,
    pub(super) stream: Arc<Stream>,
}

/// Counts as a request under way until it is dropped.
pub(super) struct Stream {
    origin: Arc<dyn Leave>,
    connection: u64,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.origin.clone().leave(self.connection);
    }
}

/// An origin, whatever the bodies of its requests are.
trait Leave: Send + Sync {
    /// A request on this connection has ended.
    fn leave(self: Arc<Self>, connection: u64);
}

impl<B> Open<B> {
    fn busy(&self) -> usize {
        *self.busy.borrow()
    }

    /// How many more requests it takes.
    fn room(&self) -> usize {
        self.limit.min(MAX_STREAMS).saturating_sub(self.busy())
    }
}

impl<B> State<B> {
    /// Returns the least busy connection that has room.
    fn free(&mut self) -> Option<&mut Open<B>> {
        self.connections.retain(|open| !open.sender.is_closed());
        self.connections.iter_mut().filter(|open| open.room() > 0).min_by_key(|open| open.busy())
    }

    /// How many connections to make for the requests that wait. The first one tells what the server speaks.
    fn missing(&mut self) -> usize {
        self.waiting.retain(|waiting| !waiting.is_closed());
        let usual = match self.speaks {
            Speaks::Http2(limit) => limit.clamp(1, MAX_STREAMS),
            _ if self.connecting > 0 => return 0,
            _ => return self.waiting.len().min(1),
        };
        self.waiting.len().saturating_sub(usual * self.connecting).div_ceil(usual)
    }

    fn open(&mut self, id: u64) -> Option<&mut Open<B>> {
        self.connections.iter_mut().find(|open| open.id == id)
    }
}

impl<B> Origin<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    pub(super) fn new(authority: &Authority, opener: Arc<Opener>) -> Self {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTPS);
        parts.authority = Some(authority.clone());
        parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
        let uri = Uri::from_parts(parts).unwrap_or_default();
        let state = State {
            connections: Vec::new(),
            next: 0,
            connecting: 0,
            waiting: VecDeque::new(),
            speaks: Speaks::Unknown,
        };
        Self { uri, opener, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it has connections, or something is known about it.
    pub(super) fn is_in_use(&self) -> bool {
        let state = self.state();
        let is_http1 = matches!(state.speaks, Speaks::Http1(until) if Instant::now() < until);
        is_http1 || state.connecting > 0 || !state.connections.is_empty() || !state.waiting.is_empty()
    }

    /// Waits for a place on a connection. Requests get theirs in the order in which they have come.
    pub(super) async fn place(self: &Arc<Self>) -> Answer<B> {
        let receiver = {
            let mut state = self.state();
            if let Speaks::Http1(until) = state.speaks {
                if Instant::now() < until {
                    return Answer::Http1;
                }
                state.speaks = Speaks::Unknown;
            }
            if state.waiting.is_empty()
                && let Some(open) = state.free()
            {
                return Answer::Place(self.take(open));
            }
            let (sender, receiver) = oneshot::channel();
            state.waiting.push_back(sender);
            receiver
        };
        self.serve();
        receiver.await.unwrap_or_else(|_| Answer::Failed(Arc::new(std::io::Error::other("no answer"))))
    }

    fn take(self: &Arc<Self>, open: &mut Open<B>) -> Place<B> {
        open.busy.send_modify(|busy| *busy += 1);
        let is_first = !std::mem::replace(&mut open.has_carried, true);
        let stream = Stream { origin: self.clone(), connection: open.id };
        Place { sender: open.sender.clone(), is_first, stream: Arc::new(stream) }
    }

    /// Gives places to the requests that wait, and makes connections for those that get none.
    fn serve(self: &Arc<Self>) {
        let missing = loop {
            let mut state = self.state();
            while state.waiting.front().is_some_and(oneshot::Sender::is_closed) {
                state.waiting.pop_front();
            }
            let place =
                if state.waiting.is_empty() { None } else { state.free().map(|open| self.take(open)) };
            let Some(place) = place else {
                let missing = state.missing();
                state.connecting += missing;
                break missing;
            };
            let waiting = state.waiting.pop_front();
            drop(state);
            // Not under the lock: a request that is gone leaves its place at once.
            if let Some(waiting) = waiting {
                let _ = waiting.send(Answer::Place(place));
            }
        };
        for _ in 0..missing {
            tokio::spawn(self.clone().connect());
        }
    }

    /// Makes a connection, and drives it to its end.
    async fn connect(self: Arc<Self>) {
        match self.opener.open(self.uri.clone()).await {
            Ok(Some((sender, mut connection))) => {
                let (id, busy) = self.opened(sender, &connection);
                self.serve();
                connection.carry(busy, |limit| self.told(id, limit), || self.retire(id)).await;
                self.state().connections.retain(|open| open.id != id);
                self.serve();
                connection.finish().await;
            }
            Ok(None) => {
                let mut state = self.state();
                state.connecting -= 1;
                state.speaks = Speaks::Http1(Instant::now() + HTTP1_FOR);
                self.answer_all(state, || Answer::Http1);
            }
            Err(error) => {
                let mut state = self.state();
                state.connecting -= 1;
                if state.connecting == 0 {
                    let error: ConnectError = error.into();
                    self.answer_all(state, || Answer::Failed(error.clone()));
                }
            }
        }
    }

    fn opened(
        &self,
        sender: SendRequest<Sent<B>>,
        connection: &Http2<Sent<B>>,
    ) -> (u64, watch::Receiver<usize>) {
        let limit = connection.limit();
        let mut state = self.state();
        state.connecting -= 1;
        state.speaks = Speaks::Http2(limit);
        let id = state.next;
        state.next += 1;
        let (busy, receiver) = watch::channel(0);
        state.connections.push(Open { id, sender, limit, busy, has_carried: false });
        (id, receiver)
    }

    /// The server has said how many requests it takes at once on a connection.
    fn told(self: &Arc<Self>, id: u64, limit: usize) {
        let mut state = self.state();
        state.speaks = Speaks::Http2(limit);
        if let Some(open) = state.open(id) {
            open.limit = limit;
        }
        drop(state);
        self.serve();
    }

    /// Takes no more requests on a connection, unless one is under way. Returns whether that is so.
    fn retire(&self, id: u64) -> bool {
        let mut state = self.state();
        let before = state.connections.len();
        state.connections.retain(|open| open.id != id || open.busy() > 0);
        state.connections.len() < before
    }

    /// Gives the same answer to all requests that wait.
    fn answer_all(&self, mut state: MutexGuard<'_, State<B>>, answer: impl Fn() -> Answer<B>) {
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for waiting in waiting {
            let _ = waiting.send(answer());
        }
    }
}

impl<B> Leave for Origin<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    fn leave(self: Arc<Self>, connection: u64) {
        let mut state = self.state();
        if let Some(open) = state.open(connection) {
            open.busy.send_modify(|busy| *busy -= 1);
        }
        let is_awaited = !state.waiting.is_empty();
        drop(state);
        if is_awaited {
            self.serve();
        }
    }
}
