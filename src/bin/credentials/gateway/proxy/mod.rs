//! A proxy for tools that take no base URL: their requests to the providers' own hosts get accounts.
//!
//! Each file uses only those that come after it here:
//!
//! - this file: a CONNECT, and what becomes of it. `tunnel`: what follows it.
//! - `kept`: authorities that stay the same. `authority`: certificates for the providers' hosts.
//! - `outside`: connections to other hosts. `addresses`: which of them are public.
//! - `target`: a host and a port.

mod addresses;
mod authority;
mod kept;
mod outside;
mod target;
mod tunnel;

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use http::{Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;
use tokio_rustls::TlsAcceptor;

use super::Gateway;
use super::access::Seen;
use super::body::ResponseBody;
use super::clients::Client;
use super::forward::Upstream;
use super::responses::{self, Own, OwnBody};
use super::route::{Forward, Route};
use super::token::{self, TokenHash};
use crate::failure::Failure;
use outside::{NoConnection, Outside};
use tunnel::To;

pub(crate) use authority::{Authority, OF_A_RUN};
pub(crate) use kept::KeptAuthorities;
pub(crate) use outside::Others;
pub(crate) use target::Target;
pub(super) use tunnel::Tunnel;

/// Takes tunnels.
pub(crate) struct Proxy {
    /// Each vouches for other hosts.
    authorities: RwLock<Arc<[Authority]>>,
    outside: Outside,
    /// How long nothing may pass in a tunnel to another host.
    idle: Duration,
    /// The hosts whose certificates a client has refused, as a person was told.
    refused: Mutex<HashSet<String>>,
}

impl Proxy {
    pub(crate) fn new(
        authorities: Vec<Authority>,
        others: Others,
        idle: Duration,
    ) -> Result<Self, Failure> {
        let authorities = RwLock::new(authorities.into());
        Ok(Self { authorities, outside: Outside::new(others)?, idle, refused: Mutex::default() })
    }

    /// Takes other authorities for the tunnels from now on.
    pub(crate) fn set(&self, authorities: Vec<Authority>) {
        *self.authorities.write().unwrap_or_else(PoisonError::into_inner) = authorities.into();
    }

    /// Returns what speaks TLS as this host, if an authority vouches for it.
    fn acceptor(&self, host: &str) -> Option<TlsAcceptor> {
        let authorities = self.authorities.read().unwrap_or_else(PoisonError::into_inner).clone();
        authorities.iter().find(|authority| authority.vouches_for(host))?.acceptor(host).ok()
    }
}

/// How a request has come.
#[derive(Clone)]
pub(super) enum Way {
    /// To the gateway's own address.
    Address,
    /// In a tunnel to a provider's host.
    Tunnel(Arc<Inside>),
}

/// A tunnel to a provider's host, within which the gateway speaks for that host.
pub(super) struct Inside {
    pub(super) target: Target,
    upstream: Upstream,
    /// What has opened it. The client may be removed while it is open.
    pub(super) token: TokenHash,
}

impl Way {
    /// What a person calls the path of a request that has come so.
    pub(super) fn named<B>(&self, request: &Request<B>) -> String {
        match self {
            Self::Tunnel(inside) => format!("{}{}", inside.target.origin(), request.uri().path()),
            Self::Address if request.method() == http::Method::CONNECT => request.uri().to_string(),
            Self::Address => request.uri().path().to_owned(),
        }
    }

    /// Where a route leads a request, and with which path.
    pub(super) fn leads<'a, S>(
        &'a self,
        route: &'a Route<S>,
        path: &'a str,
    ) -> (&'a Upstream, Cow<'a, str>) {
        match self {
            Self::Address => {
                let rest = route.settings.path.rest_of(path).unwrap_or_default();
                (&route.upstream, route.meant_path(rest))
            }
            Self::Tunnel(inside) => {
                let upstream = match &route.settings.upstream {
                    Some(_) => &route.upstream,
                    None => &inside.upstream,
                };
                (upstream, route.rest_inside(&inside.target, path).unwrap_or_default().into())
            }
        }
    }
}

