//! OpenAI.

use http::{HeaderMap, HeaderName, StatusCode};

use super::endpoints::Endpoints;
use super::error_body::{fields, moment};
use super::{
    Answer, Credential, CredentialHeaders, Finding, InvalidOrigin, ModelsShape, SecretKind,
    UnusableSecret, Vendor, Verdict, adapter, attribute, bearer, is_oauth, secret_value, stopped,
};
use crate::clock::Timestamp;
use crate::credential::Secret;

const ACCOUNT: HeaderName = HeaderName::from_static("chatgpt-account-id");
const ORGANIZATION: HeaderName = HeaderName::from_static("openai-organization");
const PROJECT: HeaderName = HeaderName::from_static("openai-project");

adapter! {
    /// OpenAI's API: every token in `authorization: Bearer`.
    ///
    /// An OAuth account's `account_id`, from what came with its tokens, goes into `chatgpt-account-id`; a
    /// credential's attributes `organization` and `project`, where a person has set them, go into
    /// `openai-organization` and `openai-project`. The caller's own of these names are removed, since with
    /// another account's token they are refused.
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
    /// The adapter, as OpenAI has it.
    pub fn new() -> Self {
        let mut vendor =
            Vendor::new("openai", &["codex", "chatgpt"], &["api.openai.com", "chatgpt.com"]);
        vendor.headers = headers;
        vendor.header_names.extend([ACCOUNT, ORGANIZATION, PROJECT]);
        vendor.endpoints = Endpoints::OfOAuth(None);
        vendor.read = read;
        vendor.models = models;
        vendor.statuses = &[401, 402, 403, 429];
        #[cfg(feature = "oauth")]
        {
            vendor.oauth = crate::oauth::OAuthConfig::openai();
        }
        Self(vendor)
    }

    /// Sends OAuth accounts' requests to this place, whatever trusted origin the caller names: their tokens
    /// have no scopes at `api.openai.com`, while API keys are of no use elsewhere. Its path is put before
    /// the request's. None unless set.
    ///
    /// # Errors
    /// Where the text is no such place: `https://HOST/PATH`, or plain `http` with a loopback host.
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

/// A subscription's endpoint has the `/v1` of its own, if any, in the path that is put before this one.
fn models(vendor: &Vendor, kind: SecretKind) -> Option<(ModelsShape, &'static str)> {
    let is_oauth = matches!(kind, SecretKind::OAuth | SecretKind::Mcp);
    let moves = is_oauth && matches!(vendor.endpoints, Endpoints::OfOAuth(Some(_)));
    Some((ModelsShape::OpenAi, if moves { "/models" } else { "/v1/models" }))
}

fn read(answer: &Answer<'_>, mut finding: Finding) -> Finding {
    let [code, detail, at, within] = fields(
        answer.body,
        [
            &["error", "code"],
            &["detail", "code"],
            &["error", "resets_at"],
            &["error", "resets_in_seconds"],
        ],
    );
    if answer.status == StatusCode::TOO_MANY_REQUESTS || answer.status == StatusCode::PAYMENT_REQUIRED {
        let in_body = moment(answer, at.as_deref()).or_else(|| moment(answer, within.as_deref()));
        let stated = in_body.or_else(|| used_up_window(answer));
        // Of several limits that are used up, the longest holds.
        finding.retry_at = finding.retry_at.max(stated);
    }
    let Some(code) = code.or(detail) else { return finding };
    let stopped = |way_out| stopped("OpenAI", &code, way_out);
    match (answer.status.as_u16(), &*code) {
        (401 | 403, "token_invalidated" | "token_revoked") => finding.verdict(stopped("sign in anew")),
        (401 | 403, "account_deactivated") => {
            finding.verdict(stopped("the account's owner has to ask the vendor"))
        }
        (401..=403, "deactivated_workspace") => {
            finding.verdict(stopped("the workspace's owner has to renew it"))
        }
        (401 | 403, "missing_scope" | "insufficient_scope") => {
            finding.verdict(Verdict::InsufficientScope)
        }
        _ => finding,
    }
}

/// When the last of the account's windows ends that are used up: what a subscription's answers say in
/// headers beside the body.
fn used_up_window(answer: &Answer<'_>) -> Option<Timestamp> {
    let text = |name: String| text(answer.headers, &name);
    let window = |window: &str| {
        let used = text(format!("x-codex-{window}-used-percent"))?;
        if used.parse::<f64>().ok()? < 100.0 {
            return None;
        }
        moment(answer, text(format!("x-codex-{window}-reset-at")))
            .or_else(|| moment(answer, text(format!("x-codex-{window}-reset-after-seconds"))))
    };
    window("primary").max(window("secondary"))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}
