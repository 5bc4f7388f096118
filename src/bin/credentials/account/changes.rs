//! Whether anything has changed since the accounts were read, at little cost: for what shows them all the time.

use std::time::Duration;

use tokio::time::Instant;
use tower_credentials::PoolKey;
use tower_credentials::vault::{Revision, VaultExt};

use crate::context::Context;
use crate::mark::Mark;

/// How often to look whether anything has changed.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// After how long the accounts are read although nothing seems to have changed.
const READ_ANYWAY: Duration = Duration::from_secs(30);

/// What was there when the accounts were read.
#[derive(Default)]
pub(crate) struct Changes {
    read: Option<(Marks, Instant)>,
    /// What was there when it was last looked.
    last: Option<Marks>,
    /// Whether to read whatever is there.
    is_forced: bool,
}

impl Changes {
    /// Looks whether the accounts must be read.
    pub(crate) async fn are_there(&mut self, context: &Context) -> bool {
        let pools = self.read.iter().flat_map(|(marks, _)| &marks.revisions);
        let pools = pools.map(|(pool, _)| pool.clone()).collect();
        let marks = Marks::of(context, pools).await;
        let is_new =
            self.read.as_ref().is_none_or(|(old, at)| *old != marks || at.elapsed() >= READ_ANYWAY);
        self.last = Some(marks);
        is_new || self.is_forced
    }

    /// The accounts were read after that; they are of these pools.
    pub(crate) fn were_read<'a>(&mut self, pools: impl IntoIterator<Item = &'a PoolKey>) {
        let Some(mut marks) = self.last.take() else { return };
        for pool in pools {
            if marks.revisions.iter().all(|(known, _)| known != pool) {
                // Its revision before that is not known, so it is read once more.
                marks.revisions.push((pool.clone(), None));
            }
        }
        self.read = Some((marks, Instant::now()));
        self.is_forced = false;
    }

    /// Reads the accounts in any case the next time.
    #[cfg(feature = "tui")]
    pub(crate) fn force(&mut self) {
        self.is_forced = true;
    }
}

/// What shows that something has changed.
#[derive(PartialEq, Eq)]
struct Marks {
    settings: Mark,
    /// The directories in which new accounts and new pools make files, as the vault's format has it.
    directories: [Mark; 2],
    /// The pools of a vault in an engine; `None` if it is away, or there is none.
    pools: Option<Vec<PoolKey>>,
    /// The revisions of the known pools.
    revisions: Vec<(PoolKey, Option<Revision>)>,
}

impl Marks {
    async fn of(context: &Context, pools: Vec<PoolKey>) -> Self {
        let directories = ["records", "pools"].map(|name| Mark::of(&context.places.own.join(name)));
        let there = match context.engine().await {
            Ok(Some(engine)) => engine.pools().await.ok(),
            _ => None,
        };
        let mut revisions = Vec::new();
        if (context.has_vault() || there.is_some())
            && let Ok(Some(vault)) = context.vault().await
        {
            for pool in pools {
                let revision = vault.revision(pool.clone()).await.ok();
                revisions.push((pool, revision));
            }
        }
        Self { settings: Mark::of(&context.places.config), directories, pools: there, revisions }
    }
}
