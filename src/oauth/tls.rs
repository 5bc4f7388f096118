//! The HTTPS client of the feature `tls`.

use std::io;

use super::http::OAuthHttp;
use crate::https::HttpsClient;

impl OAuthHttp {
    /// Over an [`HttpsClient`].
    ///
    /// # Errors
    /// As [`HttpsClient::new`] has.
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn with_tls() -> io::Result<Self> {
        Ok(Self::new(HttpsClient::new()?))
    }
}
