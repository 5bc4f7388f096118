//! A discovery over the layers and a real connection, for tests.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use hyper::body::Incoming;
use tower_credentials::discovery::{Discovery, DiscoveryBuilder, Models};
use tower_credentials::provider::{GenericProvider, ModelsEndpoint, ModelsShape};
use tower_credentials::vault::MemoryVault;
use tower_credentials::{CredentialsLayer, Pool, Refresher};

use crate::support::{Canned, HandClock, Server, Stack, Upstream, client, no_refresh, stack};

/// An upstream on a socket, and a pool of accounts at it.
pub(crate) struct Rig {
    pub(crate) upstream: Upstream,
    pub(crate) server: Server,
    pub(crate) pool: Pool,
    pub(crate) client: Stack<Incoming>,
    pub(crate) clock: HandClock,
}

impl Rig {
    pub(crate) async fn new(vault: MemoryVault) -> Self {
        Self::with_refresher(vault, &no_refresh()).await
    }

    pub(crate) async fn with_refresher(vault: MemoryVault, refresher: &Refresher) -> Self {
        let upstream = Upstream::new();
        let server = Server::start(&upstream).await;
        Self::at(upstream, server, HandClock::new(), vault, refresher).await
    }

    /// Another pool's accounts at the same upstream.
    pub(crate) async fn beside(&self, vault: MemoryVault) -> Self {
        let (upstream, server, clock) = (self.upstream.clone(), self.server.clone(), self.clock.clone());
        Self::at(upstream, server, clock, vault, &no_refresh()).await
    }

    async fn at(
        upstream: Upstream,
        server: Server,
        clock: HandClock,
        vault: MemoryVault,
        refresher: &Refresher,
    ) -> Self {
        let provider = GenericProvider::bearer("x").origin(&server.origin()).unwrap();
        let pool = Pool::builder(provider, vault).clock(clock.clock()).open().await.unwrap();
        let layer = CredentialsLayer::new(pool.clone()).refresher(refresher.clone());
        let client = stack(layer, client());
        Self { upstream, server, pool, client, clock }
    }

    pub(crate) fn builder(&self, shape: ModelsShape) -> DiscoveryBuilder {
        let endpoint = ModelsEndpoint::new(shape, "/v1/models").unwrap();
        Discovery::builder(&self.pool, self.client.clone()).endpoint(endpoint)
    }

    /// Returns the requests so far, as `TOKEN PATH?QUERY`.
    pub(crate) fn asked(&self) -> Vec<String> {
        let seen = self.upstream.seen.all();
        seen.into_iter().map(|seen| format!("{} {}", seen.token, seen.uri)).collect()
    }

    pub(crate) fn requests(&self) -> usize {
        self.upstream.seen.all().len()
    }
}

/// A list of models in OpenAI's shape.
pub(crate) fn list(ids: &[&str]) -> Canned {
    let models: Vec<_> = ids.iter().map(|id| serde_json::json!({ "id": id })).collect();
    Canned::ok().body(serde_json::json!({ "object": "list", "data": models }).to_string())
}

pub(crate) fn ids(models: &Models) -> Vec<&str> {
    models.iter().map(|model| &*model.id).collect()
}
