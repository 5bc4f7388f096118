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
