//! The gateway of `exec` and `serve`: one address at which tools find all accounts.
//!
//! Each file uses only those that come after it here:
//!
//! - `server`: where connections come from. `connection`: how each is served. `http1`: its requests. `tls`: its TLS.
//! - `proxy`: tunnels to the providers' own hosts.
//! - `tools`: what tools are told. `accounts`: the routes to the accounts of a vault. `stored`: the file of the clients.
//!   `settings`: the table `[serve]`.
//! - this file: a request, from the client to the response.
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

use bytes::Bytes;
use http::{Extensions, Method, Request, Response, StatusCode};
use http_body_util::{Either, Empty, Full};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::sync::watch;
use tower::ServiceExt;
use tower_credentials::AnsweredBy;
use tower_credentials::standing::Scope;

use crate::output;
use access::Seen;
use body::{Received, ResponseBody, UploadError};
use clients::{Client, Sender};
use conversation::{Belongs, Made, Search};
use fields::Fields;
use proxy::{Tunnel, Way};
use responses::{Own, OwnBody};
use under_way::{Requests, UnderWay};
use websocket::{Sides, WebSocket};

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

impl<S: Forward> Gateway<S> {
    /// Returns the response to a request, and what its connection carries afterwards, if that is something else.
    async fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
        way: &Way,
        under_way: UnderWay,
    ) -> (Response<ResponseBody<S::Body>>, Option<After<S::Body>>) {
        let mut seen = Seen::new(&self.access, request.method(), || way.named(&request), under_way);
        if let (&Method::CONNECT, Way::Address, Some(proxy)) = (request.method(), way, &self.proxy) {
            let (response, tunnel) = self.open(proxy, request, seen).await;
            return (response, tunnel.map(After::Tunnel));
        }
        let is_head = request.method() == Method::HEAD;
        let answer = self.forwarded(request, way, &mut seen).await;
        seen.head(match &answer {
            Ok(Answer::Http(response)) => response.status(),
            Ok(Answer::WebSocket(response, _)) => response.status(),
            Err(response) => response.status(),
        });
        if is_head {
            seen.ended();
        }
        match answer {
            Ok(Answer::Http(response)) => {
                (response.map(|body| ResponseBody::of_upstream(body, seen)), None)
            }
            // The WebSocket is noted until it ends.
            Ok(Answer::WebSocket(response, sides)) => (
                response.map(|body| ResponseBody::own(OwnBody::Left(body), Seen::default())),
                Some(After::WebSocket(WebSocket::new(sides, seen))),
            ),
            Err(own) => (own.map(|body| ResponseBody::own(body, seen)), None),
        }
    }

    /// Returns the upstream's response, or one of the gateway's own.
    async fn forwarded(
        &self,
        mut request: Request<Incoming>,
        way: &Way,
        seen: &mut Seen,
    ) -> Result<Answer<S::Body>, Own> {
        let rules = self.rules();
        let (sender, advice) = match way {
            Way::Address => {
                rules.check(&request)?;
                let sender = self.clients.sender(request.headers(), request.uri().query());
                (sender, self.clients.advice())
            }
            Way::Tunnel(inside) => {
                rules.check_inside(&request, &inside.target)?;
                (self.clients.client(&inside.token).map(Sender::Client), self.clients.gone())
            }
        };
        if let Some(client) = sender.as_ref().and_then(Sender::client) {
            seen.client(client.name());
        }
        if matches!(way, Way::Address)
            && let Some(own) = rules.administer(&request, sender.as_ref(), &self.end).await
        {
            return Err(own);
        }
        let Some(sender) = sender else { return Err(responses::unauthorized(advice)) };
        let routes = match way {
            Way::Address => rules.routes_of(&request, &sender)?,
            Way::Tunnel(inside) => rules.routes_inside(&inside.target, request.uri().path(), &sender)?,
        };
        // Without the upgrade it would be a different request, whose refusal would count against the account.
        let upgrade = match guard::asks_for_upgrade(request.headers()) {
            true if websocket::is_handshake(&request) => Some(hyper::upgrade::on(&mut request)),
            true => return Err(responses::no_upgrade()),
            false => None,
        };
        let place = sender.client().map(|client| client.begin()).transpose().map_err(responses::busy)?;
        let answer = self.send(&routes, request, way, sender.client(), upgrade, seen).await?;
        // The place is kept until the response or the WebSocket has ended.
        seen.keep(place.flatten());
        Ok(answer)
    }

    /// Sends a request along the first of these routes that takes its model. `upgrade` is the client's side of a WebSocket.
    async fn send(
        &self,
        routes: &[&Route<S>],
        request: Request<Incoming>,
        way: &Way,
        client: Option<&Arc<Client>>,
        upgrade: Option<OnUpgrade>,
        seen: &mut Seen,
    ) -> Result<Answer<S::Body>, Own> {
        let (mut head, body) = request.into_parts();
        let received = Received::read(&head.headers, body, self.sending.replay, seen.upload()).await;
        let (body, broken_off) = received.map_err(|error| unread(&error))?;
        let text = body.beginning();
        let fields = Fields::read(&text);
        let model_alone = fields.model_alone();
        let route = rules::for_model(routes, &head.uri, &fields, &model_alone)?;
        seen.route(&route.path);
        let path = head.uri.path().to_owned();
        let (upstream, rest) = way.leads(route, &path);
        let rest = &*rest;
        if !route.settings.allows(&head.method, rest) {
            let message = format!("the route {} does not allow {} {rest}", route.path, head.method);
            return Err(responses::lasting_error(StatusCode::FORBIDDEN, "permission_error", message));
        }
        let query = head.uri.query().and_then(token::without_keys);
        token::remove_from_protocols(&mut head.headers);
        let method = head.method.clone();
        let name = client.map_or("", |client| client.name());
        let belongs = conversation::of(&self.made, name, &head.headers, rest, &fields);
        keep_together(belongs, route, &mut head.extensions);
        let body = body.into_body(&route.provider, self.sending.replay);
        let request = Request::from_parts(head, body);
        let mut request = upstream.request(request, rest, query.as_deref()).map_err(|error| {
            let message = format!("can't be forwarded: {error}");
            responses::refused(error.status(), "invalid_request_error", message)
        })?;
        // A limit on one model does not keep requests for others from an account.
        if let Some(model) = route.provider.model(request.uri(), &model_alone) {
            request.extensions_mut().insert(Scope::new(model));
        }
        if upgrade.is_some() {
            websocket::of_handshake(request.headers_mut());
        }
        // Without the query, which may be private.
        let warn = |response: &Own, message: &str| {
            let status = response.status().as_u16();
            output::warn(format_args!("{method} {path}: {status}: {message}"));
        };
        match route.service.clone().oneshot(request).await {
            Ok(response) => match self.answer(response, conversation::may_make(rest), upgrade, seen) {
                Ok(answer) => Ok(answer),
                Err(Unusable::Limited(head)) => Err(responses::limited(head)),
                Err(Unusable::StrangeUpgrade) => {
                    let (response, message) = responses::strange_upgrade(upstream);
                    warn(&response, &message);
                    Err(response)
                }
            },
            // Nobody waits for this response any more.
            Err(_) if broken_off.get() => {
                let message = "the client has broken off its request";
                Err(responses::error(StatusCode::BAD_REQUEST, "incomplete_request", message))
            }
            Err(error) => {
                let (response, message) = responses::failure(&error, upstream);
                warn(&response, &message);
                Err(response)
            }
        }
    }

    /// Turns the upstream's response into the client's. `may_make` says whether it may have the id of something made.
    fn answer(
        &self,
        mut response: Response<Either<S::Body, Empty<Bytes>>>,
        may_make: bool,
        upgrade: Option<OnUpgrade>,
        seen: &mut Seen,
    ) -> Result<Answer<S::Body>, Unusable> {
        let upstream = (response.status() == StatusCode::SWITCHING_PROTOCOLS).then(|| {
            (websocket::names_websocket(response.headers()), hyper::upgrade::on(&mut response))
        });
        forward::response(&mut response);
        let (mut head, body) = response.into_parts();
        if let Some(by) = head.extensions.remove::<AnsweredBy>() {
            let account = by.credential().id;
            seen.account(account, by.attempts());
            if may_make && head.status.is_success() {
                seen.search(Search::new(&self.made, account));
            }
        }
        head.extensions.clear();
        match (body, upstream, upgrade) {
            (Either::Left(body), None, _) => Ok(Answer::Http(Response::from_parts(head, body))),
            (Either::Left(body), Some((true, upstream)), Some(client)) => {
                websocket::of_handshake(&mut head.headers);
                let response = Response::from_parts(head, Full::default());
                Ok(Answer::WebSocket(response, Sides { client, upstream, body }))
            }
            (Either::Left(_), Some(_), _) => Err(Unusable::StrangeUpgrade),
            (Either::Right(_), ..) => Err(Unusable::Limited(head)),
        }
    }
}

