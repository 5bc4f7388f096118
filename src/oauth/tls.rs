//! The HTTPS client of the feature `tls`.

use std::io;

use super::http::OAuthHttp;
use crate::https::HttpsClient;

impl OAuthHttp {
    /// Over an [`HttpsClient`].
    ///
    /// # Errors
    /// When the operating system's certificates can't be loaded.
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn with_tls() -> io::Result<Self> {
        Ok(Self::new(HttpsClient::new()?))
    }
}
