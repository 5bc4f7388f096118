//! The vault of many hosts, in Redis or Valkey.
//!
//! A [`RedisBackend`] keeps sealed secrets: the engine never sees a secret, and neither does who can read its memory, its files
//! or its network. [`RedisBackend::sealed`] opens the vault with its key, which all hosts need, and makes it the first time.
//!
//! ```no_run
//! use tower_credentials::PoolKey;
//! use tower_credentials::vault::VaultExt;
//! use tower_credentials::vault::key::Keys;
//! use tower_credentials::vault::redis::RedisBackend;
//!
//! # async fn run(keys: Keys) -> Result<(), tower_credentials::vault::VaultError> {
//! let backend = RedisBackend::builder("rediss://vault:password@redis.example.com").open().await?;
//! for finding in backend.findings() {
//!     eprintln!("{finding}");
//! }
//! let vault = backend.sealed(&keys).await?;
//! let pool = vault.load_pool(PoolKey::new("example")).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # URLs
//!
//! | URL | engine |
//! |---|---|
//! | `redis://host:6379/0`, `valkey://host` | one primary, with or without replicas |
//! | `rediss://…`, `valkeys://…` | the same with TLS |
//! | `redis+sentinel://host:26379,host2/service/0` | the primary that Sentinels name, also after a failover |
//! | `redis://host,host2?cluster=true` | a cluster, of which these are some nodes |
//!
//! A name and a password stand before the host, as in `redis://name:password@host`; the Sentinels' own in
//! `?sentinel_username=…&sentinel_password=…`. [`password`](RedisBackendBuilder::password) sets one that is kept elsewhere.
//! `?prefix=…` sets what the names of all keys begin with, as [`prefix`](RedisBackendBuilder::prefix) does. What is not a letter
//! or a digit is percent-encoded (RFC 3986, section 2.1). No message, log or `Debug` output shows a name or a password.
//!
//! # Keys
//!
//! All keys of a pool begin with `PREFIX:{PROVIDER/NAMESPACE}:`, so a cluster keeps them in one slot, and each change is one
//! script, which is one step for all hosts.
//!
//! | key | kind | what it is |
//! |---|---|---|
//! | `records` | hash | id → `GENERATION.VERSION:JSON`, the metadata and the sealed secret |
//! | `labels`, `names` | hash | label → id, and id → label |
//! | `log` | stream | the pool's changes, with the ids `NUMBER-RANDOM` |
//! | `revision` | string | the id of the last change |
//! | `snapshot` | string | the standings up to an id of the log, which is trimmed after it |
//! | `notes`, `failures` | hash | the refreshes that have begun, and that have failed |
//! | `batches`, `origins` | hash, sorted set | the last batch of the last 1,024 origins |
//! | `gone` | sorted set | the ids that were removed in the last 30 days |
//! | `epoch` | string | `LOG:RESTORES`: which log it is, and a token for each restore from a backup on purpose |
//! | `lease:ID` | string | who refreshes a credential; lapses by itself |
//!
//! `PREFIX:vault` says which key seals the vault, `PREFIX:pools` lists the pools, `PREFIX:restores` has a token for each restore on
//! purpose, and `PREFIX:{client:NAME}:lease` is a client's lease. `specs/fleet.md` in the crate's repository has the scripts and
//! protocols, so that another implementation can join.
//!
//! # What is promised
//!
//! - **One exchange at a time** for a credential or a client over all hosts, as long as its holder is heard of. A holder that
//!   is cut off presents no token [after a while](super::Begun::present_within), and others wait until that is over and
//!   [a grace](RedisBackendBuilder::grace) more. A late new secret is stored all the same: only its generation decides.
//! - **Each change is seen on all hosts at once** that watch the pool, by its log, on a connection of its own. A connection
//!   that was lost reads on where it was.
//! - **No request hangs**: a command has [a bound](RedisBackendBuilder::command_timeout), and shortly after a failure requests
//!   fail at once with [`VaultError::Unreachable`]. A change may then have been made. An outage is two lines in the log.
//! - **An engine that has forgotten** changes is given back, by any host that has seen them, newer secrets, lost accounts,
//!   limits, and the pauses, orders, tiers and quotas that a person has set. What was changed since then is kept. Removed accounts
//!   stay removed, if their removal was not forgotten. After a restore from a backup on purpose call
//!   [`RedisBackend::restored`]: nothing is given back then.
//! - **The engine's clock** decides. Cooldowns are kept by it, and each host measures by how much its own
//!   [clock](RedisBackendBuilder::clock) differs. So a limit lasts equally long for hosts whose clocks are wrong. Less than a
//!   second counts as no difference.
//!
//! | engine | a new secret, once its change is confirmed, outlives |
//! |---|---|
//! | `appendonly no` | the end of this process, but no restart of the engine: any host gives it back |
//! | `appendfsync everysec` | a killed engine; of a power cut the last second is lost. Redis 7.2 and Valkey are waited for |
//! | `appendfsync always` | a power cut |
//! | with replicas | most failovers: all replicas are waited for, with a bound, but replication stays asynchronous |
//!
//! After the change of a secret, an account that was added or removed, and before a token is presented, the engine is asked
//! to confirm (`WAIT`, `WAITAOF`). If it does not, that is logged and is no error. [`RedisBackend::findings`] says what the
//! engine's settings promise.
//!
//! # Limits
//!
//! - Replaced secrets stay, sealed, in the log until it is trimmed: after five quiet seconds if any host watches, and after
//!   512 changes at the latest. An append-only file has them until it is rewritten.
//! - A host that was cut off for longer than the lease and the grace, and has got a new secret, stores it late; if another
//!   one has presented the old token meanwhile, the vendor may have ended the sign-in. No lease can prevent that.
//! - While a cluster moves a pool's slot to another node, changes of that pool fail with [`VaultError::Unreachable`].
//! - Who can write to the engine can read and make no secret, but can remove records and put back older ones.
//! - When a token ends is by the clock of the host that has stored it, since that is sealed. So keep the clocks of hosts with
//!   sign-ins in step: one that is ahead of others renews their tokens too early, up to every 30 seconds, and one that is behind
//!   may only renew them once they are refused.
//! - If a host's clock is set, what its pools have learned and not stored until then is off by that step. The same is true of
//!   all cooldowns if the engine's own clock is set.
//! - An id is unique in its pool. Records have no size limit but the engine's of 512 MB.
//! - The engine's user needs the commands `EVAL`, `EVALSHA` and those of the scripts, `TIME`, `XREAD`, `WAIT`, `WAITAOF`, `INFO` and
//!   `CONFIG GET`; the last two may be forbidden, and then [a finding](Finding::Unknown) says so. A
//!   [check](RedisBackend::check) needs `SCAN` and `PTTL` to see all.

