//! A code that a person types in on another device (RFC 8628).

use std::time::Duration;

use oauth2::PkceCodeChallenge;
use url::Url;

use super::flow::{Begun, Prompt, flow};
use crate::credential::OAuthTokens;
use crate::oauth::client::OAuthClient;
use crate::oauth::config::Dialect;
use crate::oauth::error::OAuthError;
use crate::oauth::progress::{Events, Progress};
use crate::oauth::redact::fit_to_show;
use crate::oauth::signed_in::SignedIn;
use crate::oauth::{copilot, grant};

/// How often Copilot's exchange is tried before the person has to sign in again.
const TRIES: u32 = 4;

/// The first wait between two tries.
const BACKOFF: Duration = Duration::from_secs(1);

pub(super) async fn begin(client: &OAuthClient, events: Events) -> Result<Begun, OAuthError> {
    // Checked before a person is sent away in vain.
    client.token_url()?;
    let (challenge, verifier) = match client.dialect() {
        Dialect::Qwen => {
            let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
            (Some(challenge), Some(verifier))
        }
        _ => (None, None),
    };
    let details = grant::device_details(client, challenge).await?;
    let prompt = Prompt::Device {
        user_code: details.user_code().secret().clone(),
        verification_url: details.verification_uri().url().to_string(),
        verification_url_complete: details
            .verification_uri_complete()
            .and_then(|complete| Url::parse(complete.secret()).ok())
            .filter(grant::is_web)
            .map(String::from),
        expires_in: details.expires_in(),
    };
    let client = client.clone();
    let running = async move {
        let response = grant::device_tokens(&client, &details, verifier, events.clone()).await?;
        if client.dialect() == Dialect::Copilot {
            let github = response.signed_in(client.dialect(), client.now()).tokens;
            return copilot(&client, github, &events).await;
        }
        Ok(response.signed_in(client.dialect(), client.now()))
    };
    Ok((prompt, flow(running), None))
}

async fn copilot(
    client: &OAuthClient,
    github: OAuthTokens,
    events: &Events,
) -> Result<SignedIn, OAuthError> {
    let _ = events.send(Progress::Exchanging);
    let mut backoff = BACKOFF;
    let mut tries = 0;
    let mut tokens = loop {
        tries += 1;
        match copilot::exchange(client, &github.access).await {
            Err(error) if error.is_transient() && tries < TRIES => {
                let _ = events.send(Progress::NotReached { reason: error.to_string() });
                tokio::time::sleep(backoff).await;
                backoff *= 2;
            }
            exchanged => break exchanged?,
        }
    };
    copilot::keep_github_refresh(&mut tokens, github.refresh);
    // Useful, but no reason to fail.
    let (account, label) = copilot::account_of(client, &github.access).await.unwrap_or_default();
    Ok(SignedIn { tokens, account, label: label.as_deref().and_then(fit_to_show) })
}
