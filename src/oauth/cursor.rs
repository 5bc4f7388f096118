//! Cursor: a link to open, a server to poll until somebody has signed in, and a refresh in JSON.

use std::time::Duration;

use http::{HeaderValue, Method, Request, StatusCode, header};
use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use super::client::OAuthClient;
use super::error::OAuthError;
use super::grant::NotRenewed;
use super::http::Received;
use super::progress::{Events, Progress};
use super::redact::Secrets;
use super::refusal::{LOGGED_OUT, refused};
use super::token_response::TokenResponse;
use crate::credential::OAuthTokens;
use crate::patience::within;

/// The interval between polls.
const INTERVAL: Duration = Duration::from_millis(1500);

/// How long the link may take. The server states no limit.
const LIFETIME: Duration = Duration::from_secs(10 * 60);

/// The identifiers that tie the server's response to a link.
pub(super) struct Ticket {
    uuid: Zeroizing<String>,
    verifier: Zeroizing<String>,
}

impl Ticket {
    pub(super) fn new() -> Self {
        // A random UUID (RFC 9562, section 5.4), made from a credential's id.
        let mut bytes = *crate::CredentialId::random().as_bytes();
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let digits = crate::CredentialId::from_bytes(bytes).to_string();
        let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
        let (_, verifier) = oauth2::PkceCodeChallenge::new_random_sha256();
        Self { uuid: parts.join("-").into(), verifier: verifier.into_secret().into() }
    }

    /// Adds the identifiers to a URL.
    pub(super) fn on(&self, mut url: Url) -> Url {
        let pairs = [("uuid", self.uuid.as_str()), ("verifier", self.verifier.as_str())];
        url.query_pairs_mut().extend_pairs(pairs);
        url
    }
}

/// Polls the server until somebody has opened the link and signed in.
pub(super) async fn poll(
    client: &OAuthClient,
    ticket: Ticket,
    events: Events,
) -> Result<TokenResponse, OAuthError> {
    let url = client.url("poll_url", client.config().poll_url.as_ref())?;
    let secrets = Secrets::new([ticket.uuid.as_str(), ticket.verifier.as_str()]);
    let uri: http::Uri =
        ticket.on(url).as_str().parse().map_err(|error| client.invalid("poll_url", error))?;
    let polling = async {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let mut request = Request::new(Vec::new());
            *request.method_mut() = Method::GET;
            *request.uri_mut() = uri.clone();
            let sent = client.http().send(request, &secrets).await;
            let read = match sent.and_then(|response| response.available()) {
                Ok(response)
                    if matches!(response.status, StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND) =>
                {
                    continue;
                }
                sent => sent.and_then(|response| TokenResponse::read(response, client, &secrets)),
            };
            match read {
                Err(error) if error.is_transient() => {
                    let _ = events.send(Progress::NotReached { reason: error.to_string() });
                }
                read => return read,
            }
        }
    };
    within(LIFETIME, polling).await.unwrap_or(Err(OAuthError::Expired))
}

/// Renews tokens.
pub(super) async fn refresh(
    client: &OAuthClient,
    tokens: &OAuthTokens,
    refresh: &str,
) -> Result<OAuthTokens, NotRenewed> {
    #[derive(Serialize)]
    struct Body<'a> {
        refresh_token: &'a str,
    }
    #[derive(Deserialize)]
    struct Verdict {
        #[serde(rename = "shouldLogout")]
        should_logout: bool,
    }
    let url = client.url("refresh_url", client.config().refresh_url.as_ref())?;
    let secrets = Secrets::new([refresh, tokens.access.expose()]);
    let body = serde_json::to_vec(&Body { refresh_token: refresh }).expect("text is written to memory");
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = url.as_str().parse().map_err(|error| client.invalid("refresh_url", error))?;
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert(header::CONTENT_TYPE, json);
    let now = client.now();
    let mut received = Received::default();
    let sent = client.http().send_keeping(request, &secrets, &mut received).await;
    let response = sent.map_err(|error| NotRenewed { error, received: received.into_secret() })?;
    let is_over = response.read().is_some_and(|verdict: Verdict| verdict.should_logout);
    if is_over && !response.status.is_server_error() {
        return Err(refused(client, &secrets, LOGGED_OUT, Some("the session has ended")).into());
    }
    let body = response.status.is_success().then(|| Received(response.body.clone()));
    match TokenResponse::read(response, client, &secrets) {
        Ok(response) => Ok(response.renewed(tokens, client.dialect(), now)),
        Err(error @ OAuthError::Malformed { .. }) => {
            Err(NotRenewed { error, received: body.and_then(Received::into_secret) })
        }
        Err(error) => Err(error.into()),
    }
}
