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
use crate::rate_limit::retry_at;
use crate::secret::SecretString;

/// The most bytes of an answer that are read. Answers with several signed tokens have about 10 KiB.
const MOST: usize = 64 * 1024;

/// How long an answer is waited for unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long one to a refresh is: it may bring the only token that is left.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(5 * 60);

type BoxService =
    BoxCloneService<Request<Full<Bytes>>, Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError>;

/// Sends the requests of sign-ins and refreshes: any HTTP client that is a tower service. Not more than
/// 64 KiB of an answer are read, and it is waited for 30 s, or five minutes if it brings new tokens in place of
/// spent ones, unless [told otherwise](Self::timeout).
///
/// Requests go to the URLs of an [`OAuthConfig`](super::OAuthConfig) and nowhere else, by HTTPS, or by HTTP
/// to a loopback host. So the service must follow no redirects: they would carry tokens along. A server that redirects
/// is an error, which names the status.
///
/// This is seen to as far as it can be. A reqwest client under a `reqwest_client::HttpService` gets a body
/// that it can't send twice, whatever its redirect policy: it sends no token on after a 307 or 308, and an answer from
/// another origin after a 301, 302 or 303 is refused with [`OAuthError::Redirected`]. tower-http's `FollowRedirect` sends no
/// body on by itself; with the policy `redirect::FilterCredentials` it stays within the
/// origin, and with any other an answer from elsewhere is refused (with the feature `follow-redirect`). A client of your
/// own, or one that `service_fn` calls, has to be built without redirects:
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
///     let answer = Full::<Bytes>::from(r#"{"error": "invalid_client"}"#);
///     Response::builder().status(400).body(answer).map_err(BoxError::from)
/// });
/// let http = OAuthHttp::new(server);
/// ```
#[derive(Clone)]
pub struct OAuthHttp {
    service: Arc<Mutex<BoxService>>,
    timeout: Option<Duration>,
    /// How long an answer is waited for unless told otherwise.
    usual: Duration,
}

impl OAuthHttp {
    /// Over this client.
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
        Self { service, timeout: None, usual: TIMEOUT }
    }

    /// Waits this long for a whole answer, a renewal's too: most servers have spent the old refresh token by then,
    /// and the account is lost with an answer that is not waited for. Time counts while the process runs: after a
    /// stop (Ctrl-Z, a container that is paused) what has arrived is read first.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The same for refreshes.
    pub(super) fn for_refreshes(mut self) -> Self {
        self.usual = REFRESH_TIMEOUT;
        self
    }

    /// Sends a request and reads the answer. What must not be in an error is in `secrets`.
    pub(super) async fn send(
        &self,
        request: Request<Vec<u8>>,
        secrets: &Secrets,
    ) -> Result<EndpointResponse, OAuthError> {
        self.send_keeping(request, secrets, &mut Received::default()).await
    }

    /// As [`send`](Self::send). What has come of an answer that did not come whole is in `received`.
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
        // The body is wiped once the client has let go of it.
        let mut request = request.map(|body| Full::new(Bytes::from_owner(Zeroizing::new(body))));
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        // GitHub refuses requests without one.
        let product = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(product));
        request.extensions_mut().insert(OwnOriginOnly);
        let timeout = self.timeout.unwrap_or(self.usual);
        match within(timeout, self.answer(request, received)).await {
            Ok(Ok((head, true))) => {
                let (status, body) = (head.status, std::mem::take(&mut received.0));
                Ok(EndpointResponse { url, status, retry_after: retry_after(&head.headers), body })
            }
            Ok(Ok((_, false))) => Err(OAuthError::TooLong { url, most: MOST }),
            Ok(Err(error)) => {
                if let Some(Error::Redirected { origin }) = error.downcast_ref() {
                    return Err(OAuthError::Redirected { url, origin: origin.clone() });
                }
                Err(OAuthError::Unreachable { url, reason: secrets.clean_error(error.as_ref()) })
            }
            Err(Elapsed) => Err(OAuthError::TimedOut { url, after: timeout }),
        }
    }

    /// The head, and whether the body has come whole; it goes into `received`.
    async fn answer(
        &self,
        request: Request<Full<Bytes>>,
        received: &mut Received,
    ) -> Result<(response::Parts, bool), BoxError> {
        let mut service = self.service.lock().unwrap_or_else(PoisonError::into_inner).clone();
        poll_fn(|cx| service.poll_ready(cx)).await?;
        #[cfg(feature = "follow-redirect")]
        let asked = request.uri().clone();
        let (parts, body) = service.call(request).await?.into_parts();
        #[cfg(feature = "follow-redirect")]
        check_origin(&asked, &parts)?;
        let mut body = pin!(body);
        // All of the room at once: a growing buffer leaves copies behind.
        received.0 = Zeroizing::new(Vec::with_capacity(MOST));
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            let room = MOST - received.0.len();
            received.0.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                return Ok((parts, false));
            }
        }
        Ok((parts, true))
    }
}

/// Refuses an answer that tower-http has followed a redirect for to another origin.
#[cfg(feature = "follow-redirect")]
fn check_origin(asked: &http::Uri, answer: &response::Parts) -> Result<(), Error> {
    use tower_http::follow_redirect::RequestUri;
    match answer.extensions.get() {
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

/// What has come of an answer.
#[derive(Default)]
pub(super) struct Received(pub(super) Zeroizing<Vec<u8>>);

impl Received {
    /// What of it may have tokens in it.
    pub(super) fn into_secret(self) -> Option<SecretString> {
        let is_page = matches!(members(&self.0), Err(Unread::Page));
        let text = Zeroizing::new(String::from_utf8_lossy(&self.0).into_owned());
        let has_tokens = ["token", "Token", "TOKEN"].iter().any(|word| text.contains(word));
        (has_tokens && !is_page).then(|| text.as_str().into())
    }
}

/// In how long the server wants to be asked again.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    // Other limits in the headers of a token endpoint are not about this.
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

/// An answer, read whole.
pub(super) struct EndpointResponse {
    /// Whose it is, without a query.
    pub(super) url: String,
    pub(super) status: StatusCode,
    /// In how long the server wants to be asked again, if it says so.
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl EndpointResponse {
    /// The answer, if the server isn't only too busy for one.
    pub(super) fn available(self) -> Result<Self, OAuthError> {
        match self.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Err(self.unavailable()),
            status if status.is_server_error() => Err(self.unavailable()),
            // A limit, as GitHub says it.
            StatusCode::FORBIDDEN if self.retry_after.is_some() => Err(self.unavailable()),
            _ => Ok(self),
        }
    }

    pub(super) fn unavailable(self) -> OAuthError {
        let Self { url, status, retry_after, .. } = self;
        OAuthError::Unavailable { url, status, retry_after }
    }

    /// What is in it, if it can be read as this.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&members(&self.body).ok()?).ok()
    }

    /// Whether it is a web page, so that most likely it isn't the server's.
    pub(super) fn is_a_page(&self) -> bool {
        matches!(members(&self.body), Err(Unread::Page))
    }

    pub(super) fn unreadable(&self, expected: &'static str) -> OAuthError {
        let (url, status, is_page) = (self.url.clone(), self.status, self.is_a_page());
        OAuthError::Malformed { url, status, expected, is_page }
    }
}
