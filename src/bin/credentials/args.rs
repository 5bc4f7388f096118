//! What can be typed.

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::commands::Command;
use crate::options::Global;

/// What comes after the options in the long help.
const AFTER_HELP: &str = "\
Accounts:
  Where an ACCOUNT is asked for, PROVIDER/LABEL names one, PROVIDER/NAMESPACE/LABEL one of several
  namespaces, PROVIDER or LABEL the only one that there is, and an id, or four digits of its
  beginning and more, any.

Examples:
  credentials login openai --api-key --label work
  credentials list
  curl -H @<(credentials headers openai) https://api.openai.com/v1/models

Environment:
  TOWER_CREDENTIALS_DIR        the vault's directory, as --vault
  TOWER_CREDENTIALS_CONFIG     the settings file, as --config
  TOWER_CREDENTIALS_VAULT_KEY  the vault's key: 32 bytes in base64
  TOWER_CREDENTIALS_KEY_FILE   where the key is, as --key-file
  TOWER_CREDENTIALS_KEY_COMMAND
                               where the key is, as --key-command
  TOWER_CREDENTIALS_KEYRING    1: the key is in the keyring, as with --keyring
  TOWER_CREDENTIALS_<PROVIDER>_<SETTING>
                               a setting of one provider's; the settings file goes before it
  NO_COLOR                     no colours

Exit codes:
  0  done
  1  it could not be done
  2  what was typed, or a setting, is wrong
  3  there is no such account, provider or file
  4  the vendor has refused, or a new sign-in is needed
  5  the vault can't be opened, its key is missing or wrong, or something in it is damaged
  6  no answer came from the vendor, or every account is limited
  128 and more  ended by a signal: 130 by Ctrl-C

Files:
  The vault, the key, the settings file and the cache are where the platform has such things: on Unix in
  $XDG_DATA_HOME, $XDG_CONFIG_HOME and $XDG_CACHE_HOME, under `tower-credentials`. `credentials vault path`
  tells where that is.";

/// Accounts, keys and tokens of HTTP APIs, in an encrypted vault
///
/// The vault is the one that programs with the tower-credentials crate use: what is signed in here, they use at
/// once, and what they learn of an account is seen here.
#[derive(Debug, Parser)]
#[command(name = "credentials", version, after_long_help = AFTER_HELP, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    /// What was typed. Ends the program where that is wrong, or where help was asked for.
    pub(crate) fn typed() -> Self {
        Self::try_parse().unwrap_or_else(|error| {
            let error = without_secrets(error);
            // Where even the help can't be written, that is a failure.
            let code = if error.print().is_ok() { error.exit_code() } else { 1 };
            std::process::exit(code)
        })
    }
}

/// An error that does not repeat what may be a key that somebody has typed where none belongs.
fn without_secrets(mut error: clap::Error) -> clap::Error {
    // Of others, what is told is the program's own: that an argument is missing, say.
    let tells_what_was_typed = matches!(
        error.kind(),
        ErrorKind::UnknownArgument
            | ErrorKind::InvalidValue
            | ErrorKind::ValueValidation
            | ErrorKind::TooManyValues
            | ErrorKind::InvalidSubcommand
    );
    if !tells_what_was_typed || !asks_for_a_secret() {
        return error;
    }
    let taught = "a key is pasted at the prompt or piped in; one that was typed here is in the shell's history, and was \
                  seen by whoever looked: replace it";
    if let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg)
        && flag.starts_with('-')
        && std::env::args_os()
            .any(|argument| argument.to_string_lossy().starts_with(&format!("{flag}=")))
    {
        // What was typed after it is not repeated.
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![taught.into()]));
    }
    for kind in [ContextKind::InvalidArg, ContextKind::InvalidValue, ContextKind::InvalidSubcommand] {
        let may_be_secret = |value: &ContextValue| match value {
            ContextValue::String(text) => {
                !text.is_empty() && (!text.starts_with('-') || text.contains('='))
            }
            _ => false,
        };
        if error.get(kind).is_some_and(may_be_secret) {
            error.insert(kind, ContextValue::String("…".to_owned()));
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![taught.into()]));
        }
    }
    error
}

/// Whether the command is one that takes a secret: from a prompt or standard input, never from here.
fn asks_for_a_secret() -> bool {
    let commands = ["login", "import", "rotate-key", "backup", "restore"];
    std::env::args_os().skip(1).any(|argument| commands.iter().any(|name| argument == *name))
}
