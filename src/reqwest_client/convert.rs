//! Conversions between reqwest's requests and responses and those of `http`.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use http::{Extensions, HeaderMap, Uri};
use http_body::Body;
use reqwest::{ResponseBuilderExt, Url};

use super::body::{KnownUrl, RequestBody, ResponseBody, take};
use crate::{BoxError, Error};

/// Converts a request on the way down, at the top of the layers. reqwest keeps a request's timeout in the extensions.
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

/// A URL that is quick to parse, in place of one that is known.
static PLACEHOLDER: LazyLock<Uri> = LazyLock::new(|| Uri::from_static("a:1"));

/// Converts a request on the way down, at the bottom.
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
        return Ok(Sent { request, origin_check: OriginCheck { to, has_secret } });
    };
    let url = known.url.clone();
    let request = if parts.extensions.is_empty() {
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        *request.version_mut() = parts.version;
        *request.body_mut() = Some(body.into());
        request
    } else {
        // Only this conversion takes extensions, and it prints and parses the URI.
        parts.uri = PLACEHOLDER.clone();
        let mut request = reqwest::Request::try_from(http::Request::from_parts(parts, body))?;
        *request.url_mut() = url;
        request
    };
    Ok(Sent { request, origin_check: OriginCheck { to: Destination::Known(known), has_secret } })
}

pub(super) struct Sent {
    pub(super) request: reqwest::Request,
    pub(super) origin_check: OriginCheck,
}

/// The host in reqwest's URL of a response that a middleware or a test has made.
const NO_URL: &str = "no.url.provided.local";

/// Checks the origin of a response.
pub(super) struct OriginCheck {
    to: Destination,
    /// Whether the request carries a secret that reqwest sends on to any origin, or asks for one.
    has_secret: bool,
}

/// The destination of a request.
enum Destination {
    /// The caller's, as the top of the stack knows it.
    Known(Arc<KnownUrl>),
    /// Another one.
    Changed(Url),
}

impl OriginCheck {
    /// Converts a response on the way up, at the bottom.
    ///
    /// # Errors
    /// [`Error::Redirected`] if a secret has left the origin.
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

/// Converts a response on the way up, at the top. `known` is the caller's URL, for a response without one: a layer has
/// made it, or has changed its body.
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

/// Makes the extension that gives reqwest the URL of an `http` response.
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

/// Whether there is a secret that reqwest does not remove on the way to another origin.
fn has_secret(headers: &HeaderMap) -> bool {
    const DROPPED: [http::HeaderName; 3] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];
    headers.iter().any(|(name, value)| value.is_sensitive() && !DROPPED.contains(name))
}

/// Whether scheme, host and port are equal (RFC 6454, section 5).
pub(super) fn is_same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host() == other.host()
        && one.port_or_known_default() == other.port_or_known_default()
}
