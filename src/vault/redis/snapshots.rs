//! Snapshots of a pool's standings, after which its log is trimmed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Inner;
use super::entry::EntryId;
use super::pool::Pool;
use super::script::{CLAIM, KEEP_SNAPSHOT};
use super::{random, replica::Replica};
use crate::vault::VaultError;

/// How long one host has to store a snapshot before another one tries.
const CLAIMED_FOR_MILLIS: u64 = 10_000;

/// When a snapshot is due.
#[derive(Clone, Copy)]
pub(super) struct Due {
    /// After how many entries.
    pub(super) after: u64,
    /// How many entries the log keeps, for hosts that read it a little later.
    pub(super) keeps: u64,
}

impl Due {
    /// While a pool changes.
    pub(super) const BUSY: Self = Self { after: 512, keeps: 128 };

    /// When nothing has changed for a while. The last entry always stays, since it shows that the log is the same.
    pub(super) const QUIET: Self = Self { after: 1, keeps: 0 };
}

impl Inner {
    /// Stores a snapshot in a task, if one is due.
    pub(super) fn keep_snapshot_if_due(self: &Arc<Self>, pool: &Arc<Pool>, due: Due) {
        let is_due = {
            let copy = pool.copy();
            let is_claimed = copy.snapshot_claimed_until.is_some_and(|until| Instant::now() < until);
            !is_claimed
                && copy.replica.as_ref().is_some_and(|replica| {
                    replica.last().number >= copy.snapshot.number.saturating_add(due.after)
                })
        };
        if is_due {
            let (inner, pool) = (self.clone(), pool.clone());
            tokio::spawn(async move {
                if let Err(error) = inner.keep_snapshot(&pool, due.keeps).await {
                    tracing::debug!(target: "tower_credentials", pool = %pool.key, %error, "no snapshot was stored");
                }
            });
        }
    }

    /// Stores a snapshot and trims the log before it. Only one host does that at a time.
    async fn keep_snapshot(&self, pool: &Pool, keeps: u64) -> Result<(), VaultError> {
        let slot = pool.keys.slot();
        let claim =
            CLAIM.on([pool.keys.part("lease:snapshot")]).arg(random::token()).arg(CLAIMED_FOR_MILLIS);
        let (said, left): (String, u64) = self.engine.run(slot, &claim).await?;
        if said != "yours" {
            // Each change would ask again.
            pool.copy().snapshot_claimed_until = Some(Instant::now() + Duration::from_millis(left));
            return Ok(());
        }
        let mut get = redis::cmd("GETRANGE");
        get.arg(pool.keys.part("snapshot")).arg(0).arg(63);
        let head: String = self.engine.command(slot, &get).await?;
        let stored = EntryId::said(head.split(':').next().unwrap_or_default())?;
        let (text, last) = {
            let mut copy = pool.copy();
            copy.snapshot = stored;
            let newer = |replica: &&Replica| replica.last().number > stored.number;
            match copy.replica.as_ref().filter(newer) {
                Some(replica) => (replica.snapshot()?, replica.last()),
                None => return Ok(()),
            }
        };
        let call = KEEP_SNAPSHOT
            .on(pool.keys.all())
            .arg(stored.to_say())
            .arg(text)
            .arg(last.number.saturating_sub(keeps));
        let now: String = self.engine.run_within(slot, &call, self.engine.within * 10).await?;
        pool.copy().snapshot = EntryId::said(&now)?;
        Ok(())
    }
}
