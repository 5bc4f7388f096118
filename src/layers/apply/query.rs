//! Removing the caller's credentials from a query.

use http::uri::PathAndQuery;
use http::{Request, Uri};

use crate::percent::decoded;

/// Removes the query parameters with these names.
#[inline]
pub(super) fn remove<B>(request: &mut Request<B>, names: &[String]) {
    if !names.is_empty()
        && let Some(query) = request.uri().query()
        && let Some(kept) = without(query, names)
    {
        let uri = with_query(request.uri(), &kept);
        *request.uri_mut() = uri;
    }
}

/// Returns the query without the parameters with these names, or `None` if it has none of them.
fn without(query: &str, names: &[String]) -> Option<String> {
    let is_named = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        names.iter().any(|removed| decoded(name).eq_ignore_ascii_case(removed))
    };
    query.split('&').any(|pair| is_named(&pair)).then(|| {
        let kept: Vec<_> = query.split('&').filter(|pair| !is_named(pair)).collect();
        kept.join("&")
    })
}

fn with_query(uri: &Uri, query: &str) -> Uri {
    let path = uri.path();
    let text = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let mut parts = uri.clone().into_parts();
    // Both are parts of a URI, so they make one.
    parts.path_and_query = text.parse::<PathAndQuery>().ok();
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}
