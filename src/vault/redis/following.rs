//! Following a pool's log: one task for each pool that anybody watches, on a connection of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::RedisError;
use redis::aio::MultiplexedConnection;
use tokio::time::{Instant, sleep, sleep_until};

use super::entry::{Entry, EntryId};
use super::fault::Fault;
use super::pool::{MOST_ENTRIES, Pool};
use super::snapshots::Due;
use super::{Inner, random};
use crate::vault::{VaultError, Watch};

/// How long the engine waits for a new entry. After each such wait it is seen whether the log still is the same, and whether
/// anybody still watches.
const BLOCK: Duration = Duration::from_secs(5);

/// The minimum time between two reads that find something. If changes come faster, one read takes several: with 1,000 hosts, most
/// of what the engine does is to answer these reads. A change after a quiet time is read at once.
const MIN_BETWEEN_READS: Duration = Duration::from_millis(10);

/// How long to wait before the next try: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

impl Inner {
    /// Returns a handle that tells of changes. The first notice may come without one.
    pub(super) fn watch(self: &Arc<Self>, pool: &Arc<Pool>) -> Watch {
        let watch = Watch::of(pool.changed.subscribe());
        if !pool.is_followed.swap(true, Ordering::AcqRel) {
            let (inner, pool) = (self.clone(), pool.clone());
            tokio::spawn(async move { inner.follow(&pool).await });
        }
        watch
    }

    async fn follow(self: Arc<Self>, pool: &Arc<Pool>) {
        loop {
            // If the runtime ends this task, the next one that watches starts another.
            let followed = Followed(pool.clone());
            self.follow_while_watched(pool).await;
            drop(followed);
            // Somebody may have begun to watch before the mark was gone.
            if pool.changed.receiver_count() == 0 || pool.is_followed.swap(true, Ordering::AcqRel) {
                return;
            }
        }
    }

    async fn follow_while_watched(self: &Arc<Self>, pool: &Arc<Pool>) {
        let mut failures = 0;
        while pool.changed.receiver_count() > 0 {
            let began = Instant::now();
            // What is wrong with the engine itself is logged once for each outage, by its node.
            let read = self.read_as_it_grows(pool).await;
            pool.is_read.store(false, Ordering::Release);
            if let Err(error) = read
                && failures == 0
            {
                if let VaultError::Layer(_) = error {
                    tracing::warn!(target: "tower_credentials", pool = %pool.key, %error, "could not follow a pool");
                }
                // Who watches must notice that nobody tells them of changes now.
                pool.changed.send_replace(());
            }
            failures = if began.elapsed() > BLOCK { 0 } else { failures + 1u32 };
            let most = PAUSE.0.saturating_mul(1 << failures.min(10)).min(PAUSE.1);
            sleep(random::jitter(most)).await;
        }
    }

    /// Reads the log as it grows, until something is wrong or nobody watches.
    async fn read_as_it_grows(self: &Arc<Self>, pool: &Arc<Pool>) -> Result<(), VaultError> {
        let slot = pool.keys.slot();
        let last = self.last(pool).await?;
        let node = self.engine.sure_node(slot).await?;
        let live = node.live().await?;
        let connection = self.engine.dial(&live, BLOCK + self.engine.within).await?;
        let known = pool.copy().last;
        let mut cursor = known;
        if known == EntryId::NONE {
            // What came before is not read here: the pool is told, and looks for itself.
            cursor = last;
        } else if !self.is_there(pool, known).await? {
            // The next entry may be one of another log, and must not be taken for the next one of this.
            pool.copy().give_up_replica();
            cursor = last;
        }
        let mut commands = connection.commands.clone();
        pool.changed.send_replace(());
        while pool.changed.receiver_count() > 0 {
            if !self.is_there(pool, cursor).await? {
                // Begins again from where the log is now.
                return Ok(());
            }
            let mut read_at = None;
            loop {
                if let Some(read_at) = read_at {
                    sleep_until(read_at + MIN_BETWEEN_READS).await;
                }
                let entries = read(&mut commands, &pool.keys.part("log"), cursor)
                    .await
                    .map_err(|error| node.note_fault(&live, Fault::of(&error, &live.address)))?;
                let Some(entry) = entries.last() else { break };
                cursor = entry.id()?;
                read_at = Some(Instant::now());
                pool.copy().feed(entries)?;
                pool.is_read.store(true, Ordering::Release);
                pool.changed.send_replace(());
                if pool.changed.receiver_count() == 0 {
                    return Ok(());
                }
            }
            // Notices if this host's clock was set.
            self.difference(pool).await?;
            // Nobody has changed anything for a while: old secrets need not stay in the log.
            self.keep_snapshot_if_due(pool, Due::QUIET);
        }
        Ok(())
    }

    /// Returns whether the log still has this entry.
    async fn is_there(&self, pool: &Pool, id: EntryId) -> Result<bool, VaultError> {
        if id == EntryId::NONE {
            return Ok(true);
        }
        let mut read = redis::cmd("XRANGE");
        read.arg(pool.keys.part("log")).arg(id.to_string()).arg(id.to_string());
        let found: Vec<Entry> = self.engine.command(pool.keys.slot(), &read).await?;
        Ok(!found.is_empty())
    }
}

/// Reads the entries after this one, and waits if there are none.
async fn read(
    commands: &mut MultiplexedConnection,
    log: &str,
    after: EntryId,
) -> Result<Vec<Entry>, RedisError> {
    let mut read = redis::cmd("XREAD");
    read.arg("COUNT").arg(MOST_ENTRIES).arg("BLOCK").arg(BLOCK.as_millis() as u64);
    read.arg("STREAMS").arg(log).arg(after.to_string());
    let read: Option<Vec<(String, Vec<Entry>)>> = read.query_async(commands).await?;
    Ok(read.into_iter().flatten().flat_map(|(_, entries)| entries).collect())
}

/// The mark that a pool is followed.
struct Followed(Arc<Pool>);

impl Drop for Followed {
    fn drop(&mut self) {
        // If its runtime has ended, it is dropped while it reads.
        self.0.is_read.store(false, Ordering::Release);
        self.0.is_followed.store(false, Ordering::Release);
    }
}
