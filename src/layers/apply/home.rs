//! Directing a request to the endpoint of its credential, and back again for another credential.

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Uri};

use crate::pool::Lease;

/// The caller's destination of a request that was sent elsewhere, and the endpoints that it was sent to.
pub(in crate::layers) struct Home {
    scheme: Scheme,
    authority: Authority,
    /// The leases whose endpoints it was sent to, and whether the endpoint's prefix was added to the path, which
    /// may have had it already.
    elsewhere: Vec<(Lease, bool)>,
}

/// Directs a request to the lease's endpoint, or home if the lease has none. A request whose URI has no host is
/// left alone: it goes down a connection that the caller has opened.
pub(super) fn send_to<B>(lease: &Lease, request: &mut Request<B>, home: &mut Option<Home>) {
    if let Some(home) = home
        && let Some((elsewhere, prefixed)) = home.sent_to(request.uri())
    {
        let prefix = elsewhere.endpoint().map(|endpoint| endpoint.prefix()).filter(|_| prefixed);
        let path = path_and_query(request.uri()).strip_prefix(prefix.unwrap_or_default());
        let path = path.unwrap_or_default().to_owned();
        set(request, &home.scheme, &home.authority, &path);
    }
    let Some(endpoint) = lease.endpoint() else { return };
    let uri = request.uri();
    let (Some(scheme), Some(authority)) = (uri.scheme().cloned(), uri.authority().cloned()) else {
        return;
    };
    let path = path_and_query(uri);
    let prefix = endpoint.prefix();
    let prefixed = !prefix.is_empty() && !is_under(path, prefix);
    let path = if prefixed { format!("{prefix}{path}") } else { path.to_owned() };
    set(request, endpoint.scheme(), endpoint.authority(), &path);
    let home = home.get_or_insert_with(|| Home { scheme, authority, elsewhere: Vec::new() });
    if !home.elsewhere.iter().any(|(known, _)| known.ptr_eq(lease)) {
        home.elsewhere.push((lease.clone(), prefixed));
    }
}

impl Home {
    fn sent_to(&self, uri: &Uri) -> Option<(Lease, bool)> {
        let goes_there = |(lease, prefixed): &&(Lease, bool)| {
            lease.endpoint().is_some_and(|endpoint| {
                endpoint.contains(uri) && (!prefixed || is_under(uri.path(), endpoint.prefix()))
            })
        };
        // Of several at one origin, the one that has added the longest prefix.
        let put_before = |(lease, prefixed): &&(Lease, bool)| {
            lease.endpoint().filter(|_| *prefixed).map_or(0, |endpoint| endpoint.prefix().len())
        };
        self.elsewhere.iter().filter(goes_there).max_by_key(put_before).cloned()
    }
}

/// Whether a path is a prefix, or below it: `/v1beta` isn't below `/v1`.
fn is_under(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
}

fn path_and_query(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", PathAndQuery::as_str)
}

fn set<B>(request: &mut Request<B>, scheme: &Scheme, authority: &Authority, path: &str) {
    let mut parts = request.uri().clone().into_parts();
    parts.scheme = Some(scheme.clone());
    parts.authority = Some(authority.clone());
    // Both are parts of URIs, so they make one. The destination is checked afterwards in any case.
    let path = if path.starts_with('/') { path.parse() } else { format!("/{path}").parse() };
    parts.path_and_query = path.ok().or(parts.path_and_query);
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}
