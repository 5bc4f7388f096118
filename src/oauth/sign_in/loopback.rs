//! The address on this machine that the browser comes back to (RFC 8252, section 7.3).

use std::borrow::Cow;
use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use oauth2::{AuthorizationCode, CsrfToken};
use subtle::ConstantTimeEq;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use url::{Url, form_urlencoded};

use super::page::Page;
use crate::oauth::client::OAuthClient;
use crate::oauth::error::OAuthError;
use crate::secret::SecretString;

/// The most connections at once. Browsers open spare ones.
const MOST_CONNECTIONS: usize = 16;

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

/// Where the browser comes back to, before the port is known.
pub(super) struct Target<'a> {
    text: &'a str,
    url: Url,
    /// 0 for any that is free.
    port: u16,
}

impl Target<'_> {
    /// The redirect URI with the port that is listened at; as it was written, where it has one.
    pub(super) fn with_port(&self, port: u16) -> String {
        if self.port != 0 {
            return self.text.to_owned();
        }
        let mut url = self.url.clone();
        // Such a URL has a host, so it can have a port.
        let _ = url.set_port(Some(port));
        url.into()
    }
}

/// Reads a redirect URI that is to be listened at.
pub(super) fn target<'a>(client: &OAuthClient, text: &'a str) -> Result<Target<'a>, OAuthError> {
    let invalid = |reason| client.invalid("redirect_uri", reason);
    let url = Url::parse(text).map_err(|error| client.invalid("redirect_uri", error))?;
    if url.scheme() != "http" || !matches!(url.host_str(), Some("localhost" | "127.0.0.1")) {
        return Err(invalid("a browser sign-in needs http://localhost or http://127.0.0.1"));
    }
    if url.fragment().is_some() {
        return Err(invalid("it must have no fragment"));
    }
    // A URL forgets the port that is its scheme's own.
    let uri: Uri = text.parse().map_err(|error| client.invalid("redirect_uri", error))?;
    Ok(Target { text, url, port: uri.port_u16().unwrap_or(0) })
}

/// Listens on 127.0.0.1 only (RFC 8252, section 8.3).
pub(super) async fn bind(client: &OAuthClient, target: &Target<'_>) -> Result<TcpListener, OAuthError> {
    let port = target.port;
    let provider = || client.provider().to_owned();
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => OAuthError::PortTaken { provider: provider(), port },
        _ => OAuthError::Listen { provider: provider(), port, source },
    })
}

/// Where the page goes that answers a browser.
pub(super) struct Reply {
    page: oneshot::Sender<Page>,
    /// Ends with the connection.
    written: oneshot::Receiver<Infallible>,
}

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

/// What has come.
pub(super) enum Event {
    /// The code.
    Code(AuthorizationCode, Reply),
    /// The vendor's error, and its words (RFC 6749, section 4.1.2.1).
    Error(String, Option<String>, Reply),
    /// Something that isn't an answer to this sign-in.
    Ignored(&'static str),
}

/// The parameters with which a browser comes back (RFC 6749, section 4.1.2).
#[derive(Default)]
pub(super) struct CallbackQuery {
    pub(super) code: Option<String>,
    pub(super) state: Option<String>,
    pub(super) error: Option<String>,
    pub(super) error_description: Option<String>,
}

impl CallbackQuery {
    pub(super) fn read<'a>(pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>) -> Self {
        let mut query = Self::default();
        for (name, value) in pairs {
            let field = match &*name {
                "code" => &mut query.code,
                "state" => &mut query.state,
                "error" => &mut query.error,
                "error_description" => &mut query.error_description,
                _ => continue,
            };
            field.get_or_insert_with(|| value.into_owned());
        }
        query
    }
}

/// Whether a state is the expected one; how long that takes tells nothing of where they differ.
pub(super) fn same_state(given: &str, expected: &str) -> bool {
    given.as_bytes().ct_eq(expected.as_bytes()).into()
}

/// The server of a sign-in. Dropping it closes its sockets.
pub(super) struct Loopback {
    listener: TcpListener,
    expected: Arc<Expected>,
    connections: JoinSet<()>,
    graceful: GracefulShutdown,
    events: mpsc::Receiver<Event>,
}

/// What a request must be to be the vendor's answer.
struct Expected {
    path: String,
    state: SecretString,
    events: mpsc::Sender<Event>,
}

