//! The standard's grants, made with the `oauth2` crate at servers that follow the standard more or less.

use std::borrow::Cow;
use std::time::Duration;

use oauth2::basic::{BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse};
use oauth2::{
    AuthType, AuthorizationCode, ClientId, ClientSecret, DeviceAuthorizationUrl, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, RefreshToken, Scope, StandardDeviceAuthorizationResponse,
    StandardRevocableToken, TokenUrl,
};
use serde::Deserialize;
use url::Url;
use zeroize::{Zeroize, Zeroizing};

use super::client::OAuthClient;
use super::config::{Dialect, TokenEncoding};
use super::endpoint::Endpoint;
use super::error::OAuthError;
use super::progress::Events;
use super::seconds::Seconds;
use super::token_response::TokenResponse;
use crate::claims::lenient;
use crate::credential::OAuthTokens;
use crate::patience::{Elapsed, within};
use crate::printable::is_short_printable;
use crate::secret::SecretString;

/// The longest wait before the next poll of a server that did not respond.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// The shortest wait before the next poll, whatever the server says.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// The lifetime of a device's code if the server doesn't state one.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// The longest lifetime of a device's code that the `oauth2` crate is given, since it adds it to a date.
const MAX_LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

type Standard = oauth2::Client<
    BasicErrorResponse,
    TokenResponse,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
>;

/// The codes and URLs of a device (RFC 8628, section 3.2).
pub(super) type DeviceDetails = StandardDeviceAuthorizationResponse;

/// The client in the `oauth2` crate's types. Its secret goes into the request's body, since more servers accept it there.
pub(super) fn standard(client: &OAuthClient) -> Result<Standard, OAuthError> {
    let standard = Standard::new(ClientId::new(client.client_id()?.to_owned()))
        .set_auth_type(AuthType::RequestBody);
    Ok(match client.client_secret() {
        Some(secret) => standard.set_client_secret(ClientSecret::new(secret.to_owned())),
        None => standard,
    })
}

pub(super) fn scopes(client: &OAuthClient) -> impl Iterator<Item = Scope> {
    client.config().scopes.iter().map(|scope| Scope::new(scope.clone()))
}

/// Exchanges an authorization code (RFC 6749, section 4.1.3; RFC 7636, section 4.5).
pub(super) async fn exchange_code(
    client: &OAuthClient,
    code: AuthorizationCode,
    verifier: PkceCodeVerifier,
    redirect: &RedirectUrl,
    state: &str,
) -> Result<TokenResponse, OAuthError> {
    let secrets = [code.secret(), verifier.secret(), state];
    let endpoint = Endpoint::new(client, client.token_url()?, secrets);
    let standard = standard(client)?.set_token_uri(TokenUrl::from_url(endpoint.url.clone()));
    let mut request = standard
        .exchange_code(code)
        .set_pkce_verifier(verifier)
        .set_redirect_uri(Cow::Borrowed(redirect));
    if client.dialect() == Dialect::Anthropic {
        request = request.add_extra_param("state", state);
    }
    request.request_async(&endpoint).await.map_err(|error| endpoint.failed(error))
}

/// Renews tokens (RFC 6749, section 6).
pub(super) async fn refresh(
    client: &OAuthClient,
    tokens: &OAuthTokens,
    refresh: &str,
) -> Result<OAuthTokens, NotRenewed> {
    let url = match client.config().refresh_url.as_ref() {
        Some(url) => client.url("refresh_url", Some(url))?,
        None => client.token_url()?,
    };
    let endpoint = Endpoint::new(client, url, [refresh, tokens.access.expose()]);
    let standard = standard(client)?.set_token_uri(TokenUrl::from_url(endpoint.url.clone()));
    let refresh = Wiped(Some(RefreshToken::new(refresh.to_owned())));
    let now = client.now();
    let response = standard.exchange_refresh_token(refresh.token()).request_async(&endpoint).await;
    match response.map_err(|error| endpoint.failed(error)) {
        Ok(response) => Ok(response.renewed(tokens, client.dialect(), now)),
        // A refusal has not spent the refresh token.
        Err(error @ (OAuthError::Refused { .. } | OAuthError::Unavailable { .. })) => Err(error.into()),
        Err(error) => Err(NotRenewed { error, received: endpoint.into_received() }),
    }
}

/// Why tokens were not renewed, and the response that could not be read, if there was one.
pub(super) struct NotRenewed {
    pub(super) error: OAuthError,
    pub(super) received: Option<SecretString>,
}

impl From<OAuthError> for NotRenewed {
    fn from(error: OAuthError) -> Self {
        Self { error, received: None }
    }
}

