//! Connections, through a proxy where the system has one for the host.

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

/// How long a connection may take to be made. Requests have bounds of their own.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes the connections of an [`HttpsClient`](super::HttpsClient).
#[derive(Clone)]
pub(super) struct ProxyConnector {
    direct: HttpConnector,
    proxies: Arc<Matcher>,
}

impl ProxyConnector {
    /// With the proxies of the environment, or else of the system's settings.
    pub(super) fn of_the_system() -> Self {
        Self::new(Matcher::from_system())
    }

    fn new(proxies: Matcher) -> Self {
        let mut direct = HttpConnector::new();
        // What is above does the rest of HTTPS.
        direct.enforce_http(false);
        direct.set_connect_timeout(Some(CONNECT_TIMEOUT));
        direct.set_nodelay(true);
        Self { direct, proxies: Arc::new(proxies) }
    }
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
        let proxy = (to.scheme() == Some(&Scheme::HTTPS)).then(|| self.proxies.intercept(&to)).flatten();
        match proxy {
            Some(proxy) => through(&proxy, &self.direct, to),
            None => {
                let connecting = self.direct.call(to);
                Box::pin(async move { Ok(connecting.await?) })
            }
        }
    }
}

/// A connection through a proxy.
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
            // Never past a proxy that somebody has set.
            let scheme = scheme.unwrap_or_default();
            let reason =
                format!("a proxy of the kind {scheme:?} is not supported; set an http or a socks5 one");
            Box::pin(async move { Err(io::Error::other(reason).into()) })
        }
    }
}
