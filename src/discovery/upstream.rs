//! Asking the upstream, page by page.

use std::collections::{BTreeMap, HashSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{ACCEPT, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tower::ServiceExt;
use tower_service::Service;

use super::cache::Cached;
use super::error::DiscoveryErrorKind as Kind;
use super::{DiscoveryError, Inner, Limits, page};
use crate::BoxError;
use crate::own_origin::OwnOriginOnly;
use crate::patience::within;
use crate::printable::one_line;
use crate::provider::error_fields;

/// How many bytes of a refusal are read, for the upstream's own words.
const REFUSAL_BYTES: usize = 64 * 1024;

/// How many characters of those words are told.
const MESSAGE_CHARS: usize = 200;

type Answer = Response<Option<Bytes>>;
type Asking = Pin<Box<dyn Future<Output = Result<Answer, BoxError>> + Send>>;
type Ask = dyn Fn(Request<()>, usize) -> Asking + Send + Sync;

/// The client, with its types put away. It reads up to so many bytes of an answer's body: `None` where there
/// are more.
pub(super) struct Exchange(Box<Ask>);

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
        // Behind a lock for its clones only: a service need not be `Sync`.
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

async fn read_up_to<R>(most: usize, response: Response<R>) -> Result<Answer, BoxError>
where
    R: Body<Error: Into<BoxError>>,
{
    let (parts, body) = response.into_parts();
    let most = if parts.status.is_success() { most } else { REFUSAL_BYTES };
    let body = match Limited::new(body, most).collect().await {
        Ok(body) => Some(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => None,
        Err(error) => return Err(error),
    };
    Ok(Response::from_parts(parts, body))
}

impl Inner {
    /// A new answer, or that the known one still holds.
    pub(super) async fn ask_upstream(&self, known: Option<&Cached>) -> Result<Cached, DiscoveryError> {
        let timeout = self.limits.timeout;
        let answer = within(timeout, self.pages(known)).await;
        answer.unwrap_or(Err(Kind::TimedOut(timeout))).map_err(|kind| self.error(kind))
    }

    async fn pages(&self, known: Option<&Cached>) -> Result<Cached, Kind> {
        let known = known.and_then(|known| Some((known, known.etag.as_ref()?)));
        let mut models = BTreeMap::new();
        let mut etag = None;
        let mut asked_for = HashSet::new();
        let mut next = None;
        let (mut bytes, mut count) = (self.limits.bytes, self.limits.models);
        for number in 0..self.limits.pages {
            let tag = known.filter(|_| number == 0).map(|(_, etag)| etag.as_str());
            let response = self.page(next.as_deref(), tag, bytes.min(self.limits.page_bytes)).await?;
            if let (StatusCode::NOT_MODIFIED, Some((known, _))) = (response.status(), known)
                && number == 0
            {
                // It counts as if it had been answered anew (RFC 9111, section 4.3.4).
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
                // Of several pages the first one's tag says nothing of the others.
                if number == 0 {
                    etag = etag_of(response.headers());
                }
                let models = models.into_values().collect();
                return Ok(Cached { fetched_at: self.pool.now(), etag, models });
            };
            if !asked_for.insert(token.clone()) {
                return Err(Kind::RepeatedPage);
            }
            next = Some(token);
        }
        Err(Kind::TooManyPages(self.limits.pages))
    }

    /// Asks for a page of up to so many bytes.
    async fn page(&self, next: Option<&str>, etag: Option<&str>, most: usize) -> Result<Answer, Kind> {
        let malformed = |reason: &str| Kind::Malformed { reason: reason.to_owned() };
        let uri = page::uri(&self.uri, self.shape, next)
            .ok_or_else(|| malformed("the next page's name is too long for a URL"))?;
        let mut request = Request::new(());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = uri;
        // A list from elsewhere is another's.
        request.extensions_mut().insert(OwnOriginOnly);
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(etag) = etag.and_then(|etag| HeaderValue::from_str(etag).ok()) {
            request.headers_mut().insert(IF_NONE_MATCH, etag);
        }
        let answer = (self.exchange.0)(request, most).await;
        answer.map_err(|error| Kind::Failed(Arc::from(error)))
    }

    /// Reads a page of an answer that may have so many more bytes and models.
    fn read(&self, response: &Answer, bytes: usize, count: usize) -> Result<page::Page, Kind> {
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
        // One more, to see that there are too many.
        page::read(self.shape, body, count.saturating_add(1))
            .map_err(|reason| Kind::Malformed { reason })
    }

    /// What the upstream says of a refusal, without any secret of the pool's.
    fn message(&self, body: &[u8]) -> Option<String> {
        let fields = error_fields(body, &["error.message", "message", "error", "detail"]);
        let (_, message) = fields.into_iter().min_by_key(|(path, _)| *path)?;
        Some(one_line(&self.pool.redact(&message), MESSAGE_CHARS)).filter(|message| !message.is_empty())
    }
}

/// The tag of an answer, where it is one that can be sent back.
fn etag_of(headers: &HeaderMap) -> Option<String> {
    Some(headers.get(ETAG)?.to_str().ok()?.to_owned()).filter(|etag| !etag.is_empty())
}
