//! Cursor.

use super::{Vendor, adapter, on};

adapter! {
    /// Cursor's REST endpoints: every token in `authorization: Bearer`. Its chat API is not plain HTTP with
    /// JSON, so the header alone does not serve it.
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
    /// The adapter, as the vendor has it.
    pub fn new() -> Self {
        let mut vendor = Vendor::new("cursor", "Cursor", &[], &["api2.cursor.sh"]);
        // It documents no errors: what their statuses and headers say is all.
        vendor.responses = vec![on([429]).limited()];
        #[cfg(feature = "oauth")]
        {
            vendor.oauth = crate::oauth::OAuthConfig::cursor();
        }
        Self(vendor)
    }
}
