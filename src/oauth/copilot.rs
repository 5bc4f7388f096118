//! GitHub Copilot: GitHub's token is exchanged for a short-lived one.

use http::{HeaderValue, Method, Request, StatusCode, header};
use serde::Deserialize;

use super::answer::{keep_extra, refused};
use super::client::OAuthClient;
use super::error::OAuthError;
use super::grant;
use super::http::Answer;
use super::redact::Secrets;
use crate::account::ENDPOINT;
use crate::clock::Timestamp;
use crate::credential::OAuthTokens;
use crate::secret::SecretString;

/// What the exchange answers.
#[derive(Deserialize)]
struct Exchanged {
    token: SecretString,
    /// Seconds since the Unix epoch.
    expires_at: u64,
    #[serde(default)]
    endpoints: Option<Endpoints>,
}

#[derive(Deserialize)]
struct Endpoints {
    #[serde(default)]
    api: Option<SecretString>,
}

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
            if let Ok(Told { message }) = serde_json::from_slice(&answer.body) {
                return Err(refused(client, &secrets, status.as_str(), Some(&message)));
            }
        }
        _ => {}
    }
    let exchanged = match serde_json::from_slice::<Exchanged>(&answer.body) {
        Ok(exchanged) if answer.status.is_success() && !exchanged.token.is_empty() => exchanged,
        _ => return Err(answer.malformed("JSON with a token and its expires_at")),
    };
    let mut tokens = OAuthTokens::new(exchanged.token)
        .refresh(github.clone())
        .expires_at(Timestamp::from_millis(exchanged.expires_at.saturating_mul(1000)));
    let api = exchanged.endpoints.and_then(|endpoints| endpoints.api);
    tokens.extra.extend(api.map(|api| (ENDPOINT.to_owned(), api)));
    Ok(tokens)
}

/// The entry of [`OAuthTokens::extra`] that has the refresh token of GitHub's token, where that expires.
const GITHUB_REFRESH: &str = "github_refresh_token";

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
) -> Result<OAuthTokens, OAuthError> {
    let refresh = tokens.extra.get(GITHUB_REFRESH);
    let mut renewed = match (exchange(client, github).await, refresh) {
        (Err(OAuthError::Refused { code, .. }), Some(refresh)) if code == NOT_GOOD => {
            let old = OAuthTokens::new(github.clone()).refresh(refresh.clone());
            let github = grant::refresh(client, &old, refresh.expose()).await?;
            let mut renewed = match exchange(client, &github.access).await {
                Err(OAuthError::Refused { provider, code, description })
                    if code == NOT_GOOD || code == NOT_EXCHANGED =>
                {
                    return Err(OAuthError::Refused { provider, code, description });
                }
                // The old ones are spent, so the new ones must be saved. The exchange is made when the API's
                // token is refused once more.
                Err(_) => OAuthTokens::new(tokens.access.clone())
                    .refresh(github.access)
                    .expires_at(client.now()),
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
    match serde_json::from_slice::<User>(&answer.body) {
        Ok(user) if answer.status.is_success() => Ok((Some(user.id.to_string()), user.login)),
        _ => Err(answer.malformed("JSON with an account's id")),
    }
}

/// Asks, as GitHub's token, at the URL of this setting.
async fn get(
    client: &OAuthClient,
    (setting, url): (&'static str, Option<&String>),
    github: &SecretString,
    secrets: &Secrets,
) -> Result<Answer, OAuthError> {
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
