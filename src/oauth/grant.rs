//! The standard's grants, by the `oauth2` crate, at servers that keep to the standard more or less.

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
use super::seconds::Seconds;
use super::sign_in::Events;
use super::token_response::TokenResponse;
use crate::claims::lenient;
use crate::credential::OAuthTokens;
use crate::patience::{Elapsed, within};
use crate::printable::is_plain;
use crate::secret::SecretString;

/// The longest that a device waits before it asks a server again that did not answer.
const MOST_BACKOFF: Duration = Duration::from_secs(60);

/// The shortest that a device waits before it asks again, whatever the server says.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);

/// How long a device's code works of which the server doesn't say.
const USUAL_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// The longest lifetime of a device's code that is told to the `oauth2` crate, which adds it to a date.
const MOST_LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

type Standard = oauth2::Client<
    BasicErrorResponse,
    TokenResponse,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
>;

/// What a device shows, and keeps (RFC 8628, section 3.2).
pub(super) type DeviceDetails = StandardDeviceAuthorizationResponse;

/// The client as the `oauth2` crate has it. Its secret goes into the request's body, since more servers
/// take it there.
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
    let answer = standard.exchange_refresh_token(refresh.token()).request_async(&endpoint).await;
    match answer.map_err(|error| endpoint.failed(error)) {
        Ok(answer) => Ok(answer.renewed(tokens, client.dialect(), now)),
        // A no has cost nothing.
        Err(error @ (OAuthError::Refused { .. } | OAuthError::Unavailable { .. })) => Err(error.into()),
        Err(error) => Err(NotRenewed { error, received: endpoint.into_received() }),
    }
}

/// Why tokens were not renewed, and what has come that could not be read.
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
    // They are printed, and opened by whatever the system opens such a URL with.
    if is_web(details.verification_uri().url()) && is_plain(details.user_code().secret()) {
        Ok(details)
    } else {
        Err(endpoint.malformed())
    }
}

/// Whether a browser is what opens this URL.
pub(super) fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "https" | "http")
}

/// Asks for a device's tokens until somebody has typed its code in (RFC 8628, section 3.4).
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
    let sleep = |interval: Duration| tokio::time::sleep(interval.max(LEAST_INTERVAL));
    let polling = async {
        // Nobody has typed it in yet, and a server may count a question that comes too soon.
        sleep(details.interval()).await;
        let mut request = standard.exchange_device_access_token(details);
        if let Some(verifier) = verifier {
            request = request.add_extra_param("code_verifier", verifier.as_str());
        }
        request
            .set_max_backoff_interval(details.interval().max(MOST_BACKOFF))
            .request_async(&endpoint, sleep, Some(details.expires_in().min(MOST_LIFETIME)))
            .await
            .map_err(|error| endpoint.failed(error))
    };
    // By tokio's clock. The crate reads the wall clock beside it, which goes on while a computer sleeps.
    match within(details.expires_in(), polling).await {
        Ok(Err(OAuthError::Refused { code, .. })) if code == "expired_token" => Err(OAuthError::Expired),
        Ok(answer) => answer,
        Err(Elapsed) => Err(OAuthError::Expired),
    }
}

/// A device's code as the standard has it: whole numbers of seconds, whatever the server has written. A pause that is
/// no use counts as none, so that it is five seconds (RFC 8628, section 3.2), and a lifetime as a usual one.
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
    let lifetime = times.expires_in.and_then(Seconds::at_most).unwrap_or(USUAL_LIFETIME);
    let pause = times.interval.and_then(Seconds::pause).filter(|pause| *pause <= lifetime);
    // In doubt, it ends a bit too soon, and is asked for a bit too late.
    details.insert("expires_in".to_owned(), lifetime.as_secs().max(1).into());
    match pause {
        Some(pause) => details
            .insert("interval".to_owned(), (pause + Duration::from_nanos(999_999_999)).as_secs().into()),
        None => details.remove("interval"),
    };
    // Room for all of it at once: a growing buffer leaves copies behind.
    let mut whole = Zeroizing::new(Vec::with_capacity(members.len() + 128));
    serde_json::to_writer(&mut *whole, &details).expect("text is written to memory");
    for value in details.values_mut() {
        if let serde_json::Value::String(text) = value {
            text.zeroize();
        }
    }
    whole
}

/// A refresh token of the `oauth2` crate's, wiped when dropped.
struct Wiped(Option<RefreshToken>);

impl Wiped {
    fn token(&self) -> &RefreshToken {
        self.0.as_ref().expect("it is taken only by drop")
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        if let Some(token) = self.0.take() {
            token.into_secret().zeroize();
        }
    }
}
