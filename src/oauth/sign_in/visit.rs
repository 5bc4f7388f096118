//! A browser's requests to the server of a sign-in: the page where it begins, once, and the callback.
//!
//! Every user of the machine can see a browser's arguments. If it were opened at the vendor's page, they would contain the
//! state, and somebody else could answer in the vendor's place with a code of their own. So it opens a page of ours, which
//! redirects to the vendor's and sets a cookie, and a callback without that cookie does not count. The first browser to
//! open the page gets the cookie; if another one comes, one of them is a stranger's, and the sign-in ends.

use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use oauth2::{AuthorizationCode, CsrfToken};
use subtle::ConstantTimeEq;
use tokio::sync::{mpsc, oneshot};
use url::form_urlencoded;

use super::page::{self, Page};
use crate::secret::SecretString;

/// A browser that waits for a page.
pub(super) struct Reply {
    pub(super) page: oneshot::Sender<Page>,
    /// Closed when the connection ends.
    pub(super) written: oneshot::Receiver<Infallible>,
}

/// What a browser has brought.
pub(super) enum Event {
    /// The code.
    Code(AuthorizationCode, Reply),
    /// The vendor's error, and its words (RFC 6749, section 4.1.2.1).
    Error(String, Option<String>, Reply),
    /// A second browser has opened the first page.
    OpenedTwice(Reply),
    /// A request that isn't a response to this sign-in, and why not.
    Ignored(&'static str),
}

impl Event {
    /// The browser that waits for a page, if one does.
    pub(super) fn reply(self) -> Option<Reply> {
        match self {
            Self::Code(_, reply) | Self::Error(_, _, reply) | Self::OpenedTwice(reply) => Some(reply),
            Self::Ignored(_) => None,
        }
    }
}

/// The parameters with which a browser returns (RFC 6749, section 4.1.2).
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

/// Compares a secret with the expected one in constant time.
pub(super) fn is_same(given: &str, expected: &str) -> bool {
    given.as_bytes().ct_eq(expected.as_bytes()).into()
}

/// Responds to the requests of browsers.
pub(super) struct Visits {
    callback: String,
    state: SecretString,
    /// The path of the first page. Whoever knows it may begin.
    start: SecretString,
    /// The URL to which the first page redirects.
    vendor: HeaderValue,
    cookie: Cookie,
    is_opened: AtomicBool,
    pub(super) events: mpsc::Sender<Event>,
}

/// The end of a connection, until its one request takes it.
pub(super) type Written = Mutex<Option<oneshot::Receiver<Infallible>>>;

impl Visits {
    /// `vendor` is the URL to which the first page redirects.
    pub(super) fn new(
        callback: &str,
        port: u16,
        vendor: HeaderValue,
        state: &CsrfToken,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let start = format!("{}/{}", callback.trim_end_matches('/'), random().expose());
        Self {
            callback: callback.to_owned(),
            state: state.secret().as_str().into(),
            start: start.into(),
            vendor,
            cookie: Cookie { name: format!("tower-credentials-{port}"), value: random() },
            is_opened: AtomicBool::new(false),
            events,
        }
    }

    /// The path of the first page.
    pub(super) fn start(&self) -> &str {
        self.start.expose()
    }

    pub(super) async fn respond(
        self: Arc<Self>,
        written: Arc<Written>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path();
        let is_start = is_same(path, self.start());
        if !is_start && path != self.callback {
            return Ok(Page::not_found().response());
        }
        if request.method() != Method::GET {
            return Ok(Page::not_allowed().response());
        }
        let Some(written) = written.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Ok(Page::ended().response());
        };
        let headers = request.headers();
        if is_start {
            return Ok(self.begin(headers, written).await);
        }
        Ok(self.come_back(request.uri().query().unwrap_or_default(), headers, written).await.response())
    }

