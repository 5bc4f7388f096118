//! The vault in an engine that the tests of `many_processes` share.

use std::time::Duration;

use tokio::time::timeout;
use tower_credentials::vault::key::{Keys, VaultKey};
use tower_credentials::vault::redis::RedisBackend;
use tower_credentials::vault::seal::Seal;
use tower_credentials::vault::{VaultError, VaultExt};
use tower_credentials::{CredentialId, PoolKey};

use crate::children::{self, Child, Job, setting};
use crate::host::Bounds;
use crate::server::Server;

const PREFIX: &str = "tower-credentials";

/// Long enough for a busy machine, since these tests are not about it.
const COMMAND: Duration = Duration::from_secs(10);

/// A vault that is open.
pub(crate) type Opened = Seal<RedisBackend>;

/// A vault that processes share.
pub(crate) struct Shared {
    engine: Server,
    key: VaultKey,
}

impl Shared {
    /// `None` if no engine is installed.
    pub(crate) fn new() -> Option<Self> {
        Some(Self { engine: Server::start(&[])?, key: VaultKey::generate() })
    }

    pub(crate) async fn open(&self) -> Opened {
        self.open_another(PREFIX, &self.key).await.unwrap()
    }

    /// Opens it. A process that waits for nothing has no other settings here: nobody holds a lock.
    pub(crate) async fn open_impatiently(&self) -> Opened {
        self.open().await
    }

    /// Lets a child find the vault.
    pub(crate) fn found_by(&self, job: Job) -> Job {
        job.set("ENGINE", self.engine.url()).key("KEY", &self.key)
    }

    /// Opens another vault in the same engine.
    pub(crate) async fn open_another(&self, name: &str, key: &VaultKey) -> Result<Opened, VaultError> {
        open(self.engine.url(), name, key).await
    }

    /// Returns how many records are stored in that vault's pool.
    pub(crate) fn records_of_another(&self, name: &str, pool: &PoolKey) -> usize {
        self.engine.tell(&["HLEN", &part(name, pool, "records")])
    }

    /// Returns a record as it is stored.
    pub(crate) fn record(&self, pool: &PoolKey, id: CredentialId) -> Vec<u8> {
        self.engine.tell(&["HGET", &part(PREFIX, pool, "records"), &id.to_string()])
    }

    /// Makes sure that nobody else gets the lease that this child holds.
    pub(crate) async fn is_leased_by(&self, pool: &PoolKey, id: CredentialId, _: &Child) {
        let other = self.open().await;
        let lease = timeout(Bounds::SHORT.lease, other.lease_refresh(pool, id)).await;
        assert!(lease.is_err(), "it is held, and was renewed for another lifetime: {lease:?}");
    }

    /// Nothing is left behind by a change that was cut off: each is one step.
    pub(crate) fn leftovers(&self) -> usize {
        0
    }
}

/// A child's side: opens the vault that it shares.
pub(crate) async fn opened() -> Opened {
    open_another(PREFIX, &children::key("KEY")).await.unwrap()
}

/// A child's side: opens another vault in the same engine.
pub(crate) async fn open_another(name: &str, key: &VaultKey) -> Result<Opened, VaultError> {
    open(setting("ENGINE").unwrap(), name, key).await
}

async fn open(engine: String, prefix: &str, key: &VaultKey) -> Result<Opened, VaultError> {
    let builder = RedisBackend::builder(engine).prefix(prefix).command_timeout(COMMAND);
    builder.lease_lifetime(Bounds::SHORT.lease).open().await?.sealed(&Keys::new(key.clone())).await
}

fn part(prefix: &str, pool: &PoolKey, part: &str) -> String {
    format!("{prefix}:{{{}/{}}}:{part}", pool.provider(), pool.namespace())
}
