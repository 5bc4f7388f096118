//! What went wrong, the way out, and the exit code.

use std::fmt::Display;
use std::io;

use tower_credentials::discovery::{DiscoveryError, DiscoveryErrorKind};
use tower_credentials::migrate::MigrateError;
use tower_credentials::oauth::OAuthError;
use tower_credentials::settings::SettingsError;
use tower_credentials::setup::SetupError;
use tower_credentials::vault::VaultError;
use tower_credentials::vault::redis::{EngineError, EngineErrorKind};
use tower_credentials::{BoxError, Error};

use crate::naming;
use crate::shell::quoted;
use crate::time::brief;

/// Returns the text of an OAuth error without its last words, which say where a program could set the setting.
pub(crate) fn in_settings(text: String) -> String {
    const PLACE: &str = ", or OAuthConfig::";
    let Some(at) = text.find(PLACE) else { return text };
    let is_name = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let rest = text[at + PLACE.len()..].trim_start_matches(is_name);
    format!("{}{rest}", &text[..at])
        .replace(" in the settings file, TOWER", " in the settings file, or TOWER")
}

/// How the program ends. `credentials --help` has the same table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    /// A signal has ended a command that is meant to go on until then.
    Ended,
    /// The command failed, for a reason that has no other code.
    Failed,
    /// The command line or a setting is wrong. This is also clap's code.
    Usage,
    /// There is no such account, provider or file.
    NotFound,
    /// The vendor refused, or an account needs a new sign-in.
    Refused,
    /// The vault can't be opened, its key is missing or wrong, or something in it is damaged.
    Vault,
    /// There was no response from the vendor, or every account is cooling down.
    Unavailable,
    /// A signal ended the program; the code is the one that shells use for it.
    Signal(u8),
    /// The command that was run ended with this code, or could not be run.
    #[cfg(feature = "serve")]
    OfCommand(u8),
}

impl Exit {
    pub(crate) fn code(self) -> i32 {
        match self {
            Self::Done | Self::Ended => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Refused => 4,
            Self::Vault => 5,
            Self::Unavailable => 6,
            Self::Signal(code) => i32::from(code),
            #[cfg(feature = "serve")]
            Self::OfCommand(code) => i32::from(code),
        }
    }
}

/// Why a command failed, and what helps.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    causes: Vec<String>,
    /// What the message counts, each on a line.
    items: Vec<String>,
    way_out: Option<String>,
    /// Whether the vault's engine can't be reached now.
    is_away: bool,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: in_settings(message.into()),
            causes: Vec::new(),
            items: Vec::new(),
            way_out: None,
            is_away: false,
        }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, message)
    }

    /// A signal ended the program: there is nothing to say.
    pub(crate) fn interrupted(code: u8) -> Self {
        Self::new(Exit::Signal(code), "")
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// What happened; nothing if there is nothing to say, or nobody to say it to.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Its causes, the nearest first.
    pub(crate) fn causes(&self) -> &[String] {
        &self.causes
    }

    /// What the message counts.
    pub(crate) fn items(&self) -> &[String] {
        &self.items
    }

    /// What a person can do about it.
    pub(crate) fn help(&self) -> Option<&str> {
        self.way_out.as_deref()
    }

    /// Whether the vault's engine can't be reached now, so that it may help to wait.
    pub(crate) fn is_away(&self) -> bool {
        self.is_away
    }

    pub(crate) fn is_signal(&self) -> bool {
        matches!(self.exit, Exit::Signal(_))
    }

    /// The reader of the output has closed it: there is nobody to say anything to.
    pub(crate) fn nobody_reads() -> Self {
        Self::new(Exit::Done, "")
    }

    /// Adds a cause.
    #[must_use]
    pub(crate) fn because(mut self, cause: impl Display) -> Self {
        self.causes.push(in_settings(cause.to_string()));
        self
    }

    /// Adds what a person can do about it, usually a command.
    #[must_use]
    pub(crate) fn way_out(mut self, way_out: impl Into<String>) -> Self {
        self.way_out = Some(way_out.into());
        self
    }

    fn of(exit: Exit, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut failure = Self::new(exit, error.to_string());
        let mut source = error.source();
        while let Some(cause) = source {
            // Some errors contain their cause.
            if !failure.message.contains(&cause.to_string()) {
                failure = failure.because(cause);
            }
            source = cause.source();
        }
        failure
    }
}

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
                "see the engine's certificate, its name in the URL, and vault.root_certificates in the settings",
            ),
            _ if is_away => failure.way_out(
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
            MigrateError::Io { ref source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Exit::NotFound
            }
            MigrateError::Unclear { .. } | MigrateError::NotAFile(_) => Exit::Usage,
            _ => Exit::Failed,
        };
        Self::of(exit, &error)
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        if let SettingsError::Several(errors) = &error {
            let items = errors.iter().map(ToString::to_string).collect();
            return Self { items, ..Self::usage(format!("{} settings are wrong:", errors.len())) };
        }
        if let SettingsError::UnknownProvider { place: None, .. } = &error {
            return Self::of(Exit::NotFound, &error).way_out("credentials providers");
        }
        let exit = match &error {
            SettingsError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Exit::NotFound
            }
            _ => Exit::Usage,
        };
        Self::of(exit, &error)
    }
}

