//! Stacks of the layers, their refreshers, and requests through them.

use std::fmt::Debug;

use bytes::Bytes;
use http::Response;
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceExt};
use tower_credentials::{
    AuthHeaderLayer, BoxError, CooldownPersistLayer, Credential, CredentialsLayer, Metadata,
    OAuthTokens, Pool, RefreshError, RefreshOn401Layer, Refresher, RotateOn429Layer, Secret,
};

use super::{Asked, Journal, Reply, Upstream};

pub(crate) type Stack<R = Full<Bytes>> = BoxCloneSyncService<Asked, Response<R>, BoxError>;

pub(crate) fn client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

/// A refresher that renews to `LABEL-N`, with N the new generation, and records the label.
pub(crate) fn renewing(calls: &Journal<String>) -> Refresher {
    let calls = calls.clone();
    Refresher::new(move |credential: Credential| {
        calls.push(credential.metadata.label.to_string());
        async move { Ok::<_, RefreshError>(renewed(&credential.metadata)) }
    })
}

pub(crate) fn renewed(metadata: &Metadata) -> Secret {
    let access = format!("{}-{}", metadata.label, metadata.generation.next());
    OAuthTokens::new(access).refresh(format!("refresh-{}", metadata.label)).into()
}

pub(crate) fn no_refresh() -> Refresher {
    Refresher::new(|_| async { Err::<Secret, _>(RefreshError::rejected("revoked")) })
}

pub(crate) type Four = (RotateOn429Layer, RefreshOn401Layer, AuthHeaderLayer, CooldownPersistLayer);

/// The four layers in the recommended order.
pub(crate) fn four(pool: &Pool, refresher: &Refresher) -> Four {
    (
        RotateOn429Layer::new(pool.clone()),
        RefreshOn401Layer::new(pool.clone(), refresher.clone()),
        AuthHeaderLayer::new(pool.clone()),
        CooldownPersistLayer::new(pool.clone()),
    )
}

/// A service with these layers, boxed.
pub(crate) fn stack<L, S, R>(layers: L, inner: S) -> Stack<R>
where
    L: Layer<S>,
    L::Service: Service<Asked, Response = Response<R>, Error: Into<BoxError>, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static,
{
    BoxCloneSyncService::new(layers.layer(inner).map_err(Into::into))
}

/// The four layers with a user's layer among them: at 0 above them all, at 4 below them. Both sides are boxed, which
/// keeps the types small, and so the compile time.
pub(crate) fn between<L>(
    place: usize,
    (rotate, refresh, auth, persist): Four,
    users: L,
    to: Stack,
) -> Stack
where
    L: Layer<Stack>,
    L::Service: Service<Asked, Response = Reply, Error: Into<BoxError>, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static,
{
    match place {
        0 => stack(users, stack((rotate, refresh, auth, persist), to)),
        1 => stack(rotate, stack(users, stack((refresh, auth, persist), to))),
        2 => stack((rotate, refresh), stack(users, stack((auth, persist), to))),
        3 => stack((rotate, refresh, auth), stack(users, stack(persist, to))),
        _ => stack((rotate, refresh, auth, persist), stack(users, to)),
    }
}

/// The upstream as a boxed service.
pub(crate) fn boxed(upstream: &Upstream) -> Stack {
    stack((), upstream.clone())
}

/// The four layers in several orders, with and without a layer of the user's in between, and as one.
pub(crate) const STACKS: [fn(&Pool, Stack) -> Stack; 4] = [
    |pool, inner| stack(four(pool, &no_refresh()), inner),
    |pool, inner| {
        let (rotate, refresh, auth, persist) = four(pool, &no_refresh());
        stack((auth, persist, refresh, rotate), inner)
    },
    |pool, inner| {
        // A layer of the user's in between makes the context travel in the extensions.
        let (rotate, refresh, auth, persist) = four(pool, &no_refresh());
        let nothing = tower::util::MapRequestLayer::new(|request: Asked| request);
        stack((refresh, auth, nothing.clone(), rotate, nothing, persist), inner)
    },
    |pool, inner| stack(CredentialsLayer::new(pool.clone()), inner),
];

/// The same stacks above an upstream.
pub(crate) const ORDERS: [fn(&Pool, Upstream) -> Stack; 4] = [
    |pool, upstream| STACKS[0](pool, boxed(&upstream)),
    |pool, upstream| STACKS[1](pool, boxed(&upstream)),
    |pool, upstream| STACKS[2](pool, boxed(&upstream)),
    |pool, upstream| STACKS[3](pool, boxed(&upstream)),
];

/// Sends a request. Returns the status and text of the response.
pub(crate) fn ask<R>(
    service: &Stack<R>,
    request: Asked,
) -> impl Future<Output = (u16, String)> + Send + use<R>
where
    R: Body<Data: Send, Error: Debug> + Send + 'static,
{
    let response = service.clone().oneshot(request);
    async move {
        let response = response.await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}
