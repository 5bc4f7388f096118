//! Between reqwest's requests and responses and those of `http`.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use http::{Extensions, HeaderMap, Uri};
use http_body::Body;
use reqwest::{ResponseBuilderExt, Url};

use super::body::{KnownUrl, RequestBody, ResponseBody, take};
use crate::{BoxError, Error};

/// On the way down, at the top of the layers. reqwest keeps a request's timeout in the extensions.
#[inline]
pub(super) fn http_request(
    mut request: reqwest::Request,
) -> Result<(http::Request<RequestBody>, Arc<KnownUrl>), reqwest::Error> {
    let body = request.body_mut().take().map(RequestBody::from).unwrap_or_default();
    let url = request.url().clone();
    let (parts, _) = http::Request::try_from(request)?.into_parts();
    let known = Arc::new(KnownUrl::new(url, parts.uri.clone()));
    Ok((http::Request::from_parts(parts, body.of_request(known.clone())), known))
}

/// A URL that is soon parsed, in the place of one that is known.
static PLACEHOLDER: LazyLock<Uri> = LazyLock::new(|| Uri::from_static("a:1"));

/// On the way down, at the bottom.
#[inline]
pub(super) fn reqwest_request<B>(request: http::Request<B>) -> Result<Sent, reqwest::Error>
where
    B: Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + Sync + 'static,
{
    let is_own = is_for_its_origin(request.extensions());
    let has_secret = is_own || has_secret(request.headers());
    let (mut parts, body) = request.into_parts();
    let mut body = RequestBody::of(body);
    if is_own {
        body = body.sent_once();
    }
    let Some(known) = body.take_known(&parts.uri) else {
        let request = reqwest::Request::try_from(http::Request::from_parts(parts, body))?;
        let to = Destination::Changed(request.url().clone());
        return Ok(Sent { request, guard: Guard { to, has_secret } });
    };
    let url = known.url.clone();
    let request = if parts.extensions.is_empty() {
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        *request.version_mut() = parts.version;
        *request.body_mut() = Some(body.into());
        request
    } else {
        // Only this way can extensions come in, and it prints and parses whatever URI stands there.
        parts.uri = PLACEHOLDER.clone();
        let mut request = reqwest::Request::try_from(http::Request::from_parts(parts, body))?;
        *request.url_mut() = url;
        request
    };
    Ok(Sent { request, guard: Guard { to: Destination::Known(known), has_secret } })
}

pub(super) struct Sent {
    pub(super) request: reqwest::Request,
    pub(super) guard: Guard,
}

/// The host in reqwest's URL of a response that came from no client: a middleware or a test has made it.
const NO_URL: &str = "no.url.provided.local";

/// Looks at where a response comes from.
pub(super) struct Guard {
    to: Destination,
    /// Whether the request carries a secret that reqwest takes along to any origin, or asks for one.
    has_secret: bool,
}

/// Where a request went.
enum Destination {
    /// Where the caller has sent it, as the top of the stack knows.
    Known(Arc<KnownUrl>),
    Changed(Url),
}

impl Guard {
    /// On the way up, at the bottom.
    #[inline]
    pub(super) fn http_response(
        self,
        mut response: reqwest::Response,
    ) -> Result<http::Response<ResponseBody>, Error> {
        let (sent_to, is_known) = match &self.to {
            Destination::Known(known) => (&known.url, true),
            Destination::Changed(url) => (url, false),
        };
        let is_elsewhere = sent_to != response.url() && response.url().host_str() != Some(NO_URL);
        if self.has_secret && is_elsewhere && !is_same_origin(sent_to, response.url()) {
            let origin = response.url().origin().ascii_serialization();
            return Err(Error::Redirected { origin });
        }
        let headers = std::mem::take(response.headers_mut());
        let mut extensions = std::mem::take(response.extensions_mut());
        if is_elsewhere || !is_known {
            extensions.extend(url_extension(response.url()));
        }
        let (status, version) = (response.status(), response.version());
        let mut response = http::Response::new(ResponseBody::new(response));
        *response.status_mut() = status;
        *response.version_mut() = version;
        *response.headers_mut() = headers;
        *response.extensions_mut() = extensions;
        Ok(response)
    }
}

/// On the way up, at the top. `known` is the caller's URL, for a response that does not say where it comes from: a
/// layer has made it, or has changed the body of one that came from there.
#[inline]
pub(super) fn reqwest_response<R>(response: http::Response<R>, known: &KnownUrl) -> reqwest::Response
where
    R: Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + Sync + 'static,
{
    let (mut parts, body) = response.into_parts();
    let mut body = Some(body);
    let body = match take::<ResponseBody>(&mut body).map(ResponseBody::into_response) {
        Some(Ok(mut whole)) if whole.status() == parts.status && whole.version() == parts.version => {
            *whole.headers_mut() = parts.headers;
            *whole.extensions_mut() = parts.extensions;
            return whole;
        }
        Some(Ok(whole)) => whole.into(),
        Some(Err(rest)) => rest,
        None => match take::<reqwest::Body>(&mut body) {
            Some(body) => body,
            None => body.map(reqwest::Body::wrap).unwrap_or_default(),
        },
    };
    let mut extensions = url_extension(&known.url);
    extensions.extend(parts.extensions);
    parts.extensions = extensions;
    http::Response::from_parts(parts, body).into()
}

/// What tells reqwest the URL of a response of `http`'s.
fn url_extension(url: &Url) -> Extensions {
    let mut builder = http::Response::builder().url(url.clone());
    builder.extensions_mut().map(std::mem::take).unwrap_or_default()
}

fn is_for_its_origin(_extensions: &Extensions) -> bool {
    #[cfg(any(feature = "oauth", feature = "discovery"))]
    return _extensions.get::<crate::own_origin::OwnOriginOnly>().is_some();
    #[cfg(not(any(feature = "oauth", feature = "discovery")))]
    false
}

/// Whether there is a secret that reqwest does not drop on the way to another origin.
fn has_secret(headers: &HeaderMap) -> bool {
    const DROPPED: [http::HeaderName; 3] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];
    headers.iter().any(|(name, value)| value.is_sensitive() && !DROPPED.contains(name))
}

/// Scheme, host and port (RFC 6454, section 5).
pub(super) fn is_same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host() == other.host()
        && one.port_or_known_default() == other.port_or_known_default()
}
