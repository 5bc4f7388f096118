//! Whether a gateway of a vault runs, and what it does not know yet.
//!
//! A gateway looks for the pools of its vault when it starts, and when it is told to read its settings again. The file with
//! whose time it is told is also where it can be noticed: it holds a lock on it for as long as it runs.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use tower_credentials::PoolKey;
use tower_credentials::vault::{Vault, VaultExt};

use crate::context::Context;
use crate::failure::Failure;
use crate::{files, output};

/// Returns the file whose time says when the gateways of a vault were last told.
pub(crate) fn told_by(vault: &Path) -> PathBuf {
    files::beside(vault, ".serve.reload")
}

/// Lets others notice that a gateway of the vault runs, for as long as what this returns is there. If the system gives out
/// no lock, nobody notices.
#[cfg(feature = "serve")]
pub(crate) fn notice(vault: &Path) -> Option<File> {
    // Nothing is made where there is no vault.
    if !vault.is_dir() {
        return None;
    }
    let path = told_by(vault);
    let file = File::options().create(true).truncate(false).write(true).open(&path).ok()?;
    #[cfg(unix)]
    files::give_to_owner(&path, vault);
    file.try_lock_shared().ok()?;
    Some(file)
}

/// Whether a gateway of the vault runs.
pub(crate) fn is_noticed(vault: &Path) -> bool {
    let Ok(file) = File::open(told_by(vault)) else { return false };
    matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

/// The pools that had accounts before a command, if a gateway runs: it may serve these.
pub(crate) struct Before(Option<BTreeSet<PoolKey>>);

impl Before {
    pub(crate) async fn of(context: &Context, vault: &impl Vault) -> Result<Self, Failure> {
        Ok(Self(match is_noticed(&context.places.vault) {
            true => Some(pools(vault).await?),
            false => None,
        }))
    }

    /// Says which pools the gateway does not serve yet, since they have their first account now.
    pub(crate) async fn tell(self, vault: &impl Vault) -> Result<(), Failure> {
        let Some(before) = self.0 else { return Ok(()) };
        let new: Vec<_> = pools(vault).await?.difference(&before).map(ToString::to_string).collect();
        if !new.is_empty() {
            let new = output::plain(&new.join(" and "));
            output::say(format_args!("The gateway that is running does not serve {new} yet"));
            output::way_out("credentials serve reload");
        }
        Ok(())
    }
}

async fn pools(vault: &impl Vault) -> Result<BTreeSet<PoolKey>, Failure> {
    Ok(vault.list().await?.credentials.into_iter().map(|account| account.pool).collect())
}
