//! Redis and Valkey keep every promise of a vault: alone, as a cluster, and if two hosts take turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tower_credentials::CredentialId;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::redis::{RedisBackend, RedisFuture};
use tower_credentials::vault::seal::{Seal, SealLayer, Sealed};
use tower_credentials::vault::{VaultError, VaultRequest, VaultResponse};
use tower_layer::Layer;
use tower_service::Service;

use crate::server::{Server, sealed};

/// A prefix that no other test has.
fn prefix() -> String {
    CredentialId::random().to_string()
}

mod alone {
    use super::*;
    use crate::vault_contract::every_promise;

    async fn new() -> Option<(Seal<RedisBackend>, Arc<Server>)> {
        let server = Server::shared()?;
        let backend = server.builder().prefix(prefix()).open().await.unwrap();
        Some((sealed(backend, &VaultKey::generate()), server))
    }

    every_promise!(new);
}

mod cluster {
    use super::*;
    use crate::vault_contract::every_promise;

    async fn new() -> Option<(Seal<RedisBackend>, Arc<Server>)> {
        let server = Server::shared_cluster()?;
        let url = format!("{}?cluster=true", server.url());
        let backend = RedisBackend::builder(url).prefix(prefix()).open().await.unwrap();
        Some((sealed(backend, &VaultKey::generate()), server))
    }

    every_promise!(new);
}

mod two_hosts {
    use super::*;
    use crate::vault_contract::every_promise;

    async fn new() -> Option<(Seal<TwoHosts>, Arc<Server>)> {
        let server = Server::shared()?;
        let prefix = prefix();
        let open = async || server.builder().prefix(prefix.clone()).open().await.unwrap();
        let hosts = TwoHosts { one: open().await, other: open().await, is_others_turn: Arc::default() };
        Some((SealLayer::new(&VaultKey::generate()).layer(hosts), server))
    }

    every_promise!(new);
}

mod of_hosts {
    use std::time::Duration;

    use tower_credentials::conformance::{Hosts, every_promise_of_hosts};
    use tower_credentials::vault::RefreshLease;

    use super::*;

    const SHORT: Duration = Duration::from_secs(1);

    struct OfPrefix {
        server: Arc<Server>,
        prefix: String,
        key: VaultKey,
    }

    impl Hosts for OfPrefix {
        type Vault = Seal<RedisBackend>;

        async fn open(&self) -> Seal<RedisBackend> {
            let builder = self.server.builder().prefix(self.prefix.clone());
            let builder = builder.lease_lifetime(SHORT).present_within(SHORT).grace(SHORT);
            sealed(builder.open().await.unwrap(), &self.key)
        }

        fn crash(&self, host: Self::Vault, lease: RefreshLease) {
            // To drop the lease would tell the engine.
            std::mem::forget((host, lease));
        }

        fn lapse(&self) -> Duration {
            // The lease of a refresh that has begun covers bounds of commands, too.
            SHORT * 10
        }
    }

    async fn new() -> Option<(OfPrefix, Arc<Server>)> {
        let server = Server::shared()?;
        let (prefix, key) = (prefix(), VaultKey::generate());
        Some((OfPrefix { server: server.clone(), prefix, key }, server))
    }

    every_promise_of_hosts!(new);
}

/// Sends what a pool reads to one host, and all else to one after the other. Only in one host do those who ask for a lease get
/// it in the order in which they ask, so a client's lease is asked for there.
#[derive(Clone, Debug)]
struct TwoHosts {
    one: RedisBackend,
    other: RedisBackend,
    is_others_turn: Arc<AtomicBool>,
}

impl Service<VaultRequest<Sealed>> for TwoHosts {
    type Response = VaultResponse<Sealed>;
    type Error = VaultError;
    type Future = RedisFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), VaultError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: VaultRequest<Sealed>) -> RedisFuture {
        let is_for_one = matches!(
            request,
            VaultRequest::Load(_)
                | VaultRequest::Changes { .. }
                | VaultRequest::Watch(_)
                | VaultRequest::LeaseClient { .. }
        );
        if is_for_one || self.is_others_turn.fetch_xor(true, Ordering::AcqRel) {
            self.one.call(request)
        } else {
            self.other.call(request)
        }
    }
}
