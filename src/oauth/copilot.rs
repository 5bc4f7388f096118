//! GitHub Copilot: GitHub's token is exchanged for a short-lived one.

use std::time::Duration;

use http::{HeaderValue, Method, Request, StatusCode, header};
use serde::Deserialize;

use super::client::OAuthClient;
use super::config::GITHUB_REFRESH;
use super::error::OAuthError;
use super::grant::{self, NotRenewed};
use super::http::EndpointResponse;
use super::redact::Secrets;
use super::refusal::{NOT_EXCHANGED, NOT_GOOD, refused};
use super::seconds::Seconds;
use super::token_response::{LIFETIME, keep_extra};
use crate::claims::{ENDPOINT, lenient};
use crate::clock::Timestamp;
use crate::credential::OAuthTokens;
use crate::secret::SecretString;

/// The response of the exchange.
#[derive(Deserialize)]
struct Exchanged {
    token: SecretString,
    /// Seconds since the Unix epoch, by GitHub's clock.
    #[serde(default, deserialize_with = "lenient")]
    expires_at: Option<Seconds>,
    /// How long until it should be renewed.
    #[serde(default, deserialize_with = "lenient")]
    refresh_in: Option<Seconds>,
    #[serde(default, deserialize_with = "lenient")]
    endpoints: Option<Endpoints>,
}

impl Exchanged {
    /// How long the token lives. If our clock is wrong, `expires_at` may lie in the past or years ahead; then
    /// `refresh_in` counts.
    fn lifetime(&self, now: Timestamp) -> Duration {
        let left = self.expires_at.and_then(|at| at.since_epoch()).map(|at| at.since(now));
        let left = left.filter(|left| !left.is_zero() && *left <= LONGEST);
        left.or_else(|| self.refresh_in.and_then(Seconds::duration)).unwrap_or(LIFETIME)
    }
}

#[derive(Deserialize)]
struct Endpoints {
    #[serde(default, deserialize_with = "lenient")]
    api: Option<SecretString>,
}

/// The longest lifetime that is believed. Such tokens live for half an hour.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// An error of GitHub's API.
#[derive(Deserialize)]
struct ApiError {
    message: String,
}

/// Exchanges GitHub's token, which becomes the refresh token.
pub(super) async fn exchange(
    client: &OAuthClient,
    github: &SecretString,
) -> Result<OAuthTokens, OAuthError> {
    let url = client.config().exchange_url.as_ref();
    let secrets = Secrets::new([github.expose()]);
    let response = get(client, ("exchange_url", url), github, &secrets).await?.available()?;
    if response.is_page() {
        // It isn't GitHub's, whatever its status.
        return Err(response.unreadable("JSON"));
    }
    match response.status {
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
            // A policy of the account's organization, for example. GitHub's own words explain it best.
            if let Some(ApiError { message }) = response.read() {
                return Err(refused(client, &secrets, status.as_str(), Some(&message)));
            }
        }
        _ => {}
    }
    let exchanged = match response.read::<Exchanged>() {
        Some(exchanged) if response.status.is_success() && !exchanged.token.is_empty() => exchanged,
        _ => return Err(response.unreadable("JSON with a token and its expires_at")),
    };
    let lifetime = exchanged.lifetime(client.now());
    let mut tokens = OAuthTokens::new(exchanged.token)
        .refresh(github.clone())
        .expires_at(client.now().after(lifetime));
    let api = exchanged.endpoints.and_then(|endpoints| endpoints.api);
    tokens.extra.extend(api.map(|api| (ENDPOINT.to_owned(), api)));
    Ok(tokens)
}

/// Keeps the refresh token of GitHub's own token. Tokens of GitHub Apps expire unless the app is configured otherwise.
pub(super) fn keep_github_refresh(tokens: &mut OAuthTokens, refresh: Option<SecretString>) {
    tokens.extra.extend(refresh.map(|refresh| (GITHUB_REFRESH.to_owned(), refresh)));
}

/// Exchanges GitHub's token again. If that has expired, it is renewed first.
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
                // The old tokens are spent, so the new ones must be saved. They count as expired, so the exchange is
                // tried again before the next request is sent.
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

/// The account of GitHub's token, if GitHub says: an id that never changes, and the login that people know.
pub(super) async fn account_of(
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
    let response = get(client, ("account_url", url), github, &secrets).await?;
    match response.read::<User>() {
        Some(user) if response.status.is_success() => Ok((Some(user.id.to_string()), user.login)),
        _ => Err(response.unreadable("JSON with an account's id")),
    }
}

/// Sends a request with GitHub's token to the URL of this setting.
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
