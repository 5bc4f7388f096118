//! Errors of reading a file, as damage.

use std::path::Path;

use crate::vault::{Damage, READ_DIRECTORY, VaultError, way_out};

/// Turns the `error` of reading the file at `path` into an entry for a list of damage.
pub(super) fn as_damage(path: &Path, error: VaultError) -> Damage {
    match error {
        VaultError::Damaged(damage) => damage,
        VaultError::Io { action: action @ READ_DIRECTORY, path: of, source } if of == path => {
            let way_out = way_out(action, path, source.kind());
            let reason = format!("could not read this directory: {source}{way_out}");
            Damage { may_pass: true, ..Damage::new(path.display().to_string(), reason) }
        }
        error => {
            let may_pass = matches!(error, VaultError::Io { .. });
            let reason = match &error {
                // The damage names the file already.
                VaultError::Io { action, path: of, source } if of == path => {
                    format!("could not {action} it: {source}{}", way_out(action, path, source.kind()))
                }
                error => {
                    let source = std::error::Error::source(&error).map(|source| format!(" ({source})"));
                    format!("{error}{}", source.unwrap_or_default())
                }
            };
            Damage { may_pass, ..Damage::new(path.display().to_string(), reason) }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::vault::disk;

    #[test]
    fn a_directory_that_may_not_be_read_is_called_one_with_what_opens_it() {
        let path = Path::new("/vault/records");
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let damage = as_damage(path, disk::failed(READ_DIRECTORY, path)(denied));
        let expected = "could not read this directory: permission denied; chmod 700 '/vault/records'";
        assert_eq!((&*damage.reason, damage.may_pass), (expected, true));
    }

    #[test]
    fn damage_names_its_file_once() {
        let path = Path::new("/vault/records/one.json");
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let damage = as_damage(path, disk::failed("read", path)(denied));
        let text = damage.to_string();
        assert_eq!(text.matches("one.json").count(), 1, "{text}");
        assert!(text.contains("could not read it: permission denied; make it yours to read"), "{text}");
        assert!(damage.may_pass);
    }
}
