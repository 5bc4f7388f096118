//! Whose an account is, as vendors' tokens tell it, and where a record has that.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use crate::secret::SecretString;

/// The attribute of a record that has the vendor's own id of the account.
pub(crate) const ACCOUNT: &str = "account";

/// The entry of [`OAuthTokens::extra`](crate::OAuthTokens::extra) that has an account's id for requests' headers.
pub(crate) const ACCOUNT_ID: &str = "account_id";
/// The entry that has the id token.
pub(crate) const ID_TOKEN: &str = "id_token";
/// The entry that has where the account's requests go.
pub(crate) const ENDPOINT: &str = "endpoint";

/// An account's id that also tells one workspace's from another's: the same person has an account in
/// each, and several persons have accounts in the same.
pub(crate) fn within(workspace: Option<String>, person: Option<String>) -> Option<String> {
    let named = |id: &String| !id.is_empty();
    match (workspace.filter(named), person.filter(named)) {
        (Some(workspace), Some(person)) => Some(format!("{workspace}/{person}")),
        (workspace, person) => person.or(workspace),
    }
}

/// What a signed token says of its holder (RFC 7519, section 4). Its signature isn't checked: it came from
/// the token endpoint itself, over TLS (OpenID Connect Core 1.0, section 3.1.3.7, item 6).
#[derive(Default, Deserialize)]
pub(crate) struct Claims {
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) sub: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    #[cfg_attr(not(feature = "oauth"), allow(dead_code, reason = "a sign-in's label is made of it"))]
    pub(crate) email: Option<String>,
    /// When the token stops working, in seconds since the Unix epoch.
    #[serde(default, deserialize_with = "lenient")]
    #[cfg_attr(not(feature = "migrate"), allow(dead_code, reason = "a token's answer says it better"))]
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

/// A value, or `None` for one of another type.
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
