//! The HTTP client behind every sign-in and refresh.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header, response};
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde::de::DeserializeOwned;
use tower::util::BoxCloneService;
use tower_service::Service;
use zeroize::Zeroizing;

use super::error::OAuthError;
use super::members::{Unread, members};
use super::redact::Secrets;
use crate::BoxError;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::own_origin::OwnOriginOnly;
use crate::patience::{Elapsed, within};
use crate::pool::Refresher;
use crate::rate_limit::retry_at;
use crate::secret::SecretString;

/// The maximum number of bytes of a response that are read. Responses with several signed tokens have about 10 KiB.
const MAX_BODY: usize = 64 * 1024;

/// The default timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The default timeout of a refresh, whose response may bring the only token that is left.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(5 * 60);

type BoxService =
    BoxCloneService<Request<Full<Bytes>>, Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError>;

/// The HTTP client of sign-ins and refreshes: any tower service that sends requests. It reads at most 64 KiB of a response.
/// The [timeout](Self::timeout) defaults to 30 seconds, and to five minutes for refreshes.
///
/// Requests go to the URLs of an [`OAuthConfig`](super::OAuthConfig) and nowhere else, over HTTPS, or over HTTP to a
/// loopback host. So the service must not follow redirects: they would carry tokens along. A server that redirects causes an
/// error that names the status.
///
/// This crate enforces that as far as it can. A reqwest client in a `reqwest_client::HttpService` gets a body that it can't
/// send twice, whatever its redirect policy: it sends no token on after a 307 or 308, and a response from another origin
/// after a 301, 302 or 303 is refused with [`OAuthError::Redirected`]. tower-http's `FollowRedirect` never sends this body
/// on; with the policy `redirect::FilterCredentials` it stays within the origin, and with any other policy a response from
/// elsewhere is refused (with the feature `follow-redirect`). Build a client of your own, or one that `service_fn` calls,
/// without redirects:
///
/// ```no_run
/// # #[cfg(feature = "reqwest")]
/// # fn client() -> reqwest::Result<tower_credentials::oauth::OAuthHttp> {
/// use tower_credentials::oauth::OAuthHttp;
/// use tower_credentials::reqwest_client::HttpService;
///
/// let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
/// Ok(OAuthHttp::new(HttpService::new(client)))
/// # }
/// ```
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower_credentials::oauth::OAuthHttp;
/// use tower_credentials::BoxError;
///
/// // In place of a client: a server that knows nobody.
/// let server = tower::service_fn(async |_: Request<Full<Bytes>>| {
///     let body = Full::<Bytes>::from(r#"{"error": "invalid_client"}"#);
///     Response::builder().status(400).body(body).map_err(BoxError::from)
/// });
/// let http = OAuthHttp::new(server);
/// ```
#[derive(Clone)]
pub struct OAuthHttp {
    service: Arc<Mutex<BoxService>>,
    timeout: Option<Duration>,
    default_timeout: Duration,
}

impl OAuthHttp {
    /// Creates one over this client.
    pub fn new<S, B>(service: S) -> Self
    where
        S: Service<
                Request<Full<Bytes>>,
                Response = Response<B>,
                Error: Into<BoxError>,
                Future: Send + 'static,
            > + Clone
            + Send
            + 'static,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let service = tower::util::MapErr::new(service, Into::into as fn(S::Error) -> BoxError);
        let service = tower::util::MapResponse::new(service, boxed as fn(Response<B>) -> _);
        let service = Arc::new(Mutex::new(BoxCloneService::new(service)));
        Self { service, timeout: None, default_timeout: TIMEOUT }
    }

    /// Sets how long to wait for a complete response, in refreshes too. Don't make it short: most servers have spent the old
    /// refresh token before they respond, so giving up on the response may lose the account. The time counts while the
    /// process runs: after a stop (Ctrl-Z, a paused container), data that has arrived is read first.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The same client with the default timeout of refreshes.
    pub(super) fn for_refreshes(mut self) -> Self {
        self.default_timeout = REFRESH_TIMEOUT;
        self
    }

    /// Sends a request and reads the response. Errors don't quote the `secrets`.
    pub(super) async fn send(
        &self,
        request: Request<Vec<u8>>,
        secrets: &Secrets,
    ) -> Result<EndpointResponse, OAuthError> {
        self.send_keeping(request, secrets, &mut Received::default()).await
    }

    /// The same as [`send`](Self::send). If the response is incomplete, the part that arrived is in `received`.
    pub(super) async fn send_keeping(
        &self,
        request: Request<Vec<u8>>,
        secrets: &Secrets,
        received: &mut Received,
    ) -> Result<EndpointResponse, OAuthError> {
        let uri = request.uri();
        let url = format!(
            "{}://{}{}",
            uri.scheme_str().unwrap_or_default(),
            uri.authority().map(|authority| authority.as_str()).unwrap_or_default(),
            uri.path()
        );
        // The body is wiped once the client drops it.
        let mut request = request.map(|body| Full::new(Bytes::from_owner(Zeroizing::new(body))));
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        // GitHub refuses requests without a user agent.
        let product = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(product));
        request.extensions_mut().insert(OwnOriginOnly);
        let timeout = self.timeout.unwrap_or(self.default_timeout);
        match within(timeout, self.receive(request, received)).await {
            Ok(Ok((head, true))) => {
                let (status, body) = (head.status, std::mem::take(&mut received.0));
                Ok(EndpointResponse { url, status, retry_after: retry_after(&head.headers), body })
            }
            Ok(Ok((_, false))) => Err(OAuthError::TooLong { url, limit: MAX_BODY }),
            Ok(Err(error)) => {
                if let Some(Error::Redirected { origin }) = error.downcast_ref() {
                    return Err(OAuthError::Redirected { url, origin: origin.clone() });
                }
                Err(OAuthError::Unreachable { url, reason: secrets.clean_error(error.as_ref()) })
            }
            Err(Elapsed) => Err(OAuthError::TimedOut { url, after: timeout }),
        }
    }

    /// Returns the head, and whether the whole body was read; it goes into `received`.
    async fn receive(
        &self,
        request: Request<Full<Bytes>>,
        received: &mut Received,
    ) -> Result<(response::Parts, bool), BoxError> {
        let mut service = self.service.lock().unwrap_or_else(PoisonError::into_inner).clone();
        poll_fn(|cx| service.poll_ready(cx)).await?;
        if !Refresher::may_present() {
            return Err("the lease of the refresh has ended".into());
        }
        #[cfg(feature = "follow-redirect")]
        let asked = request.uri().clone();
        let (parts, body) = service.call(request).await?.into_parts();
        #[cfg(feature = "follow-redirect")]
        check_origin(&asked, &parts)?;
        let mut body = pin!(body);
        // Allocated once: a buffer that grows leaves copies behind.
        received.0 = Zeroizing::new(Vec::with_capacity(MAX_BODY));
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            let room = MAX_BODY - received.0.len();
            received.0.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                return Ok((parts, false));
            }
        }
        Ok((parts, true))
    }
}

