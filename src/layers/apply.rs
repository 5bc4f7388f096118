//! Applying a credential to a request: its headers, and its destination.

mod home;
mod query;

use http::header::{Entry, HOST};
use http::{HeaderMap, HeaderValue, Request};

use crate::error::Error;
use crate::pool::{Lease, Pool};
use crate::provider::ListElement;

pub(super) use home::Home;

/// Directs a request to the lease's endpoint, or back to the caller's destination.
///
/// # Errors
/// [`Error::UntrustedOrigin`] if that is another credential's endpoint.
pub(super) fn direct<B>(
    pool: &Pool,
    lease: &Lease,
    request: &mut Request<B>,
    home: &mut Option<Home>,
) -> Result<(), Error> {
    home::send_to(lease, request, home);
    pool.check_carries(lease, request.uri())
}

/// Puts a lease's headers on a request that carries no credential.
pub(super) fn write<B>(pool: &Pool, lease: &Lease, request: &mut Request<B>) {
    let headers = request.headers_mut();
    for (name, value) in lease.headers() {
        headers.insert(name.clone(), value.clone());
    }
    let provider = pool.provider();
    for (name, value) in provider.default_headers() {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    for element in provider.list_elements() {
        let is_for_this = element.kinds.contains(&lease.credential().kind);
        set_element(headers, element, is_for_this);
    }
    query::remove(request, provider.query_names());
    name_host(request);
}

/// Makes a `host` header name the URI's host. Servers with many names, and proxies before them, go by the header, and
/// would give the credential to the host in it. If there is none, the client sets it. If the URI has no host, the caller
/// decides where the request goes.
pub(super) fn name_host<B>(request: &mut Request<B>) {
    if request.headers().contains_key(HOST) {
        correct_host(request);
    }
}

#[inline(never)]
fn correct_host<B>(request: &mut Request<B>) {
    let Some(authority) = request.uri().authority() else { return };
    // Without the user information, which `host` does not have (RFC 9110, section 7.2).
    let host = authority.as_str().rsplit('@').next().unwrap_or_default();
    let mut named = request.headers().get_all(HOST).iter();
    if let (Some(named), None) = (named.next(), named.next())
        && named == host
    {
        return;
    }
    match HeaderValue::from_str(host) {
        Ok(host) => drop(request.headers_mut().insert(HOST, host)),
        Err(_) => drop(request.headers_mut().remove(HOST)),
    }
}

/// Adds an element to a list header of the caller's, or removes it.
fn set_element(headers: &mut HeaderMap, element: &ListElement, is_wanted: bool) {
    let is_it = |part: &&[u8]| part.trim_ascii() == element.value.as_bytes();
    let Entry::Occupied(mut entry) = headers.entry(&element.name) else {
        if is_wanted {
            headers.insert(element.name.clone(), element.value.clone());
        }
        return;
    };
    let parts = || entry.iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    if parts().any(|part| is_it(&part)) == is_wanted {
        return;
    }
    // On one line, since many servers read the first line only.
    let added = is_wanted.then(|| element.value.as_bytes());
    // No empty elements: a sender must not generate them (RFC 9110, section 5.6.1.1).
    let is_kept = |part: &&[u8]| !is_it(part) && !part.trim_ascii().is_empty();
    let kept: Vec<_> = parts().filter(is_kept).map(<[u8]>::trim_ascii).chain(added).collect();
    let list = kept.join(&b", "[..]);
    match HeaderValue::from_bytes(&list) {
        Ok(list) if !list.is_empty() => drop(entry.insert(list)),
        _ => drop(entry.remove_entry_mult()),
    }
}
