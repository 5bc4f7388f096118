//! Removing the caller's credentials from a query.

use http::uri::PathAndQuery;
use http::{Request, Uri};

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

/// Decodes the percent-encoding of a parameter's name (RFC 3986, section 2.1): `api%5Fkey` is `api_key` to
/// most servers.
fn decoded(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

fn with_query(uri: &Uri, query: &str) -> Uri {
    let path = uri.path();
    let text = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let mut parts = uri.clone().into_parts();
    // Both are parts of a URI, so they make one.
    parts.path_and_query = text.parse::<PathAndQuery>().ok();
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}
