//! Who may use a gateway that listens for this machine alone. Every browser on it runs other people's
//! programs: a page may post to any address, and may have its own host's name resolve to 127.0.0.1, so as to
//! read the answers, too.

use axum::body::Body;
use http::uri::Authority;
use http::{HeaderMap, Request, Uri, header};

/// Whether a request was made for this machine, and by no page from elsewhere.
pub fn is_from_here(request: &Request<Body>) -> bool {
    let headers = request.headers();
    let host = match request.uri().host() {
        Some(host) => is_here(host),
        None => text(headers, header::HOST)
            .is_none_or(|host| host.parse::<Authority>().is_ok_and(|host| is_here(host.host()))),
    };
    let origin = text(headers, header::ORIGIN).is_none_or(|origin| {
        origin.parse::<Uri>().ok().as_ref().and_then(Uri::host).is_some_and(is_here)
    });
    host && origin
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    // What is no text is no host of ours.
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

fn is_here(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    match address.parse::<std::net::IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}
