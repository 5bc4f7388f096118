//! The connectors of the clients: TLS over the machine's proxies.

use std::io;
use std::sync::Arc;

use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use rustls::ClientConfig;
use tower_layer::Layer;

use super::proxy::ProxyConnector;
use crate::connect::{EarlyResponse, EarlyResponseLayer};

/// Makes connections, with TLS if the scheme is `https`.
pub(super) type Connector = HttpsConnector<EarlyResponse<ProxyConnector>>;

/// What connectors have in common.
pub(super) struct Connectors {
    tls: ClientConfig,
    proxies: ProxyConnector,
}

impl Connectors {
    /// Reads the proxies and certificates of the machine.
    pub(super) fn of_the_system() -> io::Result<Self> {
        let proxies = ProxyConnector::of_the_system()?;
        let tls =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .and_then(ConfigBuilderExt::try_with_platform_verifier)
                .map_err(io::Error::other)?
                .with_no_client_auth();
        Ok(Self { tls, proxies })
    }

    /// Returns a connector that offers HTTP/1.1.
    pub(super) fn http1(&self) -> Connector {
        let builder = HttpsConnectorBuilder::new().with_tls_config(self.tls.clone());
        builder.https_or_http().enable_http1().wrap_connector(self.inner())
    }

    /// Returns a connector that offers HTTP/2 and HTTP/1.1.
    #[cfg(feature = "hyper")]
    pub(super) fn negotiating(&self) -> Connector {
        let builder = HttpsConnectorBuilder::new().with_tls_config(self.tls.clone());
        builder.https_only().enable_http1().enable_http2().wrap_connector(self.inner())
    }

    fn inner(&self) -> EarlyResponse<ProxyConnector> {
        EarlyResponseLayer::new().layer(self.proxies.clone())
    }
}
