//! The failures of a vault, of its key and of what keeps it.

use std::io;

use tower_credentials::migrate::MigrateError;
use tower_credentials::setup::SetupError;
use tower_credentials::vault::VaultError;
use tower_credentials::vault::redis::{EngineError, EngineErrorKind};

use super::{Exit, Failure};
use crate::shell::quoted;

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        let exit = match &error {
            VaultError::NotFound(_) => Exit::NotFound,
            VaultError::LabelTaken(_)
            | VaultError::InvalidName { .. }
            | VaultError::InvalidSecret { .. } => Exit::Usage,
            _ => Exit::Vault,
        };
        let is_away = matches!(error, VaultError::Unreachable(_));
        let failure = Self { is_away, ..Self::of(exit, &error) };
        match EngineError::of(&error).map(EngineError::kind) {
            Some(EngineErrorKind::Login) => failure.way_out(
                "set TOWER_CREDENTIALS_VAULT_PASSWORD, or vault.password_command in the settings; the name is in the URL",
            ),
            Some(EngineErrorKind::SentinelLogin) => failure.way_out(
                "set TOWER_CREDENTIALS_VAULT_SENTINEL_PASSWORD, or vault.sentinel_password_command in the settings; the name \
                 is in the URL, after ?sentinel_username=",
            ),
            Some(EngineErrorKind::Certificate) => failure.way_out(
                "check the engine's certificate, its name in the URL, and vault.root_certificates in the settings",
            ),
            Some(EngineErrorKind::Replica) => failure.way_out(
                "name the primary, or its Sentinels, in the engine's URL; or wait until a failover is over",
            ),
            Some(EngineErrorKind::Away) => failure.way_out(
                "start the engine, or see why this host does not reach it; `credentials vault path` shows its URL, which begins \
                 with rediss:// if the engine speaks TLS",
            ),
            _ => failure,
        }
    }
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        match error {
            SetupError::Settings(error) => error.into(),
            SetupError::Vault(error) => error.into(),
            SetupError::TwoVaults { .. }
            | SetupError::RootCertificates { .. }
            | SetupError::InvalidUrl { .. }
            | SetupError::TwoPasswords { .. } => Self::usage(error.to_string()),
            SetupError::NoRedis => {
                Self::usage("the vault is in a Redis or Valkey, and this program was built without the feature `redis`")
                    .way_out("cargo install tower-credentials --features cli,redis")
            }
            SetupError::NoHome(reason) => {
                Self::failed("could not find the home directory").because(reason).way_out("set HOME")
            }
            SetupError::NoKeyring => Self::usage("this program was built without keyrings")
                .way_out("cargo install tower-credentials --features cli,keyring"),
            SetupError::NotADirectory(_) => {
                Self::usage(error.to_string()).way_out("--vault DIR, with the directory of a vault")
            }
            SetupError::Occupied(_) => {
                Self::usage(error.to_string()).way_out("--vault DIR, with a directory of its own")
            }
            SetupError::KeyInVault { .. } => {
                Self::usage(error.to_string()).way_out("--key-file FILE, with a file elsewhere")
            }
            SetupError::MissingKey(missing) => {
                let failure = Self::new(Exit::Vault, missing.to_string());
                failure.way_out(match (missing.beside, missing.vault.engine()) {
                    (Some(file), _) => format!("add --key-file {}", quoted(file.display())),
                    (None, Some(_)) => {
                        "credentials vault import --file FILE, with the key that `vault export` wrote on another host; or, if you \
                         have a backup of the accounts: credentials restore FILE, under another prefix: --vault 'URL?prefix=NAME'"
                            .to_owned()
                    }
                    (None, None) => {
                        "credentials vault import --file FILE, with the key that `vault export` wrote; or, if you have a backup of \
                         the accounts: credentials vault init --force, then credentials restore FILE".to_owned()
                    }
                })
            }
            other => Self::failed(other.to_string()),
        }
    }
}

impl From<MigrateError> for Failure {
    fn from(error: MigrateError) -> Self {
        let exit = match error {
            MigrateError::Vault(error) => return error.into(),
            MigrateError::Io { ref source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Exit::NotFound
            }
            MigrateError::Unclear { .. } | MigrateError::NotAFile(_) => Exit::Usage,
            _ => Exit::Failed,
        };
        Self::of(exit, &error)
    }
}
