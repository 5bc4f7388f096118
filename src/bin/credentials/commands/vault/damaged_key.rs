//! A key file that holds no key: it makes room for another, and is kept under another name.

use std::path::PathBuf;

use tower_credentials::vault::key::FileKey;

use crate::context::import_of;
use crate::failure::{Exit, Failure};
use crate::{output, prompt};

/// Refuses to put an unrelated key beside the previous key of a key change that was not finished: the two would be taken for
/// keys of the same vault.
pub(super) fn no_previous(damaged: &FileKey) -> Result<(), Failure> {
    let mut previous = damaged.path().as_os_str().to_owned();
    previous.push(".old");
    let previous = PathBuf::from(previous);
    if previous.symlink_metadata().is_err() {
        return Ok(());
    }
    let message =
        format!("a key change was not finished, and {} has the key from before it", previous.display());
    Err(Failure::new(Exit::Vault, message)
        .way_out(format!("{}; or move that file elsewhere, and run this again", import_of(&previous))))
}

/// Asks a person, then renames the file and says so.
pub(super) async fn set_damaged_aside(damaged: &FileKey, yes: bool) -> Result<(), Failure> {
    let path = output::path(damaged.path());
    if !yes {
        let question =
            format!("{path} holds no key. Store another in its place, and keep it beside that?");
        prompt::confirm(&question, "--yes").await?;
    }
    // Another process may have stored a key meanwhile.
    if let Some(kept) = damaged.set_damaged_aside().await? {
        output::say(format_args!("The damaged key file is kept in {}", output::path(&kept)));
    }
    Ok(())
}
