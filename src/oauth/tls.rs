//! The HTTPS client of the feature `tls`.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::http::OAuthHttp;

impl OAuthHttp {
    /// Over hyper-util's client and rustls, HTTP/1.1. It follows no redirect and knows no proxy; for one,
    /// bring a client of yours to [`new`](Self::new).
    ///
    /// Certificates are judged by the operating system's own verifier, as browsers on the machine do: what
    /// an administrator has added or taken away holds here, too. The cryptography is *ring*'s, which builds
    /// with a C compiler alone, and it is named outright: a program's choice of a default for the process
    /// neither changes it nor is changed by it.
    ///
    /// # Errors
    /// When the operating system's certificates can't be loaded.
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn with_tls() -> io::Result<Self> {
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_platform_verifier(Arc::new(rustls::crypto::ring::default_provider()))?
            // Plain HTTP gets this far for a loopback host only.
            .https_or_http()
            .enable_http1()
            .build();
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self::new(client))
    }
}
