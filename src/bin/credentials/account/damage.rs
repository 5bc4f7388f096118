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
    Some(with_removal(way_out, id.filter(|_| damage.is_removable)))
}

/// Adds the command that removes a credential to what to do about its record, if removing it is a part of that.
pub(crate) fn with_removal(way_out: &str, removed: Option<CredentialId>) -> String {
    match removed {
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
    use tower_credentials::vault::Damage;

    use super::{damage_way_out, id_of};

    #[test]
    fn only_a_record_that_may_be_removed_has_the_command_that_removes_it() {
        let id = "1fc619e19b88ca6005d749e587fcc8e6";
        let record = format!("/vault/records/{id}.json");
        assert_eq!(id_of(&record).map(|id| id.to_string()).as_deref(), Some(id));
        assert_eq!(id_of(&format!("/vault/leases/{id}.begun")), None);
        assert_eq!(id_of("/vault/pools/openai+default.log"), None);
        // Whatever the words are.
        for words in ["throw it away", "use a newer one; never remove it"] {
            let damage = Damage::new(&record, format!("it is empty; {words}"));
            assert_eq!(damage_way_out(&damage).as_deref(), Some(words));
            let way_out = damage_way_out(&damage.removable()).unwrap();
            assert_eq!(way_out, format!("{words}: credentials logout {id} --yes"));
        }
    }
}
