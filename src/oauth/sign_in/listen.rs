//! The addresses on this machine at which a sign-in listens (RFC 8252, section 7.3).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use crate::oauth::client::OAuthClient;
use crate::oauth::error::OAuthError;

/// How many ports are tried until one is free on both addresses.
const ATTEMPTS: usize = 16;

/// The redirect URI before the port is known.
pub(super) struct Target<'a> {
    text: &'a str,
    url: Url,
    /// 0 for any free port.
    port: u16,
}

impl Target<'_> {
    /// The redirect URI with this port; unchanged if it has one of its own.
    pub(super) fn with_port(&self, port: u16) -> String {
        if self.port != 0 {
            return self.text.to_owned();
        }
        let mut url = self.url.clone();
        // Such a URL has a host, so it can have a port.
        let _ = url.set_port(Some(port));
        url.into()
    }

    /// The path of the redirect URI.
    pub(super) fn path(&self) -> &str {
        self.url.path()
    }

    /// The URL of this path on the same host, so that both share cookies.
    pub(super) fn page(&self, port: u16, path: &str) -> String {
        let host = self.url.host_str().unwrap_or_default();
        format!("http://{host}:{port}{path}")
    }
}

/// Parses a redirect URI at which this machine can listen.
pub(super) fn target<'a>(client: &OAuthClient, text: &'a str) -> Result<Target<'a>, OAuthError> {
    let invalid = |reason| client.invalid("redirect_uri", reason);
    let url = Url::parse(text).map_err(|error| client.invalid("redirect_uri", error))?;
    if url.scheme() != "http" || !matches!(url.host_str(), Some("localhost" | "127.0.0.1")) {
        return Err(invalid("a browser sign-in needs http://localhost or http://127.0.0.1"));
    }
    if url.fragment().is_some() {
        return Err(invalid("it must have no fragment"));
    }
    // `Url` drops the port if it is the scheme's default.
    let uri: Uri = text.parse().map_err(|error| client.invalid("redirect_uri", error))?;
    Ok(Target { text, url, port: uri.port_u16().unwrap_or(0) })
}

/// Sockets on every address that the redirect URI's host means on this machine, and on no other (RFC 8252, section 8.3).
pub(super) struct Listeners {
    v4: TcpListener,
    /// Most browsers try this address of `localhost` first: another program that had it would get the code.
    v6: Option<TcpListener>,
    pub(super) port: u16,
}

impl Listeners {
    pub(super) async fn bind(client: &OAuthClient, target: &Target<'_>) -> Result<Self, OAuthError> {
        let failed = |address: IpAddr, port| {
            let provider = client.provider().to_owned();
            move |source: io::Error| match source.kind() {
                io::ErrorKind::AddrInUse => OAuthError::PortTaken { provider, address, port },
                _ => OAuthError::Listen { provider, address, port, source },
            }
        };
        let mut attempts = if target.port == 0 { ATTEMPTS } else { 1 };
        loop {
            attempts -= 1;
            let (v4, v6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
            let first = TcpListener::bind((v4, target.port)).await;
            let first = first.map_err(failed(v4, target.port))?;
            let port = first.local_addr().map_err(failed(v4, target.port))?.port();
            if target.url.host_str() != Some("localhost") {
                return Ok(Self { v4: first, v6: None, port });
            }
            match TcpListener::bind((v6, port)).await {
                Ok(second) => return Ok(Self { v4: first, v6: Some(second), port }),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    if attempts == 0 {
                        return Err(failed(v6, port)(error));
                    }
                }
                // A machine without IPv6, so nobody else listens there either.
                Err(error) => {
                    tracing::info!(%error, "listens on 127.0.0.1 and not on ::1");
                    return Ok(Self { v4: first, v6: None, port });
                }
            }
        }
    }

    /// Accepts the next connection. Cancel safe.
    pub(super) async fn accept(&self) -> io::Result<TcpStream> {
        let accepted = match &self.v6 {
            Some(v6) => tokio::select! {
                accepted = self.v4.accept() => accepted,
                accepted = v6.accept() => accepted,
            },
            None => self.v4.accept().await,
        };
        accepted.map(|(stream, _)| stream)
    }
}