/// Asks for a device's code (RFC 8628, section 3.1).
pub(super) async fn device_details(
    client: &OAuthClient,
    challenge: Option<PkceCodeChallenge>,
) -> Result<DeviceDetails, OAuthError> {
    let url = client.url("device_url", client.config().device_url.as_ref())?;
    let mut endpoint = Endpoint::new(client, url, []);
    endpoint.encoding = TokenEncoding::Form;
    endpoint.expected = "JSON with a device code (RFC 8628, section 3.2)";
    endpoint.adapt = whole_seconds;
    let standard = standard(client)?
        .set_device_authorization_url(DeviceAuthorizationUrl::from_url(endpoint.url.clone()));
    let mut request = standard.exchange_device_code().add_scopes(scopes(client));
    if let Some(challenge) = challenge {
        let method = challenge.method().to_string();
        request = request
            .add_extra_param("code_challenge", challenge.as_str().to_owned())
            .add_extra_param("code_challenge_method", method);
    }
    let details: DeviceDetails =
        request.request_async(&endpoint).await.map_err(|error| endpoint.failed(error))?;
    // The code is printed, and the system opens the URL with whatever program handles its scheme.
    if is_web(details.verification_uri().url()) && is_short_printable(details.user_code().secret()) {
        Ok(details)
    } else {
        Err(endpoint.malformed())
    }
}

/// Whether a browser opens this URL.
pub(super) fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "https" | "http")
}

/// Polls for a device's tokens until somebody has typed its code in (RFC 8628, section 3.4).
pub(super) async fn device_tokens(
    client: &OAuthClient,
    details: &DeviceDetails,
    verifier: Option<PkceCodeVerifier>,
    events: Events,
) -> Result<TokenResponse, OAuthError> {
    let verifier = verifier.as_ref().map(PkceCodeVerifier::secret);
    let secrets = [details.device_code().secret(), details.user_code().secret()].map(String::as_str);
    let secrets = secrets.into_iter().chain(verifier.map(String::as_str));
    let mut endpoint = Endpoint::new(client, client.token_url()?, secrets);
    endpoint.events = Some(events);
    let standard = standard(client)?.set_token_uri(TokenUrl::from_url(endpoint.url.clone()));
    let sleep = |interval: Duration| tokio::time::sleep(interval.max(MIN_INTERVAL));
    let polling = async {
        // Nobody can have typed it in yet, and a server may penalize a poll that comes too soon.
        sleep(details.interval()).await;
        let mut request = standard.exchange_device_access_token(details);
        if let Some(verifier) = verifier {
            request = request.add_extra_param("code_verifier", verifier.as_str());
        }
        request
            .set_max_backoff_interval(details.interval().max(MAX_BACKOFF))
            .request_async(&endpoint, sleep, Some(details.expires_in().min(MAX_LIFETIME)))
            .await
            .map_err(|error| endpoint.failed(error))
    };
    // The limit is by tokio's clock. The crate also reads the wall clock, which goes on while a computer sleeps.
    match within(details.expires_in(), polling).await {
        Ok(Err(OAuthError::Refused { code, .. })) if code == "expired_token" => Err(OAuthError::Expired),
        Ok(response) => response,
        Err(Elapsed) => Err(OAuthError::Expired),
    }
}

/// Rewrites the times of a device's code as whole seconds, as the standard requires. An unusable interval is removed,
/// which makes it five seconds (RFC 8628, section 3.2); an unusable lifetime becomes the default one.
fn whole_seconds(members: Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
    #[derive(Deserialize)]
    struct Times {
        #[serde(default, deserialize_with = "lenient")]
        expires_in: Option<Seconds>,
        #[serde(default, deserialize_with = "lenient")]
        interval: Option<Seconds>,
    }
    let (Ok(mut details), Ok(times)) = (
        serde_json::from_slice::<serde_json::Map<_, _>>(&members),
        serde_json::from_slice::<Times>(&members),
    ) else {
        return members;
    };
    let lifetime = times.expires_in.and_then(Seconds::clamped).unwrap_or(DEFAULT_LIFETIME);
    let interval = times.interval.and_then(Seconds::or_zero).filter(|interval| *interval <= lifetime);
    // Rounded so that the code ends a bit too soon, and is polled for a bit too late.
    details.insert("expires_in".to_owned(), lifetime.as_secs().max(1).into());
    match interval {
        Some(interval) => details.insert(
            "interval".to_owned(),
            (interval + Duration::from_nanos(999_999_999)).as_secs().into(),
        ),
        None => details.remove("interval"),
    };
    // Allocated once: a buffer that grows leaves copies behind.
    let mut whole = Zeroizing::new(Vec::with_capacity(members.len() + 128));
    serde_json::to_writer(&mut *whole, &details).expect("text is written to memory");
    for value in details.values_mut() {
        if let serde_json::Value::String(text) = value {
            text.zeroize();
        }
    }
    whole
}

/// A refresh token of the `oauth2` crate, wiped when dropped.
struct Wiped(Option<RefreshToken>);

impl Wiped {
    fn token(&self) -> &RefreshToken {
        self.0.as_ref().expect("only drop takes it")
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        if let Some(token) = self.0.take() {
            token.into_secret().zeroize();
        }
    }
}