    /// The first page.
    async fn begin(
        &self,
        headers: &HeaderMap,
        written: oneshot::Receiver<Infallible>,
    ) -> Response<Full<Bytes>> {
        // The browser may throw the page away, and the cookie with it.
        if is_prefetch(headers) {
            return Page::not_yet().response();
        }
        if self.cookie.is_in(headers) || !self.is_opened.swap(true, Ordering::Relaxed) {
            return page::onward(&self.vendor, self.cookie.header(&self.callback));
        }
        self.report(written, Event::OpenedTwice).await.response()
    }

    /// The callback. Any page on the web can send the browser here, so a request without this sign-in's state and cookie does
    /// not count, and must not end the sign-in, whether it brings a code or an error (RFC 9700, section 4.7).
    async fn come_back(
        &self,
        query: &str,
        headers: &HeaderMap,
        written: oneshot::Receiver<Infallible>,
    ) -> Page {
        let query = CallbackQuery::read(form_urlencoded::parse(query.as_bytes()));
        let reason = match query {
            CallbackQuery { state: None, .. } => "it has no state",
            CallbackQuery { state: Some(state), .. } if !is_same(&state, self.state.expose()) => {
                "its state is another sign-in's"
            }
            _ if !self.cookie.is_in(headers) => {
                "it comes from a browser that has not opened this sign-in's first page, or keeps no cookies; open that \
                 page, or paste this one's address where the sign-in was begun"
            }
            CallbackQuery { error: Some(error), error_description, .. } => {
                return self
                    .report(written, |reply| Event::Error(error, error_description, reply))
                    .await;
            }
            CallbackQuery { code: Some(code), .. } if !code.is_empty() => {
                let code = AuthorizationCode::new(code);
                return self.report(written, |reply| Event::Code(code, reply)).await;
            }
            _ => "it has neither a code nor an error",
        };
        let _ = self.events.send(Event::Ignored(reason)).await;
        Page::ignored(reason)
    }

    /// Sends an event, and waits for the page that answers it.
    async fn report(
        &self,
        written: oneshot::Receiver<Infallible>,
        event: impl FnOnce(Reply) -> Event,
    ) -> Page {
        let (sender, page) = oneshot::channel();
        let _ = self.events.send(event(Reply { page: sender, written })).await;
        page.await.unwrap_or_else(|_| Page::ended())
    }
}

/// Whether a browser prefetches the page, before a person wants it.
fn is_prefetch(headers: &HeaderMap) -> bool {
    ["sec-purpose", "purpose", "x-moz"]
        .iter()
        .any(|name| headers.get(*name).is_some_and(|value| value.as_bytes().starts_with(b"prefetch")))
}

fn random() -> SecretString {
    CsrfToken::new_random().into_secret().into()
}

/// Identifies the browser that has opened the first page.
struct Cookie {
    /// Has the port in it, since a host's ports share cookies.
    name: String,
    value: SecretString,
}

impl Cookie {
    /// The `set-cookie` value: scripts can't read the cookie, other sites' requests don't carry it unless a link is followed,
    /// and it is sent to no other path.
    fn header(&self, path: &str) -> HeaderValue {
        let (name, value) = (&self.name, self.value.expose());
        let path = if path.contains(';') { "/" } else { path };
        let field = format!("{name}={value}; Path={path}; Max-Age=86400; HttpOnly; SameSite=Lax");
        let mut field =
            HeaderValue::from_str(&field).expect("paths of URLs are ASCII, and so are the others");
        field.set_sensitive(true);
        field
    }

    fn is_in(&self, headers: &HeaderMap) -> bool {
        let fields = headers.get_all(COOKIE).into_iter().filter_map(|field| field.to_str().ok());
        let mut cookies =
            fields.flat_map(|field| field.split(';')).filter_map(|cookie| cookie.split_once('='));
        cookies
            .any(|(name, value)| name.trim() == self.name && is_same(value.trim(), self.value.expose()))
    }
}
