//! The standard's grants, by the `oauth2` crate, at servers that keep to the standard more or less.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use http::{HeaderValue, Request, StatusCode, header};
use oauth2::basic::{BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse};
use oauth2::{
    AsyncHttpClient, AuthType, AuthorizationCode, ClientId, ClientSecret, DeviceAuthorizationUrl,
    ErrorResponseType, HttpRequest, HttpResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl,
    RefreshToken, RequestTokenError, Scope, StandardDeviceAuthorizationResponse, StandardErrorResponse,
    StandardRevocableToken, TokenUrl,
};
use serde::Serializer;
use serde_json::json;
use url::{Url, form_urlencoded};
use zeroize::{Zeroize, Zeroizing};

use super::answer::{Refusal, TokenAnswer, refused};
use super::client::OAuthClient;
use super::config::{Dialect, TokenEncoding};
use super::error::OAuthError;
use super::redact::Secrets;
use super::sign_in::{Events, Progress};
use crate::credential::OAuthTokens;
use crate::patience::{Elapsed, within};
use crate::plain::is_plain;

/// The longest that a device waits before it asks a server again that did not answer.
const MOST_BACKOFF: Duration = Duration::from_secs(60);

/// The shortest that a device waits before it asks again, whatever the server says.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);

/// The longest lifetime of a device's code that is told to the `oauth2` crate, which adds it to a date.
const MOST_LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

type Standard = oauth2::Client<
    BasicErrorResponse,
    TokenAnswer,
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
) -> Result<TokenAnswer, OAuthError> {
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
) -> Result<OAuthTokens, OAuthError> {
    let url = match client.config().refresh_url.as_ref() {
        Some(url) => client.url("refresh_url", Some(url))?,
        None => client.token_url()?,
    };
    let endpoint = Endpoint::new(client, url, [refresh, tokens.access.expose()]);
    let standard = standard(client)?.set_token_uri(TokenUrl::from_url(endpoint.url.clone()));
    let refresh = Wiped(Some(RefreshToken::new(refresh.to_owned())));
    let now = client.now();
    let answer = standard
        .exchange_refresh_token(refresh.token())
        .request_async(&endpoint)
        .await
        .map_err(|error| endpoint.failed(error))?;
    Ok(answer.renewed(tokens, client.dialect(), now))
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
) -> Result<TokenAnswer, OAuthError> {
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

/// An endpoint of a vendor's, made to speak as the `oauth2` crate expects it.
struct Endpoint<'a> {
    client: &'a OAuthClient,
    url: Url,
    encoding: TokenEncoding,
    secrets: Secrets,
    expected: &'static str,
    events: Option<Events>,
    /// Of the last answer.
    status: AtomicU16,
}

impl<'a> Endpoint<'a> {
    fn new<'s>(client: &'a OAuthClient, url: Url, secrets: impl IntoIterator<Item = &'s str>) -> Self {
        Self {
            client,
            url,
            encoding: client.config().token_encoding,
            secrets: client.client_secret().into_iter().fold(Secrets::new(secrets), Secrets::and),
            expected: "JSON with an access token",
            events: None,
            status: AtomicU16::new(0),
        }
    }

    /// Sends a request in the encoding that the server takes. The answer is put as the standard has it:
    /// an error is one whatever its status (GitHub's is 200), and has its code in `error` (OpenAI's is an
    /// object's).
    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, OAuthError> {
        let request = match self.encoding {
            TokenEncoding::Form => request,
            TokenEncoding::Json => in_json(request),
        };
        let answer = self.client.http().send(request, &self.secrets).await?.available()?;
        self.status.store(answer.status.as_u16(), Ordering::Relaxed);
        let (status, body) = match Refusal::read(&answer.body).map(Refusal::into_parts) {
            Some((code, words)) => {
                if code == "slow_down" {
                    self.emit(Progress::SlowedDown);
                }
                let body = json!({ "error": code, "error_description": words });
                (StatusCode::BAD_REQUEST, body.to_string().into_bytes())
            }
            None if answer.status.is_success() => (StatusCode::OK, answer.body.to_vec()),
            None => (answer.status, Vec::new()),
        };
        // Without its headers: some servers call their JSON text.
        let mut response = HttpResponse::new(body);
        *response.status_mut() = status;
        Ok(response)
    }

    fn emit(&self, progress: Progress) {
        if let Some(events) = &self.events {
            let _ = events.send(progress);
        }
    }

    fn failed<E>(&self, error: RequestTokenError<OAuthError, StandardErrorResponse<E>>) -> OAuthError
    where
        E: ErrorResponseType + std::fmt::Display + 'static,
    {
        match error {
            RequestTokenError::Request(error) => error,
            RequestTokenError::ServerResponse(answer) => {
                let description = answer.error_description().map(String::as_str);
                refused(self.client, &self.secrets, &answer.error().to_string(), description)
            }
            // What the crate says of it may quote it.
            RequestTokenError::Parse(_, mut body) => {
                body.zeroize();
                self.malformed()
            }
            RequestTokenError::Other(_) => self.malformed(),
        }
    }

    fn malformed(&self) -> OAuthError {
        let status = StatusCode::from_u16(self.status.load(Ordering::Relaxed));
        let mut url = self.url.clone();
        url.set_query(None);
        OAuthError::Malformed {
            url: url.into(),
            status: status.unwrap_or_default(),
            expected: self.expected,
        }
    }
}

impl<'c> AsyncHttpClient<'c> for Endpoint<'_> {
    type Error = OAuthError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, OAuthError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let answer = self.exchange(request).await;
            if let Err(error) = &answer {
                self.emit(Progress::NotReached { reason: error.to_string() });
            }
            answer
        })
    }
}

/// A form as a JSON object with the same members.
fn in_json(request: HttpRequest) -> HttpRequest {
    let (mut parts, form) = request.into_parts();
    let form = Zeroizing::new(form);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Room for all of it at once: a growing buffer leaves copies behind.
    let mut body = Vec::with_capacity(2 * form.len() + 64);
    serde_json::Serializer::new(&mut body)
        .collect_map(form_urlencoded::parse(&form))
        .expect("text is written to memory");
    Request::from_parts(parts, body)
}
