//! Which of a provider's settings are set.

use super::ProviderSettings;

impl ProviderSettings {
    /// The set settings that only providers of the type `generic` have.
    pub(crate) fn generic_only(&self) -> Vec<&'static str> {
        let values = &self.values;
        let set = [
            ("header", values.header.is_some()),
            ("prefix", values.prefix.is_some()),
            ("oauth_header", values.oauth_header.is_some()),
            ("oauth_prefix", values.oauth_prefix.is_some()),
            ("query_names", values.query_names.is_some()),
            ("extra_headers", !self.extra_headers.is_empty()),
        ];
        set.into_iter().filter_map(|(name, is_set)| is_set.then_some(name)).collect()
    }

    /// The set settings that decide where secrets are sent, or which secret is used.
    pub(crate) fn leading(&self) -> Vec<&'static str> {
        let values = &self.values;
        let set = [
            ("api_key_variable", values.api_key_variable.is_some()),
            ("origins", values.origins.is_some()),
            ("insecure_http_origins", values.insecure_http_origins.is_some()),
            ("endpoint_hosts", values.endpoint_hosts.is_some()),
            ("subscription_endpoint", values.subscription_endpoint.is_some()),
            ("models_url", values.models_url.is_some()),
        ];
        let set = set.into_iter();
        #[cfg(feature = "oauth")]
        let set = set.chain(self.oauth.leading());
        set.filter_map(|(name, is_set)| is_set.then_some(name)).collect()
    }
}
