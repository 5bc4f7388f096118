//! Records that can't be read: a warning of each, with what to do about it.

use std::path::Path;

use tower_credentials::CredentialId;
use tower_credentials::vault::Damage;

use crate::output::{self, plain};

/// Warns of a record that can't be read.
pub(crate) fn warn_of_damage(damage: &Damage) {
    output::warn(plain(&format!("{}: {}", damage.record, what_is_wrong(damage))));
    if let Some(way_out) = damage_way_out(damage) {
        output::way_out(plain(&way_out));
    }
}

/// Returns what is wrong with a record, without the way out.
pub(crate) fn what_is_wrong(damage: &Damage) -> &str {
    damage.reason.split_once("; ").map_or(damage.reason.as_str(), |(what, _)| what)
}

/// Returns what to do about a record that can't be read.
pub(crate) fn damage_way_out(damage: &Damage) -> Option<String> {
    let id = damage.id.or_else(|| id_of(&damage.record));
    if damage.may_be_restored {
        let restored = "credentials vault check --fix --restored, if you have restored it";
        return Some(match id {
            Some(id) => format!("{restored}; if not: credentials logout {id} --yes"),
            None => restored.to_owned(),
        });
    }
    let (_, way_out) = damage.reason.split_once("; ")?;
    Some(with_removal(way_out, id))
}

/// Adds the command that removes this record to what to do about it, if that says to remove it.
pub(crate) fn with_removal(way_out: &str, id: Option<CredentialId>) -> String {
    let is_removal = ["remove it", "remove the credential"].iter().any(|words| way_out.contains(words));
    match id.filter(|_| is_removal) {
        Some(id) => format!("{way_out}: credentials logout {id} --yes"),
        None => way_out.to_owned(),
    }
}

/// Returns the account whose record is in this file.
pub(crate) fn id_of(record: &str) -> Option<CredentialId> {
    let path = Path::new(record);
    let is_record = path.parent().is_some_and(|parent| parent.ends_with("records"));
    path.file_stem().filter(|_| is_record)?.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{id_of, with_removal};

    #[test]
    fn only_a_record_that_may_be_removed_has_the_command_that_removes_it() {
        let id = "1fc619e19b88ca6005d749e587fcc8e6";
        let of_record = id_of(&format!("/vault/records/{id}.json"));
        assert_eq!(of_record.map(|id| id.to_string()).as_deref(), Some(id));
        assert_eq!(id_of(&format!("/vault/leases/{id}.begun")), None);
        assert_eq!(id_of("/vault/pools/openai+default.log"), None);
        let removal = "restore it from a backup, or remove it and sign in again";
        assert_eq!(
            with_removal(removal, of_record),
            format!("{removal}: credentials logout {id} --yes")
        );
        for other in ["use a newer one", "make it yours to read and write (see its owner and mode)"] {
            assert_eq!(with_removal(other, of_record), other);
        }
    }
}
