//! Removing a file whose accounts are in a vault.

use tokio::task::spawn_blocking;

use super::apply::pool_of;
use super::decide::has_all;
use super::error::MigrateError;
use super::file;
use super::found::{Entry, Found, Note};
use super::stored::Stored;
use crate::credential::Credential;
use crate::registry::Registry;
use crate::vault::Vault;

/// Removes a file that was migrated: plain text of the secrets that the vault seals. Every entry is read back
/// from the vault first, and must be there as it is in the file, or have been and been renewed since. A link
/// goes with the file that it leads to.
///
/// The file is renamed within its directory first, then compared with what was read, then removed: one that its
/// program puts in place meanwhile is not taken for it. One that has changed is put back.
///
/// Copies elsewhere, in a backup or a snapshot of the file system, are not known here; and a program that has
/// lost its file needs a new sign-in.
///
/// The disk's work is done on a thread of its own, so this needs a tokio runtime.
///
/// # Errors
/// [`MigrateError::Skipped`], [`MigrateError::Changed`] or [`MigrateError::NotStored`], and where the file or
/// the vault can't be read. The file is there then. With [`MigrateError::SetAside`] it is there under another
/// name, which that tells.
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
    // The secrets stay here.
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
            Err(stopped) => Err(file::failed("remove", &whole_path)(std::io::Error::other(stopped))),
        },
    }
}

/// Whether a record has all of an entry, or had it and was renewed.
fn has(record: &Credential, entry: &Entry) -> bool {
    let noted = Note::of(&record.secret).is_some_and(|note| note.entry == entry.note().entry);
    noted || has_all(record, entry)
}
