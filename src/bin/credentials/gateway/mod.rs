//! The gateway of `exec` and `serve`: one address at which tools find all accounts.
//!
//! Each file uses only those that come after it here:
//!
//! - `server`: where connections come from. `connection`: how each is served. `http1`: its requests. `tls`: its TLS.
//! - `proxy`: tunnels to the providers' own hosts.
//! - `tools`: what tools are told. `accounts`: the routes to the accounts of a vault. `stored`: the file of the clients.
//!   `settings`: the table `[serve]`.
//! - this file: what takes requests. `request`: one of them, from the client to the response.
//! - `rules`: which route a request takes. `route`: a path, and the layers over the client to its upstream.
//! - `forward`: what is sent on. `body`: the bodies. `websocket`: what follows a 101. `threads`: where requests are served.
//! - `admin`, `page`, `events` and `metrics`: the state of the accounts.
//! - `conversation`: which account a request belongs to. `fields`: what its body says about that.
//! - `guard`, `clients`, `token`: who may use it. `responses`: what it says itself. `access`: what it notes. `under_way`: how
//!   many requests there are. `timed`: how long a client may read nothing.

#![allow(
    clippy::result_large_err,
    reason = "an error is the gateway's own response, which is moved as any other"
)]

mod access;
mod accounts;
mod admin;
mod body;
mod clients;
mod connection;
mod conversation;
mod events;
mod fields;
mod forward;
mod guard;
mod http1;
mod metrics;
mod page;
mod proxy;
mod request;
mod responses;
mod route;
mod rules;
mod server;
mod settings;
mod stored;
mod threads;
mod timed;
mod tls;
mod token;
mod tools;
mod under_way;
mod websocket;

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use conversation::Made;
use under_way::Requests;

pub(crate) use access::{AccessFormat, AccessLog};
pub(crate) use accounts::routes;
pub(crate) use clients::{ClientRecord, Clients};
pub(crate) use guard::{AllowedOrigin, Guard};
pub(crate) use proxy::{Authority, KeptAuthorities, OF_A_RUN, Others, Proxy, Target};
pub(crate) use route::{Forward, HttpVersion, Route, Sending};
pub(crate) use rules::Rules;
pub(crate) use server::{Listener, Server};
pub(crate) use settings::ServeSettings;
pub(crate) use stored::{ClientsFile, FollowedClients};
pub(crate) use threads::Threads;
pub(crate) use tls::{CertificateFiles, Named, Tls};
pub(crate) use token::{PLACEHOLDER, TokenHash, generate as generate_token, is_gateway_token};
pub(crate) use tools::{Value, proxy_url, variables};

/// Takes requests, and sends them on with an account.
pub(crate) struct Gateway<S> {
    rules: RwLock<Arc<Rules<S>>>,
    pub(crate) clients: Clients,
    access: AccessLog,
    sending: Sending,
    made: Arc<Made>,
    /// The requests of all connections.
    under_way: Requests,
    /// Whether it takes tunnels, too.
    proxy: Option<Arc<Proxy>>,
    /// Whether it ends. Then responses end that would go on for ever.
    end: watch::Sender<bool>,
}

impl<S> Gateway<S> {
    pub(crate) fn new(rules: Rules<S>, clients: Clients, access: AccessLog, sending: Sending) -> Self {
        let (end, _) = watch::channel(false);
        let (rules, made) = (RwLock::new(Arc::new(rules)), Arc::default());
        let under_way = Requests::default();
        Self { rules, clients, access, sending, made, under_way, proxy: None, end }
    }

    /// Takes tunnels, too.
    pub(crate) fn with_proxy(self, proxy: Option<Proxy>) -> Self {
        Self { proxy: proxy.map(Arc::new), ..self }
    }

    /// The rules now.
    fn rules(&self) -> Arc<Rules<S>> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What takes tunnels, if anything does.
    pub(crate) fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_deref()
    }

    /// Ends what would go on for ever, and takes no other connections.
    pub(crate) fn end(&self) {
        self.end.send_replace(true);
    }

    /// Waits until a request is under way.
    pub(crate) async fn has_requests(&self) {
        self.under_way.any().await;
    }

    /// Whether the vault could not be reached yet.
    pub(crate) fn is_away(&self) -> bool {
        self.rules().are_while_away()
    }

    /// Takes other rules for the requests from now on. Returns those so far, which requests under way still follow.
    pub(crate) fn replace(&self, rules: Rules<S>) -> Arc<Rules<S>> {
        let mut now = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut now, Arc::new(rules))
    }
}
