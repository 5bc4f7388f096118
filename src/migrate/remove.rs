//! Removes a file whose accounts are in a vault.

use tokio::task::spawn_blocking;

use super::apply::pool_of;
use super::decide::has_all;
use super::error::{MigrateError, failed};
use super::file;
use super::found::{Entry, Found, Note};
use super::stored::Stored;
use crate::credential::Credential;
use crate::registry::Registry;
use crate::vault::Vault;

/// Removes a migrated file, which has the secrets that the vault seals in plain text. Every entry is first read back from
/// the vault, which must have it as it is in the file, or have had it and renewed it since. A link is removed along with its
/// target.
///
/// The file is renamed within its directory, compared with what was read, and then removed, so a file that its program writes
/// meanwhile is never removed by mistake. A file that has changed is put back.
///
/// Copies in a backup or in a snapshot of the file system stay. The program needs a new sign-in without its file.
///
/// The file operations run on a blocking thread, so this needs a tokio runtime.
///
/// # Errors
/// [`MigrateError::Skipped`], [`MigrateError::Changed`] or [`MigrateError::NotStored`], and if the file or the vault can't
/// be read. The file stays then. With [`MigrateError::SetAside`] it stays under another name, which the error has.
pub async fn remove_old(
    vault: &impl Vault,
    registry: &Registry,
    found: &Found,
) -> Result<(), MigrateError> {
    if !found.skipped.is_empty() {
        let (path, count) = (found.path.clone(), found.skipped.len());
        return Err(MigrateError::Skipped { path, count });
    }
    for entry in &found.entries {
        let pool = pool_of(registry, entry);
        let Stored { known, shut } = Stored::of(vault, pool.provider()).await?;
        if !known.iter().any(|known| has(&known.credential, entry)) {
            shut.check_key()?;
            let (path, entry) = (found.path.clone(), entry.name.clone());
            return Err(MigrateError::NotStored { path, entry });
        }
    }
    let whole_path = found.whole_path.clone();
    // Without the secrets, which the thread doesn't need.
    let file = Found {
        path: found.path.clone(),
        entries: Vec::new(),
        skipped: Vec::new(),
        whole_path: whole_path.clone(),
        ..*found
    };
    match spawn_blocking(move || file::remove(&file)).await {
        Ok(removed) => removed,
        Err(stopped) => match stopped.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(stopped) => Err(failed("remove", &whole_path)(std::io::Error::other(stopped))),
        },
    }
}

/// Whether a record has all of an entry, or had it before a renewal.
fn has(record: &Credential, entry: &Entry) -> bool {
    let noted = Note::of(&record.secret).is_some_and(|note| note.entry == entry.note().entry);
    noted || has_all(record, entry)
}
