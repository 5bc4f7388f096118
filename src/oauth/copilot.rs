//! GitHub Copilot: GitHub's token is exchanged for a short-lived one.

use std::time::Duration;

use http::{HeaderValue, Method, Request, StatusCode, header};
use serde::Deserialize;

use super::client::OAuthClient;
use super::error::OAuthError;
use super::grant::{self, NotRenewed};
use super::http::EndpointResponse;
use super::redact::Secrets;
use super::refusal::refused;
use super::seconds::Seconds;
use super::token_response::{LIFETIME, keep_extra};
use crate::claims::{ENDPOINT, lenient};
use crate::clock::Timestamp;
use crate::credential::OAuthTokens;
use crate::secret::SecretString;

/// What the exchange answers.
#[derive(Deserialize)]
struct Exchanged {
    token: SecretString,
    /// Seconds since the Unix epoch, by GitHub's clock.
    #[serde(default, deserialize_with = "lenient")]
    expires_at: Option<Seconds>,
    /// How long until it is to be renewed.
    #[serde(default, deserialize_with = "lenient")]
    refresh_in: Option<Seconds>,
    #[serde(default, deserialize_with = "lenient")]
    endpoints: Option<Endpoints>,
}

impl Exchanged {
    /// How long the token lives. By a clock that is wrong, one that came a moment ago has expired, or lives for years.
    fn lifetime(&self, now: Timestamp) -> Duration {
        let left = self.expires_at.and_then(|at| at.moment()).map(|at| at.since(now));
        let left = left.filter(|left| !left.is_zero() && *left <= LONGEST);
        left.or_else(|| self.refresh_in.and_then(Seconds::duration)).unwrap_or(LIFETIME)
    }
}

#[derive(Deserialize)]
struct Endpoints {
    #[serde(default, deserialize_with = "lenient")]
    api: Option<SecretString>,
}

/// The longest life of such a token that is believed. They live for half an hour.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// How GitHub words what it does not do.
#[derive(Deserialize)]
struct Told {
    message: String,
}

/// The code of a refusal by the exchange of a token that is no longer good.
pub(super) const NOT_GOOD: &str = "bad_credentials";

/// The code of its refusal of a token that it exchanges for nobody.
pub(super) const NOT_EXCHANGED: &str = "token_not_exchanged";

/// Exchanges GitHub's token, which becomes the refresh token.
pub(super) async fn exchange(
    client: &OAuthClient,
    github: &SecretString,
) -> Result<OAuthTokens, OAuthError> {
    let url = client.config().exchange_url.as_ref();
    let secrets = Secrets::new([github.expose()]);
    let answer = get(client, ("exchange_url", url), github, &secrets).await?.available()?;
    if answer.is_a_page() {
        // Not GitHub's, whatever its status.
        return Err(answer.unreadable("JSON"));
    }
    match answer.status {
        StatusCode::UNAUTHORIZED => {
            let words = "GitHub's token is no longer good";
            return Err(refused(client, &secrets, NOT_GOOD, Some(words)));
        }
        StatusCode::NOT_FOUND => {
            let words = "GitHub exchanges the tokens of GitHub Apps, not of OAuth Apps, and of accounts that \
                         have Copilot";
            return Err(refused(client, &secrets, NOT_EXCHANGED, Some(words)));
        }
        status if status.is_client_error() => {
            // A policy of the account's organization, say, which GitHub's own words tell best.
            if let Some(Told { message }) = answer.read() {
                return Err(refused(client, &secrets, status.as_str(), Some(&message)));
            }
        }
        _ => {}
    }
    let exchanged = match answer.read::<Exchanged>() {
        Some(exchanged) if answer.status.is_success() && !exchanged.token.is_empty() => exchanged,
        _ => return Err(answer.unreadable("JSON with a token and its expires_at")),
    };
    let lifetime = exchanged.lifetime(client.now());
    let mut tokens = OAuthTokens::new(exchanged.token)
        .refresh(github.clone())
        .expires_at(client.now().after(lifetime));
    let api = exchanged.endpoints.and_then(|endpoints| endpoints.api);
    tokens.extra.extend(api.map(|api| (ENDPOINT.to_owned(), api)));
    Ok(tokens)
}