impl<S: Forward> Gateway<S> {
    /// Returns the response to a CONNECT, and the tunnel if there is one.
    pub(super) async fn open(
        &self,
        proxy: &Arc<Proxy>,
        request: Request<Incoming>,
        mut seen: Seen,
    ) -> (Response<ResponseBody<S::Body>>, Option<Tunnel>) {
        match self.leading(proxy, request, &mut seen).await {
            Ok((client, to)) => {
                seen.head(StatusCode::OK);
                let response =
                    Response::new(ResponseBody::own(OwnBody::Left(Full::default()), Seen::default()));
                (response, Some(Tunnel { client, to, seen }))
            }
            Err(own) => {
                seen.head(own.status());
                (own.map(|body| ResponseBody::own(body, seen)), None)
            }
        }
    }

    /// Returns where a tunnel leads, or why there is none.
    async fn leading(
        &self,
        proxy: &Arc<Proxy>,
        mut request: Request<Incoming>,
        seen: &mut Seen,
    ) -> Result<(OnUpgrade, To), Own> {
        let rules = self.rules();
        rules.check_connect(&request)?;
        let token = token::of_proxy(request.headers());
        let client = token.as_ref().and_then(|token| self.clients.client(token));
        let (Some(token), Some(client)) = (token, client) else {
            return Err(responses::proxy_unauthorized(self.clients.proxy_advice()));
        };
        seen.client(client.name());
        let target = target(&request, &client)?;
        if rules.are_while_away() {
            // Which hosts get accounts is not known. Untouched, a request would take the client's token to its host.
            return Err(responses::away());
        }
        let upgrade = hyper::upgrade::on(&mut request);
        if !rules.serves(&target) {
            let place = client.begin().map_err(responses::busy)?;
            let stream = proxy.outside.connect(&target).await.map_err(|problem| match problem {
                NoConnection::Refused(why) => {
                    responses::refused(StatusCode::FORBIDDEN, "permission_error", why)
                }
                NoConnection::Failed(why) => {
                    let message = format!("no connection to {target}: {why}");
                    responses::refused(StatusCode::BAD_GATEWAY, "upstream_unreachable", message)
                }
            })?;
            seen.keep(place);
            return Ok((upgrade, To::Other { stream, idle: proxy.idle }));
        }
        let upstream = target.origin().parse().ok().and_then(|endpoint| Upstream::new(&endpoint));
        let (Some(upstream), Some(acceptor)) = (upstream, proxy.acceptor(target.host())) else {
            // Untouched, its requests would take the client's token to that host.
            let message = format!(
                "the proxy has no certificate for {}; let it make one: credentials serve reload",
                target.host()
            );
            return Err(responses::refused(StatusCode::SERVICE_UNAVAILABLE, "no_certificate", message));
        };
        let inside = Arc::new(Inside { target, upstream, token });
        Ok((upgrade, To::Upstream { acceptor, inside, proxy: proxy.clone() }))
    }
}

/// Returns the target of a CONNECT that is sound, and from a client that may send requests.
fn target(request: &Request<Incoming>, client: &Client) -> Result<Target, Own> {
    let refused = |status, message: &str| responses::refused(status, "invalid_request_error", message);
    if client.is_admin() {
        let message =
            format!("the client {} administers the gateway, and opens no tunnels", client.name());
        return Err(responses::refused(StatusCode::FORBIDDEN, "permission_error", message));
    }
    if request.version() > Version::HTTP_11 {
        let message = "this proxy takes CONNECT by HTTP/1.1 alone";
        return Err(refused(StatusCode::NOT_IMPLEMENTED, message));
    }
    let target = Target::of_connect(request.uri());
    match target.filter(|target| target.is_in_host(request)) {
        // What follows is the tunnel's (RFC 9110, section 9.3.6).
        Some(_) if !request.body().is_end_stream() => {
            Err(refused(StatusCode::BAD_REQUEST, "a CONNECT has no body"))
        }
        Some(target) => Ok(target),
        None => {
            let message = "a CONNECT names a host and a port, as `api.example.com:443`, and its `host` header the same";
            Err(refused(StatusCode::BAD_REQUEST, message))
        }
    }
}
