//! Connections, through the system's proxy for the host if there is one.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::BoxError;

/// The timeout of connecting. Requests have timeouts of their own.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The idle time after which the system checks whether the other side is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Makes the connections of an [`HttpsClient`](super::HttpsClient).
#[derive(Clone)]
pub(super) struct ProxyConnector {
    direct: HttpConnector,
    proxies: Arc<Matcher>,
}

impl ProxyConnector {
    /// Creates one with the proxies of the environment, or else of the system's settings.
    ///
    /// # Errors
    /// If a variable is not a proxy's address.
    pub(super) fn of_the_system() -> io::Result<Self> {
        check(|name| std::env::var_os(name))?;
        Ok(Self::new(Matcher::from_system()))
    }

    fn new(proxies: Matcher) -> Self {
        let mut direct = HttpConnector::new();
        // The connector above handles HTTPS.
        direct.enforce_http(false);
        direct.set_connect_timeout(Some(CONNECT_TIMEOUT));
        direct.set_nodelay(true);
        // Detects a silently lost connection while it is idle.
        direct.set_keepalive(Some(KEEPALIVE));
        Self { direct, proxies: Arc::new(proxies) }
    }

    /// Connects by the proxy for a URI, if there is one.
    fn through_proxy(&self, to: &Uri) -> Option<Connecting> {
        let is_https = to.scheme() == Some(&Scheme::HTTPS);
        let proxy = is_https.then(|| self.proxies.intercept(to)).flatten()?;
        Some(through(&proxy, &self.direct, to.clone()))
    }
}

/// The machine's proxies, as an [`HttpsClient`](super::HttpsClient) takes them, for a program that makes connections of its
/// own.
#[derive(Clone)]
pub struct Proxies(ProxyConnector);

impl Proxies {
    /// Reads the proxies of the environment, or else of the system's settings.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if a variable is not a proxy's address: requests must not bypass it.
    pub fn of_the_system() -> io::Result<Self> {
        ProxyConnector::of_the_system().map(Self)
    }

    /// Connects to the host of a URI by the proxy for it. Returns `None` if there is none, so that the host is to be
    /// connected to directly. Only `https` has proxies.
    pub fn connect(
        &self,
        to: &Uri,
    ) -> Option<impl Future<Output = Result<TcpStream, BoxError>> + Send + use<>> {
        let connecting = self.0.through_proxy(to)?;
        Some(async move { Ok(connecting.await?.into_inner()) })
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A proxy's address may have a password in it.
        f.debug_struct("Proxies").finish_non_exhaustive()
    }
}

/// Refuses a variable that the matcher would ignore, because the request would then bypass a proxy that somebody has set. The
/// matcher's rules: the first set variable of a pair counts; if it is empty, the second pair does; and none counts in a CGI
/// program, whose caller controls `HTTP_PROXY`.
fn check(variable: impl Fn(&str) -> Option<OsString>) -> io::Result<()> {
    if variable("REQUEST_METHOD").is_some() {
        return Ok(());
    }
    for pair in [["HTTPS_PROXY", "https_proxy"], ["ALL_PROXY", "all_proxy"]] {
        let set = pair.into_iter().find_map(|name| Some((name, variable(name)?)));
        let Some((name, value)) = set.filter(|(_, value)| !value.is_empty()) else { continue };
        return if value.to_str().is_some_and(is_a_proxy) {
            Ok(())
        } else {
            // The error omits the value, which may contain a password.
            let reason = format!(
                "the environment variable {name} is not a proxy's address; set it to http://HOST:PORT or \
                 socks5h://HOST:PORT, or unset it"
            );
            Err(io::Error::new(io::ErrorKind::InvalidInput, reason))
        };
    }
    Ok(())
}

fn is_a_proxy(value: &str) -> bool {
    let matcher = Matcher::builder().https(value).build();
    matcher.intercept(&Uri::from_static("https://example.com/")).is_some()
}

