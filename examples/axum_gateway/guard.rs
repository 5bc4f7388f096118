//! Who may use a gateway that listens only for this machine. Every browser on it runs other people's
//! programs: a page may post to any address, and may make its own host name resolve to 127.0.0.1, so that it can
//! read the responses, too.

use axum::body::Body;
use http::uri::Authority;
use http::{HeaderMap, Request, Uri, header};

/// Whether a request is for this machine, and not from a web page of another origin than these.
pub fn is_from_here(request: &Request<Body>, allowed: &[AllowedOrigin]) -> bool {
    let headers = request.headers();
    let host = match request.uri().host() {
        Some(host) => is_here(host),
        None => text(headers, header::HOST)
            .is_none_or(|host| host.parse::<Authority>().is_ok_and(|host| is_here(host.host()))),
    };
    let is_allowed = |origin: &http::HeaderValue| {
        let origin = origin.to_str().unwrap_or_default();
        origin.parse::<Uri>().ok().as_ref().and_then(Uri::host).is_some_and(is_here)
            || allowed.iter().any(|allowed| allowed.contains(origin))
    };
    host && headers.get_all(header::ORIGIN).iter().all(is_allowed)
}

/// An `origin` that may use the gateway (RFC 6454, section 6.2), or all origins of one scheme that is not the web's.
#[derive(Clone, Debug)]
pub enum AllowedOrigin {
    One(String),
    /// The beginning, such as `vscode-webview://`: editors give each of their pages its own host.
    All(String),
}

impl AllowedOrigin {
    fn contains(&self, origin: &str) -> bool {
        match self {
            Self::One(one) => origin.eq_ignore_ascii_case(one),
            Self::All(start) => {
                origin.get(..start.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(start))
            }
        }
    }
}

impl std::str::FromStr for AllowedOrigin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "null" {
            return Ok(Self::One(text.to_owned()));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(
                "it must be `null` or SCHEME://HOST[:PORT], as the browser's `origin` header has it",
            );
        };
        let is_web = ["http", "https"].iter().any(|web| scheme.eq_ignore_ascii_case(web));
        match rest {
            "*" if is_web => Err("every web page would be allowed; name the host"),
            "*" => Ok(Self::All(format!("{scheme}://"))),
            _ if rest.is_empty() || rest.contains(['/', '*', ' ', '@', '?', '#']) => {
                Err("after :// there must be a host and at most a port, or * alone")
            }
            _ => Ok(Self::One(text.to_owned())),
        }
    }
}

/// Whether a request asks for another protocol on its connection, as a WebSocket does (RFC 9110, section 7.8). An offer
/// of another HTTP version or of TLS may be ignored, and the request served as it is.
pub fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    let is_http = |protocol: &str| {
        let name = protocol.split('/').next().unwrap_or_default().trim();
        ["h2c", "h2", "http", "tls"].iter().any(|http| name.eq_ignore_ascii_case(http))
    };
    let protocols = headers.get_all(header::UPGRADE).iter().filter_map(|value| value.to_str().ok());
    protocols
        .flat_map(|value| value.split(','))
        .any(|protocol| !protocol.trim().is_empty() && !is_http(protocol))
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    // A value that is not text is not our host.
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

fn is_here(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    match address.parse::<std::net::IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}
