//! The parts of a request that go to the upstream, and the parts of its response that go to the client.

use std::fmt;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, ALT_SVC, CONNECTION, COOKIE, EXPECT, HOST, TE, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use tower_credentials::ErrorBodyLayer;
use tower_credentials::provider::Endpoint;

use super::token;

/// Rewrites requests for the upstream.
#[derive(Clone, Debug)]
pub(super) struct Upstream {
    scheme: Scheme,
    authority: Authority,
    prefix: String,
}

/// Why a request can't be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unforwardable {
    Coding,
    Uri,
}

impl Unforwardable {
    pub(super) fn status(self) -> StatusCode {
        match self {
            // RFC 9112, section 6.1.
            Self::Coding => StatusCode::NOT_IMPLEMENTED,
            Self::Uri => StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for Unforwardable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Coding => "its `transfer-encoding` is another one than `chunked`",
            Self::Uri => "its path and the upstream's make no URI",
        })
    }
}

impl Upstream {
    /// Returns `None` if the endpoint is not a URI, which never happens.
    pub(super) fn new(endpoint: &Endpoint) -> Option<Self> {
        let parts = endpoint.origin().to_string().parse::<Uri>().ok()?.into_parts();
        Some(Self {
            scheme: parts.scheme?,
            authority: parts.authority?,
            prefix: endpoint.prefix().to_owned(),
        })
    }

    /// The path before that of requests.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Turns a client's request into the upstream's, but for the account. `path` and `query` are the client's, without the
    /// route and without its credentials.
    pub(super) fn request<B: Body>(
        &self,
        request: Request<B>,
        path: &str,
        query: Option<&str>,
    ) -> Result<Request<B>, Unforwardable> {
        let (mut head, body) = request.into_parts();
        head.uri = self.uri(path, query)?;
        let headers = &mut head.headers;
        let mut wants_trailers = false;
        if has_hop_by_hop(headers) {
            // The server has decoded `chunked`. Without the header, nobody would decode the others.
            if !is_chunked_at_most(headers) {
                return Err(Unforwardable::Coding);
            }
            wants_trailers = lists(headers, &TE).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
            remove_hop_by_hop(headers);
        }
        // The client to the upstream makes its own.
        headers.remove(HOST);
        // This server itself sends the 100 when the first piece of the body is read.
        headers.remove(EXPECT);
        ask_for_readable(headers);
        if head.version == Version::HTTP_2 {
            join_cookies(headers);
        }
        if wants_trailers {
            // RFC 9110, section 10.1.4.
            headers.insert(TE, HeaderValue::from_static("trailers"));
            headers.insert(CONNECTION, HeaderValue::from_static("te"));
        }
        if body.size_hint().exact().is_none() {
            // Without it hyper sends no body with a GET.
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        // Whatever version the client speaks: the connection to the upstream has its own.
        head.version = Version::HTTP_11;
        Ok(Request::from_parts(head, body))
    }

    fn uri(&self, path: &str, query: Option<&str>) -> Result<Uri, Unforwardable> {
        let slash = if path.starts_with('/') { "" } else { "/" };
        let (mark, query) = query.map_or(("", ""), |query| ("?", query));
        // It has no room left, so it is not copied when it becomes bytes.
        let text = Bytes::from([&self.prefix, slash, path, mark, query].concat());
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query =
            Some(PathAndQuery::from_maybe_shared(text).map_err(|_| Unforwardable::Uri)?);
        Uri::from_parts(parts).map_err(|_| Unforwardable::Uri)
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.prefix)
    }
}

/// Turns the upstream's response into the client's.
pub(super) fn response<B>(response: &mut Response<B>) {
    remove_hop_by_hop(response.headers_mut());
    // It would lead the client past this server (RFC 7838, section 3).
    response.headers_mut().remove(ALT_SVC);
    // This server has its own version.
    *response.version_mut() = Version::HTTP_11;
}

/// Headers for one connection only (RFC 9110, section 7.6.1), and those with which clients and proxies
/// authenticate to each other (sections 11.7 and 11.6.3).
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-authentication-info",
];

/// Whether any of these is there. Most messages have none, and to look at each name once costs less than to look each of
/// these up.
fn has_hop_by_hop(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| HOP_BY_HOP.contains(&name.as_str()))
}

/// Removes from a request's trailers what is removed from its headers: hop-by-hop fields and keys. The names of `provider` are
/// those of its accounts' headers.
pub(super) fn request_trailers(trailers: &mut HeaderMap, provider: &[HeaderName]) {
    remove_hop_by_hop(trailers);
    let keys: Vec<_> = trailers
        .keys()
        .filter(|name| token::is_key_header(name) || provider.contains(name))
        .cloned()
        .collect();
    for name in keys {
        trailers.remove(name);
    }
}

/// Removes hop-by-hop fields from a response's trailers.
pub(super) fn response_trailers(trailers: &mut HeaderMap) {
    remove_hop_by_hop(trailers);
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if !has_hop_by_hop(headers) {
        return;
    }
    let named: Vec<_> =
        lists(headers, &CONNECTION).filter_map(|name| HeaderName::from_bytes(name).ok()).collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Whether no other transfer coding than `chunked` is used.
fn is_chunked_at_most(headers: &HeaderMap) -> bool {
    let mut codings = lists(headers, &TRANSFER_ENCODING);
    codings.next().is_none_or(|first| first.eq_ignore_ascii_case(b"chunked")) && codings.next().is_none()
}

/// Accepts only codings in which the layers can read what an error says about the account.
fn ask_for_readable(headers: &mut HeaderMap) {
    if !headers.contains_key(ACCEPT_ENCODING) || asks_for_readable(headers) {
        return;
    }
    let kept: Vec<_> = lists(headers, &ACCEPT_ENCODING).filter(|coding| is_readable(coding)).collect();
    // Without the header any coding would be acceptable.
    let kept = if kept.is_empty() { b"identity".to_vec() } else { kept.join(&b", "[..]) };
    if let Ok(kept) = HeaderValue::from_bytes(&kept) {
        headers.insert(ACCEPT_ENCODING, kept);
    }
}

/// Whether all codings that are asked for can be read, as nearly always.
fn asks_for_readable(headers: &HeaderMap) -> bool {
    let mut codings = lists(headers, &ACCEPT_ENCODING);
    codings.next().is_some_and(is_readable) && codings.all(is_readable)
}

/// Whether an error in this content coding can be read.
fn is_readable(coding: &[u8]) -> bool {
    let name = coding.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let mut known = ErrorBodyLayer::CODINGS.iter().chain(&["identity"]);
    known.any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// Makes one header of the cookies, which HTTP/2 may have in several (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(mut joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        joined.set_sensitive(true);
        headers.insert(COOKIE, joined);
    }
}

/// Returns the elements of a header that is a list (RFC 9110, section 5.6.1).
pub(super) fn lists<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let values = headers.get_all(name).into_iter();
    let elements = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    elements.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}