/// Lets a request go to the account, or stay with the conversation, that it belongs to.
fn keep_together<S>(belongs: Option<Belongs>, route: &Route<S>, extensions: &mut Extensions) {
    match belongs {
        // One of another pool belongs to none of this one.
        Some(Belongs::ToAccount(account, pin)) if route.has(account) => {
            extensions.insert(pin);
        }
        Some(Belongs::ToConversation(affinity)) => {
            extensions.insert(affinity);
        }
        _ => {}
    }
}

/// What a connection carries after a response.
enum After<B> {
    WebSocket(WebSocket<B>),
    Tunnel(Tunnel),
}

/// Why a response cannot go to the client as it came.
enum Unusable {
    /// Every account is known to be limited.
    Limited(http::response::Parts),
    /// The upstream goes on with a protocol that nobody has asked for.
    StrangeUpgrade,
}

/// What the upstream has answered.
enum Answer<B> {
    Http(Response<B>),
    /// A 101, and what is joined once the client has it.
    WebSocket(Response<Full<Bytes>>, Sides<B>),
}

/// The response to a body that did not come as it should.
fn unread(error: &UploadError) -> Own {
    let status = match error {
        UploadError::BrokenOff(_) => StatusCode::BAD_REQUEST,
        UploadError::Idle => StatusCode::REQUEST_TIMEOUT,
    };
    responses::error(status, "incomplete_request", error)
}
