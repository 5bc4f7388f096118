//! A person with a browser.

use std::sync::Mutex;

use http::Request;
use http_body_util::Full;
use tower::ServiceExt;
use tower_credentials::oauth::{FlowKind, OAuthClient, OAuthError, Progress, Prompt, SignIn, SignedIn};
use tower_credentials::{Credential, OAuthTokens, PoolKey, RefreshError, Secret};

use super::AuthorizationServer;
use super::wire::{Fetched, fetch, get};

impl AuthorizationServer {
    /// Signs in, from the prompt to the tokens.
    pub(crate) async fn sign_in(
        &self,
        client: &OAuthClient,
        flow: FlowKind,
    ) -> Result<SignedIn, OAuthError> {
        let mut sign_in = client.sign_in(flow).await?;
        match sign_in.prompt().clone() {
            Prompt::Browser { url, .. } => {
                let page = tokio::spawn(async move { browse(&url).await });
                let end = sign_in.finish().await;
                let page = page.await.unwrap();
                // A link's page does not know what happens next.
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

impl AuthorizationServer {
    /// Returns an account that has signed in with the vendor's first flow. It does not wait for real time: it runs
    /// without sockets, on a thread whose time is paused.
    pub(crate) async fn account(&self) -> SignedIn {
        let flow = self.client().first_flow().unwrap();
        if flow == FlowKind::Loopback {
            return self.sign_in(&self.client(), flow).await.unwrap();
        }
        let client = OAuthClient::new("test", self.config(), self.without_sockets());
        let without_waiting = || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let sign_in = client.sign_in(flow).await.unwrap();
                match sign_in.prompt().clone() {
                    Prompt::Browser { url, .. } => self.follow_link(&url),
                    Prompt::Device { user_code, .. } => self.type_in(&user_code),
                    other => panic!("{other:?}"),
                }
                sign_in.finish().await.unwrap()
            })
        };
        std::thread::scope(|scope| scope.spawn(without_waiting).join().unwrap())
    }
}

impl AuthorizationServer {
    /// The account of the tokens, according to the protected resource; `None` if they don't work.
    pub(crate) async fn whose(&self, tokens: &OAuthTokens) -> Option<String> {
        let request = Request::get(format!("{}/resource", self.url()))
            .header("authorization", format!("Bearer {}", tokens.access.expose()))
            .body(Full::default());
        let response = fetch(request.unwrap()).await;
        let json: serde_json::Value = serde_json::from_str(&response.body).unwrap();
        json["person"].as_str().map(str::to_owned)
    }
}

/// Renews tokens.
pub(crate) async fn refresh(
    client: &OAuthClient,
    tokens: &OAuthTokens,
) -> Result<OAuthTokens, RefreshError> {
    let credential = Credential::new(PoolKey::new("test"), "work", tokens.clone());
    match client.refresher().oneshot(credential).await? {
        Secret::OAuth(tokens) => Ok(tokens),
        other => panic!("{other:?}"),
    }
}

/// A person's browser, with its cookies.
#[derive(Default)]
pub(crate) struct Browser(Mutex<Vec<Cookie>>);

struct Cookie {
    host: String,
    path: String,
    /// The name and value, as they are sent.
    pair: String,
}

impl Browser {
    /// Requests a page, without following redirects.
    pub(crate) async fn get(&self, url: &str) -> Fetched {
        let mut request = Request::get(url);
        if let Some(cookies) = self.cookies(url) {
            request = request.header("cookie", cookies);
        }
        let response = fetch(request.body(Full::default()).unwrap()).await;
        let mut cookies = self.0.lock().unwrap();
        for field in response.headers.get_all("set-cookie") {
            let mut parts = field.to_str().unwrap().split("; ");
            let pair = parts.next().unwrap().to_owned();
            let path = parts.find_map(|part| part.strip_prefix("Path=")).unwrap().to_owned();
            cookies.push(Cookie { host: host(url), path, pair });
        }
        response
    }

    /// Opens a page and follows redirects.
    pub(crate) async fn open(&self, url: &str) -> Fetched {
        let mut page = self.get(url).await;
        while page.status.is_redirection() {
            page = self.get(&page.location()).await;
        }
        page
    }

    /// Returns the cookies for this page.
    pub(crate) fn cookies(&self, url: &str) -> Option<String> {
        let path = url::Url::parse(url).unwrap().path().to_owned();
        let is_for = |cookie: &&Cookie| {
            let rest = path.strip_prefix(cookie.path.trim_end_matches('/'));
            cookie.host == host(url) && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let cookies = self.0.lock().unwrap();
        let pairs: Vec<_> = cookies.iter().filter(is_for).map(|cookie| cookie.pair.as_str()).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

/// Returns the host of a page. Browsers have one set of cookies for all its ports.
fn host(url: &str) -> String {
    url::Url::parse(url).unwrap().host_str().unwrap().to_owned()
}

/// Opens a page in a new browser, and follows redirects.
pub(crate) async fn browse(url: &str) -> Fetched {
    Browser::default().open(url).await
}

/// Returns all events of a sign-in in words, and its result.
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

/// The vendor's page.
pub(crate) fn page(sign_in: &SignIn) -> String {
    match sign_in.prompt() {
        Prompt::Browser { elsewhere: Some(url), .. } => url.clone(),
        Prompt::Browser { url, .. } | Prompt::Paste { url } => url.clone(),
        other => panic!("{other:?}"),
    }
}

/// The page for a browser on this machine.
pub(crate) fn start(sign_in: &SignIn) -> String {
    match sign_in.prompt() {
        Prompt::Browser { url, .. } => url.clone(),
        other => panic!("{other:?}"),
    }
}
