//! The service: each request in a transaction, in a thread that may block.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use sha2::{Digest, Sha256};
use tokio::sync::OwnedMutexGuard;
use tower::Service;
use tower_credentials::vault::seal::Sealed;
use tower_credentials::vault::{
    Damage, Listing, PoolDocument, RefreshLease, VaultError, VaultRequest, VaultResponse,
};
use tower_credentials::{BoxError, PoolKey};

/// How often a lease is asked for that another holds. The system tells nobody that a file is unlocked.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// A backend in a SQLite database, for any number of processes of one machine. A clone is the same backend.
#[derive(Clone, Debug)]
pub struct SqliteBackend {
    database: Arc<Mutex<Connection>>,
    /// A file for each lease, which its holder has locked. The system unlocks it when the process ends, however that
    /// happens, so no lease outlives its holder, and none ends before it. The files are never removed: a process that waits
    /// would lock one that no other sees.
    leases: PathBuf,
    /// The tasks of this process that wait for a lease, by its name, in the order in which they have asked.
    lines: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>,
}

impl SqliteBackend {
    /// Opens the database in this directory, and makes both if they are not there. It must be on a local disk: over a network
    /// locks may not hold.
    pub async fn open(directory: impl AsRef<Path>) -> Result<Self, BoxError> {
        let directory = directory.as_ref().to_owned();
        let open = move || {
            let leases = directory.join("leases");
            fs::create_dir_all(&leases)?;
            // SQLite waits for nobody who makes the same database.
            let opening = File::create(directory.join("opening"))?;
            opening.lock()?;
            let database = Connection::open(directory.join("vault.sqlite"))?;
            database.busy_timeout(Duration::from_secs(10))?;
            // Readers do not wait for writers, and what is committed is on the disk.
            database.pragma_update(None, "journal_mode", "wal")?;
            database.pragma_update(None, "synchronous", "full")?;
            database.execute_batch(include_str!("schema.sql"))?;
            Ok(Self { database: Arc::new(Mutex::new(database)), leases, lines: Arc::default() })
        };
        tokio::task::spawn_blocking(open).await?
    }

    /// Runs this in a transaction of its own.
    async fn run<T: Send + 'static>(
        &self,
        behavior: TransactionBehavior,
        ask: impl FnOnce(&Transaction<'_>) -> Result<T, BoxError> + Send + 'static,
    ) -> Result<T, BoxError> {
        let database = self.database.clone();
        let run = move || {
            // A panic cannot leave half a change: its transaction was not committed.
            let mut database = database.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction = database.transaction_with_behavior(behavior)?;
            let response = ask(&transaction)?;
            transaction.commit()?;
            Ok(response)
        };
        tokio::task::spawn_blocking(run).await?
    }

    /// Waits until all of this process who have asked for this lease before have had it.
    async fn turn(&self, name: &str) -> OwnedMutexGuard<()> {
        let line = {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.retain(|_, line| Arc::strong_count(line) > 1);
            lines.entry(name.to_owned()).or_default().clone()
        };
        line.lock_owned().await
    }

