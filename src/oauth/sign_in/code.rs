//! The authorization code (RFC 6749, section 4.1) with PKCE (RFC 7636): a browser brings it to a loopback address, or a
//! person pastes it.

use http::HeaderValue;
use oauth2::{AuthUrl, AuthorizationCode, CsrfToken, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl};
use tokio::sync::mpsc;

use super::flow::{Begun, End, Prompt};
use super::listen::{self, Listeners};
use super::loopback::{Loopback, reply_all};
use super::page::Page;
use super::paste::Paste;
use super::visit::{Event, Reply};
use crate::oauth::client::OAuthClient;
use crate::oauth::error::OAuthError;
use crate::oauth::grant;
use crate::oauth::progress::{Events, Progress};
use crate::oauth::redact::Secrets;
use crate::oauth::refusal::refused;
use crate::oauth::signed_in::SignedIn;

/// One authorization request, and the secrets that tie its code to this sign-in.
struct Attempt {
    client: OAuthClient,
    redirect: RedirectUrl,
    state: CsrfToken,
    verifier: PkceCodeVerifier,
    events: Events,
}

pub(super) async fn by_loopback(client: &OAuthClient, events: Events) -> Result<Begun, OAuthError> {
    let target = listen::target(client, redirect_uri(client)?)?;
    let listeners = Listeners::bind(client, &target).await?;
    let (attempt, vendor) = Attempt::new(client, target.with_port(listeners.port), events)?;
    let leads_to =
        HeaderValue::from_str(&vendor).map_err(|error| client.invalid("authorize_url", error))?;
    let server = Loopback::new(listeners, &target, leads_to, &attempt.state);
    let (paste, pasted) = Paste::new(&attempt.state);
    let prompt = Prompt::Browser { url: server.start(&target), elsewhere: Some(vendor) };
    Ok((prompt, Box::pin(attempt.run(Some(server), pasted)), Some(paste)))
}

pub(super) fn by_paste(client: &OAuthClient, events: Events) -> Result<Begun, OAuthError> {
    let (attempt, url) = Attempt::new(client, redirect_uri(client)?.to_owned(), events)?;
    let (paste, pasted) = Paste::new(&attempt.state);
    Ok((Prompt::Paste { url }, Box::pin(attempt.run(None, pasted)), Some(paste)))
}

fn redirect_uri(client: &OAuthClient) -> Result<&str, OAuthError> {
    client.config().redirect_uri.as_deref().ok_or_else(|| client.missing("redirect_uri"))
}

impl Attempt {
    /// Makes an attempt, and the URL of the page where it begins (RFC 6749, section 4.1.1).
    fn new(
        client: &OAuthClient,
        redirect: String,
        events: Events,
    ) -> Result<(Self, String), OAuthError> {
        let config = client.config();
        let page = client.url("authorize_url", config.authorize_url.as_ref())?;
        // Checked before a person is sent there in vain.
        client.token_url()?;
        let redirect =
            RedirectUrl::new(redirect).map_err(|error| client.invalid("redirect_uri", error))?;
        if redirect.url().port() == Some(0) {
            // Nothing listens here, so there is no port to fill in.
            return Err(
                client.invalid("redirect_uri", "a pasted code needs the port that is registered")
            );
        }
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let standard = grant::standard(client)?
            .set_auth_uri(AuthUrl::from_url(page))
            .set_redirect_uri(redirect.clone());
        let mut request = standard
            .authorize_url(CsrfToken::new_random)
            .add_scopes(grant::scopes(client))
            .set_pkce_challenge(challenge);
        for (name, value) in &config.authorize_params {
            request = request.add_extra_param(name, value);
        }
        let (url, state) = request.url();
        Ok((Self { client: client.clone(), redirect, state, verifier, events }, url.into()))
    }

    async fn run(
        self,
        mut server: Option<Loopback>,
        mut pasted: mpsc::Receiver<AuthorizationCode>,
    ) -> End {
        let mut replies = Vec::new();
        let code = loop {
            tokio::select! {
                Some(code) = pasted.recv() => break Ok(code),
                event = next(&mut server) => match event {
                    Event::Ignored(reason) => {
                        let _ = self.events.send(Progress::Ignored { reason });
                    }
                    Event::Code(code, reply) => {
                        replies.push(reply);
                        break Ok(code);
                    }
                    Event::Error(error, description, reply) => {
                        replies.push(reply);
                        let secrets = Secrets::new([self.state.secret().as_str()]);
                        break Err(refused(&self.client, &secrets, &error, description.as_deref()));
                    }
                    Event::OpenedTwice(reply) => {
                        replies.push(reply);
                        break Err(OAuthError::OpenedTwice);
                    }
                },
            }
        };
        drop(pasted);
        let result = match code {
            Ok(code) => self.exchange(code, &mut server, &mut replies).await,
            Err(error) => Err(error),
        };
        // The page says how the sign-in ended, which is known only now.
        let page = match &result {
            Ok(account) => Page::signed_in(account.name()),
            Err(error) => Page::failed(error),
        };
        reply_all(replies, &page).await;
        End { result, farewell: server.map(|server| server.linger(page)) }
    }

    /// Exchanges the code. Whoever loads the callback meanwhile waits for the same page: browsers prefetch pages, and load
    /// them twice.
    async fn exchange(
        self,
        code: AuthorizationCode,
        server: &mut Option<Loopback>,
        replies: &mut Vec<Reply>,
    ) -> Result<SignedIn, OAuthError> {
        let mut exchange = std::pin::pin!(self.exchanged(code));
        loop {
            tokio::select! {
                result = &mut exchange => return result,
                event = next(server) => {
                    // The code may be that of the other browser.
                    let is_opened_twice = matches!(event, Event::OpenedTwice(_));
                    replies.extend(event.reply());
                    if is_opened_twice {
                        return Err(OAuthError::OpenedTwice);
                    }
                }
            }
        }
    }

    async fn exchanged(self, code: AuthorizationCode) -> Result<SignedIn, OAuthError> {
        let Self { client, redirect, state, verifier, events } = self;
        let _ = events.send(Progress::Exchanging);
        let now = client.now();
        let response = grant::exchange_code(&client, code, verifier, &redirect, state.secret()).await?;
        Ok(response.signed_in(client.dialect(), now))
    }
}

/// The next event at the loopback address. Pending forever if there is none.
async fn next(server: &mut Option<Loopback>) -> Event {
    match server {
        Some(server) => server.next().await,
        None => std::future::pending().await,
    }
}
