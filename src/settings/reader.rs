//! The tables and values of a TOML file, with their places.

use std::cell::RefCell;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::Problem;
use super::raw::Raw;
use super::{Faults, SettingsError};

/// The file that is being read, for the places in errors.
pub(super) struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    /// What is wrong in it, and where that begins.
    faults: RefCell<Vec<(usize, SettingsError)>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text, faults: RefCell::default() }
    }

    /// Parses the file as TOML.
    pub(super) fn document(&self) -> Result<Spanned<DeTable<'a>>, SettingsError> {
        DeTable::parse(self.text).map_err(|error| {
            let at = error.span().map(|span| span.start);
            SettingsError::Syntax {
                place: at.map_or_else(|| self.file.to_owned(), |at| self.place(at)),
                reason: match at.is_some_and(|at| is_unquoted(self.text, at)) {
                    true => "text must be in quotes, as in name = \"text\"".to_owned(),
                    false => format!("not valid TOML: {}", error.message()),
                },
            }
        })
    }

    /// Keeps what is wrong with a setting, and goes on.
    pub(super) fn fault(&self, at: usize, key: &str, problem: Problem) {
        self.faults.borrow_mut().push((at, problem.at(&self.place(at), key)));
    }

    /// Returns all that is wrong, in the order of the file.
    pub(super) fn faults(self) -> Faults {
        let mut faults = self.faults.into_inner();
        faults.sort_by_key(|(at, _)| *at);
        let mut gathered = Faults::default();
        faults.into_iter().for_each(|(_, fault)| gathered.add(fault));
        gathered
    }

    /// The file and the line of this offset.
    pub(super) fn place(&self, at: usize) -> String {
        let before = self.text.as_bytes().iter().take(at);
        format!("{}, line {}", self.file, 1 + before.filter(|byte| **byte == b'\n').count())
    }

    /// Returns the table at this place; keeps the fault if it is none.
    pub(super) fn table<'t>(
        &self,
        path: &[&str],
        value: &'t Spanned<DeValue<'a>>,
    ) -> Option<&'t DeTable<'a>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            let problem = Problem::Invalid("must be a table".to_owned());
            self.fault(value.span().start, &path.join("."), problem);
        }
        table
    }
}

/// Whether the fault at this offset is a text without quotes. The text may be a secret, so nothing of it is said.
fn is_unquoted(text: &str, at: usize) -> bool {
    let (Some(before), Some(rest)) = (text.get(..at), text.get(at..)) else { return false };
    if before.trim_end_matches(' ').ends_with('=') {
        return is_bare_word(rest);
    }
    let begin = before.rfind('\n').map_or(0, |end| end + 1);
    let Some((name, value)) = text[begin..].lines().next().and_then(|line| line.split_once('=')) else {
        return false;
    };
    DeTable::parse(&format!("{name} = 0")).is_ok() && is_bare_word(value.trim_start_matches([' ', '[']))
}

/// Whether this begins with a word that is no value of TOML.
fn is_bare_word(value: &str) -> bool {
    let word = value.split([',', ']', '}', '#', '\n']).next().unwrap_or_default().trim();
    let is_value = || DeTable::parse(&format!("value = {word}")).is_ok();
    !word.is_empty() && !word.starts_with(['"', '\'', '{', '[', '=']) && !is_value()
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
