//! Qwen.

use std::time::Duration;

use super::endpoints::{self, Endpoints, NamedEndpoints};
use super::{InvalidOrigin, ModelsShape, Rule, Scope, SecretKind, Vendor, adapter, on};

/// After how long a model is asked for again whose free quota is used up: it may have been bought.
const HOUR: Duration = Duration::from_secs(60 * 60);

const DASHSCOPE: [&str; 3] =
    ["dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com", "dashscope-us.aliyuncs.com"];

adapter! {
    /// Qwen's API, and DashScope's that is compatible with OpenAI's: every token in
    /// `authorization: Bearer`.
    ///
    /// What the token endpoint has named as an account's API goes into `extra["endpoint"]`: a host or a
    /// URL, to which `/v1` is added where it doesn't end so. The account's requests go there if the host is
    /// under `qwen.ai` or is one of DashScope's (`dashscope.aliyuncs.com`, `dashscope-intl.aliyuncs.com`,
    /// `dashscope-us.aliyuncs.com`, and those under them), or one that the user
    /// [lets through](Self::endpoint_host). Not every host under `aliyuncs.com` is: customers' buckets and
    /// functions have theirs there.
    ///
    /// The vendor ended the sign-in of its OAuth accounts in April 2026; it is kept for compatible servers.
    ///
    /// ```
    /// use tower_credentials::provider::{Provider, Qwen};
    ///
    /// let qwen = Qwen::new();
    /// assert!(qwen.trusts(&"https://dashscope.aliyuncs.com/compatible-mode/v1/models".parse()?));
    /// # Ok::<(), http::uri::InvalidUri>(())
    /// ```
    Qwen
}

impl Qwen {
    /// The adapter, as the vendor has it.
    pub fn new() -> Self {
        let hosts = ["portal.qwen.ai", DASHSCOPE[0], DASHSCOPE[1], DASHSCOPE[2]];
        let mut vendor = Vendor::new("qwen", "DashScope", &["qwen-code"], &hosts);
        vendor.endpoints = Endpoints::Named(NamedEndpoints {
            domains: &["qwen.ai", DASHSCOPE[0], DASHSCOPE[1], DASHSCOPE[2]],
            origins: Vec::new(),
            suffix: "/v1",
        });
        vendor.responses = responses();
        vendor.models = models;
        #[cfg(feature = "oauth")]
        {
            vendor.oauth = crate::oauth::OAuthConfig::qwen();
        }
        Self(vendor)
    }

    /// Lets accounts name this host for their requests, too: `HOST`, `https://HOST:PORT`, or plain `http`
    /// with a loopback host.
    ///
    /// # Errors
    /// Where the text is no such host.
    pub fn endpoint_host(mut self, host: &str) -> Result<Self, InvalidOrigin> {
        self.0.endpoints.allow(endpoints::host(host)?);
        Ok(self)
    }
}

/// An account's own host has them. An API key is of one of DashScope's regions, and which one it doesn't say:
/// the others refuse it.
fn models(_: &Vendor, kind: SecretKind) -> Option<(ModelsShape, &'static str)> {
    matches!(kind, SecretKind::OAuth | SecretKind::Mcp).then_some((ModelsShape::OpenAi, "/v1/models"))
}

/// DashScope's own errors have their code at the top, those of its compatible API inside of `error`.
#[rustfmt::skip]
fn responses() -> Vec<Rule> {
    let code = |statuses: &[u16], codes: &[&'static str]| on(statuses).body("error.code|code", codes.to_vec());
    vec![
        code(&[400, 401, 403], &["Arrearage"]).stopped("the account's owner has to pay what is due"),
        code(&[400, 403], &["PrepaidBillOverdue", "PostpaidBillOverdue"]).spent("the account's owner has to pay what is due"),
        code(&[400, 403, 429], &["CommodityNotPurchased"]).spent("the account's owner has to buy the service"),
        code(&[403], &["AllocationQuota.FreeTierOnly"]).limited().of(Scope).lasts(HOUR),
        code(&[403], &["Model.AccessDenied", "App.AccessDenied"]).this_request(),
        code(&[429], &["Throttling*", "limit_requests", "insufficient_quota", "rate_limit_exceeded"]).limited().of(Scope),
        on([429]).limited(),
    ]
}
