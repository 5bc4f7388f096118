//! Requests the list of models from the upstream, page by page.

use std::collections::{BTreeMap, HashSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tower::ServiceExt;
use tower_service::Service;

use super::cache::Cached;
use super::error::{DiscoveryError, DiscoveryErrorKind as Kind};
use super::page;
use crate::BoxError;
use crate::own_origin::OwnOriginOnly;
use crate::patience::within;
use crate::pool::Pool;
use crate::printable::one_line;
use crate::provider::{ModelsShape, error_fields};

/// The maximum number of bytes of an error's body that are read, for the upstream's own words.
const ERROR_BYTES: usize = 64 * 1024;

/// The maximum number of characters of those words that are quoted.
const MESSAGE_CHARS: usize = 200;

/// A response whose body is `None` if it is too long.
type PageResponse = Response<Option<Bytes>>;
type PageFuture = Pin<Box<dyn Future<Output = Result<PageResponse, BoxError>> + Send>>;

/// The client without its types. It takes the maximum number of bytes of a response's body.
pub(super) struct Exchange(Box<dyn Fn(Request<()>, usize) -> PageFuture + Send + Sync>);

impl Exchange {
    pub(super) fn new<S, B, R>(service: S) -> Self
    where
        S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + 'static,
        B: Default + Send + 'static,
        R: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        // A service need not be `Sync`, so a lock guards the cloning.
        let service = Mutex::new(service);
        Self(Box::new(move |request, most| {
            let service = service.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let request = request.map(|()| B::default());
            Box::pin(async move {
                let response = service.oneshot(request).await.map_err(Into::into)?;
                read_up_to(most, response).await
            })
        }))
    }
}

async fn read_up_to<R>(most: usize, response: Response<R>) -> Result<PageResponse, BoxError>
where
    R: Body<Error: Into<BoxError>>,
{
    let (parts, body) = response.into_parts();
    let most = if parts.status.is_success() { most } else { ERROR_BYTES };
    let body = match Limited::new(body, most).collect().await {
        Ok(body) => Some(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => None,
        Err(error) => return Err(error),
    };
    Ok(Response::from_parts(parts, body))
}

/// The maximum size of a list, and the time that it may take.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) timeout: Duration,
    pub(super) pages: usize,
    pub(super) page_bytes: usize,
    pub(super) bytes: usize,
    pub(super) models: usize,
}

/// The endpoint that lists a provider's models.
pub(super) struct Upstream {
    pub(super) pool: Pool,
    pub(super) exchange: Exchange,
    pub(super) uri: Uri,
    pub(super) shape: ModelsShape,
    pub(super) limits: Limits,
}

impl Upstream {
    /// Requests a new list. If the upstream says that the known one is still valid, returns that with the current time.
    pub(super) async fn fetch(&self, known: Option<&Cached>) -> Result<Cached, DiscoveryError> {
        let timeout = self.limits.timeout;
        let fetched = within(timeout, self.pages(known)).await;
        fetched.unwrap_or(Err(Kind::TimedOut(timeout))).map_err(|kind| self.error(kind))
    }

    pub(super) fn error(&self, kind: Kind) -> DiscoveryError {
        DiscoveryError::new(self.pool.key().provider(), &self.uri, kind)
    }

    async fn pages(&self, known: Option<&Cached>) -> Result<Cached, Kind> {
        let known = known.and_then(|known| Some((known, known.etag.as_ref()?)));
        let mut models = BTreeMap::new();
        let mut etag = None;
        let mut requested = HashSet::new();
        let mut next = None;
        let (mut bytes, mut count) = (self.limits.bytes, self.limits.models);
        for number in 0..self.limits.pages {
            let tag = known.filter(|_| number == 0).map(|(_, etag)| etag.as_str());
            let response = self.page(next.as_deref(), tag, bytes.min(self.limits.page_bytes)).await?;
            if let (StatusCode::NOT_MODIFIED, Some((known, _))) = (response.status(), known)
                && number == 0
            {
                // The known list counts as new again (RFC 9111, section 4.3.4).
                return Ok(Cached { fetched_at: self.pool.now(), ..known.clone() });
            }
            let page = self.read(&response, bytes, count)?;
            bytes -= response.body().as_ref().map_or(0, Bytes::len);
            count =
                count.checked_sub(page.models.len()).ok_or(Kind::TooManyModels(self.limits.models))?;
            for model in page.models {
                models.entry(model.id.clone()).or_insert(model);
            }
            let Some(token) = page.next else {
                // The first page's tag says nothing about the other pages.
                if number == 0 {
                    etag = etag_of(response.headers());
                }
                let models = models.into_values().collect();
                return Ok(Cached { fetched_at: self.pool.now(), etag, models });
            };
            if !requested.insert(token.clone()) {
                return Err(Kind::RepeatedPage);
            }
            next = Some(token);
        }
        Err(Kind::TooManyPages(self.limits.pages))
    }

    /// Requests a page of at most this many bytes.
    async fn page(
        &self,
        next: Option<&str>,
        etag: Option<&str>,
        most: usize,
    ) -> Result<PageResponse, Kind> {
        let malformed = |reason: &str| Kind::Malformed { reason: reason.to_owned() };
        let uri = page::uri(&self.uri, self.shape, next)
            .ok_or_else(|| malformed("the next page's name is too long for a URL"))?;
        let mut request = Request::new(());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = uri;
        // A list from another origin would be somebody else's.
        request.extensions_mut().insert(OwnOriginOnly);
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(etag) = etag.and_then(|etag| HeaderValue::from_str(etag).ok()) {
            request.headers_mut().insert(IF_NONE_MATCH, etag);
        }
        let response = (self.exchange.0)(request, most).await;
        response.map_err(|error| Kind::Failed(Arc::from(error)))
    }

    /// Reads a page of a list that may have this many more bytes and models.
    fn read(&self, response: &PageResponse, bytes: usize, count: usize) -> Result<page::Page, Kind> {
        let status = response.status();
        if !status.is_success() {
            let message = response.body().as_deref().and_then(|body| self.message(body));
            return Err(Kind::Status { status, message });
        }
        let Some(body) = response.body() else {
            let Limits { page_bytes, bytes: all, .. } = self.limits;
            return Err(if bytes < page_bytes {
                Kind::TooLong(all)
            } else {
                Kind::PageTooLong(page_bytes)
            });
        };
        // Reads one model too many, to notice that there are too many.
        page::read(self.shape, body, count.saturating_add(1))
            .map_err(|reason| Kind::Malformed { reason })
    }

    /// The upstream's error message, without the pool's secrets.
    fn message(&self, body: &[u8]) -> Option<String> {
        let fields = error_fields(body, &["error.message", "message", "error", "detail"]);
        let (_, message) = fields.into_iter().min_by_key(|(path, _)| *path)?;
        Some(one_line(&self.pool.redact(&message), MESSAGE_CHARS)).filter(|message| !message.is_empty())
    }
}

/// The response's tag, if it can be sent back.
fn etag_of(headers: &HeaderMap) -> Option<String> {
    Some(headers.get(ETAG)?.to_str().ok()?.to_owned()).filter(|etag| !etag.is_empty())
}
