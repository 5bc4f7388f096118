//! What a tunnel leads to: a host and a port.

use std::fmt;
use std::net::IpAddr;

use http::uri::{Authority, Scheme};
use http::{Request, Uri, header};

/// The port of HTTPS.
pub(super) const HTTPS: u16 = 443;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    /// In lower case, without a dot at its end; an IPv6 address without brackets.
    host: String,
    port: u16,
}

impl Target {
    /// The target of a CONNECT: a host and a port (RFC 9112, section 3.2.3).
    pub(crate) fn of_connect(uri: &Uri) -> Option<Self> {
        let authority = uri.authority().filter(|_| uri.scheme().is_none())?;
        Self::new(authority, authority.port_u16()?)
    }

    /// The target of a request over HTTPS.
    pub(crate) fn of_https(uri: &Uri) -> Option<Self> {
        let authority = uri.authority().filter(|_| uri.scheme() == Some(&Scheme::HTTPS))?;
        Self::new(authority, authority.port_u16().unwrap_or(HTTPS))
    }

    fn new(authority: &Authority, port: u16) -> Option<Self> {
        let is_plain = !authority.as_str().contains('@') && port != 0;
        let host = name(authority).filter(|_| is_plain)?;
        Some(Self { host, port })
    }

    /// Its name or address, without brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The URI of its root, over HTTPS.
    pub(crate) fn uri(&self) -> Option<Uri> {
        format!("{}/", self.origin()).parse().ok()
    }

    /// Its origin: the scheme, the host, and the port if that is not the usual one.
    pub(crate) fn origin(&self) -> String {
        format!("https://{}", self.authority())
    }

    /// The host, and the port if that is not the usual one.
    pub(crate) fn authority(&self) -> String {
        let brackets = if self.host.contains(':') { ["[", "]"] } else { [""; 2] };
        let [open, close] = brackets;
        match self.port {
            HTTPS => format!("{open}{}{close}", self.host),
            port => format!("{open}{}{close}:{port}", self.host),
        }
    }

    /// Whether a request within the tunnel is for this target, and for nothing else.
    pub(crate) fn is_meant<B>(&self, request: &Request<B>) -> bool {
        let uri = request.uri();
        let is_https = uri.scheme().is_none_or(|scheme| *scheme == Scheme::HTTPS);
        let hosts = request.headers().get_all(header::HOST).iter();
        let mut hosts = hosts.map(|host| host.to_str().unwrap_or_default().parse::<Authority>());
        is_https
            && uri.authority().is_none_or(|authority| self.is(authority, HTTPS))
            && hosts.all(|host| host.is_ok_and(|host| self.is(&host, HTTPS)))
    }

    /// Whether the `host` header of a CONNECT, if it has one, is for this target. Some clients leave the port out.
    pub(super) fn is_in_host<B>(&self, request: &Request<B>) -> bool {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let host = hosts.next().map(|host| host.to_str().unwrap_or_default().parse::<Authority>());
        hosts.next().is_none()
            && host.is_none_or(|host| host.is_ok_and(|host| self.is(&host, self.port)))
    }

    /// Whether a web page of this origin came from this very target.
    pub(crate) fn is_page(&self, origin: &str) -> bool {
        let authority = origin.strip_prefix("https://").and_then(|rest| rest.parse::<Authority>().ok());
        authority.is_some_and(|authority| self.is(&authority, HTTPS))
    }

    fn is(&self, authority: &Authority, port: u16) -> bool {
        let port = authority.port_u16().unwrap_or(port);
        Self::new(authority, port).is_some_and(|other| other == *self)
    }
}

/// Returns the host of an authority: a name of letters, digits, dashes, underscores and dots, or an address.
fn name(authority: &Authority) -> Option<String> {
    let host = authority.host();
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().ok().map(|address| address.to_string());
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_name = host.split('.').all(|label| !label.is_empty() && label.bytes().all(is_part));
    is_name.then(|| host.to_ascii_lowercase())
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    fn target(text: &str) -> Option<String> {
        let request = http::Request::builder().method("CONNECT").uri(text).body(()).ok()?;
        Target::of_connect(request.uri()).map(|target| target.to_string())
    }

    #[test]
    fn a_target_is_a_host_and_a_port() {
        for (text, expected) in [
            ("api.example.com:443", "api.example.com:443"),
            ("API.Example.COM.:443", "api.example.com:443"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[::1]:443", "[::1]:443"),
            ("[0:0::1]:443", "[::1]:443"),
            ("my_host:1", "my_host:1"),
        ] {
            assert_eq!(target(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "api.example.com",
            "api.example.com:",
            "api.example.com:0",
            "api.example.com:65536",
            "api.example.com:443x",
            "me@api.example.com:443",
            "https://api.example.com:443",
            "/api.example.com:443",
            "..:443",
            ".:443",
            "a..b:443",
            "a%2eb:443",
            "*.example.com:443",
            "[::1:443",
            "[v1.a]:443",
            ":443",
        ] {
            assert_eq!(target(text), None, "{text}");
        }
    }
}
