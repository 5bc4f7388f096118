//! Anthropic.

use http::{HeaderName, HeaderValue, StatusCode};

use super::error_body::fields;
use super::{
    Answer, Credential, CredentialHeaders, Finding, ListElement, ModelsShape, SecretKind,
    UnusableSecret, Vendor, Verdict, adapter, bearer, is_oauth, secret_value, stopped,
};
use crate::credential::Secret;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

adapter! {
    /// Anthropic's API: API keys in `x-api-key`; OAuth accounts' tokens, and one that goes by
    /// `ANTHROPIC_AUTH_TOKEN`, in `authorization: Bearer`.
    ///
    /// OAuth accounts' requests ask for the feature that the API wants of them, by
    /// `anthropic-beta: oauth-2025-04-20`. Every request needs an `anthropic-version`; it is `2023-06-01`
    /// where the caller says nothing.
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
    /// The adapter, as Anthropic has it.
    pub fn new() -> Self {
        let mut vendor = Vendor::new("anthropic", &["claude"], &["api.anthropic.com"]);
        vendor.headers = headers;
        vendor.header_names.push(API_KEY);
        let version = HeaderName::from_static("anthropic-version");
        vendor.set_default_header(version, HeaderValue::from_static("2023-06-01"));
        vendor.list_elements = vec![ListElement::new(
            HeaderName::from_static("anthropic-beta"),
            HeaderValue::from_static("oauth-2025-04-20"),
            &[SecretKind::OAuth],
        )];
        vendor.read = read;
        vendor.statuses = &[400, 401, 403];
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

/// Anthropic has no codes for these, so they are told by their whole message. `authentication_error` alone
/// also means an expired token, which a refresh mends, and so does a `permission_error` for a revoked one.
fn read(answer: &Answer<'_>, finding: Finding) -> Finding {
    let [kind, message] = fields(answer.body, [&["error", "type"], &["error", "message"]]);
    let (Some(kind), Some(message)) = (kind, message) else { return finding };
    if !matches!(&*kind, "invalid_request_error" | "authentication_error" | "permission_error") {
        return finding;
    }
    match message.trim_end_matches('.') {
        "This organization has been disabled" => finding.verdict(stopped(
            "Anthropic",
            "that the organization has been disabled",
            "see to it in the console, or ask the organization's owner",
        )),
        "OAuth authentication is currently not allowed for this organization" => {
            finding.verdict(stopped(
                "Anthropic",
                "that OAuth is not allowed for the organization",
                "use an API key, or renew the subscription",
            ))
        }
        message
            if answer.status == StatusCode::FORBIDDEN
                && message.starts_with("OAuth token does not meet scope requirement ") =>
        {
            finding.verdict(Verdict::InsufficientScope)
        }
        _ => finding,
    }
}
