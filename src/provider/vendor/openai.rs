//! OpenAI.

use http::{HeaderMap, HeaderName};

use super::endpoints::Endpoints;
use super::{
    Account, Credential, CredentialHeaders, InvalidOrigin, ModelsShape, ResponseView, Rule, Scope,
    SecretKind, UnusableSecret, Vendor, adapter, attribute, bearer, is_oauth, on, secret_value,
};
use crate::credential::Secret;
use crate::rate_limit;
use crate::standing::{Stated, StatedBy};

const ACCOUNT: HeaderName = HeaderName::from_static("chatgpt-account-id");
const ORGANIZATION: HeaderName = HeaderName::from_static("openai-organization");
const PROJECT: HeaderName = HeaderName::from_static("openai-project");

/// Limits are an organization's, and each of its projects has some of its own.
static QUOTA: [HeaderName; 2] = [ORGANIZATION, PROJECT];

adapter! {
    /// OpenAI's API: every token in `authorization: Bearer`.
    ///
    /// An OAuth account's `account_id`, which came with its tokens, goes into `chatgpt-account-id`; a
    /// credential's attributes `organization` and `project`, if a person has set them, go into
    /// `openai-organization` and `openai-project`. The caller's own headers of these names are removed: the API refuses them
    /// with another account's token.
    ///
    /// ```
    /// use tower_credentials::provider::{OpenAi, Provider};
    ///
    /// let openai = OpenAi::new();
    /// assert!(openai.trusts(&"https://api.openai.com/v1/responses".parse()?));
    /// # Ok::<(), http::uri::InvalidUri>(())
    /// ```
    OpenAi
}

impl OpenAi {
    /// Creates the adapter with the vendor's own values.
    pub fn new() -> Self {
        let mut vendor =
            Vendor::new("openai", "OpenAI", &["codex", "chatgpt"], &["api.openai.com", "chatgpt.com"]);
        vendor.headers = headers;
        vendor.header_names.extend([ACCOUNT, ORGANIZATION, PROJECT]);
        vendor.endpoints = Endpoints::OfOAuth(None);
        vendor.quota_headers = &QUOTA;
        vendor.responses = responses();
        vendor.window = used_up_window;
        vendor.models = models;
        #[cfg(feature = "oauth")]
        {
            vendor.oauth = crate::oauth::OAuthConfig::openai();
        }
        Self(vendor)
    }

    /// Sends OAuth accounts' requests to this endpoint, whatever trusted origin the caller names: their tokens
    /// have no scopes at `api.openai.com`, while API keys work nowhere else. Its path goes before the request's. Defaults to
    /// none.
    ///
    /// # Errors
    /// If the text is not `https://HOST/PATH`, or plain `http` with a loopback host.
    pub fn subscription_endpoint(mut self, endpoint: &str) -> Result<Self, InvalidOrigin> {
        self.0.endpoints = Endpoints::OfOAuth(Some(endpoint.parse()?));
        Ok(self)
    }
}

fn headers(credential: &Credential) -> Result<CredentialHeaders, UnusableSecret> {
    let mut headers = bearer(credential)?;
    if let (true, Secret::OAuth(tokens)) = (is_oauth(credential), &credential.secret)
        && let Some(account) = tokens.extra.get("account_id")
    {
        headers.push((ACCOUNT, secret_value("", account)?));
    }
    headers.extend(attribute(credential, "organization", ORGANIZATION)?);
    headers.extend(attribute(credential, "project", PROJECT)?);
    Ok(headers)
}

/// A subscription's endpoint has its own `/v1`, if any, in the path that goes before this one.
fn models(vendor: &Vendor, kind: SecretKind) -> Option<(ModelsShape, &'static str)> {
    let is_oauth = matches!(kind, SecretKind::OAuth | SecretKind::Mcp);
    let moves = is_oauth && matches!(vendor.endpoints, Endpoints::OfOAuth(Some(_)));
    Some((ModelsShape::OpenAi, if moves { "/models" } else { "/v1/models" }))
}

/// Only codes count, since messages name models and organizations. If several limits are used up, the longest counts.
#[rustfmt::skip]
fn responses() -> Vec<Rule> {
    let code = |statuses: &[u16], codes: &[&'static str]| on(statuses).body("error.code|detail.code", codes.to_vec());
    let named = |statuses: &[u16], names: &[&'static str]| on(statuses).body("error.code|error.type", names.to_vec());
    vec![
        code(&[401, 403], &["token_invalidated", "token_revoked"]).stopped("sign in again"),
        code(&[401, 403], &["account_deactivated"]).stopped("the account's owner has to ask the vendor"),
        code(&[401, 402, 403], &["deactivated_workspace"]).stopped("the workspace's owner has to renew it"),
        code(&[401, 403], &["missing_scope", "insufficient_scope"]).insufficient_scope(),
        code(&[401, 403], &["ip_not_authorized"]).this_request(),
        code(&[403], &["unsupported_country_region_territory"]).not_the_account(),
        named(&[400, 402, 403, 429], &["insufficient_quota", "billing_hard_limit_reached", "billing_not_active"]).spent("add credits, or raise the budget, at the vendor's billing page"),
        named(&[429], &["usage_limit_reached"]).limited().of(Account).until("error.resets_at").until("error.resets_in_seconds"),
        named(&[429], &["rate_limit_exceeded"]).limited().of(Scope).until("error.resets_at").until("error.resets_in_seconds"),
        on([402, 429]).limited().until("error.resets_at").until("error.resets_in_seconds"),
    ]
}

/// The end of the account's last used-up window, which a subscription's responses state in headers.
fn used_up_window(view: &ResponseView<'_>) -> Option<Stated> {
    if !matches!(view.status.as_u16(), 402 | 429) {
        return None;
    }
    let time = |name: String| {
        let reset = rate_limit::any_reset(text(view.headers, &name)?.as_bytes())?;
        let at = rate_limit::stated(view.headers, view.now, reset, rate_limit::MAX_STATED);
        Some((at, StatedBy::Header(name.into())))
    };
    let window = |window: &str| {
        let used = text(view.headers, &format!("x-codex-{window}-used-percent"))?;
        if used.parse::<f64>().ok()? < 100.0 {
            return None;
        }
        time(format!("x-codex-{window}-reset-at"))
            .or_else(|| time(format!("x-codex-{window}-reset-after-seconds")))
    };
    let windows = ["primary", "secondary"].into_iter().filter_map(window);
    windows.max_by_key(|(at, _)| *at)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}
