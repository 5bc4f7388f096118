//! A host: a pool over the engine, with its layers, that sends requests to a strict authorization server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use serde::{Deserialize, Serialize};
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt, service_fn};
use tower_credentials::oauth::{FlowKind, OAuthClient, OAuthHttp};
use tower_credentials::provider::GenericProvider;
use tower_credentials::vault::Vault;
use tower_credentials::vault::redis::RedisBackendBuilder;
use tower_credentials::{BoxError, CredentialsLayer, Pool, PoolBuilder, PoolKey, Refresher};

use crate::authorization_server::{AuthorizationServer, Vendor, client, config};

/// How long hosts wait for the engine and for each other.
#[derive(Clone, Copy, Deserialize, Serialize)]
pub(crate) struct Bounds {
    pub(crate) command: Duration,
    pub(crate) lease: Duration,
    pub(crate) present_within: Duration,
    pub(crate) grace: Duration,
}

impl Bounds {
    /// For tests in which holders are killed or stopped: others wait for seconds only. Many hosts on few cores take their time, so
    /// a command may be slower than by default.
    pub(crate) const SHORT: Self = Self {
        command: Duration::from_secs(1),
        lease: Duration::from_secs(1),
        present_within: Duration::from_secs(2),
        grace: Duration::from_secs(1),
    };
    /// For tests in which nobody dies: the busiest machine is quick enough.
    pub(crate) const LONG: Self = Self {
        command: Duration::from_secs(10),
        lease: Duration::from_secs(30),
        present_within: Duration::from_secs(60),
        grace: Duration::from_secs(10),
    };

    pub(crate) fn apply(self, builder: RedisBackendBuilder) -> RedisBackendBuilder {
        let Self { command, lease, present_within, grace } = self;
        builder
            .command_timeout(command)
            .lease_lifetime(lease)
            .present_within(present_within)
            .grace(grace)
    }

    /// For a child's environment.
    pub(crate) fn to_json(self) -> String {
        serde_json::to_string(&self).unwrap()
    }

    pub(crate) fn from_json(text: &str) -> Self {
        serde_json::from_str(text).unwrap()
    }
}

/// How long a limit lasts that a host meets.
pub(crate) const LIMITED_SECONDS: u64 = 1_800;

pub(crate) fn key() -> PoolKey {
    PoolKey::new("openai")
}

/// Signs a person in, and stores the account under their name.
pub(crate) async fn sign_in(server: &AuthorizationServer, vault: &impl Vault, person: &str) {
    server.person(person);
    let account = server.sign_in(&server.client(), FlowKind::Loopback).await.unwrap();
    account.store(vault, key(), person).await.unwrap();
}

/// A client of the server at this URL.
pub(crate) fn oauth(server: &str) -> OAuthClient {
    OAuthClient::new("openai", config(Vendor::OpenAi, server), OAuthHttp::new(client()))
}

pub(crate) struct Host {
    pub(crate) pool: Pool,
    service: BoxCloneSyncService<Request<Full<Bytes>>, Response<Full<Bytes>>, BoxError>,
    meets_limit: Arc<AtomicBool>,
    resource: String,
}

impl Host {
    pub(crate) async fn open(vault: impl Vault, server: &str) -> Self {
        Self::with(vault, server, oauth(server).refresher().into(), |builder| builder).await
    }

    /// Opens a host with this refresher and these settings.
    pub(crate) async fn with(
        vault: impl Vault,
        server: &str,
        refresher: Refresher,
        settings: impl FnOnce(PoolBuilder) -> PoolBuilder,
    ) -> Self {
        let provider = GenericProvider::bearer("openai").origin(server).unwrap();
        let pool = settings(Pool::builder(provider, vault)).open().await.unwrap();
        let meets_limit = Arc::new(AtomicBool::new(false));
        let (http, limit) = (client(), meets_limit.clone());
        let upstream = service_fn(move |request: Request<Full<Bytes>>| {
            let (http, is_limited) = (http.clone(), limit.swap(false, Ordering::AcqRel));
            async move {
                if is_limited {
                    let response =
                        Response::builder().status(429).header("retry-after", LIMITED_SECONDS);
                    return Ok(response.body(Full::default()).unwrap());
                }
                let (parts, body) = http.request(request).await?.into_parts();
                let body = body.collect().await?.to_bytes();
                Ok::<_, BoxError>(Response::from_parts(parts, Full::new(body)))
            }
        });
        let layers = CredentialsLayer::new(pool.clone()).refresher(refresher);
        let service = layers.layer(upstream).map_err(BoxError::from);
        let resource = format!("{server}/resource");
        Self { pool, service: BoxCloneSyncService::new(service), meets_limit, resource }
    }

    /// The next request's first attempt meets a limit.
    pub(crate) fn meet_limit(&self) {
        self.meets_limit.store(true, Ordering::Release);
    }

    /// Sends this many requests at once. Returns the different results.
    pub(crate) async fn ask(&self, requests: usize) -> String {
        let ask = |_| {
            let request = Request::get(&self.resource).body(Full::default()).unwrap();
            tokio::spawn(self.service.clone().oneshot(request))
        };
        let mut results = Vec::new();
        for request in (0..requests).map(ask).collect::<Vec<_>>() {
            results.push(match request.await.unwrap() {
                Ok(response) => response.status().as_str().to_owned(),
                Err(error) => error.to_string(),
            });
        }
        results.sort();
        results.dedup();
        results.join(", ")
    }
}
