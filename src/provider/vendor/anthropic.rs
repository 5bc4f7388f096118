//! Anthropic.

use http::{HeaderName, HeaderValue};

use super::{
    Account, Concurrency, Credential, CredentialHeaders, ListElement, ModelsShape, Rule, Scope,
    SecretKind, UnusableSecret, Vendor, adapter, bearer, is_oauth, on, secret_value,
};
use crate::credential::Secret;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Limits are an organization's.
static QUOTA: [HeaderName; 1] = [HeaderName::from_static("anthropic-organization-id")];

adapter! {
    /// Anthropic's API: API keys in `x-api-key`; OAuth accounts' tokens, and the token of
    /// `ANTHROPIC_AUTH_TOKEN`, in `authorization: Bearer`.
    ///
    /// Requests of OAuth accounts carry `anthropic-beta: oauth-2025-04-20`, which the API requires of them. Every request
    /// needs an `anthropic-version`; it defaults to `2023-06-01`.
    ///
    /// ```
    /// use tower_credentials::provider::{Anthropic, Provider};
    ///
    /// let anthropic = Anthropic::new();
    /// assert!(anthropic.trusts(&"https://api.anthropic.com/v1/messages".parse()?));
    /// # Ok::<(), http::uri::InvalidUri>(())
    /// ```
    Anthropic
}

impl Anthropic {
    /// Creates the adapter with the vendor's own values.
    pub fn new() -> Self {
        let mut vendor = Vendor::new("anthropic", "Anthropic", &["claude"], &["api.anthropic.com"]);
        vendor.headers = headers;
        vendor.header_names.push(API_KEY);
        let version = HeaderName::from_static("anthropic-version");
        vendor.set_default_header(version, HeaderValue::from_static("2023-06-01"));
        vendor.list_elements = vec![ListElement::new(
            HeaderName::from_static("anthropic-beta"),
            HeaderValue::from_static("oauth-2025-04-20"),
            &[SecretKind::OAuth],
        )];
        vendor.quota_headers = &QUOTA;
        vendor.responses = responses();
        vendor.models = |_, _| Some((ModelsShape::Anthropic, "/v1/models"));
        #[cfg(feature = "oauth")]
        {
            vendor.oauth = crate::oauth::OAuthConfig::anthropic();
        }
        Self(vendor)
    }
}

fn headers(credential: &Credential) -> Result<CredentialHeaders, UnusableSecret> {
    let is_bearer = match &credential.secret {
        Secret::WellKnown { variable, .. } => variable == "ANTHROPIC_AUTH_TOKEN",
        _ => is_oauth(credential),
    };
    if is_bearer {
        return bearer(credential);
    }
    Ok(vec![(API_KEY, secret_value("", credential.secret.token())?)])
}

/// Anthropic has few codes, so most errors are recognized by their whole message. `authentication_error` alone also means an
/// expired token, and `permission_error` a revoked one, and a refresh helps with both.
#[rustfmt::skip]
fn responses() -> Vec<Rule> {
    const ERRORS: [&str; 3] = ["invalid_request_error", "authentication_error", "permission_error"];
    let error = |statuses: &[u16], message| on(statuses).body("error.type", ERRORS).body("error.message", message);
    let limit = |windows: &[&'static str]| {
        on([429]).header("anthropic-ratelimit-unified-representative-claim", windows.to_vec()).limited()
    };
    vec![
        error(&[400, 401, 403], "This organization has been disabled").stopped("the organization has been disabled; see to it in the console, or ask its owner"),
        error(&[400, 401, 403], "OAuth authentication is currently not allowed for this organization").stopped("OAuth is not allowed for the organization; use an API key, or renew the subscription"),
        error(&[403], "OAuth token does not meet scope requirement *").insufficient_scope(),
        error(&[400, 403], "Your credit balance is too low to access the *").spent("its credit balance is too low; buy credits in the console"),
        on([402]).body("error.type", "billing_error").spent("see to the billing in the console"),
        on([400, 403, 429]).body("error.message", "You have reached your specified *usage limits. You will regain access on {time} UTC").spent("it has reached the usage limits that its owner has set; raise them in the console"),
        on([400, 403, 429]).body("error.message", "You have reached your specified *usage limits*").spent("it has reached the usage limits that its owner has set; raise them in the console"),
        on([429]).body("error.message", "Number of concurrent connections has exceeded your rate limit*").limited().of(Concurrency),
        on([429]).body("error.message", "Extra usage is required for * requests").this_request(),
        on([400]).body("error.message", "The long context beta is not yet available for this subscription").this_request(),
        on([400]).body("error.message", "This credential is only authorized for use with Claude Code and cannot be used for other API requests").this_request(),
        on([403]).body("error.type", "forbidden").body("error.message", "Request not allowed").not_the_account(),
        limit(&["five_hour", "seven_day", "overage"]).of(Account),
        limit(&["seven_day_opus", "seven_day_sonnet"]).of(Scope),
        on([429]).limited(),
    ]
}