pub mod check;
mod clocks;
mod cluster;
mod copy;
mod dial;
mod durable;
mod engine;
mod entry;
mod epoch;
mod error;
mod facts;
mod fault;
mod find;
mod findings;
mod following;
mod giving_back;
mod giving_standings;
mod identity;
mod keys;
mod lease;
mod node;
mod past;
mod pool;
mod random;
mod records;
mod refresh;
mod replica;
mod script;
mod service;
mod settings;
mod snapshots;
mod state;
mod stored;
mod unfinished;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::VaultError;
use super::fair_lock::FairLock;
use super::redis_url as url;
use crate::credential::PoolKey;
use dial::Dialer;
use durable::Durable;
use engine::Engine;
use identity::Identity;
use keys::Keys;
use lease::Leased;
use pool::Pool;
use settings::Settings;
use url::Target;

pub use super::redis_url::{InvalidRedisUrl, RedisUrl};
pub use error::{EngineError, EngineErrorKind};
pub use findings::Finding;
pub use service::RedisFuture;
pub use settings::RedisBackendBuilder;
pub use state::{EngineState, ReplicaState};

/// A backend that keeps sealed secrets in Redis or Valkey; see [the module](self).
///
/// A clone is the same backend. It works in a tokio runtime with time and network enabled.
#[derive(Clone)]
pub struct RedisBackend(Arc<Inner>);

impl RedisBackend {
    /// Returns a builder for the engine at [this URL](self#urls).
    pub fn builder(url: impl Into<String>) -> RedisBackendBuilder {
        RedisBackendBuilder::new(url.into().parse())
    }

    /// Returns a builder for the engine at a URL that was parsed before.
    pub fn at(url: RedisUrl) -> RedisBackendBuilder {
        RedisBackendBuilder::new(Ok(url))
    }

