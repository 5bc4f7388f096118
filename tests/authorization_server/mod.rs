//! A strict authorization server over real sockets, for tests. It runs on its own thread and runtime, so it can serve all
//! kinds of tests, and other processes as well: they only need its [`url`].
//!
//! ```text
//! parent   let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
//!          job.set("SERVER", server.url())
//! child    let config = config(Vendor::OpenAi, &setting("SERVER").unwrap());
//! ```
//!
//! It needs the feature `oauth`. It is strict about the client's id and secret, the encoding, PKCE, the redirect URI, and
//! codes and refresh tokens that work once. Reusing one ends the whole family of tokens that it began.
//!
//! [`url`]: AuthorizationServer::url

#![allow(dead_code, unused_imports, reason = "each test binary uses a part of it")]

mod books;
mod endpoints;
mod hooks;
mod person;
mod responses;
mod rules;
mod settings;
mod wire;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::sync::oneshot;
use tower_credentials::BoxError;
use tower_credentials::oauth::{OAuthClient, OAuthConfig, OAuthHttp};

use books::Books;
pub(crate) use books::Kind;
use hooks::Hooks;
pub(crate) use hooks::{Fault, Gate};
pub(crate) use person::{Browser, browse, follow, page, refresh, start};
pub(crate) use rules::{CLIENT_ID, CLIENT_SECRET, Rules, Vendor, config};
pub(crate) use wire::{Fetched, client, fetch, get, with_method};

/// The server. Dropping it stops it.
pub(crate) struct AuthorizationServer {
    url: String,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The state that the server and the test share.
pub(crate) struct Shared {
    url: String,
    rules: Rules,
    /// The decision of people who sign in.
    says_yes: AtomicBool,
    /// Their account.
    person: Mutex<String>,
    books: Mutex<Books>,
    hooks: Hooks,
}

impl Shared {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }

    fn person(&self) -> String {
        self.person.lock().unwrap().clone()
    }
}

impl AuthorizationServer {
    pub(crate) fn start(rules: Rules) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            url: url.clone(),
            rules,
            says_yes: AtomicBool::new(true),
            person: Mutex::new("alice".to_owned()),
            books: Mutex::new(Books::new()),
            hooks: Hooks::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let served = shared.clone();
        let thread = std::thread::spawn(move || wire::serve(listener, served, stopped));
        Self { url, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// Its URL: `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.shared.rules
    }

    /// The vendor's configuration with this server's endpoints, for a client that the server knows.
    pub(crate) fn config(&self) -> OAuthConfig {
        config(self.shared.rules.vendor, &self.url)
    }

    /// A client of this server, over sockets.
    pub(crate) fn client(&self) -> OAuthClient {
        OAuthClient::new(self.shared.rules.vendor.name(), self.config(), OAuthHttp::new(client()))
    }

    /// The server without sockets: it responds at once, also while tokio's time is paused.
    /// Sockets don't work with paused time, since it advances during each wait.
    pub(crate) fn without_sockets(&self) -> OAuthHttp {
        let shared = self.shared.clone();
        OAuthHttp::new(tower::service_fn(move |request: Request<Full<Bytes>>| {
            let shared = shared.clone();
            async move { Ok::<_, BoxError>(endpoints::handle(&shared, request).await) }
        }))
    }

    /// Sets who signs in from now on.
    pub(crate) fn person(&self, name: &str) {
        *self.shared.person.lock().unwrap() = name.to_owned();
    }

    /// Sets whether people consent.
    pub(crate) fn says_yes(&self, yes: bool) {
        self.shared.says_yes.store(yes, Ordering::SeqCst);
    }

    /// A person types a device's code in.
    pub(crate) fn type_in(&self, user_code: &str) {
        let yes = self.shared.says_yes.load(Ordering::SeqCst);
        self.shared.books().type_in(user_code, self.shared.person(), yes);
    }

    /// A person opens a link and signs in.
    pub(crate) fn follow_link(&self, url: &str) {
        endpoints::follow_link(&self.shared, url);
    }

    /// Makes everything that expires this much older.
    pub(crate) fn advance(&self, duration: Duration) {
        self.shared.books().advance(duration);
    }

    /// Ends every session, as a vendor does that signs people out.
    pub(crate) fn revoke_all(&self) {
        self.shared.books().revoke_all();
    }

    /// The number of requests of this kind.
    pub(crate) fn asked(&self, kind: Kind) -> usize {
        self.shared.books().asked(kind)
    }

    /// The number of times that tokens were given for this kind.
    pub(crate) fn granted(&self, kind: Kind) -> usize {
        self.shared.books().granted(kind)
    }

    /// The number of requests with a spent refresh token, without those within the grace period.
    pub(crate) fn reuses(&self) -> usize {
        self.shared.books().reuses()
    }

    /// Every secret that was given out: tokens, codes, devices' codes.
    pub(crate) fn issued(&self) -> Vec<String> {
        self.shared.books().issued().to_vec()
    }

    /// The headers of all requests for the resource.
    pub(crate) fn resource_heads(&self) -> Vec<http::HeaderMap> {
        self.shared.books().resource_heads().to_vec()
    }

    /// The bodies of all requests to the token endpoint, in order.
    pub(crate) fn token_requests(&self) -> Vec<String> {
        self.shared.books().token_requests().to_vec()
    }

    /// The faults of the next responses of the token endpoint (or its equivalent), in order. The grant is
    /// spent by then.
    pub(crate) fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shared.hooks.fail_next(faults);
    }

    /// The next exchange waits before it is processed; with a second gate, the one after that, too.
    pub(crate) fn hold_before(&self) -> Gate {
        self.shared.hooks.hold_before()
    }

    /// The next exchange is processed, and waits before its response. Gates queue up here as well.
    pub(crate) fn hold_after(&self) -> Gate {
        self.shared.hooks.hold_after()
    }
}

impl Drop for AuthorizationServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("the server did not panic");
            }
        }
    }
}
