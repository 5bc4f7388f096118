//! Errors of settings.

use std::fmt;
use std::path::PathBuf;

/// An error of settings or of a provider's name. It names the place, and says what would work.
#[derive(Debug)]
#[non_exhaustive]
pub enum SettingsError {
    /// No provider has this name.
    UnknownProvider {
        /// The place of the name; `None` if the caller asked for it.
        place: Option<String>,
        /// The name.
        name: String,
        /// The most similar known name.
        nearest: Option<String>,
    },
    /// No setting has this name.
    UnknownKey {
        /// The place where it is set.
        place: String,
        /// The name, with those of its tables: `oauth.client_id`.
        key: String,
        /// The most similar known name.
        nearest: Option<String>,
    },
    /// A setting's value can't be used.
    Invalid {
        /// The place where it is set.
        place: String,
        /// The setting.
        key: String,
        /// Why, and what would work. It does not quote values that may be secret.
        reason: String,
    },
    /// Two providers have the same name or alias.
    NameTaken {
        /// The name.
        name: String,
        /// The provider that already has it.
        by: String,
    },
    /// A file is not TOML.
    Syntax {
        /// The file, and the line, if it is known.
        place: String,
        /// What is wrong there.
        reason: String,
    },
    /// Somebody other than the user or root could have written a file, or replaced it in its directory.
    NotTrusted {
        /// The file.
        path: PathBuf,
        /// Who could, and how to prevent it.
        reason: String,
    },
    /// Several settings are wrong: these are all of their errors, at least two.
    Several(Vec<SettingsError>),
    /// A file can't be read.
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownProvider { place, name, nearest } => {
                if let Some(place) = place {
                    write!(f, "{place}: ")?;
                }
                write!(f, "no provider is called {name:?}")?;
                or_nearest(f, nearest.as_deref())?;
                if place.is_some() {
                    f.write_str(
                        "; to add your own, set its `type` in a file or in the program: \"generic\", or a \
                         vendor's name",
                    )?;
                }
                Ok(())
            }
            Self::UnknownKey { place, key, nearest } => {
                write!(f, "{place}: there is no setting `{key}`")?;
                or_nearest(f, nearest.as_deref())
            }
            Self::Invalid { place, key, reason } => write!(f, "{place}: `{key}` {reason}"),
            Self::NameTaken { name, by } => {
                write!(f, "the provider's name or alias {name:?} is taken by {by}; rename one of them")
            }
            Self::Syntax { place, reason } => write!(f, "{place}: {reason}"),
            Self::NotTrusted { path, reason } => {
                write!(f, "the settings in {} are not trusted: {reason}", path.display())
            }
            Self::Several(errors) => {
                write!(f, "{} settings are wrong:", errors.len())?;
                for (index, error) in errors.iter().enumerate() {
                    let separator = if index == 0 { "" } else { ";" };
                    write!(f, "{separator} ({}) {error}", index + 1)?;
                }
                Ok(())
            }
            Self::Io { path, source } => write!(f, "could not read {}: {source}", path.display()),
        }
    }
}

fn or_nearest(f: &mut fmt::Formatter<'_>, nearest: Option<&str>) -> fmt::Result {
    nearest.map_or(Ok(()), |nearest| write!(f, "; the nearest is `{nearest}`"))
}

impl std::error::Error for SettingsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Gathers errors, so that a person sees all of them at once.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<SettingsError>);

impl Faults {
    pub(crate) fn add(&mut self, error: SettingsError) {
        match error {
            SettingsError::Several(errors) => self.0.extend(errors),
            one => self.0.push(one),
        }
    }

    /// Returns the value, or gathers the error.
    pub(crate) fn value<T>(&mut self, result: Result<T, SettingsError>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them is the reason why this provider is unknown: its `type` is wrong, or misspelt.
    pub(crate) fn explain_unknown(&self, provider: &str) -> bool {
        let is_type = |error: &SettingsError| match error {
            SettingsError::Invalid { key, .. } => *key == format!("providers.{provider}.type"),
            SettingsError::UnknownKey { key, nearest, .. } => {
                key.starts_with(&format!("providers.{provider}.")) && nearest.as_deref() == Some("type")
            }
            _ => false,
        };
        self.0.iter().any(is_type)
    }

    /// Fails with the errors, if there are any.
    pub(crate) fn end(mut self) -> Result<(), SettingsError> {
        match self.0.len() {
            0 => Ok(()),
            1 => Err(self.0.remove(0)),
            _ => Err(SettingsError::Several(self.0)),
        }
    }
}