/// Refuses a response for which tower-http followed a redirect to another origin.
#[cfg(feature = "follow-redirect")]
fn check_origin(asked: &http::Uri, head: &response::Parts) -> Result<(), Error> {
    use tower_http::follow_redirect::RequestUri;
    match head.extensions.get() {
        Some(RequestUri(from)) if !crate::redirect::is_same_origin(asked, from) => {
            let authority = from.authority().map_or("", |authority| authority.as_str());
            let host = authority.rsplit('@').next().unwrap_or_default();
            Err(Error::Redirected {
                origin: format!("{}://{host}", from.scheme_str().unwrap_or_default()),
            })
        }
        _ => Ok(()),
    }
}

/// The bytes of a response that have arrived.
#[derive(Default)]
pub(super) struct Received(pub(super) Zeroizing<Vec<u8>>);

impl Received {
    /// The text, if it may have tokens in it.
    pub(super) fn into_secret(self) -> Option<SecretString> {
        let is_page = matches!(members(&self.0), Err(Unread::Page));
        let text = Zeroizing::new(String::from_utf8_lossy(&self.0).into_owned());
        let has_tokens = ["token", "Token", "TOKEN"].iter().any(|word| text.contains(word));
        (has_tokens && !is_page).then(|| text.as_str().into())
    }
}

/// The time to wait before the next request, if the server states one.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    // Other limits in a token endpoint's headers don't say when to try again.
    let stated: HeaderMap = [header::RETRY_AFTER, header::DATE]
        .into_iter()
        .filter_map(|name| headers.get(&name).cloned().map(|value| (name, value)))
        .collect();
    let now = Timestamp::from(SystemTime::now());
    retry_at(&stated, now).map(|at| at.since(now))
}

fn boxed<B>(response: Response<B>) -> Response<UnsyncBoxBody<Bytes, BoxError>>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    response.map(|body| {
        body.map_frame(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining())))
            .map_err(Into::into)
            .boxed_unsync()
    })
}

impl fmt::Debug for OAuthHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthHttp").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// The complete response of an endpoint.
pub(super) struct EndpointResponse {
    /// The endpoint's URL, without a query.
    pub(super) url: String,
    pub(super) status: StatusCode,
    /// The time to wait before the next request, if the server states one.
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl EndpointResponse {
    /// Returns the response, unless it only says that the server is unavailable.
    pub(super) fn available(self) -> Result<Self, OAuthError> {
        match self.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Err(self.unavailable()),
            status if status.is_server_error() => Err(self.unavailable()),
            // How GitHub reports a limit.
            StatusCode::FORBIDDEN if self.retry_after.is_some() => Err(self.unavailable()),
            _ => Ok(self),
        }
    }

    fn unavailable(self) -> OAuthError {
        let Self { url, status, retry_after, .. } = self;
        OAuthError::Unavailable { url, status, retry_after }
    }

    /// Reads the members into this type, if they fit.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&members(&self.body).ok()?).ok()
    }

    /// Whether it is a web page, which most likely isn't the server's.
    pub(super) fn is_page(&self) -> bool {
        matches!(members(&self.body), Err(Unread::Page))
    }

    pub(super) fn unreadable(&self, expected: &'static str) -> OAuthError {
        let (url, status, is_page) = (self.url.clone(), self.status, self.is_page());
        OAuthError::Malformed { url, status, expected, is_page }
    }
}
