//! What can be typed.

use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};

use crate::commands::Command;
use crate::options::Global;
use crate::shell::quoted;

/// What follows the options in the long help.
const AFTER_HELP: &str = "\
Accounts:
  ACCOUNT is PROVIDER/LABEL, or PROVIDER/NAMESPACE/LABEL if there are several namespaces. PROVIDER or LABEL alone is \
enough if only one account has it. An account's id always works, and so do the first digits of it, at least four.

Examples:
  credentials login openai --api-key --label work
  credentials list
  curl -H @<(credentials headers openai) https://api.openai.com/v1/models

Environment:
  TOWER_CREDENTIALS_DIR        the vault's directory, or the URL of its Redis or Valkey, like --vault
  TOWER_CREDENTIALS_VAULT_PASSWORD
                               the password of that Redis or Valkey
  TOWER_CREDENTIALS_VAULT_SENTINEL_PASSWORD
                               the password of its Sentinels
  TOWER_CREDENTIALS_CONFIG     the settings file, like --config
  TOWER_CREDENTIALS_VAULT_KEY  the vault's key: 32 bytes in base64
  TOWER_CREDENTIALS_KEY_FILE   the file with the vault's key, like --key-file
  TOWER_CREDENTIALS_KEY_COMMAND
                               a command that prints the vault's key, like --key-command
  TOWER_CREDENTIALS_KEYRING    1 takes the vault's key from the keyring, like --keyring
  TOWER_CREDENTIALS_<PROVIDER>_<SETTING>
                               a provider's setting; the settings file takes precedence
  NO_COLOR                     disables colours

Exit codes:
  0  success
  1  the command failed
  2  the command line or a setting is wrong
  3  there is no such account, provider or file
  4  the vendor refused, or an account needs a new sign-in
  5  the vault can't be opened, its key is missing or wrong, or something in it is damaged
  6  there was no response from the vendor, or every account is cooling down
  128 and more  ended by a signal; Ctrl-C gives 130

Files:
  The vault, the key, the settings file and the cache are in the platform's usual places: on Unix in $XDG_DATA_HOME, \
$XDG_CONFIG_HOME and $XDG_CACHE_HOME, under `tower-credentials`. What this host alone has of a vault in a Redis or Valkey, \
such as the history and the clients of `serve`, is in $XDG_STATE_HOME. `credentials vault path` shows them.";

/// Keep the accounts, keys and tokens of HTTP APIs in an encrypted vault
///
/// Programs that use the tower-credentials crate share the vault. They use the accounts that you add here at once, and
/// what they learn about an account is shown here.
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
    /// Parses the command line. Ends the program if that fails, or if help was asked for.
    pub(crate) fn typed() -> Self {
        Self::try_parse().unwrap_or_else(|error| {
            let error = with_alias(with_tip(without_secrets(error)));
            // Help that can't be written is a failure.
            let code = if error.print().is_ok() { error.exit_code() } else { 1 };
            std::process::exit(code)
        })
    }
}

/// Adds what was left out: the flag before a number, or the dashes before a command.
fn with_tip(mut error: clap::Error) -> clap::Error {
    if matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::MissingRequiredArgument)
        && lacks_dashes()
    {
        let tip = "put `--` before the command and its arguments: credentials exec [PROVIDER]... -- COMMAND [ARGUMENT]...";
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
        return error;
    }
    let takes_a_number =
        std::env::args_os().skip(1).any(|argument| argument == "move" || argument == "tier");
    if error.kind() == ErrorKind::UnknownArgument
        && takes_a_number
        && let Some(ContextValue::String(number)) = error.get(ContextKind::InvalidArg)
        && number.chars().all(|char| char.is_ascii_digit())
    {
        let tip = format!("to set it, use '--to {number}'");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// Whether `exec` was typed without what separates the providers from the command.
fn lacks_dashes() -> bool {
    typed_command().is_some_and(|(name, _)| name == "exec")
        && std::env::args_os().all(|argument| argument != "--")
}

/// Returns the name of the command that was typed, and the alias of it that was.
fn typed_command() -> Option<(String, String)> {
    let commands = Args::command();
    std::env::args_os().skip(1).find_map(|argument| {
        let argument = argument.to_string_lossy().into_owned();
        let is_named = |command: &&clap::Command| {
            command.get_name() == argument || command.get_all_aliases().any(|alias| alias == argument)
        };
        let command = commands.get_subcommands().find(is_named)?;
        Some((command.get_name().to_owned(), argument))
    })
}

/// Shows the usage of a command by the alias that was typed.
fn with_alias(mut error: clap::Error) -> clap::Error {
    if let (Some((name, typed)), Some(ContextValue::StyledStr(usage))) =
        (typed_command(), error.get(ContextKind::Usage))
    {
        let [name, typed] = [name, typed].map(|word| format!("credentials {word}"));
        let usage = usage.ansi().to_string().replace(&name, &typed);
        error.insert(ContextKind::Usage, ContextValue::StyledStr(usage.into()));
    }
    error
}

/// Removes what may be a mistyped key from an error.
fn without_secrets(mut error: clap::Error) -> clap::Error {
    // Other errors contain only the program's own words, for example that an argument is missing.
    let repeats_input = matches!(
        error.kind(),
        ErrorKind::UnknownArgument
            | ErrorKind::InvalidValue
            | ErrorKind::ValueValidation
            | ErrorKind::TooManyValues
            | ErrorKind::InvalidSubcommand
    );
    if !repeats_input || !takes_a_secret() {
        return error;
    }
    let advice = "paste a key at the prompt, or pipe it in; a key on the command line is in the shell's history, and other users could see it: replace it";
    if let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg)
        && flag.starts_with('-')
        && std::env::args_os()
            .any(|argument| argument.to_string_lossy().starts_with(&format!("{flag}=")))
    {
        // Without the value that was typed after it.
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![advice.into()]));
    }
    if let Some(ContextValue::String(file)) = error.get(ContextKind::InvalidArg)
        && std::env::args_os().any(|argument| argument == "import")
        && !file.starts_with('-')
        && Path::new(file).is_file()
    {
        let command = format!("credentials vault import --file {}", quoted(file));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![command.into()]));
        return error;
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
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![advice.into()]));
        }
    }
    error
}

/// Whether the command takes a secret, which comes from a prompt or from standard input.
fn takes_a_secret() -> bool {
    let commands = ["login", "import", "rotate-key", "backup", "restore"];
    std::env::args_os().skip(1).any(|argument| commands.iter().any(|name| argument == *name))
}