    /// Waits until no other process has the lease with this name. Whoever drops the future leaves nothing behind.
    async fn lease(
        &self,
        name: String,
        turn: OwnedMutexGuard<()>,
    ) -> Result<VaultResponse<Sealed>, BoxError> {
        let path = self.leases.join(&name);
        let open = move || File::options().create(true).truncate(false).write(true).open(path);
        let file = tokio::task::spawn_blocking(open).await??;
        loop {
            match file.try_lock() {
                // The file is unlocked before the next one's turn.
                Ok(()) => return Ok(VaultResponse::Lease(RefreshLease::new((file, turn)))),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(ASK_AGAIN).await,
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
    }
}

impl Service<VaultRequest<Sealed>> for SqliteBackend {
    type Response = VaultResponse<Sealed>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<VaultResponse<Sealed>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: VaultRequest<Sealed>) -> Self::Future {
        use TransactionBehavior::{Deferred, Immediate};
        use VaultRequest::*;
        let backend = self.clone();
        Box::pin(async move {
            match request {
                LeaseRefresh { pool, id } => {
                    let turn = backend.turn(&id.to_string()).await;
                    // The transaction ends before the wait, so a lease holds up nothing else.
                    backend.run(Deferred, move |on| Ok(document(on, pool)?.get(id).map(drop)?)).await?;
                    backend.lease(id.to_string(), turn).await
                }
                // Any text, of any length: it is no file's name.
                LeaseClient { client } => {
                    let digest = Sha256::digest(client.as_bytes());
                    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                    let name = format!("client-{hex}");
                    let turn = backend.turn(&name).await;
                    backend.lease(name, turn).await
                }
                List => Ok(VaultResponse::List(backend.run(Deferred, list).await?)),
                // SQLite tells no other process of a change, so a pool asks for the revision each second.
                Watch(_) => Ok(VaultResponse::Watch(None)),
                Load(_) | Get { .. } | Revision(_) | Changes { .. } => {
                    backend.run(Deferred, |on| apply(on, request)).await
                }
                // What writes takes the lock when it begins: a transaction that has read what another then changes could
                // not write any more.
                _ => backend.run(Immediate, |on| apply(on, request)).await,
            }
        })
    }
}

/// Does a request of one pool.
fn apply(
    on: &Transaction<'_>,
    request: VaultRequest<Sealed>,
) -> Result<VaultResponse<Sealed>, BoxError> {
    let Some(pool) = request.pool().cloned() else {
        return Err(VaultError::Unsupported { request: request.name() }.into());
    };
    match &request {
        VaultRequest::Put(record) => {
            let id = record.metadata.id;
            let insert = "INSERT OR IGNORE INTO credentials (id) VALUES (?1)";
            if on.execute(insert, [id.to_string()])? == 0 {
                return Err(VaultError::Exists(id).into());
            }
        }
        VaultRequest::Remove { id, .. } => {
            on.execute("DELETE FROM credentials WHERE id = ?1", [id.to_string()])?;
        }
        _ => {}
    }
    let mut document = document(on, pool.clone())?;
    // If this fails, nothing is committed, so the table of ids stays as it was as well.
    let applied = document.apply(request, SystemTime::now().into())?;
    if applied.is_changed {
        let stored = serde_json::to_string(&document)?;
        let replace = "REPLACE INTO pools (provider, namespace, document) VALUES (?1, ?2, ?3)";
        on.execute(replace, [pool.provider(), pool.namespace(), &stored])?;
    }
    Ok(applied.response)
}

/// Reads a pool's document.
fn document(on: &Transaction<'_>, pool: PoolKey) -> Result<PoolDocument<Sealed>, BoxError> {
    let select = "SELECT document FROM pools WHERE provider = ?1 AND namespace = ?2";
    let names = [pool.provider(), pool.namespace()];
    let stored: Option<String> = on.query_row(select, names, |row| row.get(0)).optional()?;
    let Some(stored) = stored else { return Ok(PoolDocument::new(pool)) };
    Ok(serde_json::from_str(&stored).map_err(|error| VaultError::Damaged(damage(&pool, error)))?)
}

fn damage(pool: &PoolKey, error: serde_json::Error) -> Damage {
    Damage::new(format!("the document of the pool {pool}"), error.to_string())
}

/// Lists all pools. A document that can't be read does not keep the others from being read.
fn list(on: &Transaction<'_>) -> Result<Listing, BoxError> {
    let select = "SELECT provider, namespace FROM pools ORDER BY provider, namespace";
    let mut pools = on.prepare(select)?;
    let pools = pools.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut listing = Listing::default();
    for pool in pools.collect::<Result<Vec<(String, String)>, _>>()? {
        match document(on, PoolKey::with_namespace(pool.0, pool.1)).map_err(VaultError::from) {
            Ok(document) => {
                let Listing { credentials, damaged } = document.listing();
                listing.credentials.extend(credentials);
                listing.damaged.extend(damaged);
            }
            Err(VaultError::Damaged(damage)) => listing.damaged.push(damage),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(listing)
}
