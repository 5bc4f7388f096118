//! GitHub Copilot.

use super::endpoints::{self, Endpoints, NamedEndpoints};
use super::error_body::fields;
use super::{Answer, Finding, InvalidOrigin, ModelsShape, Vendor, adapter, stopped};

adapter! {
    /// GitHub Copilot's API: every token in `authorization: Bearer`.
    ///
    /// What the token endpoint has named as an account's API goes into `extra["endpoint"]`; the account's
    /// requests go there if its host is under `githubcopilot.com`, or one that the user
    /// [lets through](Self::endpoint_host).
    ///
    /// The API also wants to know which editor asks: `editor-version`, `editor-plugin-version`,
    /// `copilot-integration-id` and `user-agent`. None is shipped, for it would be another product's name:
    /// set your own by [`default_header`](Self::default_header), or send them with each request.
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
    /// The adapter, as GitHub has it.
    pub fn new() -> Self {
        let hosts = [
            "api.githubcopilot.com",
            "api.individual.githubcopilot.com",
            "api.business.githubcopilot.com",
            "api.enterprise.githubcopilot.com",
        ];
        let aliases = &["github-copilot-enterprise", "copilot"];
        let mut vendor = Vendor::new("github-copilot", aliases, &hosts);
        vendor.endpoints = Endpoints::Named(NamedEndpoints {
            domains: &["githubcopilot.com"],
            origins: Vec::new(),
            suffix: "",
        });
        vendor.read = read;
        vendor.models = |_, _| Some((ModelsShape::OpenAi, "/models"));
        vendor.statuses = &[401, 403];
        #[cfg(feature = "oauth")]
        {
            vendor.oauth = crate::oauth::OAuthConfig::github_copilot();
        }
        Self(vendor)
    }

    /// Lets accounts name this host for their requests, too: `HOST`, `https://HOST:PORT`, or plain `http`
    /// with a loopback host. A company's own, say.
    ///
    /// # Errors
    /// Where the text is no such host.
    pub fn endpoint_host(mut self, host: &str) -> Result<Self, InvalidOrigin> {
        self.0.endpoints.allow(endpoints::host(host)?);
        Ok(self)
    }
}

/// Copilot's notifications have an id. GitHub's API has no code for a suspended account, so that is told by
/// the whole message.
fn read(answer: &Answer<'_>, finding: Finding) -> Finding {
    let [notification, message] =
        fields(answer.body, [&["error_details", "notification_id"], &["message"]]);
    let stopped = |code: &str, way_out| stopped("GitHub", code, way_out);
    match notification.as_deref() {
        Some(id @ ("no_copilot_access" | "not_signed_up")) => {
            return finding
                .verdict(stopped(id, "the account has no Copilot; subscribe, or ask its owner"));
        }
        Some(id @ "subscription_ended") => {
            return finding.verdict(stopped(id, "renew the account's subscription"));
        }
        _ => {}
    }
    match message.as_deref() {
        Some("Sorry. Your account was suspended" | "Sorry. Your account was suspended.") => finding
            .verdict(stopped("that the account is suspended", "its owner has to ask GitHub's support")),
        _ => finding,
    }
}