impl From<OAuthError> for Failure {
    fn from(error: OAuthError) -> Self {
        let exit = match &error {
            error if error.is_transient() => Exit::Unavailable,
            OAuthError::MissingSetting { .. }
            | OAuthError::InvalidSetting { .. }
            | OAuthError::UnsupportedFlow { .. } => Exit::Usage,
            OAuthError::Refused { .. } | OAuthError::Expired => Exit::Refused,
            _ => Exit::Failed,
        };
        Self::of(exit, &error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Vault(error) => error.into(),
            error => in_words(&error).unwrap_or_else(|| Self::of(exit_of(&error), &error)),
        }
    }
}

/// Rewords an error that tells a programmer what to call, for a person.
fn in_words(error: &Error) -> Option<Failure> {
    Some(match error {
        Error::AllCoolingDown { pool, retry_after, .. } => Failure::new(
            Exit::Unavailable,
            format!(
                "every account of {pool} is cooling down; the first is ready in {}",
                brief(*retry_after)
            ),
        ),
        Error::Paused { pool, pin: None } => {
            Failure::failed(format!("every account of {pool} that requests may take is paused"))
                .way_out("credentials resume ACCOUNT")
        }
        Error::Spent { pool, pin: None } => {
            let message = format!(
                "every account of {pool} that is not paused is spent, or needs a new sign-in: check their billing"
            );
            Failure::new(Exit::Unavailable, message)
                .way_out(format!("{}, which uses again what works", naming::test(pool)))
        }
        Error::NoToken { pool, label } => {
            let message = format!("{label} of {pool} has no access token, and none could be obtained");
            Failure::new(Exit::Refused, message).way_out(naming::test(pool))
        }
        _ => return None,
    })
}

/// Returns an error and its causes on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn exit_of(error: &Error) -> Exit {
    match error {
        Error::Vault(_) => Exit::Vault,
        Error::NoCredential { .. } | Error::UnknownPin { .. } => Exit::NotFound,
        Error::NeedsSignIn { .. } | Error::NoToken { .. } => Exit::Refused,
        Error::Spent { .. } => Exit::Unavailable,
        Error::AllCoolingDown { .. } => Exit::Unavailable,
        _ => Exit::Failed,
    }
}

impl From<DiscoveryError> for Failure {
    fn from(error: DiscoveryError) -> Self {
        let exit = match error.kind() {
            DiscoveryErrorKind::Failed(cause) => {
                if let Some(failure) = cause.downcast_ref().and_then(in_words) {
                    return failure;
                }
                // Any other error is the HTTP client's: nothing was reached.
                cause.downcast_ref().map_or(Exit::Unavailable, exit_of)
            }
            DiscoveryErrorKind::TimedOut(_) => Exit::Unavailable,
            DiscoveryErrorKind::Status { status, .. } => match status.as_u16() {
                401 | 403 => Exit::Refused,
                429 | 500.. => Exit::Unavailable,
                _ => Exit::Failed,
            },
            _ => Exit::Failed,
        };
        Self::of(exit, &error)
    }
}

/// The error of a stack of layers over the HTTP client.
impl From<BoxError> for Failure {
    fn from(error: BoxError) -> Self {
        match error.downcast::<Error>() {
            Ok(error) => (*error).into(),
            // Any other error is the HTTP client's: nothing was reached.
            Err(error) => Self::of(Exit::Unavailable, &*error),
        }
    }
}
