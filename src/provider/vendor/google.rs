//! Google's Gemini.

use http::{HeaderName, StatusCode};

use super::error_body::{fields, moment};
use super::{
    Answer, Credential, CredentialHeaders, Finding, ModelsShape, UnusableSecret, Vendor, Verdict,
    adapter, attribute, bearer, is_oauth, secret_value, stopped,
};

const API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");
const PROJECT: HeaderName = HeaderName::from_static("x-goog-user-project");

adapter! {
    /// Google's Gemini APIs: API keys in `x-goog-api-key`, OAuth accounts' tokens in
    /// `authorization: Bearer`, with the credential's attribute `project`, where a person has set it, in
    /// `x-goog-user-project`.
    ///
    /// Keys in the query (`key`, `api_key`, `api-key`, `access_token`) are removed, whatever is applied.
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
    /// The adapter, as Google has it. Vertex AI's regional hosts are to be
    /// [added](Self::origin) where they are used.
    pub fn new() -> Self {
        let hosts = [
            "generativelanguage.googleapis.com",
            "cloudcode-pa.googleapis.com",
            "aiplatform.googleapis.com",
        ];
        let mut vendor = Vendor::new("google", &["gemini"], &hosts);
        vendor.headers = headers;
        vendor.header_names.extend([API_KEY, PROJECT]);
        vendor.query_names.push("key".to_owned());
        vendor.read = read;
        vendor.models = |_, _| Some((ModelsShape::Google, "/v1beta/models"));
        vendor.statuses = &[401, 403, 429];
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

/// Errors are `google.rpc.Status`: its `details` hold a `RetryInfo`, whose `retryDelay` is a duration, and
/// an `ErrorInfo`, whose `reason` is a code.
fn read(answer: &Answer<'_>, mut finding: Finding) -> Finding {
    let [reason, delay, quota_delay, quota_time] = fields(
        answer.body,
        [
            &["error", "details", "reason"],
            &["error", "details", "retryDelay"],
            &["error", "details", "metadata", "quotaResetDelay"],
            &["error", "details", "metadata", "quotaResetTimeStamp"],
        ],
    );
    if answer.status == StatusCode::TOO_MANY_REQUESTS {
        let stated = [delay, quota_delay, quota_time];
        // Of several limits that are used up, the longest holds.
        let stated = stated.iter().filter_map(|text| moment(answer, text.as_deref())).max();
        finding.retry_at = finding.retry_at.max(stated);
        return finding;
    }
    let Some(reason) = reason else { return finding };
    let stopped = |way_out| stopped("Google", &reason, way_out);
    match &*reason {
        "VALIDATION_REQUIRED" => {
            finding.verdict(stopped("the account's owner has to verify it, in a browser"))
        }
        "TOS_VIOLATION" => finding.verdict(stopped("the account's owner has to appeal")),
        "ACCOUNT_STATE_INVALID" => {
            finding.verdict(stopped("the account is disabled or deleted; sign in with another"))
        }
        "CONSUMER_SUSPENDED" => {
            finding.verdict(stopped("the project is suspended; its owner has to appeal"))
        }
        "ACCESS_TOKEN_SCOPE_INSUFFICIENT" => finding.verdict(Verdict::InsufficientScope),
        _ => finding,
    }
}
