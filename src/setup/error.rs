//! Why a setup is of no use.

use std::fmt;
use std::path::PathBuf;

use crate::settings::SettingsError;
use crate::vault::VaultError;
use crate::vault::key::VaultKey;

/// Why a [`Setup`](super::Setup) can't be made, or its vault not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum SetupError {
    /// A setting, or a variable, is wrong.
    Settings(SettingsError),
    /// Two variables that mean the same name two vaults.
    TwoVaults {
        /// The one.
        one: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// There is no home directory to begin at.
    NoHome(String),
    /// The key is to come from a keyring, and the feature `keyring` is missing.
    NoKeyring,
    /// Something else than a directory is in the vault's place.
    NotADirectory(PathBuf),
    /// The directory is no vault, and has other files in it.
    Occupied(PathBuf),
    /// There is a vault, and its key is missing. None is made: it would open nothing.
    MissingKey {
        /// The vault's directory.
        vault: PathBuf,
        /// Where the key was looked for.
        place: String,
        /// Whether somebody has named that place.
        is_named: bool,
        /// A key file of the vault's name, beside it.
        beside: Option<PathBuf>,
    },
    /// The vault does not open.
    Vault(VaultError),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(error) => error.fmt(f),
            Self::Vault(error) => error.fmt(f),
            Self::TwoVaults { one, other } => write!(
                f,
                "TOWER_CREDENTIALS_DIR is {}, and TOWER_CREDENTIALS_VAULT, which means the same, is {}; unset one of \
                 them",
                one.display(),
                other.display()
            ),
            Self::NoHome(reason) => write!(f, "could not find the home directory: {reason}; set HOME"),
            Self::NoKeyring => f.write_str(
                "the key is to come from the keyring, and this program was built without the feature `keyring`",
            ),
            Self::NotADirectory(path) => write!(f, "{} is no directory, and so no vault", path.display()),
            Self::Occupied(path) => {
                write!(f, "{} is no vault, and there are other files in it", path.display())
            }
            Self::MissingKey { vault, place, is_named, beside } => {
                write!(f, "the key of the vault {} is missing: ", vault.display())?;
                match is_named {
                    true => write!(f, "there is none in {place}")?,
                    false => write!(f, "neither is {} set, nor is there {place}", VaultKey::VARIABLE)?,
                }
                match beside {
                    Some(file) => write!(f, "; TOWER_CREDENTIALS_KEY_FILE may name {}", file.display()),
                    None => f.write_str("; bring it back from a backup: credentials vault import"),
                }
            }
        }
    }
}

impl std::error::Error for SetupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Settings(error) => error.source(),
            Self::Vault(error) => error.source(),
            _ => None,
        }
    }
}

impl From<SettingsError> for SetupError {
    fn from(error: SettingsError) -> Self {
        Self::Settings(error)
    }
}

impl From<VaultError> for SetupError {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}