type Connecting = Pin<Box<dyn Future<Output = Result<TokioIo<TcpStream>, BoxError>> + Send>>;

impl Service<Uri> for ProxyConnector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Connecting;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.direct.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Connecting {
        self.through_proxy(&to).unwrap_or_else(|| {
            let connecting = self.direct.call(to);
            Box::pin(async move { Ok(connecting.await?) })
        })
    }
}

/// Connects through a proxy.
fn through(proxy: &Intercept, direct: &HttpConnector, to: Uri) -> Connecting {
    let at = proxy.uri().clone();
    match at.scheme_str() {
        Some("http") => {
            let mut tunnel = Tunnel::new(at, direct.clone());
            if let Some(auth) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(auth.clone());
            }
            let connecting = tunnel.call(to);
            Box::pin(async move { Ok(connecting.await?) })
        }
        Some(scheme @ ("socks5" | "socks5h")) => {
            let is_local = scheme == "socks5";
            let mut socks = SocksV5::new(at, direct.clone()).local_dns(is_local);
            if let Some((user, password)) = proxy.raw_auth() {
                socks = socks.with_auth(user.to_owned(), password.to_owned());
            }
            let connecting = socks.call(to);
            Box::pin(async move { Ok(connecting.await?) })
        }
        scheme => {
            // A proxy that somebody has set must not be bypassed.
            let scheme = scheme.unwrap_or_default();
            let reason =
                format!("a proxy of the kind {scheme:?} is not supported; set an http or a socks5 one");
            Box::pin(async move { Err(io::Error::other(reason).into()) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    /// The variable that the error names, if these are set.
    fn refused(set: &[(&str, &str)]) -> Option<String> {
        let value =
            |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        let error = check(value).err()?;
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        let text = error.to_string();
        assert!(!text.contains("secret"), "{text}");
        text.split(' ').find(|word| word.to_ascii_uppercase().ends_with("_PROXY")).map(str::to_owned)
    }

    #[test]
    fn an_invalid_proxy_variable_is_named_without_its_value() {
        for value in [
            "gopher://me:secret@127.0.0.1:9",
            "http://[secret",
            "ftp://secret",
            "/secret",
            "http://:1 secret",
        ] {
            for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
                assert_eq!(refused(&[(name, value)]).as_deref(), Some(name), "{value}");
            }
            assert_eq!(refused(&[("NO_PROXY", value), ("HTTP_PROXY", value)]), None);
        }
        for value in
            ["http://me:secret@host:1", "host:1", "host", "socks5://[::1]:1", "socks5h://host:1"]
        {
            assert_eq!(refused(&[("HTTPS_PROXY", value)]), None, "{value}");
        }
    }

    #[test]
    fn only_the_variable_that_would_be_used_is_refused() {
        let (bad, good, empty) = ("gopher://secret", "http://host:1", "");
        assert_eq!(refused(&[]), None);
        assert_eq!(refused(&[("HTTPS_PROXY", good), ("https_proxy", bad), ("ALL_PROXY", bad)]), None);
        assert_eq!(
            refused(&[("HTTPS_PROXY", bad), ("ALL_PROXY", good)]).as_deref(),
            Some("HTTPS_PROXY")
        );
        assert_eq!(refused(&[("HTTPS_PROXY", empty), ("https_proxy", bad), ("ALL_PROXY", good)]), None);
        assert_eq!(refused(&[("HTTPS_PROXY", empty), ("all_proxy", bad)]).as_deref(), Some("all_proxy"));
        assert_eq!(refused(&[("HTTPS_PROXY", bad), ("REQUEST_METHOD", "GET")]), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_that_is_not_unicode_is_refused() {
        use std::os::unix::ffi::OsStringExt;
        let value =
            |name: &str| (name == "HTTPS_PROXY").then(|| OsStringExt::from_vec(vec![b'h', 0xff]));
        assert!(check(value).is_err());
    }
}
