//! What can be wrong with settings.

use std::fmt;
use std::path::PathBuf;

/// Why settings, or a provider's name, can't be used. It says where, and what would do.
#[derive(Debug)]
#[non_exhaustive]
pub enum SettingsError {
    /// No provider has this name.
    UnknownProvider {
        /// Where it is named; `None` for a name that was asked for.
        place: Option<String>,
        /// The name.
        name: String,
        /// The known one that is most like it.
        nearest: Option<String>,
    },
    /// No setting has this name.
    UnknownKey {
        /// Where it is set.
        place: String,
        /// The name, with those of the tables it is in: `oauth.client_id`.
        key: String,
        /// The known one that is most like it.
        nearest: Option<String>,
    },
    /// A setting's value is of no use.
    Invalid {
        /// Where it is set.
        place: String,
        /// The setting.
        key: String,
        /// Why, and what would do. Values that may be secret are not told.
        reason: String,
    },
    /// A name or an alias is that of two providers.
    NameTaken {
        /// The name.
        name: String,
        /// Who has it already.
        by: String,
    },
    /// A file is no TOML.
    Syntax {
        /// The file, and the line where that is known.
        place: String,
        /// What is wrong there.
        reason: String,
    },
    /// Others than the user and root could have written a file, or what lies in its directory.
    NotTrusted {
        /// Which file.
        path: PathBuf,
        /// Who could, and what would do.
        reason: String,
    },
    /// A file can't be read.
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
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
                        "; one of your own says its `type`, in a file or in the program: \"generic\", or a \
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
            Self::NameTaken { name, by } => write!(
                f,
                "the provider's name or alias {name:?} is taken by {by}; give one of them another"
            ),
            Self::Syntax { place, reason } => write!(f, "{place}: {reason}"),
            Self::NotTrusted { path, reason } => {
                write!(f, "the settings in {} are not believed: {reason}", path.display())
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

/// The name that is most like this one, if any is: that goes on where this ends, or takes the fewest changes of a
/// letter.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let changes = |known: &&str| (!known.starts_with(name), strsim::damerau_levenshtein(name, known));
    let nearest = known.into_iter().min_by_key(changes)?;
    // Half of its letters may be slips of the keyboard.
    let is_near =
        |(differs, changes): (bool, usize)| !differs || changes <= 2.max(name.chars().count() / 2);
    is_near(changes(&nearest)).then(|| nearest.to_owned())
}
