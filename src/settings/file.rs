//! Settings from a TOML file.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::TABLES;
use super::raw::Raw;
use super::{Named, ProviderSettings, SettingsError, nearest};

/// The settings of each provider that a file names. `file` is what errors call it; of its text they tell the
/// names of keys, never a value.
pub(crate) fn read(file: &str, text: &str) -> Result<Vec<Named>, SettingsError> {
    let reader = Reader { file, text };
    let document = DeTable::parse(text).map_err(|error| SettingsError::Syntax {
        place: error.span().map_or_else(|| file.to_owned(), |span| reader.place(span.start)),
        reason: format!("no TOML: {}", error.message()),
    })?;
    let mut named = Vec::new();
    for (key, value) in document.get_ref() {
        let place = reader.place(key.span().start);
        if key.get_ref() != "providers" {
            let (key, nearest) = (key.get_ref().to_string(), nearest(key.get_ref(), ["providers"]));
            return Err(SettingsError::UnknownKey { place, key, nearest });
        }
        for (name, value) in reader.table(&["providers"], value)? {
            let place = reader.place(name.span().start);
            let path = ["providers", name.get_ref().as_ref()];
            let mut of_one = ProviderSettings::new();
            reader.fill(&mut of_one, &path, &mut Vec::new(), reader.table(&path, value)?)?;
            named.push(Named { name: name.get_ref().to_string(), place, settings: of_one });
        }
    }
    Ok(named)
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
}

impl<'a> Reader<'a> {
    fn place(&self, at: usize) -> String {
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

fn raw<'t>(value: &'t DeValue<'_>) -> Raw<'t> {
    match value {
        DeValue::String(text) => Raw::Text(text),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Raw::Other("number of that size"), Raw::Integer),
        DeValue::Array(items) => Raw::List(items.iter().map(|item| raw(item.get_ref())).collect()),
        DeValue::Float(_) => Raw::Other("fraction"),
        DeValue::Boolean(_) => Raw::Other("true or false"),
        DeValue::Datetime(_) => Raw::Other("date"),
        DeValue::Table(_) => Raw::Other("table"),
    }
}
