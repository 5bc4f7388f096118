//! A request, from the client to the response.

use std::sync::Arc;

use bytes::Bytes;
use http::{Extensions, Method, Request, Response, StatusCode};
use http_body_util::{Either, Empty, Full};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tower::ServiceExt;
use tower_credentials::AnsweredBy;
use tower_credentials::standing::Scope;

use super::access::Seen;
use super::body::{Received, ResponseBody, UploadError};
use super::clients::{Client, Sender};
use super::conversation::{Belongs, Search};
use super::fields::Fields;
use super::proxy::{Tunnel, Way};
use super::responses::{Own, OwnBody};
use super::route::{Forward, Route};
use super::under_way::UnderWay;
use super::websocket::{Sides, WebSocket};
use super::{Gateway, conversation, forward, guard, responses, rules, token, websocket};
use crate::output;

impl<S: Forward> Gateway<S> {
    /// Returns the response to a request, and what its connection carries afterwards, if that is something else.
    pub(super) async fn respond(
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
            Ok(response) => {
                match self.answer(response, conversation::may_contain_made_ids(rest), upgrade, seen) {
                    Ok(answer) => Ok(answer),
                    Err(Unusable::Limited(head)) => Err(responses::limited(head)),
                    Err(Unusable::StrangeUpgrade) => {
                        let (response, message) = responses::strange_upgrade(upstream);
                        warn(&response, &message);
                        Err(response)
                    }
                }
            }
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

    /// Turns the upstream's response into the client's. `searches` says whether it is searched for the id of something made.
    fn answer(
        &self,
        mut response: Response<Either<S::Body, Empty<Bytes>>>,
        searches: bool,
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
            if searches && head.status.is_success() {
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
pub(super) enum After<B> {
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
