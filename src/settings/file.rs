//! Settings from a TOML file.

use std::io::{ErrorKind, Read};
use std::path::Path;

use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::keys::{self, Problem, TABLES};
use super::reader::{Reader, raw};
use super::vault;
use super::{Faults, Named, ProviderSettings, SettingsError, VaultSettings, nearest};

/// The contents of a file.
#[derive(Default)]
pub(crate) struct File {
    pub(crate) providers: Vec<Named>,
    pub(crate) vault: VaultSettings,
    /// What is wrong in it.
    pub(crate) faults: Faults,
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

/// Reads a file's text: all that is right in it, and all that is wrong. Errors call it `file`, and quote names of keys but
/// never a value. Relative paths in it begin at `base`.
pub(crate) fn read(file: &str, text: &str, base: &Path) -> Result<File, SettingsError> {
    let reader = Reader::new(file, text);
    let document = reader.document()?;
    let mut read = File::default();
    for (key, value) in document.get_ref() {
        match key.get_ref().as_ref() {
            "providers" => {}
            "vault" => {
                if let Some(table) = reader.table(&["vault"], value) {
                    read.vault = VaultSettings::read(&reader, table, base);
                }
                continue;
            }
            // The program `credentials` reads it itself.
            "serve" => {
                reader.table(&["serve"], value);
                continue;
            }
            name => {
                reader.fault(key.span().start, name, Problem::Unknown(nearest_table(name)));
                continue;
            }
        }
        for (name, value) in reader.table(&["providers"], value).into_iter().flatten() {
            let place = reader.place(name.span().start);
            let path = ["providers", name.get_ref().as_ref()];
            let Some(table) = reader.table(&path, value) else { continue };
            let mut of_one = ProviderSettings::new();
            reader.fill(&mut of_one, &path, &mut Vec::new(), table);
            read.providers.push(Named { name: name.get_ref().to_string(), place, settings: of_one });
        }
    }
    read.faults = reader.faults();
    Ok(read)
}

/// The most similar table, or the one into which a setting belongs that is in none.
fn nearest_table(key: &str) -> Option<String> {
    if keys::names().any(|name| name[0] == key) {
        return Some("providers".to_owned());
    }
    match vault::names().any(|name| name == key) {
        true => Some("vault".to_owned()),
        false => nearest(key, ["providers", "serve", "vault"]),
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
    ) {
        for (key, value) in table {
            path.push(key.get_ref());
            match value.get_ref() {
                DeValue::Table(inner) if TABLES.contains(&path.as_slice()) => {
                    self.fill(settings, provider, path, inner);
                }
                value => {
                    if let Err(problem) = settings.put(path, &raw(value)) {
                        let name = [provider, path.as_slice()].concat().join(".");
                        self.fault(key.span().start, &name, problem);
                    }
                }
            }
            path.pop();
        }
    }
}
