//! The claims of vendors' tokens that identify an account, and where a record stores them.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use crate::secret::SecretString;

/// The attribute of a record that holds the vendor's own id of the account.
pub(crate) const ACCOUNT: &str = "account";

/// The key in [`OAuthTokens::extra`](crate::OAuthTokens::extra) of an account id for request headers.
pub(crate) const ACCOUNT_ID: &str = "account_id";
/// The key of the id token.
pub(crate) const ID_TOKEN: &str = "id_token";
/// The key of the endpoint for the account's requests.
pub(crate) const ENDPOINT: &str = "endpoint";

/// Returns an account id that distinguishes both workspaces and persons: a person has an account in each workspace,
/// and a workspace has accounts of several persons.
pub(crate) fn within(workspace: Option<String>, person: Option<String>) -> Option<String> {
    let named = |id: &String| !id.is_empty();
    match (workspace.filter(named), person.filter(named)) {
        (Some(workspace), Some(person)) => Some(format!("{workspace}/{person}")),
        (workspace, person) => person.or(workspace),
    }
}

/// The claims of a signed token (RFC 7519, section 4). Its signature isn't checked, since it came from
/// the token endpoint itself, over TLS (OpenID Connect Core 1.0, section 3.1.3.7, item 6).
#[derive(Default, Deserialize)]
pub(crate) struct Claims {
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) sub: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    #[cfg_attr(not(feature = "oauth"), allow(dead_code, reason = "only a sign-in's label needs it"))]
    pub(crate) email: Option<String>,
    /// When the token expires, in seconds since the Unix epoch.
    #[serde(default, deserialize_with = "lenient")]
    #[cfg_attr(not(feature = "migrate"), allow(dead_code, reason = "a token response says it better"))]
    pub(crate) exp: Option<u64>,
    #[serde(default, rename = "https://api.openai.com/auth", deserialize_with = "lenient")]
    openai: Option<OpenAiClaim>,
}

#[derive(Default, Deserialize)]
struct OpenAiClaim {
    chatgpt_account_id: String,
}

impl Claims {
    pub(crate) fn read(token: &SecretString) -> Option<Self> {
        Self::read_text(token.expose())
    }

    pub(crate) fn read_text(token: &str) -> Option<Self> {
        let payload = token.split('.').nth(1)?.trim_end_matches('=');
        let payload = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?);
        serde_json::from_slice(&payload).ok()
    }

    pub(crate) fn workspace(&self) -> Option<String> {
        self.openai.as_ref().map(|claim| claim.chatgpt_account_id.clone())
    }
}

/// Reads a value, or `None` if it is of another type.
pub(crate) fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Maybe<T> {
        Value(T),
        Other(IgnoredAny),
    }
    Ok(match Maybe::deserialize(deserializer)? {
        Maybe::Value(value) => Some(value),
        Maybe::Other(_) => None,
    })
}
