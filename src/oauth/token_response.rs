//! The successful response of a token endpoint, whatever vendor's.

use oauth2::basic::BasicTokenType;
use oauth2::{AccessToken, RefreshToken, Scope};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

use super::client::OAuthClient;
use super::config::Dialect;
use super::error::OAuthError;
use super::http::EndpointResponse;
use super::redact::{Secrets, fit_to_show};
use super::refusal::Refusal;
use super::seconds::Seconds;
use super::signed_in::SignedIn;
use crate::claims::{ACCOUNT_ID, Claims, ENDPOINT, ID_TOKEN, lenient, within};
use crate::clock::Timestamp;
use crate::credential::OAuthTokens;
use crate::printable::is_short_printable;
use crate::secret::SecretString;

/// The lifetime of an access token if the server states none that makes sense.
pub(super) const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// The expected response of a token endpoint, for errors.
pub(super) const EXPECTED: &str = "JSON with one access token";

/// A successful response (RFC 6749, section 5.1), with the vendors' additions. It must have an access token; any other field
/// of an unexpected type counts as absent, since the grant is spent and the tokens are good.
pub(super) struct TokenResponse {
    access: AccessToken,
    refresh: Option<RefreshToken>,
    lifetime: Option<Duration>,
    id_token: Option<SecretString>,
    resource_url: Option<SecretString>,
    account: Option<Party>,
    organization: Option<Party>,
    auth_id: Option<String>,
}

/// The response in all its notations.
#[derive(Deserialize)]
struct Wire {
    #[serde(default, deserialize_with = "lenient")]
    access_token: Option<AccessToken>,
    #[serde(default, rename = "accessToken", deserialize_with = "lenient")]
    access_camel: Option<AccessToken>,
    #[serde(default, deserialize_with = "lenient")]
    refresh_token: Option<RefreshToken>,
    #[serde(default, rename = "refreshToken", deserialize_with = "lenient")]
    refresh_camel: Option<RefreshToken>,
    #[serde(default, deserialize_with = "lenient")]
    expires_in: Option<Seconds>,
    #[serde(default, rename = "expiresIn", deserialize_with = "lenient")]
    expires_camel: Option<Seconds>,
    #[serde(default, deserialize_with = "lenient")]
    id_token: Option<SecretString>,
    #[serde(default, deserialize_with = "lenient")]
    resource_url: Option<SecretString>,
    #[serde(default, deserialize_with = "lenient")]
    account: Option<Party>,
    #[serde(default, deserialize_with = "lenient")]
    organization: Option<Party>,
    #[serde(default, rename = "authId", deserialize_with = "lenient")]
    auth_id: Option<String>,
}

/// Who a token is for, at Anthropic.
#[derive(Deserialize)]
struct Party {
    uuid: String,
    #[serde(default, alias = "email")]
    email_address: Option<String>,
}

impl<'de> Deserialize<'de> for TokenResponse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let two = |_| serde::de::Error::custom("two tokens that differ");
        let access = one(wire.access_token, wire.access_camel, AccessToken::secret).map_err(two)?;
        Ok(Self {
            access: access.ok_or_else(|| serde::de::Error::missing_field("access_token"))?,
            refresh: one(wire.refresh_token, wire.refresh_camel, RefreshToken::secret).map_err(two)?,
            lifetime: wire.expires_in.or(wire.expires_camel).and_then(Seconds::duration),
            id_token: wire.id_token,
            resource_url: wire.resource_url.filter(|url| !url.is_empty()),
            account: wire.account,
            organization: wire.organization,
            auth_id: wire.auth_id,
        })
    }
}

/// Picks one of two members with the same meaning.
fn one<T>(a: Option<T>, b: Option<T>, text: fn(&T) -> &String) -> Result<Option<T>, TwoTokens> {
    let is_one = |token: &T| !text(token).is_empty();
    match (a.filter(is_one), b.filter(is_one)) {
        (Some(a), Some(b)) if text(&a) != text(&b) => Err(TwoTokens),
        (a, b) => Ok(a.or(b)),
    }
}

struct TwoTokens;

/// The `oauth2` crate requires this and never uses it, so it writes nothing secret.
impl Serialize for TokenResponse {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit_struct("TokenResponse")
    }
}

impl std::fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenResponse(…)")
    }
}

