//! Qwen.

use std::time::Duration;

use super::endpoints::{self, Endpoints, NamedEndpoints};
use super::{InvalidOrigin, ModelsShape, Rule, Scope, SecretKind, Vendor, adapter, on};

/// The time after which a model with a used-up free quota is tried again: it may have been bought.
const HOUR: Duration = Duration::from_secs(60 * 60);

const DASHSCOPE: [&str; 3] =
    ["dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com", "dashscope-us.aliyuncs.com"];

adapter! {
    /// Qwen's API, and DashScope's API that is compatible with OpenAI's: every token in
    /// `authorization: Bearer`.
    ///
    /// The token endpoint names an account's API in `extra["endpoint"]`: a host or a URL, to which `/v1` is added if it is
    /// missing. The account's requests go there if the host is under `qwen.ai` or is one of DashScope's
    /// (`dashscope.aliyuncs.com`, `dashscope-intl.aliyuncs.com`, `dashscope-us.aliyuncs.com`, and those under them), or is
    /// one that the user [allows](Self::endpoint_host). Other hosts under `aliyuncs.com` don't count: customers' buckets and
    /// functions are there.
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
    /// Creates the adapter with the vendor's own values.
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

    /// Allows accounts to name this host for their requests, too: `HOST`, `https://HOST:PORT`, or plain `http`
    /// with a loopback host.
    ///
    /// # Errors
    /// If the text is not such a host.
    pub fn endpoint_host(mut self, host: &str) -> Result<Self, InvalidOrigin> {
        self.0.endpoints.allow(endpoints::host(host)?);
        Ok(self)
    }
}

/// An account's own host lists its models. An API key belongs to one of DashScope's regions without saying which, and the
/// others refuse it.
fn models(_: &Vendor, kind: SecretKind) -> Option<(ModelsShape, &'static str)> {
    matches!(kind, SecretKind::OAuth | SecretKind::Mcp).then_some((ModelsShape::OpenAi, "/v1/models"))
}

/// DashScope's own errors have their code at the top, and those of its compatible API inside `error`.
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
