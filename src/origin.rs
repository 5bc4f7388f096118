//! Where a credential may be sent.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, Scheme};

/// A scheme, a host and a port (RFC 6454, section 4). Always HTTPS, except for a loopback host and for
/// [`plain_http`](Self::plain_http).
///
/// ```
/// use tower_credentials::provider::Origin;
///
/// let origin: Origin = "https://api.example.com".parse()?;
/// assert!(origin.contains(&"https://API.example.com:443/v1".parse()?));
/// assert!(!origin.contains(&"https://api.example.com.evil.test/v1".parse()?));
/// assert!("http://api.example.com".parse::<Origin>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    https: bool,
    /// In lower case; an IPv6 address in brackets.
    host: String,
    port: u16,
}

impl Origin {
    /// Creates `https://HOST` from a valid host in lower case.
    #[cfg(feature = "providers")]
    pub(super) fn https(host: &str) -> Self {
        Self { https: true, host: host.to_owned(), port: 443 }
    }

    /// Returns whether a URI has this origin. A URI without a scheme or host never has, nor one with a user name:
    /// `https://api.example.com@evil.test` is meant to be misread.
    pub fn contains(&self, uri: &Uri) -> bool {
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else { return false };
        let scheme = if self.https { *scheme == Scheme::HTTPS } else { *scheme == Scheme::HTTP };
        // The usual case is the host alone, on the default port.
        let authority = authority.as_str();
        scheme
            && (authority == self.host && self.port == default_port(self.https)
                || self.matches_authority(authority))
    }

    fn matches_authority(&self, authority: &str) -> bool {
        let Some(rest) = authority
            .get(..self.host.len())
            .filter(|host| host.eq_ignore_ascii_case(&self.host))
            .map(|host| &authority[host.len()..])
        else {
            return false;
        };
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => default_port(self.https),
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => match digits.parse() {
                Ok(port) => port,
                Err(_) if digits.is_empty() => default_port(self.https),
                Err(_) => return false,
            },
            _ => return false,
        };
        port == self.port
    }
}

fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

/// Returns a URI's port, or else the default one of its scheme, if that is `http` or `https`.
pub(crate) fn port(uri: &Uri) -> Option<u16> {
    uri.port_u16().or_else(|| match uri.scheme_str()? {
        "https" => Some(default_port(true)),
        "http" => Some(default_port(false)),
        _ => None,
    })
}

/// A name (RFC 1034, section 3.5, and the underscores that are in use), or an address (RFC 3986, section
/// 3.2.2). A request's host is never non-ASCII, escaped or a wildcard.
fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        return address.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    host.split('.').all(|label| !label.is_empty() && label.bytes().all(is_part))
}

/// Returns whether a host is a loopback host (RFC 8252, section 8.3): an address, or `localhost`, which browsers and
/// resolvers bind to one (RFC 6761, section 6.3).
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse() {
        Ok(IpAddr::V4(address)) => address.is_loopback() && address != Ipv4Addr::UNSPECIFIED,
        Ok(IpAddr::V6(address)) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// The error of a text that is not an origin to which credentials may be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidOrigin {
    text: String,
    reason: &'static str,
}

impl InvalidOrigin {
    pub(crate) fn new(text: &str, reason: &'static str) -> Self {
        // Without a user name, a password and a query, in which there may be a key: an error must not show it.
        let mut text = match text.rsplit_once('@') {
            None => text.to_owned(),
            Some((before, after)) => {
                let scheme = before.find("://").map_or("", |at| &before[..at + 3]);
                format!("{scheme}…@{after}")
            }
        };
        if let Some(at) = text.find(['?', '#']) {
            text.truncate(at + 1);
            text.push('…');
        }
        Self { text, reason }
    }
}

impl fmt::Display for InvalidOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "origin {:?}: {}", self.text, self.reason)
    }
}

impl std::error::Error for InvalidOrigin {}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        Self::read(text, false)
    }
}

/// Returns whether a host is not public: an address of a private network (RFC 1918, 4193, 6598) or of a link, a name
/// of one label, or a name under a domain that is reserved for private use (RFC 6762, 8375, and `.internal`).
fn is_private(host: &str) -> bool {
    const ENDS: [&str; 6] = [".local", ".internal", ".home.arpa", ".svc", ".lan", ".localhost"];
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => {
            let [first, second, ..] = address.octets();
            let is_shared = first == 100 && (64..128).contains(&second);
            address.is_private() || address.is_link_local() || address.is_loopback() || is_shared
        }
        Ok(IpAddr::V6(address)) => {
            address.is_unique_local() || address.is_unicast_link_local() || address.is_loopback()
        }
        // A name that begins with a digit may be a number, which some clients read as an address.
        Err(_) if !host.contains('.') => !host.starts_with(|first: char| first.is_ascii_digit()),
        Err(_) => ENDS.iter().any(|end| host.ends_with(end)),
    }
}

impl Origin {
    /// Creates an origin with plain HTTP in a private network: a private address, a name of one label, or a name under
    /// `.local`, `.internal`, `.home.arpa`, `.svc` or `.lan`, as in `http://10.0.0.5:8080` and
    /// `http://llm.tools.svc.cluster.local`.
    ///
    /// Anyone who can listen on that network can read each credential that is sent there. So a program, or the setting
    /// `insecure_http_origins`, must allow each origin explicitly; other settings do not accept one.
    ///
    /// # Errors
    /// If the text is not such an origin.
    pub fn plain_http(text: &str) -> Result<Self, InvalidOrigin> {
        let origin = Self::read(text, true)?;
        let reason = match &origin {
            Self { https: true, .. } => "it must begin with http://; one of https needs no leave",
            Self { host, .. } if !is_private(host) => {
                "plain http is for private addresses and for names that are not public; use https"
            }
            _ => return Ok(origin),
        };
        Err(InvalidOrigin::new(text, reason))
    }

    fn read(text: &str, may_be_plain: bool) -> Result<Self, InvalidOrigin> {
        let invalid = |reason| InvalidOrigin::new(text, reason);
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| invalid("it must begin with https://"))?;
        let https = scheme.eq_ignore_ascii_case("https");
        if !https && !scheme.eq_ignore_ascii_case("http") {
            return Err(invalid("the scheme must be https, or http for a loopback host"));
        }
        let authority: Authority = rest
            .strip_suffix('/')
            .unwrap_or(rest)
            .parse()
            .map_err(|_| invalid("it must be a scheme, a host and at most a port, with no path"))?;
        if authority.as_str().contains('@') {
            return Err(invalid("it must not name a user"));
        }
        let host = authority.host().to_ascii_lowercase();
        if !is_host(&host) {
            return Err(invalid("its host must be a name of letters, digits and dashes, or an address"));
        }
        if !https && !is_loopback(&host) && !may_be_plain {
            return Err(invalid("plain http is for a loopback host only; use https"));
        }
        let after = &authority.as_str()[host.len()..];
        let port = match after.strip_prefix(':') {
            None if after.is_empty() => default_port(https),
            None => return Err(invalid("nothing but a port may follow its address")),
            Some(port) => match port.parse() {
                Ok(number @ 1..) if !port.starts_with('+') => number,
                _ => return Err(invalid("its port must be a number from 1 to 65535")),
            },
        };
        Ok(Self { https, host, port })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port != default_port(self.https) {
            write!(f, ":{}", self.port)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