impl oauth2::TokenResponse for TokenResponse {
    type TokenType = BasicTokenType;

    fn access_token(&self) -> &AccessToken {
        &self.access
    }

    /// Every vendor's tokens are bearer tokens, and some vendors don't say so.
    fn token_type(&self) -> &BasicTokenType {
        static BEARER: BasicTokenType = BasicTokenType::Bearer;
        &BEARER
    }

    fn expires_in(&self) -> Option<Duration> {
        self.lifetime
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh.as_ref()
    }

    fn scopes(&self) -> Option<&Vec<Scope>> {
        None
    }
}

impl TokenResponse {
    /// Reads a response that may not be a success.
    pub(super) fn read(
        response: EndpointResponse,
        client: &OAuthClient,
        secrets: &Secrets,
    ) -> Result<Self, OAuthError> {
        let response = response.available()?;
        if let Some(refusal) = Refusal::read(&response) {
            return Err(refusal.into_error(client, secrets));
        }
        match response.read() {
            Some(tokens) if response.status.is_success() => Ok(tokens),
            _ => Err(response.unreadable(EXPECTED)),
        }
    }

    /// The tokens of a first grant, and their account.
    pub(super) fn signed_in(self, dialect: Dialect, now: Timestamp) -> SignedIn {
        let claims = self.id_token.as_ref().and_then(Claims::read).unwrap_or_default();
        let (account, label) = match dialect {
            Dialect::Anthropic => {
                let email = self.account.as_ref().and_then(|account| account.email_address.clone());
                let id = |party: &Option<Party>| party.as_ref().map(|party| party.uuid.clone());
                (within(id(&self.organization), id(&self.account)), email)
            }
            Dialect::OpenAi => (within(claims.workspace(), claims.sub), claims.email),
            Dialect::Cursor => {
                let subject = || Claims::read_text(self.access.secret()).and_then(|claims| claims.sub);
                (self.auth_id.clone().or_else(subject), None)
            }
            Dialect::Standard | Dialect::Qwen | Dialect::Copilot => (claims.sub, claims.email),
        };
        let tokens = self.tokens(dialect, now);
        let account = account.filter(|id| is_short_printable(id));
        SignedIn { tokens, account, label: label.as_deref().and_then(fit_to_show) }
    }

    /// The tokens of a client-credentials grant, which needs no refresh token (RFC 6749, section 4.4.3).
    pub(super) fn minted(self, old: &OAuthTokens, dialect: Dialect, now: Timestamp) -> OAuthTokens {
        let mut tokens = self.tokens(dialect, now);
        tokens.refresh = None;
        keep_extra(&mut tokens, old);
        tokens
    }

    /// The old tokens, with whatever this response renews.
    pub(super) fn renewed(self, old: &OAuthTokens, dialect: Dialect, now: Timestamp) -> OAuthTokens {
        let mut tokens = self.tokens(dialect, now);
        tokens.refresh = tokens.refresh.or_else(|| old.refresh.clone());
        keep_extra(&mut tokens, old);
        tokens
    }

    fn tokens(self, dialect: Dialect, now: Timestamp) -> OAuthTokens {
        let mut tokens = OAuthTokens::new(self.access.into_secret())
            .expires_at(now.after(self.lifetime.unwrap_or(LIFETIME)));
        tokens.refresh = self.refresh.map(|token| token.into_secret().into());
        match dialect {
            Dialect::Qwen => {
                tokens.extra.extend(self.resource_url.map(|url| (ENDPOINT.to_owned(), url)));
            }
            Dialect::OpenAi => {
                let workspace =
                    self.id_token.as_ref().and_then(Claims::read).and_then(|claims| claims.workspace());
                tokens.extra.extend(workspace.map(|id| (ACCOUNT_ID.to_owned(), id.into())));
                tokens.extra.extend(self.id_token.map(|token| (ID_TOKEN.to_owned(), token)));
            }
            _ => {}
        }
        tokens
    }
}

/// Keeps the old tokens' extra entries that the new ones don't have.
pub(super) fn keep_extra(tokens: &mut OAuthTokens, old: &OAuthTokens) {
    for (name, value) in old.extra.iter().filter(|(name, _)| *name != OAuthTokens::UNREAD_RESPONSE) {
        tokens.extra.entry(name.clone()).or_insert_with(|| value.clone());
    }
}
