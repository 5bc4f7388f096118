//! The options and arguments that several commands have.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use clap::{ArgAction, Args, ValueHint};
use tower_credentials::CredentialId;
use tower_credentials::setup::VaultPlace;

use crate::failure::Failure;
use crate::output::Color;
use crate::shell::option;

/// The options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The vault's directory, or the URL of a Redis or Valkey that keeps it
    #[arg(long, global = true, value_name = "DIR|URL", value_hint = ValueHint::DirPath)]
    pub(crate) vault: Option<VaultFlag>,
    /// The settings file
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// The file with the vault's key
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) key_file: Option<PathBuf>,
    /// A command that prints the vault's key; it runs without a shell
    #[arg(long, global = true, value_name = "COMMAND", value_hint = ValueHint::CommandString)]
    pub(crate) key_command: Option<String>,
    /// Take the vault's key from the system's keyring
    #[arg(long, global = true)]
    pub(crate) keyring: bool,
    /// When to use colours
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        hide_default_value = true
    )]
    pub(crate) color: Color,
    /// Log more on standard error; repeat it for more detail
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

impl Global {
    /// Returns the flags that say which vault, key and settings are meant, for a command that a person is told to run.
    pub(crate) fn places(&self) -> String {
        let Self { vault, config, key_file, key_command, keyring, .. } = self;
        let vault = vault.as_ref().and_then(|vault| vault.place().ok());
        let mut flags: Vec<_> = vault.map(|place| option("--vault", place)).into_iter().collect();
        let paths = [("--config", config), ("--key-file", key_file)];
        let paths = paths.into_iter().filter_map(|(flag, path)| Some((flag, path.as_ref()?)));
        flags.extend(paths.map(|(flag, path)| option(flag, path.display())));
        flags.extend(key_command.as_ref().map(|command| option("--key-command", command)));
        flags.extend(keyring.then(|| "--keyring".to_owned()));
        flags.join(" ")
    }
}

/// The value of `--vault`. A password may have been typed in it, so it is not shown.
#[derive(Clone)]
pub(crate) struct VaultFlag(OsString);

impl VaultFlag {
    /// Returns the place that it names. A password is refused: the shell's history has it, and other users can see it.
    pub(crate) fn place(&self) -> Result<VaultPlace, Failure> {
        let place = VaultPlace::parse(&self.0)
            .map_err(|error| Failure::usage(format!("--vault: {error}")).way_out(WITHOUT_PASSWORD))?;
        match place.engine().is_some_and(|url| url.has_password()) {
            true => Err(Failure::usage(
                "--vault has a password in it: other users can see it, and the shell's history has it",
            )
            .way_out(WITHOUT_PASSWORD)),
            false => Ok(place),
        }
    }
}

/// How an engine's password is given.
const WITHOUT_PASSWORD: &str = "--vault rediss://NAME@HOST, and the password in the variable TOWER_CREDENTIALS_VAULT_PASSWORD \
                                (of Sentinels: TOWER_CREDENTIALS_VAULT_SENTINEL_PASSWORD), or by vault.password_command in the \
                                settings; or the whole URL in the variable TOWER_CREDENTIALS_DIR";

impl From<OsString> for VaultFlag {
    fn from(text: OsString) -> Self {
        Self(text)
    }
}

impl fmt::Debug for VaultFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VaultFlag")
    }
}

/// For commands that list something.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Json {
    /// Write JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// For commands that are about one account.
#[derive(Clone, Debug, Args)]
pub(crate) struct OneAccount {
    /// PROVIDER/LABEL, PROVIDER/NAMESPACE/LABEL or an id; PROVIDER or LABEL alone
    /// if only one account has it
    #[arg(value_name = "ACCOUNT")]
    pub(crate) account: String,
    #[command(flatten)]
    pub(crate) namespace: Namespace,
}

impl OneAccount {
    /// The account with this id, which never means another.
    pub(crate) fn of(id: CredentialId) -> Self {
        Self { account: id.to_string(), namespace: Namespace { namespace: None } }
    }
}

/// For commands that are about some accounts.
#[derive(Clone, Debug, Args)]
pub(crate) struct SomeAccounts {
    /// One or more accounts, each as PROVIDER/LABEL, PROVIDER/NAMESPACE/LABEL or an id; PROVIDER or LABEL alone
    /// if only one account has it
    #[arg(value_name = "ACCOUNT", required_unless_present = "all")]
    pub(crate) accounts: Vec<String>,
    #[command(flatten)]
    pub(crate) namespace: Namespace,
    /// All accounts that match ACCOUNT, or all accounts if it is omitted
    #[arg(long)]
    pub(crate) all: bool,
}

impl SomeAccounts {
    /// The account with this id.
    pub(crate) fn of(id: CredentialId) -> Self {
        let OneAccount { account, namespace } = OneAccount::of(id);
        Self { accounts: vec![account], namespace, all: false }
    }
}

/// For commands that are about the accounts of one provider.
#[derive(Clone, Debug, Args)]
pub(crate) struct Namespace {
    /// Only accounts in this namespace
    #[arg(long, short, value_name = "NS")]
    pub(crate) namespace: Option<String>,
}

/// Refuses a label or a namespace that could not be told from the other parts of an account's name. Those that a vault has
/// already go on working.
pub(crate) fn check_name(part: &str, text: &str) -> Result<(), Failure> {
    let wrong = |why: &str| Err(Failure::usage(format!("the {part} {text:?} {why}")));
    if text.contains('/') {
        return wrong("has a `/` in it, which separates the parts of an account's name");
    }
    if text.trim() != text {
        return wrong("begins or ends with a blank, which nobody sees");
    }
    Ok(())
}
