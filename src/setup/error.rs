//! The errors of a setup.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::VaultPlace;
use crate::settings::SettingsError;
use crate::vault::key::VaultKey;
use crate::vault::{InvalidRedisUrl, VaultError};

/// The error of making a [`Setup`](super::Setup) or of opening its vault.
#[derive(Debug)]
#[non_exhaustive]
pub enum SetupError {
    /// A setting, or a variable, is wrong.
    Settings(SettingsError),
    /// Two variables with the same meaning name two different vaults.
    TwoVaults {
        /// The vault that `TOWER_CREDENTIALS_DIR` names.
        one: VaultPlace,
        /// The vault that `TOWER_CREDENTIALS_VAULT` names.
        other: VaultPlace,
    },
    /// A variable has a URL that can't be used.
    InvalidUrl {
        /// The variable's name.
        by: &'static str,
        /// What is wrong with it.
        error: InvalidRedisUrl,
    },
    /// The environment has the same password of the engine twice: in the URL, and in this variable.
    TwoPasswords {
        /// The variable's name.
        variable: &'static str,
    },
    /// The vault is in a Redis or Valkey, and the feature `redis` is missing.
    NoRedis,
    /// There is no home directory.
    NoHome(String),
    /// The key should come from a keyring, and the feature `keyring` is missing.
    NoKeyring,
    /// The vault's path is not a directory.
    NotADirectory(PathBuf),
    /// The directory is not a vault, and it has other files in it.
    Occupied(PathBuf),
    /// The key file of a new vault would be in its directory: a copy of the vault would have its key.
    KeyInVault {
        /// The key file.
        key: PathBuf,
        /// The vault's directory.
        vault: PathBuf,
    },
    /// There is a vault, and its key is missing. No new key is made: it would open nothing.
    MissingKey(MissingKey),
    /// The certificates that `vault.root_certificates` names can't be used.
    RootCertificates {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The vault does not open.
    Vault(VaultError),
    /// The HTTPS client that renews tokens can't be made: the system has no certificates, for example.
    Https(io::Error),
}

/// A missing key of a vault. `Display` leaves out the way out, which depends on the program.
#[derive(Debug)]
#[non_exhaustive]
pub struct MissingKey {
    /// The vault's place.
    pub vault: VaultPlace,
    /// Where the key was looked for.
    pub place: String,
    /// Whether that place was named explicitly.
    pub is_named: bool,
    /// A key file beside the vault that is named after it.
    pub beside: Option<PathBuf>,
}

impl fmt::Display for MissingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vault, place, is_named, .. } = self;
        write!(f, "the key of the vault {vault} is missing: ")?;
        match is_named {
            true => write!(f, "there is none in {place}"),
            false => write!(f, "{} is not set, and there is no {place}", VaultKey::VARIABLE),
        }
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(error) => error.fmt(f),
            Self::Vault(error) => error.fmt(f),
            Self::Https(error) => {
                write!(f, "tokens can't be renewed: {error}; install the system's certificates (ca-certificates)")
            }
            Self::TwoVaults { one, other } => write!(
                f,
                "TOWER_CREDENTIALS_DIR is {}, and TOWER_CREDENTIALS_VAULT, which means the same, is {}; unset one of \
                 them",
                one, other
            ),
            Self::InvalidUrl { by, error } => write!(f, "{by}: {error}"),
            Self::TwoPasswords { variable } => write!(
                f,
                "{variable} is set, and the URL in the environment has a password, too; keep one of them"
            ),
            Self::NoRedis => f.write_str(
                "the vault is in a Redis or Valkey, but this program was built without the feature `redis`; build it with \
                 that, or name a directory",
            ),
            Self::NoHome(reason) => write!(f, "could not find the home directory: {reason}; set HOME"),
            Self::NoKeyring => f.write_str(
                "the vault's key should come from the keyring, but this program was built without the feature `keyring`; \
                 name another place of the key",
            ),
            Self::NotADirectory(path) => write!(f, "{} is not a directory, so it can't be a vault", path.display()),
            Self::Occupied(path) => {
                write!(f, "{} is not a vault, and it has other files in it", path.display())
            }
            Self::KeyInVault { key, vault } => write!(
                f,
                "the key file {} is in the vault's directory {}, so a copy of the vault would include its key; name \
                 another key file",
                key.display(),
                vault.display()
            ),
            Self::RootCertificates { file, reason } => write!(
                f,
                "vault.root_certificates is {}, which can't be used: {reason}; name a file with the certificates, in PEM, of \
                 the authorities that may have signed the engine's",
                file.display()
            ),
            Self::MissingKey(missing) => match &missing.beside {
                Some(file) => {
                    write!(f, "{missing}; if it is in {0}, set TOWER_CREDENTIALS_KEY_FILE to that", file.display())
                }
                None => write!(f, "{missing}; restore it from a backup: credentials vault import --file BACKUP"),
            },
        }
    }
}

impl std::error::Error for SetupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Settings(error) => error.source(),
            Self::Vault(error) => error.source(),
            Self::Https(error) => error.source(),
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
