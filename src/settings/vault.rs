//! The location of a program's vault and the source of its key: the table `[vault]` of a settings file, or
//! environment variables.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::engine::{self, EngineSettings};
use super::keys::Problem;
use super::raw::Raw;
use super::reader::{Reader, raw};
use super::{SettingsError, nearest};

/// The settings of a program's vault, from a settings file. See [the module](super#the-vault) for the meaning of each.
///
/// ```
/// use tower_credentials::registry::Registry;
/// use tower_credentials::settings::KeySource;
///
/// let text = "vault.key_command = 'pass show \"my vault\"'";
/// let registry = Registry::builder().toml("credentials.toml", text).build()?;
/// let command = ["pass", "show", "my vault"].map(str::to_owned).into();
/// assert_eq!(registry.vault_settings().key, Some(KeySource::Command(command)));
/// # Ok::<(), tower_credentials::settings::SettingsError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VaultSettings {
    /// The vault's directory.
    pub directory: Option<PathBuf>,
    /// The engine that keeps the vault, instead of a directory.
    pub engine: EngineSettings,
    /// The source of its key.
    pub key: Option<KeySource>,
    /// Whether programs record the vault's [history](crate::vault::file::FileVault::history). They do if it is `None`.
    pub history: Option<bool>,
}

/// The source of a vault's key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySource {
    /// The environment variable [`TOWER_CREDENTIALS_VAULT_KEY`](crate::settings#the-environment).
    Variable,
    /// A key file.
    File(PathBuf),
    /// The output of a command: its name, which is looked up in `PATH`, and its arguments.
    Command(Vec<String>),
    /// The system's keyring.
    Keyring,
}

impl KeySource {
    /// Returns the source that these environment variables name, usually `std::env::vars_os()`. An empty variable names none,
    /// except for the variable of the key itself.
    ///
    /// # Errors
    /// [`SettingsError::Invalid`] if two of them name a source, or if a value can't be used.
    pub fn from_environment<N, V>(
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Option<Self>, SettingsError>
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        let variables: Vec<(OsString, OsString)> =
            variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let mut found = Found::default();
        for variable in KEY_VARIABLES {
            let Some((_, value)) = variables.iter().rfind(|(name, _)| name == variable) else {
                continue;
            };
            let source = match variable {
                VARIABLE => Ok(Some(Self::Variable)),
                _ if value.is_empty() => continue,
                KEY_FILE => Ok(Some(Self::File(PathBuf::from(value)))),
                _ => match value.to_str() {
                    None => Err("must be UTF-8".to_owned()),
                    Some(text) if variable == KEY_COMMAND => {
                        command(&Raw::Plain(text)).map(|command| Some(Self::Command(command)))
                    }
                    Some("1" | "true") => Ok(Some(Self::Keyring)),
                    Some("0" | "false") => continue,
                    Some(_) => Err("must be 1 or 0".to_owned()),
                },
            };
            source.and_then(|source| found.add(variable, source)).map_err(|reason| {
                SettingsError::Invalid {
                    place: "the environment".to_owned(),
                    key: variable.to_owned(),
                    reason,
                }
            })?;
        }
        Ok(found.source)
    }
}

const VARIABLE: &str = "TOWER_CREDENTIALS_VAULT_KEY";
const KEY_FILE: &str = "TOWER_CREDENTIALS_KEY_FILE";
const KEY_COMMAND: &str = "TOWER_CREDENTIALS_KEY_COMMAND";
const KEYRING: &str = "TOWER_CREDENTIALS_KEYRING";

const KEY_VARIABLES: [&str; 4] = [VARIABLE, KEY_FILE, KEY_COMMAND, KEYRING];

/// The source that was named, and where. A second one is an error, since nobody could tell which is meant.
#[derive(Default)]
struct Found<'a> {
    source: Option<KeySource>,
    by: &'a str,
}

impl<'a> Found<'a> {
    fn add(&mut self, by: &'a str, source: Option<KeySource>) -> Result<(), String> {
        if source.is_none() {
            return Ok(());
        }
        if self.source.is_some() {
            return Err(format!("is set beside `{}`; a key has one place: keep one of them", self.by));
        }
        (self.source, self.by) = (source, by);
        Ok(())
    }
}

const OWN_NAMES: [&str; 5] = ["directory", "history", "key_command", "key_file", "keyring"];

/// All settings of the table.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    OWN_NAMES.into_iter().chain(engine::NAMES)
}

impl VaultSettings {
    /// Reads the table. Relative paths in it begin at `base`, the directory of the file.
    pub(super) fn read(reader: &Reader<'_>, table: &DeTable<'_>, base: &Path) -> Self {
        let mut settings = Self::default();
        let mut found = Found::default();
        let has_directory = table.keys().any(|key| key.get_ref() == "directory");
        for (key, value) in table {
            let raw = raw(value.get_ref());
            let path = || raw.text().and_then(|text| path(text, base));
            let name = key.get_ref().as_ref();
            let fault = |problem| reader.fault(key.span().start, &format!("vault.{name}"), problem);
            let taken = match name {
                "directory" => path().map(|path| settings.directory = Some(path)),
                "history" => match raw {
                    Raw::Boolean(is_on) => {
                        settings.history = Some(is_on);
                        Ok(())
                    }
                    _ => Err("must be true or false".to_owned()),
                },
                "key_file" => {
                    path().map(KeySource::File).and_then(|source| found.add(name, Some(source)))
                }
                "key_command" => command(&raw)
                    .map(KeySource::Command)
                    .and_then(|source| found.add(name, Some(source))),
                "keyring" => match raw {
                    Raw::Boolean(is_on) => found.add(name, is_on.then_some(KeySource::Keyring)),
                    _ => Err("must be true or false".to_owned()),
                },
                name if engine::NAMES.contains(&name) => match has_directory {
                    true => Err("belongs to an engine, and is set beside `vault.directory`; a vault has one place: keep \
                                 one of them"
                        .to_owned()),
                    false => settings.engine.take(name, &raw, base),
                },
                _ => {
                    fault(Problem::Unknown(nearest(name, names())));
                    continue;
                }
            };
            if let Err(reason) = taken {
                fault(Problem::Invalid(reason));
            }
        }
        if let Some((name, reason)) = settings.engine.conflict() {
            let at = table.keys().find(|key| key.get_ref() == name);
            let start = at.map_or(0, |key| key.span().start);
            reader.fault(start, &format!("vault.{name}"), Problem::Invalid(reason));
        }
        settings.key = found.source;
        settings
    }
}

/// Reads a path. A relative one begins at `base`; `~/` is the home directory.
pub(super) fn path(text: &str, base: &Path) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.starts_with('$') {
        return Err("takes no variables; write the path out, or begin it with `~/`".to_owned());
    }
    match text.strip_prefix("~/") {
        None => Ok(base.join(text)),
        Some(rest) => match std::env::home_dir() {
            Some(home) => Ok(home.join(rest)),
            None => Err("begins in a home directory that is not known; write it out".to_owned()),
        },
    }
}

/// Reads a program and its arguments: a list of words, or one text that is split as a shell would.
pub(super) fn command(raw: &Raw<'_>) -> Result<Vec<String>, String> {
    let words = match raw {
        Raw::List(_) => raw.list()?.into_iter().map(str::to_owned).collect(),
        _ => {
            let no_words = |_| "has a quote or a backslash that is not ended".to_owned();
            shell_words::split(raw.text()?).map_err(no_words)?
        }
    };
    match words.first() {
        Some(program) if !program.is_empty() => Ok(words),
        _ => Err("names no command".to_owned()),
    }
}