    /// Returns what a person should know of the engine's settings, as they were when the backend was
    /// [opened](RedisBackendBuilder::open). Empty if it was only [built](RedisBackendBuilder::build).
    pub fn findings(&self) -> &[Finding] {
        self.0.findings.get().map_or(&[], Vec::as_slice)
    }

    /// Looks at the engine's settings now.
    ///
    /// # Errors
    /// [`VaultError::Unreachable`] if the engine is away, and other errors if it refuses.
    pub async fn examine(&self) -> Result<Vec<Finding>, VaultError> {
        self.0.examine().await
    }

    /// Returns what the engine says of itself now. Of a cluster it is the node that has the list of pools.
    ///
    /// # Errors
    /// [`VaultError::Unreachable`] if the engine is away, and other errors if it refuses.
    pub async fn state(&self) -> Result<EngineState, VaultError> {
        self.0.state().await
    }

    /// Looks through all keys of the vault for what does not fit; see [`check`]. With `fix` it mends what can be mended
    /// safely: the indexes of labels, and pools that are missing in the list of pools. Hosts may use the vault meanwhile.
    ///
    /// # Errors
    /// [`VaultError::Unreachable`] if the engine is away. Anything wrong with the vault is not an error but a
    /// [finding](check::Finding), and so is what this user may not look at.
    pub async fn check(&self, fix: bool) -> Result<check::Report, VaultError> {
        self.0.check(fix).await
    }

    /// Returns the pools that were ever put into, in order. One of them may have no account any more.
    ///
    /// # Errors
    /// [`VaultError::Unreachable`] if the engine is away, and other errors if it refuses.
    pub async fn pools(&self) -> Result<Vec<PoolKey>, VaultError> {
        self.0.all_pools().await
    }

    /// Checks that the engine takes changes now.
    #[cfg(feature = "setup")]
    pub(crate) async fn check_writable(&self) -> Result<(), VaultError> {
        match self.examine().await?.into_iter().find(|finding| *finding == Finding::ReadOnly) {
            Some(read_only) => {
                let error = EngineError::new(EngineErrorKind::Replica, read_only.to_string());
                Err(VaultError::Unreachable(error.into()))
            }
            None => Ok(()),
        }
    }

    /// Says that the engine was restored from a backup on purpose. No host then gives it back what it knew before, not even a
    /// pool that is not in the backup. Call this before hosts use the engine again.
    ///
    /// # Errors
    /// [`VaultError::Unreachable`] if the engine is away, and other errors if it refuses. Calling it again is safe.
    pub async fn restored(&self) -> Result<(), VaultError> {
        self.0.restored().await
    }
}

/// Shows where the engine is, without a name or a password.
impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackend")
            .field("engine", &format_args!("{}", self.0.engine.target()))
            .finish_non_exhaustive()
    }
}

/// What all clones share.
struct Inner {
    engine: Arc<Engine>,
    durable: Arc<Durable>,
    prefix: String,
    pools_key: String,
    settings: Settings,
    pools: Mutex<HashMap<PoolKey, Arc<Pool>>>,
    /// Those who wait for a lease in this process.
    lines: FairLock<Leased>,
    /// The leases that this process holds: their keys and tokens.
    held: Mutex<HashMap<String, String>>,
    findings: OnceLock<Vec<Finding>>,
    /// The identity of the vault, once it is open.
    identity: OnceLock<Identity>,
}

impl Inner {
    fn new(target: Target, dialer: Dialer, prefix: String, settings: Settings) -> Self {
        let engine = Arc::new(Engine::new(target, dialer, settings.command));
        Self {
            durable: Arc::new(Durable::new(engine.clone())),
            engine,
            pools_key: keys::pools(&prefix),
            prefix,
            settings,
            pools: Mutex::default(),
            lines: FairLock::new(),
            held: Mutex::default(),
            findings: OnceLock::new(),
            identity: OnceLock::new(),
        }
    }

    fn pool(&self, key: &PoolKey) -> Arc<Pool> {
        let mut pools = lock(&self.pools);
        if let Some(pool) = pools.get(key) {
            return pool.clone();
        }
        let pool = Arc::new(Pool::new(key.clone(), Keys::new(&self.prefix, key)));
        pools.insert(key.clone(), pool.clone());
        pool
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, String>> {
        lock(&self.held)
    }
}

fn lock<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    // An entry is in it or not.
    map.lock().unwrap_or_else(PoisonError::into_inner)
}
