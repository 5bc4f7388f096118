//! A provider that differs from the generic one in what a test is about.

/// The required methods of a provider, delegated to the `GenericProvider` in its first field.
#[allow(unused_macros, reason = "each test binary uses a part of it")]
macro_rules! as_the_generic_one {
    () => {
        fn name(&self) -> &str {
            self.0.name()
        }

        fn trusts(&self, uri: &http::Uri) -> bool {
            self.0.trusts(uri)
        }

        fn headers(
            &self,
            credential: &tower_credentials::Credential,
        ) -> Result<
            tower_credentials::provider::CredentialHeaders,
            tower_credentials::provider::UnusableSecret,
        > {
            self.0.headers(credential)
        }

        fn header_names(&self) -> &[http::HeaderName] {
            self.0.header_names()
        }
    };
}
#[allow(unused_imports, reason = "each test binary uses a part of it")]
pub(crate) use as_the_generic_one;
