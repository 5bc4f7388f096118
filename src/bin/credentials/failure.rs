//! What went wrong, the way out, and the exit code.

mod requests;
mod vault;

use std::fmt::Display;
use std::io;

use tower_credentials::settings::SettingsError;

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
