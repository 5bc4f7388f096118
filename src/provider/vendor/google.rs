//! Google's Gemini.

use http::HeaderName;

use super::{
    Account, Credential, CredentialHeaders, ModelsShape, Rule, Scope, UnusableSecret, Vendor, adapter,
    attribute, bearer, is_oauth, on, secret_value,
};

const API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");
const PROJECT: HeaderName = HeaderName::from_static("x-goog-user-project");

adapter! {
    /// Google's Gemini APIs: API keys in `x-goog-api-key`, OAuth accounts' tokens in
    /// `authorization: Bearer`, with the credential's attribute `project`, if a person has set it, in
    /// `x-goog-user-project`.
    ///
    /// Keys in the query (`key`, `api_key`, `api-key`, `access_token`) are always removed.
    ///
    /// ```
    /// use tower_credentials::provider::{Google, Provider};
    ///
    /// let google = Google::new().origin("https://europe-west4-aiplatform.googleapis.com")?;
    /// assert!(google.query_names().contains(&"key".to_owned()));
    /// # Ok::<(), tower_credentials::provider::InvalidOrigin>(())
    /// ```
    Google
}

impl Google {
    /// Creates the adapter with the vendor's own values. [Add](Self::origin) Vertex AI's regional hosts if you use them.
    pub fn new() -> Self {
        let hosts = [
            "generativelanguage.googleapis.com",
            "cloudcode-pa.googleapis.com",
            "aiplatform.googleapis.com",
        ];
        let mut vendor = Vendor::new("google", "Google", &["gemini"], &hosts);
        vendor.headers = headers;
        vendor.header_names.extend([API_KEY, PROJECT]);
        vendor.query_names.push("key".to_owned());
        vendor.responses = responses();
        vendor.models = |_, _| Some((ModelsShape::Google, "/v1beta/models"));
        #[cfg(feature = "oauth")]
        {
            vendor.oauth = crate::oauth::OAuthConfig::google();
        }
        Self(vendor)
    }
}

fn headers(credential: &Credential) -> Result<CredentialHeaders, UnusableSecret> {
    if !is_oauth(credential) {
        return Ok(vec![(API_KEY, secret_value("", credential.secret.token())?)]);
    }
    let mut headers = bearer(credential)?;
    headers.extend(attribute(credential, "project", PROJECT)?);
    Ok(headers)
}

/// Errors are `google.rpc.Status`: its `details` have a `RetryInfo`, whose `retryDelay` is a duration, a
/// `QuotaFailure`, whose violations name their quotas, and an `ErrorInfo`, whose `reason` is a code. If several limits
/// are used up, the longest counts.
#[rustfmt::skip]
fn responses() -> Vec<Rule> {
    let reason = |statuses: &[u16], reasons: &[&'static str]| on(statuses).body("error.details.reason", reasons.to_vec());
    let message = |status: u16, message| on([status]).body("error.message", message);
    let limit = |rule: Rule| {
        let rule = rule.limited().until("error.details.retryDelay");
        rule.until("error.details.metadata.quotaResetDelay").until("error.details.metadata.quotaResetTimeStamp")
    };
    vec![
        reason(&[401, 403], &["VALIDATION_REQUIRED"]).stopped("the account's owner has to verify it, in a browser"),
        reason(&[401, 403], &["TOS_VIOLATION"]).stopped("the account's owner has to appeal"),
        reason(&[401, 403], &["ACCOUNT_STATE_INVALID"]).stopped("the account is disabled or deleted; sign in with another"),
        reason(&[401, 403], &["CONSUMER_SUSPENDED"]).stopped("the project is suspended; its owner has to appeal"),
        reason(&[401, 403], &["ACCESS_TOKEN_SCOPE_INSUFFICIENT"]).insufficient_scope(),
        reason(&[400], &["API_KEY_INVALID"]).dead("make a new key"),
        message(403, "Your API key was reported as leaked. Please use another API key").dead("the key has leaked and is blocked; make a new one"),
        reason(&[403], &["API_KEY_SERVICE_BLOCKED", "API_KEY_IP_ADDRESS_BLOCKED", "API_KEY_HTTP_REFERRER_BLOCKED"]).this_request(),
        message(400, "User location is not supported for the API use*").not_the_account(),
        limit(on([429]).body("error.details.violations.quotaId", "*PerModel*")).of(Scope),
        limit(on([429]).body("error.details.violations.quotaId", "*")).of(Account),
        limit(on([429]).body("error.details.metadata.model", "*")).of(Scope),
        limit(on([429])),
    ]
}