impl Loopback {
    pub(super) fn new(listener: TcpListener, target: &Target<'_>, state: &CsrfToken) -> Self {
        let (sender, events) = mpsc::channel(MOST_CONNECTIONS);
        let path = target.url.path().to_owned();
        let expected = Expected { path, state: state.secret().as_str().into(), events: sender };
        Self {
            listener,
            expected: Arc::new(expected),
            connections: JoinSet::new(),
            graceful: GracefulShutdown::new(),
            events,
        }
    }

    /// What comes next. Cancel safe.
    pub(super) async fn next(&mut self) -> Event {
        loop {
            tokio::select! {
                Some(event) = self.events.recv() => return event,
                Some(_) = self.connections.join_next() => {}
                accepted = self.listener.accept(), if self.connections.len() < MOST_CONNECTIONS => {
                    match accepted {
                        Ok((stream, _)) => self.serve(stream),
                        // No more file descriptors, say: not to be asked for again at once.
                        Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                    }
                }
            }
        }
    }

    fn serve(&mut self, stream: TcpStream) {
        let expected = self.expected.clone();
        let events = expected.events.clone();
        let (open, written) = oneshot::channel();
        // There is one request on each connection.
        let written = Arc::new(Mutex::new(Some(written)));
        let service = service_fn(move |request| answer(expected.clone(), written.clone(), request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .max_buf_size(MOST_BYTES)
            .max_headers(MOST_FIELDS)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        let connection = self.graceful.watch(connection);
        self.connections.spawn(async move {
            let ended = connection.await;
            drop(open);
            // It was the browser, perhaps, and its person waits in vain.
            if let Some(reason) = ended.err().and_then(|error| refused(&error)) {
                let _ = events.send(Event::Ignored(reason)).await;
            }
        });
    }

    /// Gives whoever loads the callback once more the same page, for a while. Browsers load pages ahead.
    pub(super) fn linger(mut self, page: Page) -> Farewell {
        Farewell(tokio::spawn(async move {
            let again = async {
                loop {
                    if let Event::Code(_, reply) | Event::Error(_, _, reply) = self.next().await {
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
        let Self { listener, graceful, events, connections, .. } = self;
        drop(listener);
        // Whoever came a second time is told that it is over.
        drop(events);
        let _ = tokio::time::timeout(FAREWELL, graceful.shutdown()).await;
        drop(connections);
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

/// When the connection ends.
type Written = Arc<Mutex<Option<oneshot::Receiver<Infallible>>>>;

async fn answer(
    expected: Arc<Expected>,
    written: Written,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let page = if request.uri().path() != expected.path {
        Page::not_found()
    } else if request.method() != Method::GET {
        Page::not_allowed()
    } else {
        let written = written.lock().unwrap_or_else(PoisonError::into_inner).take();
        callback(&expected, written, request.uri().query().unwrap_or_default()).await
    };
    Ok(page.response())
}

async fn callback(
    expected: &Expected,
    written: Option<oneshot::Receiver<Infallible>>,
    query: &str,
) -> Page {
    let query = CallbackQuery::read(form_urlencoded::parse(query.as_bytes()));
    let Some(written) = written else { return Page::ended() };
    let (sender, page) = oneshot::channel();
    let reply = Reply { page: sender, written };
    // Any page on the web can send the browser here. So what has not this sign-in's state is no answer to
    // it, and must not end it either, be it a code of somebody else's or an error (RFC 9700, section 4.7).
    let event = match query {
        CallbackQuery { state: None, .. } => Err("it has no state"),
        CallbackQuery { state: Some(state), .. } if !same_state(&state, expected.state.expose()) => {
            Err("its state is another sign-in's")
        }
        CallbackQuery { error: Some(error), error_description, .. } => {
            Ok(Event::Error(error, error_description, reply))
        }
        CallbackQuery { code: Some(code), .. } if !code.is_empty() => {
            Ok(Event::Code(AuthorizationCode::new(code), reply))
        }
        _ => Err("it has neither a code nor an error"),
    };
    match event {
        Ok(event) => {
            let _ = expected.events.send(event).await;
            page.await.unwrap_or_else(|_| Page::ended())
        }
        Err(reason) => {
            let _ = expected.events.send(Event::Ignored(reason)).await;
            Page::ignored(reason)
        }
    }
}
