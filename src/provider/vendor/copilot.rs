//! GitHub Copilot.

use std::time::Duration;

use super::endpoints::{self, Endpoints, NamedEndpoints};
use super::{Account, InvalidOrigin, ModelsShape, Rule, Scope, Vendor, adapter, on};

/// The wait that GitHub recommends after a limit without a time.
const MINUTE: Duration = Duration::from_secs(60);

adapter! {
    /// GitHub Copilot's API: every token in `authorization: Bearer`.
    ///
    /// The token endpoint names an account's API in `extra["endpoint"]`. The account's requests go there if its host is under
    /// `githubcopilot.com`, or is one that the user [allows](Self::endpoint_host).
    ///
    /// The API also expects to learn which editor sends a request: `editor-version`, `editor-plugin-version`,
    /// `copilot-integration-id` and `user-agent`. None is shipped, since it would be another product's name: set your own with
    /// [`default_header`](Self::default_header), or send them with each request.
    ///
    /// ```
    /// use http::{HeaderName, HeaderValue};
    /// use tower_credentials::provider::Copilot;
    ///
    /// let editor = HeaderName::from_static("editor-version");
    /// let copilot = Copilot::new().default_header(editor, HeaderValue::from_static("my-editor/1.0"));
    /// ```
    Copilot
}

impl Copilot {
    /// Creates the adapter with the vendor's own values.
    pub fn new() -> Self {
        let hosts = [
            "api.githubcopilot.com",
            "api.individual.githubcopilot.com",
            "api.business.githubcopilot.com",
            "api.enterprise.githubcopilot.com",
        ];
        let aliases = &["github-copilot-enterprise", "copilot"];
        let mut vendor = Vendor::new("github-copilot", "GitHub", aliases, &hosts);
        vendor.endpoints = Endpoints::Named(NamedEndpoints {
            domains: &["githubcopilot.com"],
            origins: Vec::new(),
            suffix: "",
        });
        vendor.responses = responses();
        vendor.models = |_, _| Some((ModelsShape::OpenAi, "/models"));
        #[cfg(feature = "oauth")]
        {
            vendor.oauth = crate::oauth::OAuthConfig::github_copilot();
        }
        Self(vendor)
    }

    /// Allows accounts to name this host for their requests, too: `HOST`, `https://HOST:PORT`, or plain `http`
    /// with a loopback host. A company may have its own, for example.
    ///
    /// # Errors
    /// If the text is not such a host.
    pub fn endpoint_host(mut self, host: &str) -> Result<Self, InvalidOrigin> {
        self.0.endpoints.allow(endpoints::host(host)?);
        Ok(self)
    }
}

/// Copilot's notifications have an id. GitHub's API has no code for a suspended account or a secondary limit, so those are
/// recognized by the whole message.
#[rustfmt::skip]
fn responses() -> Vec<Rule> {
    let notice = |ids: &[&'static str]| on([401, 403]).body("error_details.notification_id", ids.to_vec());
    let limit = |codes: &[&'static str]| on([402, 403, 429]).body("error.code|code", codes.to_vec()).limited();
    vec![
        notice(&["no_copilot_access", "not_signed_up"]).stopped("the account has no Copilot; subscribe, or ask its owner"),
        notice(&["subscription_ended"]).stopped("renew the account's subscription"),
        on([401, 403]).body("message", "Sorry. Your account was suspended").stopped("the account is suspended; its owner has to ask GitHub's support"),
        on([403, 429]).body("message", ["You have exceeded a secondary rate limit*", "API rate limit exceeded*"]).limited().of(Account).lasts(MINUTE),
        limit(&["quota_exceeded", "user_global_rate_limited*", "user_weekly_rate_limited*"]).of(Account),
        limit(&["user_model_rate_limited*", "model_overloaded"]).of(Scope),
        on([400]).body("error.code", "model_not_supported").this_request(),
        on([429]).limited(),
    ]
}
