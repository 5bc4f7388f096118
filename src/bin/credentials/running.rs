//! Whether a gateway of a vault runs, and what it does not know yet.
//!
//! A gateway looks for the pools of its vault when it starts, when it is told to read its settings again, and when there is a
//! vault for the first time. It can be noticed by a file beside the vault, on which it holds a lock for as long as it runs.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
#[cfg(feature = "serve")]
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tower_credentials::PoolKey;
#[cfg(feature = "serve")]
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::{Vault, VaultExt};

use crate::context::Context;
use crate::failure::Failure;
use crate::{files, output};

/// Returns the file whose time says when the gateways of a vault were last told.
#[cfg(feature = "serve")]
pub(crate) fn told_by(vault: &Path) -> PathBuf {
    files::beside(vault, ".serve.reload")
}

/// Returns the file by which the gateways of a vault are noticed. It has a line of each, with the providers that it serves, or
/// [`ALL`]. A line may be of one that has ended, as long as another one runs. Without any line, all providers are served.
fn noticed_by(vault: &Path) -> PathBuf {
    files::beside(vault, ".serve.running")
}

/// Stands for all providers, also those that have no account yet.
const ALL: &str = "*";

/// Lets others notice a gateway, for as long as this is there.
#[cfg(feature = "serve")]
pub(crate) struct Running {
    vault: PathBuf,
    serves: String,
    /// `None` if the system gives out no lock, so that nobody notices.
    _lock: Option<File>,
    /// Whether there is a vault. One in an engine is asked for by who waits for it.
    has_vault: bool,
}

#[cfg(feature = "serve")]
impl Running {
    /// A gateway of these providers, or of all if none is named.
    pub(crate) fn of(context: &Context, providers: &[String]) -> Self {
        let names = providers.iter().filter_map(|name| context.pool_key(name, None).ok());
        let names: Vec<_> = names.map(|key| key.provider().to_owned()).collect();
        let serves = if providers.is_empty() { ALL.to_owned() } else { names.join(" ") };
        let vault = context.places.own.clone();
        let mut running = Self { vault, serves, _lock: None, has_vault: false };
        if context.places.vault.directory().is_some() {
            running.notice();
        } else if context.own_files().is_ok() {
            running.has_vault = true;
            running._lock = running.lock().ok();
        }
        running
    }

    /// Looks for the vault, since nothing is made where there is none. Returns whether there is one for the first time.
    pub(crate) fn notice(&mut self) -> bool {
        if self.has_vault || !FileVault::is_at(&self.vault) {
            return false;
        }
        self.has_vault = true;
        self._lock = self.lock().ok();
        true
    }

    fn lock(&self) -> io::Result<File> {
        let path = noticed_by(&self.vault);
        let mut options = File::options();
        options.create(true).append(true);
        // Others could hold a lock on it for ever.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path)?;
        #[cfg(unix)]
        files::give_to_owner(&path, &self.vault);
        if file.try_lock().is_ok() {
            // All gateways that have a line there have ended.
            file.set_len(0)?;
            file.unlock()?;
        }
        file.lock_shared()?;
        // Windows lets nobody write to a file that is locked.
        let _ = file.write_all(format!("{}\n", self.serves).as_bytes());
        Ok(file)
    }
}

/// Whether a gateway of the vault runs.
pub(crate) fn is_noticed(vault: &Path) -> bool {
    let Ok(file) = File::open(noticed_by(vault)) else { return false };
    matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

/// The pools that had accounts before a command, if a gateway may run: it may serve these.
pub(crate) struct Before(Option<BTreeSet<PoolKey>>);

impl Before {
    pub(crate) async fn of(context: &Context, vault: &impl Vault) -> Result<Self, Failure> {
        // A gateway that is older than the vault may notice that at any moment.
        let may_run = context.has_made_vault() || is_noticed(&context.places.own);
        Ok(Self(if may_run { Some(pools(vault).await?) } else { None }))
    }

    /// Says which pools the gateway does not serve yet, since they have their first account now.
    pub(crate) async fn tell(self, context: &Context, vault: &impl Vault) -> Result<(), Failure> {
        let Some(before) = self.0.filter(|_| is_noticed(&context.places.own)) else { return Ok(()) };
        let served = fs::read_to_string(noticed_by(&context.places.own)).unwrap_or_default();
        let served: Vec<_> = served.split_whitespace().collect();
        let is_served = |pool: &&PoolKey| {
            served.is_empty() || served.iter().any(|name| [ALL, pool.provider()].contains(name))
        };
        let after = pools(vault).await?;
        let new: Vec<_> = after.difference(&before).filter(is_served).map(ToString::to_string).collect();
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
