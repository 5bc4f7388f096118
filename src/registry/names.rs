//! The names and aliases of providers.

use std::collections::{BTreeMap, BTreeSet};

use crate::settings::{Faults, Named, ProviderSettings, SettingsError, nearest};

type Resolved = BTreeMap<String, (String, ProviderSettings)>;

/// All names, each taken once.
#[derive(Default)]
pub(super) struct Names {
    pub(super) own: BTreeSet<String>,
    pub(super) aliases: BTreeMap<String, String>,
}

impl Names {
    pub(super) fn add(&mut self, name: &str, aliases: &[&str]) -> Result<(), SettingsError> {
        for taken in [name].iter().chain(aliases) {
            if let Some(by) = self.find(taken) {
                return Err(SettingsError::NameTaken { name: (*taken).to_owned(), by: by.to_owned() });
            }
        }
        self.own.insert(name.to_owned());
        self.aliases.extend(aliases.iter().map(|alias| ((*alias).to_owned(), name.to_owned())));
        Ok(())
    }

    /// The provider's own name for this name or alias.
    pub(super) fn find(&self, name: &str) -> Option<&str> {
        let own = self.own.get(name).or_else(|| self.aliases.get(name));
        own.map(String::as_str)
    }

    /// Every name and alias, with the provider's own name.
    pub(super) fn all(&self) -> Vec<(String, String)> {
        let own = self.own.iter().map(|name| (name.clone(), name.clone()));
        let aliases = self.aliases.iter().map(|(alias, name)| (alias.clone(), name.clone()));
        own.chain(aliases).collect()
    }

    /// One source's settings with their place, by the providers' own names. What can't be resolved is left out, and is one of
    /// the faults.
    pub(super) fn resolve(&self, source: Vec<Named>, faults: &mut Faults) -> Resolved {
        let mut resolved = BTreeMap::new();
        for Named { name, place, settings } in source {
            let Some(own) = self.find(&name) else {
                if faults.explain_unknown(&name) {
                    continue;
                }
                let known = self.own.iter().chain(self.aliases.keys()).map(String::as_str);
                let nearest = nearest(&name, known);
                faults.add(SettingsError::UnknownProvider { place: Some(place), name, nearest });
                continue;
            };
            if resolved.contains_key(own) {
                let reason =
                    format!("is another name of {own}, which is set here, too; keep one of them");
                faults.add(SettingsError::Invalid { place, key: name, reason });
                continue;
            }
            resolved.insert(own.to_owned(), (place, settings));
        }
        resolved
    }
}
