//! The quota that an account takes from, as `credentials quota` sets it.

use tower_credentials::CredentialId;
use tower_credentials::standing::{Quota, QuotaName};

use super::State;
use super::front::{Choice, Front, Item, Menu, Purpose, Typing};
use super::job::{Failed, Job};
use super::typing::Line;

impl State {
    /// Lets a person choose between a shared quota, one of the account's own, and what the vendor says. It begins at what
    /// was set before.
    pub(super) fn choose_quota(&mut self) {
        let Some(seen) = self.chosen() else { return self.none_is_chosen() };
        let id = seen.id();
        let item = |text: &str, note: &str, choice| Item {
            text: text.to_owned(),
            note: note.to_owned(),
            choice,
        };
        let items = vec![
            item("shared", "with the accounts that have the same name for it", Choice::QuotaName(id)),
            item("own", "whatever its vendor says", Choice::Quota(id, Some(Quota::Own))),
            item("usual", "as its vendor says", Choice::Quota(id, None)),
        ];
        let at = match &seen.account.standing.quota {
            Some(Quota::Own) => 1,
            None => 2,
            Some(_) => 0,
        };
        let title = format!("Which quota does {} take from?", seen.name);
        self.front = Some(Front::Menu(Menu { title, items, at }));
    }

    /// Lets a person type the name of a shared quota.
    pub(super) fn ask_quota_name(&mut self, id: CredentialId) {
        let Some(seen) = self.account(id) else { return };
        let named = seen.account.quota.shared.as_ref().map_or("", QuotaName::as_str);
        self.front = Some(Front::Line(Typing {
            title: format!("The quota of {}", seen.name),
            note: "Any name; accounts of the provider with the same one share it".to_owned(),
            line: Line::new(named),
            purpose: Purpose::Quota(id),
        }));
    }

    /// Takes the name that was typed.
    pub(super) fn set_quota_name(&mut self, id: CredentialId, name: &str) {
        match QuotaName::new(name) {
            Ok(name) => self.jobs.push(Job::Quota(id, Some(Quota::Shared(name)))),
            Err(error) => self.fail(Failed {
                why: error.to_string(),
                way_out: Some("Q, and another name".to_owned()),
            }),
        }
    }
}