/// The entry of [`OAuthTokens::extra`] that has the refresh token of GitHub's token, where that expires.
pub(super) const GITHUB_REFRESH: &str = "github_refresh_token";

/// Keeps what GitHub's own token can be renewed with. Tokens of GitHub Apps expire unless the app is set up
/// otherwise.
pub(super) fn keep_github_refresh(tokens: &mut OAuthTokens, refresh: Option<SecretString>) {
    tokens.extra.extend(refresh.map(|refresh| (GITHUB_REFRESH.to_owned(), refresh)));
}

/// Exchanges GitHub's token anew; renews that first where it has expired.
pub(super) async fn renew(
    client: &OAuthClient,
    tokens: &OAuthTokens,
    github: &SecretString,
) -> Result<OAuthTokens, NotRenewed> {
    let refresh = tokens.extra.get(GITHUB_REFRESH);
    let mut renewed = match (exchange(client, github).await, refresh) {
        (Err(OAuthError::Refused { code, .. }), Some(refresh)) if code == NOT_GOOD => {
            let old = OAuthTokens::new(github.clone()).refresh(refresh.clone());
            let github = grant::refresh(client, &old, refresh.expose()).await?;
            let mut renewed = match exchange(client, &github.access).await {
                Err(OAuthError::Refused { provider, code, description })
                    if code == NOT_GOOD || code == NOT_EXCHANGED =>
                {
                    return Err(OAuthError::Refused { provider, code, description }.into());
                }
                // The old ones are spent, so the new ones must be saved. The exchange is made before the next
                // request is sent.
                Err(_) => OAuthTokens::new(tokens.access.clone())
                    .refresh(github.access)
                    .expires_at(Timestamp::default()),
                Ok(exchanged) => exchanged,
            };
            keep_github_refresh(&mut renewed, github.refresh);
            renewed
        }
        (exchanged, _) => exchanged?,
    };
    keep_extra(&mut renewed, tokens);
    Ok(renewed)
}

/// Whose GitHub's token is, where that can be found out: an id for life, and what people know it by.
pub(super) async fn whose(
    client: &OAuthClient,
    github: &SecretString,
) -> Result<(Option<String>, Option<String>), OAuthError> {
    #[derive(Deserialize)]
    struct User {
        id: u64,
        #[serde(default)]
        login: Option<String>,
    }
    let url = client.config().account_url.as_ref();
    if url.is_none() {
        return Ok((None, None));
    }
    let secrets = Secrets::new([github.expose()]);
    let answer = get(client, ("account_url", url), github, &secrets).await?;
    match answer.read::<User>() {
        Some(user) if answer.status.is_success() => Ok((Some(user.id.to_string()), user.login)),
        _ => Err(answer.unreadable("JSON with an account's id")),
    }
}

/// Asks, as GitHub's token, at the URL of this setting.
async fn get(
    client: &OAuthClient,
    (setting, url): (&'static str, Option<&String>),
    github: &SecretString,
    secrets: &Secrets,
) -> Result<EndpointResponse, OAuthError> {
    let url = client.url(setting, url)?;
    let mut value = HeaderValue::try_from(format!("token {}", github.expose()))
        .map_err(|_| refused(client, secrets, NOT_GOOD, Some("GitHub's token fits in no header")))?;
    value.set_sensitive(true);
    let mut request = Request::new(Vec::new());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = url.as_str().parse().map_err(|error| client.invalid(setting, error))?;
    request.headers_mut().insert(header::AUTHORIZATION, value);
    client.http().send(request, secrets).await
}
