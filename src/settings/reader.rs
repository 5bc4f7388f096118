//! The tables and values of a TOML file, with their places.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::SettingsError;
use super::raw::Raw;

/// The file that is being read, for the places in errors.
pub(super) struct Reader<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
}

impl<'a> Reader<'a> {
    /// The file and the line of this offset.
    pub(super) fn place(&self, at: usize) -> String {
        let before = self.text.as_bytes().iter().take(at);
        format!("{}, line {}", self.file, 1 + before.filter(|byte| **byte == b'\n').count())
    }

    pub(super) fn table<'t>(
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
}

/// A value without its place.
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
