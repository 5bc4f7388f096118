//! Settings from a TOML file.

use std::io::{ErrorKind, Read};
use std::path::Path;

use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::keys::{self, TABLES};
use super::reader::{Reader, raw};
use super::vault;
use super::{Named, ProviderSettings, SettingsError, VaultSettings, nearest};

/// The contents of a file.
#[derive(Default)]
pub(crate) struct File {
    pub(crate) providers: Vec<Named>,
    pub(crate) vault: VaultSettings,
}

/// Opens a settings file that only the user can have written, and returns its text; `None` if it is missing and may be.
pub(crate) fn open(path: &Path, must_exist: bool) -> Result<Option<Zeroizing<String>>, SettingsError> {
    let failed = |source| SettingsError::Io { path: path.to_owned(), source };
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if !must_exist && error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    #[cfg(unix)]
    super::trust::check(path, &file)?;
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
}

/// Reads a file's text. Errors call it `file`, and quote names of keys but never a value. Relative paths in it begin at
/// `base`.
pub(crate) fn read(file: &str, text: &str, base: &Path) -> Result<File, SettingsError> {
    let reader = Reader { file, text };
    let document = DeTable::parse(text).map_err(|error| SettingsError::Syntax {
        place: error.span().map_or_else(|| file.to_owned(), |span| reader.place(span.start)),
        reason: format!("no TOML: {}", error.message()),
    })?;
    let mut read = File::default();
    for (key, value) in document.get_ref() {
        let place = reader.place(key.span().start);
        match key.get_ref().as_ref() {
            "providers" => {}
            "vault" => {
                let table = reader.table(&["vault"], value)?;
                read.vault = VaultSettings::read(&reader, table, base)?;
                continue;
            }
            key => {
                let nearest = nearest_table(key);
                return Err(SettingsError::UnknownKey { place, key: key.to_owned(), nearest });
            }
        }
        for (name, value) in reader.table(&["providers"], value)? {
            let place = reader.place(name.span().start);
            let path = ["providers", name.get_ref().as_ref()];
            let mut of_one = ProviderSettings::new();
            reader.fill(&mut of_one, &path, &mut Vec::new(), reader.table(&path, value)?)?;
            read.providers.push(Named { name: name.get_ref().to_string(), place, settings: of_one });
        }
    }
    Ok(read)
}

/// The most similar table, or the one into which a setting belongs that is in none.
fn nearest_table(key: &str) -> Option<String> {
    if keys::names().any(|name| name[0] == key) {
        return Some("providers".to_owned());
    }
    match vault::NAMES.contains(&key) {
        true => Some("vault".to_owned()),
        false => nearest(key, ["providers", "vault"]),
    }
}

impl<'a> Reader<'a> {
    /// Takes the settings of a table and of the tables in it.
    fn fill<'t>(
        &self,
        settings: &mut ProviderSettings,
        provider: &[&str],
        path: &mut Vec<&'t str>,
        table: &'t DeTable<'a>,
    ) -> Result<(), SettingsError> {
        for (key, value) in table {
            path.push(key.get_ref());
            match value.get_ref() {
                DeValue::Table(inner) if TABLES.contains(&path.as_slice()) => {
                    self.fill(settings, provider, path, inner)?;
                }
                value => settings.put(path, &raw(value)).map_err(|problem| {
                    let name = [provider, path.as_slice()].concat().join(".");
                    problem.at(&self.place(key.span().start), &name)
                })?,
            }
            path.pop();
        }
        Ok(())
    }
}
