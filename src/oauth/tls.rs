//! The HTTPS client of the feature `tls`.

use std::io;

use super::http::OAuthHttp;
use crate::https::HttpsClient;

impl OAuthHttp {
    /// Creates one over an [`HttpsClient`].
    ///
    /// # Errors
    /// The same as [`HttpsClient::new`].
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn with_tls() -> io::Result<Self> {
        Ok(Self::new(HttpsClient::new()?))
    }
}
