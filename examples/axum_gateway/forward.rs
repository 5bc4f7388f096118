//! The parts of a request that go to the upstream, and the parts of its response that go to the client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::{Body, HttpBody};
use http::header::{ACCEPT_ENCODING, CONNECTION, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version};
use http_body_util::BodyExt;
use tower_credentials::ErrorBodyLayer;
use tower_credentials::provider::Endpoint;
use url::form_urlencoded;

/// Rewrites requests for the upstream.
pub struct Upstream {
    scheme: Scheme,
    authority: Authority,
    prefix: String,
    /// Whether connections to it are certainly HTTP/1.1.
    is_http1: bool,
    credential_query: Vec<String>,
}

/// Whether a client has sent its request to the end.
pub struct Upload(Arc<AtomicBool>);

impl Upload {
    /// Watches a request's body as it is read.
    pub fn of(request: Request<Body>) -> (Request<Body>, Self) {
        let broken = Arc::new(AtomicBool::new(false));
        let upload = Self(broken.clone());
        if request.body().is_end_stream() {
            return (request, upload);
        }
        let watched = |body: Body| {
            Body::new(body.map_err(move |error| {
                broken.store(true, Ordering::Relaxed);
                error
            }))
        };
        (request.map(watched), upload)
    }

    pub fn is_broken_off(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why a request can't be forwarded.
#[derive(Debug)]
pub enum Unforwardable {
    Connect,
    Uri,
}

impl std::fmt::Display for Unforwardable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect => "CONNECT is for proxies of another kind: name this one as the base URL",
            Self::Uri => "its path and the upstream's make no URI",
        })
    }
}

impl Upstream {
    /// `None` if the endpoint is not a URI, which never happens.
    pub fn new(endpoint: &Endpoint, http2: bool, credential_query: Vec<String>) -> Option<Self> {
        let parts = endpoint.origin().to_string().parse::<Uri>().ok()?.into_parts();
        let scheme = parts.scheme?;
        Some(Self {
            is_http1: scheme == Scheme::HTTP && !http2,
            scheme,
            authority: parts.authority?,
            prefix: endpoint.prefix().to_owned(),
            credential_query,
        })
    }

    /// Turns a client's request into the upstream's, but for the account.
    pub fn request(&self, request: Request<Body>) -> Result<Request<Body>, Unforwardable> {
        let (head, body) = request.into_parts();
        if head.method == Method::CONNECT {
            return Err(Unforwardable::Connect);
        }
        let mut forwarded = Request::new(body);
        *forwarded.uri_mut() = self.uri(&head.uri)?;
        *forwarded.method_mut() = head.method;
        // Whatever version the client speaks: the connection to the upstream has its own.
        *forwarded.version_mut() = Version::HTTP_11;
        let mut headers = head.headers;
        let wants_trailers = lists(&headers, &TE).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
        remove_hop_by_hop(&mut headers);
        // The client to the upstream makes its own.
        headers.remove(HOST);
        // This server itself sends the 100 when the first piece of the body is read.
        headers.remove(http::header::EXPECT);
        ask_for_readable(&mut headers);
        if wants_trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
            if self.is_http1 {
                // RFC 9110, section 10.1.4. In HTTP/2 there is no such header.
                headers.insert(CONNECTION, HeaderValue::from_static("te"));
            }
        }
        if forwarded.body().size_hint().exact().is_none() {
            // Without it hyper sends no body with a GET. In HTTP/2 it takes it out.
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        *forwarded.headers_mut() = headers;
        Ok(forwarded)
    }

    fn uri(&self, asked: &Uri) -> Result<Uri, Unforwardable> {
        let path = asked.path();
        let query = asked.query().map(|query| self.without_credentials(query));
        let path_and_query = match (&*self.prefix, query) {
            // As it came.
            ("", None) => asked.path_and_query().cloned().ok_or(Unforwardable::Uri)?,
            (prefix, query) => {
                let query = query.filter(|query| !query.is_empty() || asked.query() == Some(""));
                let mark = if query.is_some() { "?" } else { "" };
                let text = format!("{prefix}{path}{mark}{}", query.unwrap_or_default());
                text.parse::<PathAndQuery>().map_err(|_| Unforwardable::Uri)?
            }
        };
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path_and_query);
        Uri::from_parts(parts).map_err(|_| Unforwardable::Uri)
    }

    fn without_credentials(&self, query: &str) -> String {
        let is_credential = |pair: &&str| {
            let name = pair.split('=').next().unwrap_or_default();
            // As servers decode it: `api%5Fkey` is `api_key`.
            form_urlencoded::parse(name.as_bytes()).next().is_some_and(|(name, _)| {
                self.credential_query.iter().any(|removed| name.eq_ignore_ascii_case(removed))
            })
        };
        let kept: Vec<_> = query.split('&').filter(|pair| !is_credential(pair)).collect();
        kept.join("&")
    }
}

/// Turns the upstream's response into the client's.
pub fn response<B>(response: &mut Response<B>) {
    remove_hop_by_hop(response.headers_mut());
    // This server has its own version.
    *response.version_mut() = Version::HTTP_11;
    response.extensions_mut().clear();
}

/// Headers for one connection only (RFC 9110, section 7.6.1), and those with which clients and proxies
/// authenticate to each other (sections 11.7 and 11.6.3).
static HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    http::header::PROXY_AUTHENTICATE,
    http::header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-authentication-info"),
];

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<_> =
        lists(headers, &CONNECTION).filter_map(|name| HeaderName::from_bytes(name).ok()).collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

/// Accepts only codings in which the layers can read what an error says about the account.
fn ask_for_readable(headers: &mut HeaderMap) {
    if !headers.contains_key(ACCEPT_ENCODING) {
        return;
    }
    let is_readable = |element: &&[u8]| {
        let name = element.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let mut known = ErrorBodyLayer::CODINGS.iter().chain(&["identity"]);
        known.any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
    };
    let kept: Vec<_> = lists(headers, &ACCEPT_ENCODING).filter(is_readable).collect();
    // Without the header any coding would be acceptable.
    let kept = if kept.is_empty() { b"identity".to_vec() } else { kept.join(&b", "[..]) };
    if let Ok(kept) = HeaderValue::from_bytes(&kept) {
        headers.insert(ACCEPT_ENCODING, kept);
    }
}

/// The elements of a header that is a list (RFC 9110, section 5.6.1).
fn lists<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let values = headers.get_all(name).into_iter();
    let elements = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    elements.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}
