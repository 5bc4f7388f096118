//! Settings from a TOML file.

use std::io::{ErrorKind, Read};
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::keys::{self, TABLES};
use super::raw::Raw;
use super::vault;
use super::{Named, ProviderSettings, SettingsError, VaultSettings, nearest};

/// What a file says.
#[derive(Default)]
pub(crate) struct File {
    pub(crate) providers: Vec<Named>,
    pub(crate) vault: VaultSettings,
}

/// The text of a settings file that may be believed; `None` if there is none and none has to be.
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

/// What a file says. `file` is what errors call it; of its text they tell the names of keys, never a value.
/// Paths in it begin at `base`.
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

/// The table that was meant, or that a setting belongs into which stands in none.
fn nearest_table(key: &str) -> Option<String> {
    if keys::names().any(|name| name[0] == key) {
        return Some("providers".to_owned());
    }
    match vault::NAMES.contains(&key) {
        true => Some("vault".to_owned()),
        false => nearest(key, ["providers", "vault"]),
    }
}

pub(super) struct Reader<'a> {
    file: &'a str,
    text: &'a str,
}

impl<'a> Reader<'a> {
    pub(super) fn place(&self, at: usize) -> String {
        let before = self.text.as_bytes().iter().take(at);
        format!("{}, line {}", self.file, 1 + before.filter(|byte| **byte == b'\n').count())
    }

    fn table<'t>(
        &self,
        path: &[&str],
        value: &'t Spanned<DeValue<'a>>,
    ) -> Result<&'t DeTable<'a>, SettingsError> {
        value.get_ref().as_table().ok_or_else(|| SettingsError::Invalid {
            place: self.place(value.span().start),
            key: path.join("."),
            reason: "must be a table".to_owned(),
        })
    }

    /// Takes what a table holds, and what those in it do.
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

pub(super) fn raw<'t>(value: &'t DeValue<'_>) -> Raw<'t> {
    match value {
        DeValue::String(text) => Raw::Text(text),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Raw::Other("number of that size"), Raw::Integer),
        DeValue::Array(items) => Raw::List(items.iter().map(|item| raw(item.get_ref())).collect()),
        DeValue::Float(_) => Raw::Other("fraction"),
        DeValue::Boolean(is_true) => Raw::Boolean(*is_true),
        DeValue::Datetime(_) => Raw::Other("date"),
        DeValue::Table(table) => {
            let entries = table.iter();
            Raw::Table(entries.map(|(key, value)| (&**key.get_ref(), raw(value.get_ref()))).collect())
        }
    }
}
