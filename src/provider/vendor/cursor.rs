//! Cursor.

use super::{Vendor, adapter, on};

adapter! {
    /// Cursor's REST endpoints: every token in `authorization: Bearer`. Its chat API is not HTTP with JSON, so the header
    /// alone is not enough for it.
    ///
    /// ```
    /// use tower_credentials::provider::{Cursor, Provider};
    ///
    /// let cursor = Cursor::new();
    /// assert!(cursor.trusts(&"https://api2.cursor.sh/auth/full_stripe_profile".parse()?));
    /// # Ok::<(), http::uri::InvalidUri>(())
    /// ```
    Cursor
}

impl Cursor {
    /// Creates the adapter with the vendor's own values.
    pub fn new() -> Self {
        let mut vendor = Vendor::new("cursor", "Cursor", &[], &["api2.cursor.sh"]);
        // Cursor documents no errors, so only statuses and headers count.
        vendor.responses = vec![on([429]).limited()];
        #[cfg(feature = "oauth")]
        {
            vendor.oauth = crate::oauth::OAuthConfig::cursor();
        }
        Self(vendor)
    }
}
