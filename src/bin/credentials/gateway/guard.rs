//! Who may reach the gateway. Every browser on the machine runs other people's programs: a page may send requests to any
//! address, and may let its own host name resolve to 127.0.0.1, so that it could read the responses, too.

use std::str::FromStr;
use std::sync::OnceLock;

use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Version, header};

/// Says whether a browser lets a page of another site send this request (Fetch Metadata, section 2.3).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The hosts and web pages from which requests are taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guard {
    is_remote: bool,
    hosts: Vec<String>,
    origins: Vec<AllowedOrigin>,
    /// The first host that was taken for this machine. Nearly all requests name it.
    known: OnceLock<Box<str>>,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stranger {
    Host,
    /// It takes the gateway for a proxy of plain HTTP.
    PlainProxy,
    Page,
}

impl Stranger {
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Host => {
                "this request is for another host than this gateway; --allow-host adds a name of this machine"
            }
            Self::PlainProxy => {
                "this request is for another host, and this gateway is not a proxy for plain HTTP; with --proxy it takes \
                 CONNECT, which tools send for https:// if HTTPS_PROXY is set; leave HTTP_PROXY unset"
            }
            Self::Page => {
                "this request comes from a web page; --allow-origin opens the gateway to the pages of an origin"
            }
        }
    }
}

impl Guard {
    /// `is_remote` says whether the gateway is reached over a network. `hosts` are names of this machine, beside the loopback
    /// ones.
    pub(crate) fn new(is_remote: bool, hosts: Vec<String>, origins: Vec<AllowedOrigin>) -> Self {
        Self { is_remote, hosts, origins, known: OnceLock::new() }
    }

    /// Checks that a request is for this machine, and not from a web page of another origin than those that are allowed.
    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<(), Stranger> {
        let host = host(request);
        if !host.is_none_or(|host| self.is_ours(host)) {
            // HTTP/2 has the scheme in each request.
            let is_proxied = request.version() < Version::HTTP_2 && request.uri().scheme().is_some();
            return Err(if is_proxied { Stranger::PlainProxy } else { Stranger::Host });
        }
        self.check_page(request.headers(), |origin| host.is_some_and(|host| is_same(origin, host)))
    }

    /// Checks that a request is not from a web page of another origin than those that are allowed. `is_own` says whether an
    /// origin is that of the server itself.
    pub(super) fn check_page(
        &self,
        headers: &HeaderMap,
        is_own: impl Fn(&str) -> bool,
    ) -> Result<(), Stranger> {
        let mut origins = headers.get_all(header::ORIGIN).iter().peekable();
        // Images, links and frames have no origin.
        if origins.peek().is_none() {
            return match headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes) {
                None | Some(b"none" | b"same-origin") => Ok(()),
                Some(_) => Err(Stranger::Page),
            };
        }
        let is_allowed = |origin: &HeaderValue| {
            let origin = origin.to_str().unwrap_or_default();
            is_own(origin) || self.origins.iter().any(|allowed| allowed.contains(origin))
        };
        if origins.all(is_allowed) { Ok(()) } else { Err(Stranger::Page) }
    }

    /// A page can't have its name resolve to an address and then be asked for by that address, so addresses are safe.
    fn is_ours(&self, host: &str) -> bool {
        if self.known.get().is_some_and(|known| **known == *host) {
            return true;
        }
        let is_ours = self.names_this_machine(host);
        if is_ours {
            let _ = self.known.set(host.into());
        }
        is_ours
    }

    fn names_this_machine(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let name = authority.host().trim_end_matches('.');
        let address = name.trim_start_matches('[').trim_end_matches(']');
        match address.parse::<std::net::IpAddr>() {
            Ok(address) => self.is_remote || address.to_canonical().is_loopback(),
            Err(_) => {
                name.eq_ignore_ascii_case("localhost")
                    || self.hosts.iter().any(|known| name.eq_ignore_ascii_case(known))
            }
        }
    }
}

/// Whether it is certain for which host a request is. Several headers could be read in several ways.
pub(super) fn has_one_host<B>(request: &Request<B>) -> bool {
    match request.headers().get_all(header::HOST).iter().count() {
        // HTTP/1.0 has no such header, and HTTP/2 has it in the URI.
        0 => match request.version() {
            Version::HTTP_10 => true,
            Version::HTTP_11 => false,
            _ => request.uri().authority().is_some(),
        },
        count => count == 1,
    }
}

/// Returns the host that a request is for: HTTP/2 has it in the URI, as has a request whose target is a whole URI.
pub(super) fn host<B>(request: &Request<B>) -> Option<&str> {
    match request.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        // A value that is not text is not our host.
        None => request.headers().get(header::HOST).map(|value| value.to_str().unwrap_or_default()),
    }
}

/// Whether a page of this origin came from this very server.
fn is_same(origin: &str, host: &str) -> bool {
    let authority = ["http://", "https://"].iter().find_map(|scheme| origin.strip_prefix(scheme));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

/// Whether a proxy in front has passed the request on (RFC 7239), so that its sender is not who it seems.
pub(super) fn is_forwarded(headers: &HeaderMap) -> bool {
    const NAMES: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];
    NAMES.iter().any(|name| headers.contains_key(*name))
}

/// An `origin` that may use the gateway (RFC 6454, section 6.2), or all origins of one scheme that is not the web's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AllowedOrigin {
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

impl FromStr for AllowedOrigin {
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

/// Whether a request asks for another protocol on its connection, such as WebSocket (RFC 9110, section 7.8). An offer
/// of another HTTP version or of TLS may be ignored, and the request served as it is.
pub(super) fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    let is_http = |protocol: &str| {
        let name = protocol.split('/').next().unwrap_or_default().trim();
        ["h2c", "h2", "http", "tls"].iter().any(|http| name.eq_ignore_ascii_case(http))
    };
    let protocols = headers.get_all(header::UPGRADE).iter().filter_map(|value| value.to_str().ok());
    protocols
        .flat_map(|value| value.split(','))
        .any(|protocol| !protocol.trim().is_empty() && !is_http(protocol))
}
