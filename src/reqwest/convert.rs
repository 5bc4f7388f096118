//! Between reqwest's requests and responses and those of `http`.

use std::sync::LazyLock;

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use http::{Extensions, HeaderMap, Uri};
use http_body::Body;
use reqwest::{ResponseBuilderExt, Url};

use super::body::{RequestBody, ResponseBody, take};
use crate::{BoxError, Error};

/// On the way down, at the top of the layers. reqwest keeps a request's timeout in the extensions.
pub(super) fn http_request(
    mut request: reqwest::Request,
) -> Result<http::Request<RequestBody>, reqwest::Error> {
    let body = request.body_mut().take().map(RequestBody::from).unwrap_or_default();
    let url = request.url().clone();
    let request = http::Request::try_from(request)?;
    let uri = request.uri().clone();
    Ok(request.map(|_| body.of_request(url, uri)))
}

/// A URL that is soon parsed, in the place of one that is known.
static PLACEHOLDER: LazyLock<Uri> = LazyLock::new(|| Uri::from_static("http://a/"));

/// On the way down, at the bottom.
pub(super) fn reqwest_request<B>(request: http::Request<B>) -> Result<Sent, reqwest::Error>
where
    B: Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + Sync + 'static,
{
    let secret = has_secret(request.headers());
    let mut request = request.map(RequestBody::of);
    let known = request.body().known_url(request.uri());
    if known.is_some() {
        // reqwest parses whatever stands there, which for a whole URL takes most of the time here.
        *request.uri_mut() = PLACEHOLDER.clone();
    }
    let mut request = reqwest::Request::try_from(request)?;
    if let Some(url) = known {
        *request.url_mut() = url;
    }
    let guard = Guard { secret_for: secret.then(|| request.url().clone()) };
    Ok(Sent { request, guard })
}

pub(super) struct Sent {
    pub(super) request: reqwest::Request,
    pub(super) guard: Guard,
}

/// The host in reqwest's URL of a response that came from no client: a middleware or a test has made it.
const NO_URL: &str = "no.url.provided.local";

/// Looks at where a response comes from.
pub(super) struct Guard {
    /// The request's URL, where the request carries a secret that reqwest takes along to any origin.
    secret_for: Option<Url>,
}

impl Guard {
    /// On the way up, at the bottom.
    pub(super) fn http_response(
        self,
        mut response: reqwest::Response,
    ) -> Result<http::Response<ResponseBody>, Error> {
        if let Some(url) = &self.secret_for
            && !is_same_origin(url, response.url())
            && response.url().host_str() != Some(NO_URL)
        {
            let origin = response.url().origin().ascii_serialization();
            return Err(Error::Redirected { origin });
        }
        let headers = std::mem::take(response.headers_mut());
        let mut extensions = std::mem::take(response.extensions_mut());
        extensions.extend(url_extension(response.url()));
        let (status, version) = (response.status(), response.version());
        let mut response = http::Response::new(ResponseBody::new(response));
        *response.status_mut() = status;
        *response.version_mut() = version;
        *response.headers_mut() = headers;
        *response.extensions_mut() = extensions;
        Ok(response)
    }
}

/// On the way up, at the top. `url` is the request's, for a response that a layer has made.
pub(super) fn reqwest_response<R>(response: http::Response<R>, url: &Url) -> reqwest::Response
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
    let mut extensions = url_extension(url);
    extensions.extend(parts.extensions);
    parts.extensions = extensions;
    http::Response::from_parts(parts, body).into()
}

/// What tells reqwest the URL of a response of `http`'s.
fn url_extension(url: &Url) -> Extensions {
    let mut builder = http::Response::builder().url(url.clone());
    builder.extensions_mut().map(std::mem::take).unwrap_or_default()
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
