//! The service: each request in a transaction, in a thread that may block.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use sha2::{Digest, Sha256};
use tower::Service;
use tower_credentials::BoxError;
use tower_credentials::vault::seal::Sealed;
use tower_credentials::vault::{RefreshLease, VaultError, VaultRequest, VaultResponse};

use super::{pools, records};

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
    /// Those of this process who wait for a lease, by its name, in the order in which they have asked.
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

    /// Waits for the lease with this name. Whoever drops the future leaves nothing behind.
    async fn lease(&self, name: String) -> Result<VaultResponse<Sealed>, BoxError> {
        let path = self.leases.join(&name);
        let line =
            self.lines.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default().clone();
        let turn = line.lock_owned().await;
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
                    // The transaction ends before the wait, so a lease holds up nothing else.
                    backend.run(Deferred, move |on| records::get(on, &pool, id)).await?;
                    backend.lease(id.to_string()).await
                }
                // Any text, of any length: it is no file's name.
                LeaseClient { client } => {
                    let digest = Sha256::digest(client.as_bytes());
                    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                    backend.lease(format!("client-{hex}")).await
                }
                Load(_) | List | Get { .. } | Revision(_) | Changes { .. } => {
                    backend.run(Deferred, |on| answer(on, request)).await
                }
                // What writes takes the lock when it begins: a transaction that has read what another then changes could
                // not write any more.
                _ => backend.run(Immediate, |on| answer(on, request)).await,
            }
        })
    }
}

fn answer(
    on: &Transaction<'_>,
    request: VaultRequest<Sealed>,
) -> Result<VaultResponse<Sealed>, BoxError> {
    Ok(match request {
        VaultRequest::Load(pool) => VaultResponse::Pool(pools::load(on, &pool)?),
        VaultRequest::List => VaultResponse::List(pools::list(on)?),
        VaultRequest::Put(record) => VaultResponse::Stored(records::put(on, record)?),
        VaultRequest::Relabel { pool, id, label } => {
            VaultResponse::Stored(records::relabel(on, &pool, id, label)?)
        }
        VaultRequest::Move { pool, id, place } => {
            pools::move_to(on, &pool, id, place)?;
            VaultResponse::Done
        }
        VaultRequest::Remove { pool, id } => {
            records::remove(on, &pool, id)?;
            VaultResponse::Done
        }
        VaultRequest::Get { pool, id } => VaultResponse::Credential(records::get(on, &pool, id)?),
        VaultRequest::ReplaceSecret { pool, id, expected, secret, attributes } => {
            let replaced = records::replace(on, &pool, id, expected, &secret, attributes.as_ref())?;
            VaultResponse::Replaced(replaced)
        }
        VaultRequest::Reseal { pool, id, expected, secret } => {
            VaultResponse::Replaced(records::reseal(on, &pool, id, expected, &secret)?)
        }
        VaultRequest::Record { pool, outcomes, batch } => {
            VaultResponse::Revision(pools::record(on, &pool, &outcomes, batch)?)
        }
        VaultRequest::BeginRefresh { pool, id, expected } => {
            VaultResponse::Begun(records::begin_refresh(on, &pool, id, expected)?)
        }
        VaultRequest::RefreshFailed { pool, id, expected, failed } => {
            records::refresh_failed(on, &pool, id, expected, failed)?;
            VaultResponse::Done
        }
        VaultRequest::Revision(pool) => VaultResponse::Revision(pools::pool(on, &pool)?.1),
        VaultRequest::Changes { pool, since, .. } => {
            VaultResponse::Changes(pools::changes(on, &pool, since)?)
        }
        // SQLite tells no other process of a change, so a pool asks for the revision each second.
        other => return Err(VaultError::Unsupported { request: other.name() }.into()),
    })
}
