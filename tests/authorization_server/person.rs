//! A person with a browser.

use tower_credentials::oauth::{FlowKind, OAuthClient, OAuthError, Progress, Prompt, SignIn, SignedIn};

use super::AuthorizationServer;
use super::wire::{Fetched, get};

impl AuthorizationServer {
    /// Signs in, from the prompt to the tokens.
    pub(crate) async fn sign_in(
        &self,
        client: &OAuthClient,
        flow: FlowKind,
    ) -> Result<SignedIn, OAuthError> {
        let mut sign_in = client.sign_in(flow).await?;
        match sign_in.prompt().clone() {
            Prompt::Browser { url } => {
                let page = tokio::spawn(async move { browse(&url).await });
                let end = sign_in.finish().await;
                let page = page.await.unwrap();
                // A link's page knows nothing of what becomes of it.
                if flow == FlowKind::Loopback {
                    assert_eq!(page.status.is_success(), end.is_ok(), "{}", page.body);
                }
                return end;
            }
            Prompt::Paste { url } => sign_in.paste(&get(&url).await.location())?,
            Prompt::Device { user_code, .. } => self.type_in(&user_code),
            other => panic!("{other:?}"),
        }
        sign_in.finish().await
    }
}

/// Opens a page and goes where it leads.
pub(crate) async fn browse(url: &str) -> Fetched {
    let page = get(url).await;
    if page.status.is_redirection() { get(&page.location()).await } else { page }
}

/// What happens until there is nothing more, in words, and how it ends.
pub(crate) async fn follow(sign_in: &mut SignIn) -> (Vec<String>, Result<SignedIn, OAuthError>) {
    let mut story = Vec::new();
    loop {
        match sign_in.next().await {
            Some(Ok(Progress::SignedIn(account))) => return (story, Ok(*account)),
            Some(Ok(progress)) => story.push(progress.to_string()),
            Some(Err(error)) => return (story, Err(error)),
            None => panic!("it ended before"),
        }
    }
}

/// The page to open.
pub(crate) fn page(sign_in: &SignIn) -> String {
    match sign_in.prompt() {
        Prompt::Browser { url } | Prompt::Paste { url } => url.clone(),
        other => panic!("{other:?}"),
    }
}
